# How our own code is compiled. Every target of ours links cn_flags.
add_library(cn_flags INTERFACE)
target_include_directories(cn_flags INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(cn_flags INTERFACE _GNU_SOURCE CN_VERSION="${PROJECT_VERSION}")
target_compile_options(cn_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Werror
    -Wno-gnu-zero-variadic-macro-arguments
    -fno-common -fno-omit-frame-pointer)
target_link_libraries(cn_flags INTERFACE Threads::Threads)

if(CN_CHECK_LOCKS)
    target_compile_definitions(cn_flags INTERFACE CN_CHECK_LOCKS=1)
endif()

# Several processes and threads count at once: into the same files, so they must add up.
if(CN_COVERAGE)
    target_compile_options(cn_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(cn_flags INTERFACE --coverage)
endif()

if(CN_HARDEN)
    set(CMAKE_POSITION_INDEPENDENT_CODE ON)
    target_compile_options(cn_flags INTERFACE
        -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
        -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE)
    target_link_options(cn_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

if(CN_SANITIZER STREQUAL "address")
    target_compile_options(cn_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(cn_flags INTERFACE -fsanitize=address,undefined)
elseif(CN_SANITIZER STREQUAL "thread")
    target_compile_options(cn_flags INTERFACE -fsanitize=thread)
    target_link_options(cn_flags INTERFACE -fsanitize=thread)
elseif(CN_SANITIZER)
    message(FATAL_ERROR "CN_SANITIZER is address, thread or empty, not ${CN_SANITIZER}")
endif()

# Coverage's counters and both sanitizers in all of our code; libFuzzer's own main only in its programs.
if(CN_FUZZ)
    target_compile_options(cn_flags INTERFACE
        -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -O1)
    target_link_options(cn_flags INTERFACE -fsanitize=address,undefined)
endif()
