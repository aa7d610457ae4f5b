# The rings in Python over real processes: one CTest entry for each tests/<ring>/test_*.py.

# For ThreadSanitizer, which is slow: the system tests in which the threads of a node work together.
set(CN_THREADED_AREAS sessions protocol cluster fanout)

foreach(ring system browser)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/${ring}/test_*.py)
    foreach(file ${files})
        cn_pytest(${ring} ${file})
    endforeach()
endforeach()

cn_pytest(system ${CMAKE_CURRENT_LIST_DIR}/soak/test_soak.py)

foreach(area ${CN_THREADED_AREAS})
    set_property(TEST system.${area} APPEND PROPERTY LABELS threads)
endforeach()
