# Unit tests of node/wire.
foreach(module config durability pos name frame codec codec_entry protocol ratelimit token token_keys
        token_sign seal ruling address origin proxy_header)
    cn_unit_test(${module} cn_wire cn_base)
endforeach()
# The test reads what the codec wrote with a parser of its own.
target_link_libraries(test_codec PRIVATE cn::jansson)
# It counts how far the codec searches.
cn_wrap(codec memchr)
# Tokens with any header and claims, and memory that fails inside OpenSSL too.
foreach(module token token_keys token_sign)
    target_sources(test_${module} PRIVATE support/mint.c)
    target_include_directories(test_${module} PRIVATE ${PROJECT_SOURCE_DIR}/node/wire)
    target_link_libraries(test_${module} PRIVATE cn::crypto)
    cn_wrap(${module} malloc calloc realloc)
endforeach()
