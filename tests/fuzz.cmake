# Fuzzing: the targets of tests/fuzz/. With CN_FUZZ (the preset fuzz: clang) each is linked with libFuzzer,
# and the ring fuzz lets each run for a while. In all other builds the kept inputs of each are run through it
# once, in the ring unit.
set(CN_FUZZ_FOLDER ${CMAKE_CURRENT_LIST_DIR}/fuzz)
set(CN_FUZZ_SECONDS 60 CACHE STRING "how long the ring fuzz lets each target run")
add_custom_target(fuzzers)

# cn_fuzz_program(<program> <source> <libraries...>)
function(cn_fuzz_program program source)
    add_executable(${program} ${source})
    target_include_directories(${program} PRIVATE ${PROJECT_SOURCE_DIR}/tests
        ${PROJECT_SOURCE_DIR}/node/bus ${PROJECT_SOURCE_DIR}/node/wire ${PROJECT_SOURCE_DIR}/node/edge)
    target_link_libraries(${program} PRIVATE cn_flags ${ARGN} cn::hiredis cn::jansson)
    if(CN_FUZZ)
        target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${program} PRIVATE fuzz/replay.c)
    endif()
    add_dependencies(fuzzers ${program})
endfunction()

# cn_fuzz_planted(<name> <file> <libraries...>): fuzz_<name> once more, with planted/<name>.patch applied to
# node/<file>: a bug that the target must find.
function(cn_fuzz_planted name file)
    set(source ${PROJECT_SOURCE_DIR}/node/${file})
    set(patch ${CN_FUZZ_FOLDER}/planted/${name}.patch)
    get_filename_component(base ${file} NAME)
    get_filename_component(folder ${source} DIRECTORY)
    set(patched ${CMAKE_CURRENT_BINARY_DIR}/planted/fuzz_${name}/${base})
    add_custom_command(OUTPUT ${patched}
        COMMAND patch -s --no-backup-if-mismatch -o ${patched} ${source} ${patch}
        DEPENDS ${source} ${patch}
        COMMENT "Planting a bug for the fuzz target ${name} into ${file}")
    cn_fuzz_program(planted_${name} fuzz/fuzz_${name}.c ${ARGN})
    target_sources(planted_${name} PRIVATE ${patched})
    target_include_directories(planted_${name} PRIVATE ${folder})
    add_test(NAME fuzz.planted_${name} COMMAND ${CN_PYTHON} ${CN_FUZZ_FOLDER}/run.py
        --programs ${CMAKE_BINARY_DIR} --target ${name} --planted --seconds 120)
    set_tests_properties(fuzz.planted_${name} PROPERTIES LABELS fuzz TIMEOUT 400)
endfunction()

# cn_fuzz_target(<name> <libraries...>)
function(cn_fuzz_target name)
    cn_fuzz_program(fuzz_${name} fuzz/fuzz_${name}.c ${ARGN})
    if(CN_FUZZ)
        add_test(NAME fuzz.${name} COMMAND ${CN_PYTHON} ${CN_FUZZ_FOLDER}/run.py
            --programs ${CMAKE_BINARY_DIR} --target ${name} --seconds ${CN_FUZZ_SECONDS})
        math(EXPR seconds "${CN_FUZZ_SECONDS} + 240")
        set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT ${seconds})
    else()
        set(kept ${CN_FUZZ_FOLDER}/corpus/${name})
        if(EXISTS ${CN_FUZZ_FOLDER}/regressions/${name})
            list(APPEND kept ${CN_FUZZ_FOLDER}/regressions/${name})
        endif()
        add_test(NAME unit.fuzz_${name} COMMAND fuzz_${name} ${kept})
        set_tests_properties(unit.fuzz_${name} PROPERTIES LABELS unit TIMEOUT 120)
    endif()
endfunction()

cn_fuzz_target(text cn_bus cn_wire cn_base)
cn_fuzz_target(codec cn_wire cn_base)
cn_fuzz_target(entry cn_bus cn_wire cn_base)
cn_fuzz_target(config cn_wire cn_base)
cn_fuzz_target(peer cn_wire cn_base)
cn_fuzz_target(reply cn_bus cn_wire cn_base)
cn_fuzz_target(session cn_test_hub)
cn_fuzz_target(redis cn_bus cn_wire cn_base)
cn_fuzz_target(token cn_wire cn_base cn::crypto)
cn_fuzz_target(edge cn_edge cn_hub cn_bus cn_wire cn_base cn_web cn::websockets)

if(CN_FUZZ)
    cn_fuzz_planted(codec wire/flat_object.c cn_wire cn_base)
    cn_fuzz_planted(peer wire/proxy_header.c cn_wire cn_base)
    cn_fuzz_planted(session hub/ring.c cn_test_hub)
endif()
