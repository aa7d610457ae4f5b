# The chaos ring: the delivery contract under faults, and the proof that its checker finds what is broken.
set(CN_CHAOS ${CMAKE_CURRENT_LIST_DIR}/chaos)
set(CN_PLANTED ack:bus/redis_publish.c catchup:bus/redis_catchup.c counter:bus/redis_script.c)

# cn_chaos_run(<name> <arguments of run.py...>): a run as a test.
function(cn_chaos_run name)
    add_test(NAME chaos.${name} COMMAND ${CN_PYTHON} ${CN_CHAOS}/run.py ${ARGN})
    set_tests_properties(chaos.${name} PROPERTIES LABELS chaos TIMEOUT 900 RUN_SERIAL ON
        ENVIRONMENT "CHATNODE=$<TARGET_FILE:chatnode>;CHATNODE_SLOW=${CN_SLOW}")
endfunction()

foreach(plant ${CN_PLANTED})
    string(REPLACE ":" ";" plant ${plant})
    cn_planted(chaos ${plant})
endforeach()

file(GLOB files CONFIGURE_DEPENDS ${CN_CHAOS}/test_*.py)
foreach(file ${files})
    cn_pytest(chaos ${file})
endforeach()
set_property(TEST chaos.planted APPEND PROPERTY
    ENVIRONMENT "CHATNODE_PLANTED=${CMAKE_BINARY_DIR}/planted")

cn_chaos_run(every-kind --seed 1 --count 36)
cn_chaos_run(random --seconds 60)
