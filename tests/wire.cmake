# Unit tests of node/wire.
foreach(module config durability pos name frame codec codec_entry protocol ratelimit
        address origin proxy_header)
    cn_unit_test(${module} cn_wire cn_base)
endforeach()
# The test reads what the codec wrote with a parser of its own.
target_link_libraries(test_codec PRIVATE cn::jansson)
# It counts how far the codec searches.
cn_wrap(codec memchr)
