# The cost ring: what the node's work costs in instructions and calls, counted under callgrind, and the
# proof that it finds what should not be there.
set(CN_COST_PLANTED copies:hub/fanout.c wakes:hub/loop.c)

foreach(plant ${CN_COST_PLANTED})
    string(REPLACE ":" ";" plant ${plant})
    cn_planted(cost ${plant})
endforeach()

file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cost/test_*.py)
foreach(file ${files})
    cn_pytest(cost ${file})
endforeach()
set_property(TEST cost.planted APPEND PROPERTY
    ENVIRONMENT "CHATNODE_PLANTED=${CMAKE_BINARY_DIR}/planted")
