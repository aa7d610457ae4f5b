# The chaos ring: the delivery contract under faults, and the proof that its checker finds what is broken.
set(CN_CHAOS ${CMAKE_CURRENT_LIST_DIR}/chaos)
set(CN_PLANTED ack:bus/redis_publish.c catchup:bus/redis_catchup.c counter:bus/redis_script.c)

# cn_planted(<name> <file>): the node with one bug. The patched source is linked before the libraries, so
# that theirs of the same name is not taken.
function(cn_planted name file)
    get_filename_component(base ${file} NAME)
    set(patched ${CMAKE_CURRENT_BINARY_DIR}/planted/${name}/${base})
    add_custom_command(OUTPUT ${patched}
        COMMAND patch -s --no-backup-if-mismatch -o ${patched} ${PROJECT_SOURCE_DIR}/node/${file}
            ${CN_CHAOS}/planted/${name}.patch
        DEPENDS ${PROJECT_SOURCE_DIR}/node/${file} ${CN_CHAOS}/planted/${name}.patch
        COMMENT "Planting the bug ${name} into ${file}")
    get_filename_component(folder ${PROJECT_SOURCE_DIR}/node/${file} DIRECTORY)
    get_target_property(sources chatnode SOURCES)
    list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/node/)
    get_target_property(libraries chatnode LINK_LIBRARIES)
    add_executable(chatnode-planted-${name} ${sources} ${patched})
    target_include_directories(chatnode-planted-${name} PRIVATE ${folder})
    target_link_libraries(chatnode-planted-${name} PRIVATE ${libraries} cn::hiredis)
    set_target_properties(chatnode-planted-${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/planted)
endfunction()

# cn_chaos_run(<name> <arguments of run.py...>): a run as a test.
function(cn_chaos_run name)
    add_test(NAME chaos.${name} COMMAND ${CN_PYTHON} ${CN_CHAOS}/run.py ${ARGN})
    set_tests_properties(chaos.${name} PROPERTIES LABELS chaos TIMEOUT 900 RUN_SERIAL ON
        ENVIRONMENT "CHATNODE=$<TARGET_FILE:chatnode>;CHATNODE_SLOW=${CN_SLOW}")
endfunction()

foreach(plant ${CN_PLANTED})
    string(REPLACE ":" ";" plant ${plant})
    cn_planted(${plant})
endforeach()

file(GLOB files CONFIGURE_DEPENDS ${CN_CHAOS}/test_*.py)
foreach(file ${files})
    cn_pytest(chaos ${file})
endforeach()
set_property(TEST chaos.planted APPEND PROPERTY
    ENVIRONMENT "CHATNODE_PLANTED=${CMAKE_BINARY_DIR}/planted")

cn_chaos_run(every-kind --seed 1 --count 36)
cn_chaos_run(random --seconds 60)
