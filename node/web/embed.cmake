# Writes OUT, a C file that implements chatnode/web.h for the files of TABLE ("path=file,...")
# below FOLDER. Run with cmake -P; needs nothing else.
cmake_minimum_required(VERSION 3.25)

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_svg "image/svg+xml")
set(type_mjs "text/javascript; charset=utf-8")
set(type_ts "text/plain; charset=utf-8")

# The file's bytes as the inside of a C initialiser.
function(read_bytes file out)
    file(READ "${file}" hex HEX)
    if(hex STREQUAL "")
        message(FATAL_ERROR "${file} is empty")
    endif()
    string(REPEAT "[0-9a-f]" 32 line)
    string(REGEX REPLACE "(${line})" "\\1\n    " hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    set(${out} "${hex}" PARENT_SCOPE)
endfunction()

string(REPLACE "," ";" table "${TABLE}")
set(arrays "")
set(rows "")
set(index 0)
foreach(entry IN LISTS table)
    string(REGEX REPLACE "=.*" "" path "${entry}")
    string(REGEX REPLACE ".*=" "" name "${entry}")
    string(REGEX REPLACE ".*\\." "" extension "${name}")
    if(NOT DEFINED type_${extension})
        message(FATAL_ERROR "no content type for ${name}")
    endif()
    read_bytes("${FOLDER}/${name}" bytes)
    file(SHA256 "${FOLDER}/${name}" hash)
    string(SUBSTRING "${hash}" 0 32 etag)
    string(APPEND arrays
        "// ${name}\nstatic const unsigned char bytes_${index}[] = {\n    ${bytes}};\n\n")
    string(APPEND rows
        "    {\"${path}\", \"${type_${extension}}\", \"\\\"${etag}\\\"\", bytes_${index},\n"
        "     sizeof(bytes_${index})},\n")
    math(EXPR index "${index} + 1")
endforeach()

file(WRITE "${OUT}" "// SPDX-License-Identifier: MIT
// The files that the node serves to browsers. Made by node/web/embed.cmake; do not edit.
#include \"chatnode/web.h\"

${arrays}static const struct cn_asset assets[] = {
${rows}};

const struct cn_asset *cn_asset_find(struct cn_str path)
{
    for (size_t i = 0; i < sizeof(assets) / sizeof(assets[0]); i++) {
        if (cn_str_equal(path, cn_str_of(assets[i].path)))
            return &assets[i];
    }
    return NULL;
}
")
