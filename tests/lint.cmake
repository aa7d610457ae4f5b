# The lint ring: the house rules that a program can check, and the proof that each of them can fail.
set(CN_LINT ${CMAKE_CURRENT_LIST_DIR}/lint)

function(cn_lint name)
    add_test(NAME lint.${name} COMMAND ${CN_PYTHON} ${CN_LINT}/${name}.py ${ARGN})
    set_tests_properties(lint.${name} PROPERTIES LABELS lint TIMEOUT 120)
endfunction()

cn_lint(floors)
cn_lint(size)
cn_lint(format)
cn_lint(docs --binary $<TARGET_FILE:chatnode>)
if(CN_SANITIZER)
    cn_lint(names) # sanitizers add symbols of their own
else()
    cn_lint(names --build ${PROJECT_BINARY_DIR}/node)
endif()

add_test(NAME lint.selftest
    COMMAND ${CN_PYTHON} -m pytest -q -p no:cacheprovider ${CN_LINT}/test_lints.py
    WORKING_DIRECTORY ${CN_LINT})
set_tests_properties(lint.selftest PROPERTIES LABELS lint TIMEOUT 120)
