# Tests of floor 2: units, and one contract suite over each implementation of the bus.
foreach(module bus redis_url redis_reply)
    cn_unit_test(${module} cn_bus cn_wire cn_base)
endforeach()
foreach(module redis_url redis_reply)
    target_include_directories(test_${module} PRIVATE ${PROJECT_SOURCE_DIR}/node/bus)
    target_link_libraries(test_${module} PRIVATE cn::hiredis)
endforeach()

# cn_contract_test(<name> <seconds> <sources below tests/...>)
function(cn_contract_test name seconds)
    add_executable(test_${name} contract/test_${name}.c support/bus_probe.c ${ARGN})
    target_link_libraries(test_${name} PRIVATE
        cn_flags cn_test_support cn_bus cn_wire cn_base cn::hiredis cn::cmocka)
    target_include_directories(test_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    add_test(NAME contract.${name} COMMAND test_${name})
    set_tests_properties(contract.${name} PROPERTIES LABELS contract TIMEOUT ${seconds})
endfunction()

cn_contract_test(bus_memory 60 contract/bus_contract.c)
cn_contract_test(bus_redis 180 contract/bus_contract.c support/redis_server.c)
cn_contract_test(bus_redis_link 120 support/redis_server.c)
cn_contract_test(bus_redis_tls 180 contract/bus_contract.c support/redis_server.c support/pki.c)
cn_contract_test(bus_redis_durable 120 support/redis_server.c)
