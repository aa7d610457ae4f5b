# Nodes with one bug each: what proves that a ring finds such bugs.

# cn_planted(<ring> <name> <file>): chatnode-planted-<name>, the node with tests/<ring>/planted/<name>.patch
# applied to node/<file>. The patched source is linked before the libraries, so that theirs of the same name
# is not taken.
function(cn_planted ring name file)
    set(source ${PROJECT_SOURCE_DIR}/node/${file})
    set(patch ${PROJECT_SOURCE_DIR}/tests/${ring}/planted/${name}.patch)
    get_filename_component(base ${file} NAME)
    set(patched ${CMAKE_CURRENT_BINARY_DIR}/planted/${name}/${base})
    add_custom_command(OUTPUT ${patched}
        COMMAND patch -s --no-backup-if-mismatch -o ${patched} ${source} ${patch}
        DEPENDS ${source} ${patch}
        COMMENT "Planting the bug ${name} into ${file}")
    get_filename_component(folder ${source} DIRECTORY)
    get_target_property(libraries chatnode LINK_LIBRARIES)
    add_executable(chatnode-planted-${name} $<TARGET_OBJECTS:chatnode> ${patched})
    target_include_directories(chatnode-planted-${name} PRIVATE ${folder})
    target_link_libraries(chatnode-planted-${name} PRIVATE ${libraries} cn::hiredis)
    set_target_properties(chatnode-planted-${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/planted)
endfunction()
