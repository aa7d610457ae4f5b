# Unit tests of floor 3: the hub with fake sockets, on the in-process bus, turned by hand.
foreach(module ring pace registry feed)
    cn_unit_test(${module} cn_hub cn_wire cn_base)
endforeach()
foreach(module session loop hub admin api fanout recovery shelf exact publish channel history)
    cn_unit_test(${module} cn_test_hub)
endforeach()
cn_wrap(recovery cn_channel_on_entry)
# Reads of the log under the test's hand.
foreach(module shelf exact)
    target_sources(test_${module} PRIVATE support/hall.c)
    cn_wrap(${module} cn_bus_read_take)
endforeach()
cn_wrap(publish malloc calloc)
# Every allocation of our own and of the JSON parser fails once.
cn_unit_test(scarcity cn_test_hub)
cn_wrap(scarcity malloc calloc realloc)
cn_unit_test(metrics_table cn_wire cn_base)
# The test reads the answers with a parser of its own.
target_link_libraries(test_admin PRIVATE cn::jansson)
cn_wrap(ring calloc)
cn_wrap(feed realloc)
cn_wrap(registry calloc)
cn_thread_test(registry ../hub/registry.c hash.c thread.c check.c buf.c)
