# What the node serves to browsers: the embedded files, the SDK, the page in a real browser.
cn_unit_test(web cn_web cn_base)
target_compile_definitions(test_web PRIVATE CN_WEB_FOLDER="${PROJECT_SOURCE_DIR}/node/web")

find_program(CN_NODEJS NAMES node nodejs)
if(CN_NODEJS)
    file(GLOB sdk_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/sdk/*.test.mjs)
    add_test(NAME unit.sdk COMMAND ${CN_NODEJS} --test ${sdk_tests})
    set_tests_properties(unit.sdk PROPERTIES LABELS unit TIMEOUT 120)
else()
    message(STATUS "Node.js is missing: the SDK's tests are left out")
endif()
