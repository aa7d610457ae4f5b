// SPDX-License-Identifier: MIT
// Loads libcurl by its name.
#include "libcurl.h"

#include <dlfcn.h>

#include "chatnode/log.h"

bool cn_libcurl_load(struct cn_libcurl *out)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool has_all = library != NULL;
#define X(name)                                                                                    \
    *(void **)&out->name = library ? dlsym(library, "curl_" #name) : NULL;                         \
    has_all &= out->name != NULL;
    CN_LIBCURL_TABLE(X)
#undef X
    if (!has_all)
        CN_LOG(ERROR, "fetch.library", "libcurl is missing: install libcurl4",
               CN_F_STR("why", library ? "it lacks a function" : dlerror()));
    if (library)
        dlclose(library); // it stays
    return has_all;
}
