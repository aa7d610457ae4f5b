# The ring analysis: what compilers and checkers find without running anything, and the proof that they can.
set(CN_ANALYSIS ${CMAKE_CURRENT_LIST_DIR}/analysis)

foreach(tool gcc clang-tidy cppcheck)
    add_test(NAME analysis.${tool} COMMAND ${CN_PYTHON} ${CN_ANALYSIS}/run.py ${tool} ${CMAKE_BINARY_DIR})
    set_tests_properties(analysis.${tool} PROPERTIES LABELS analysis TIMEOUT 1800 PROCESSORS 2)
endforeach()

add_test(NAME analysis.selftest
    COMMAND ${CN_PYTHON} -m pytest -q -p no:cacheprovider ${CN_ANALYSIS}/test_analysis.py
    WORKING_DIRECTORY ${CN_ANALYSIS})
set_tests_properties(analysis.selftest PROPERTIES LABELS analysis TIMEOUT 120)
