# Unit tests of floor 0.
foreach(module agenda check err log clock buf list hash heap ref thread mailbox pool reactor listener metrics
    fetch tls tls_tunnel)
    cn_unit_test(${module} cn_base)
endforeach()

# These make certificates.
foreach(module tls tls_tunnel)
    target_sources(test_${module} PRIVATE support/pki.c)
    target_link_libraries(test_${module} PRIVATE cn::ssl cn::crypto)
endforeach()

# cn_wrap(<module> <functions...>): the test may let these allocations of the floor fail.
function(cn_wrap module)
    foreach(name ${ARGN})
        target_link_options(test_${module} PRIVATE -Wl,--wrap=${name})
    endforeach()
endfunction()
cn_wrap(agenda realloc)
cn_wrap(buf realloc)
cn_wrap(hash calloc)
cn_wrap(reactor calloc)
cn_wrap(listener calloc)
cn_wrap(metrics calloc aligned_alloc)
cn_wrap(fetch calloc)

# cn_thread_test(<module> <sources...>): the same test once more under ThreadSanitizer, with lock
# checks, in every build that has no sanitizer of its own. libevent itself is not instrumented; what
# passes between threads (the wake-up) is ours.
include(CMakePushCheckState)
include(CheckCSourceCompiles)
cmake_push_check_state(RESET)
set(CMAKE_REQUIRED_FLAGS -fsanitize=thread)
check_c_source_compiles("int main(void) { return 0; }" CN_HAS_TSAN)
cmake_pop_check_state()

function(cn_thread_test module)
    if(CN_SANITIZER OR NOT CN_HAS_TSAN)
        return()
    endif()
    list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/node/base/ OUTPUT_VARIABLE sources)
    set(test test_${module}_tsan)
    add_executable(${test} unit/test_${module}.c ${sources})
    target_include_directories(${test} PRIVATE
        ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
    target_compile_definitions(${test} PRIVATE _GNU_SOURCE CN_CHECK_LOCKS=1)
    target_compile_options(${test} PRIVATE -fsanitize=thread -O1 -g)
    target_link_options(${test} PRIVATE -fsanitize=thread
        $<TARGET_PROPERTY:test_${module},LINK_OPTIONS>)
    target_link_libraries(${test} PRIVATE Threads::Threads cn::cmocka cn::event)
    add_test(NAME unit.${module}.tsan COMMAND ${test})
    set_tests_properties(unit.${module}.tsan PROPERTIES LABELS unit TIMEOUT 120
        ENVIRONMENT "TSAN_OPTIONS=halt_on_error=1")
endfunction()
cn_thread_test(ref thread.c check.c)
cn_thread_test(thread thread.c check.c)
cn_thread_test(mailbox mailbox.c thread.c check.c)
cn_thread_test(pool pool.c thread.c check.c)
cn_thread_test(metrics metrics.c thread.c buf.c check.c)
cn_thread_test(reactor reactor.c listener.c thread.c log.c clock.c buf.c check.c)
