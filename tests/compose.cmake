# The rings that need more than this system: a Docker engine, a root of Debian 13. And the checks of
# what is deployed. Roots, images and layers are kept in build/cache.
set(CN_CACHE ${PROJECT_SOURCE_DIR}/build/cache)

add_test(NAME compose
    COMMAND ${CN_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_LIST_DIR}/compose)
set_tests_properties(compose PROPERTIES LABELS compose TIMEOUT 1500 SKIP_RETURN_CODE 77
    ENVIRONMENT "CN_CTEST=1;CHATNODE_CACHE=${CN_CACHE}")

add_test(NAME debian13
    COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/debian13/run.sh ${PROJECT_SOURCE_DIR} ${CN_CACHE})
set_tests_properties(debian13 PROPERTIES LABELS debian13 TIMEOUT 1500 SKIP_RETURN_CODE 77)

# Both begin with the same root: whoever is first makes it.
set_tests_properties(compose debian13 PROPERTIES RUN_SERIAL ON)

file(GLOB_RECURSE scripts CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/deploy/*.sh ${CMAKE_CURRENT_LIST_DIR}/*.sh)
add_test(NAME lint.shell
    COMMAND shellcheck -x run .ci/run ${scripts} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME lint.haproxy COMMAND haproxy -c -f ${PROJECT_SOURCE_DIR}/deploy/haproxy.cfg)
set_tests_properties(lint.shell lint.haproxy PROPERTIES LABELS lint TIMEOUT 60)
