# Finds each library, or says which Debian package to install.
find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PkgConfig_FOUND)
    message(FATAL_ERROR "pkg-config is missing: apt-get install pkg-config")
endif()

# cn_require(<target> <pkg-config name and least version> <package>): an imported target, or a stop.
function(cn_require target spec package)
    pkg_check_modules(${target} IMPORTED_TARGET GLOBAL QUIET "${spec}")
    if(NOT ${target}_FOUND)
        message(FATAL_ERROR "${spec} is missing: apt-get install ${package}")
    endif()
    add_library(cn::${target} ALIAS PkgConfig::${target})
endfunction()

cn_require(websockets "libwebsockets>=4.1.6" libwebsockets-dev)
cn_require(hiredis "hiredis>=0.14" libhiredis-dev)
cn_require(event "libevent_core>=2.1" libevent-dev)
cn_require(jansson "jansson>=2.14" libjansson-dev)
cn_require(inih "inih>=53" libinih-dev)
if(CN_TESTS)
    cn_require(cmocka "cmocka>=1.1.5" libcmocka-dev)
endif()
