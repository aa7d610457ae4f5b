# chatnode-scarce: the node, in which allocations of our own code may fail (tests/support/scarce.c). For
# tests/system/test_faults_below.py.
get_target_property(libraries chatnode LINK_LIBRARIES)
add_executable(chatnode-scarce $<TARGET_OBJECTS:chatnode> support/scarce.c)
target_link_libraries(chatnode-scarce PRIVATE ${libraries})
target_link_options(chatnode-scarce PRIVATE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup)
