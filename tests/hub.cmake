# Unit tests of floor 3: the hub with fake sockets, on the in-process bus, turned by hand.
foreach(module ring pace registry feed quota)
    cn_unit_test(${module} cn_hub cn_wire cn_base)
endforeach()
foreach(module auth session loop hub admin api fanout recovery shelf exact publish channel history revocation throttle)
    cn_unit_test(${module} cn_test_hub)
endforeach()
cn_wrap(recovery cn_channel_on_entry)
# Tokens that say in plain words what they grant, and an authority that answers when the test wants.
target_sources(test_auth PRIVATE support/fake_token.c)
cn_wrap(auth cn_token_verify cn_auth_begin malloc calloc realloc)
# Reads of the log under the test's hand.
foreach(module shelf exact)
    target_sources(test_${module} PRIVATE support/hall.c)
    cn_wrap(${module} cn_bus_read_take)
endforeach()
cn_wrap(publish malloc calloc)
cn_wrap(revocation calloc)
# Every allocation of our own and of the JSON parser fails once.
cn_unit_test(scarcity cn_test_hub)
cn_wrap(scarcity malloc calloc realloc)
cn_unit_test(metrics_table cn_wire cn_base)
# The test reads the answers with a parser of its own.
target_link_libraries(test_admin PRIVATE cn::jansson)
cn_wrap(ring calloc)
cn_wrap(feed realloc)
cn_wrap(registry calloc)
# Keys, with the network and the timer under the test's hand.
cn_unit_test(keyring cn_hub cn_wire cn_base)
target_sources(test_keyring PRIVATE support/mint.c)
target_include_directories(test_keyring PRIVATE ${PROJECT_SOURCE_DIR}/node/wire)
target_link_libraries(test_keyring PRIVATE cn::crypto)
cn_wrap(keyring malloc calloc realloc cn_fetcher_new cn_fetcher_allows cn_fetcher_free cn_fetch_start cn_timer_new
    cn_timer_free cn_timer_start)
cn_thread_test(registry ../hub/registry.c hash.c thread.c check.c buf.c)
cn_wrap(quota calloc)
cn_thread_test(quota ../hub/quota.c ../wire/ratelimit.c hash.c thread.c check.c buf.c)
