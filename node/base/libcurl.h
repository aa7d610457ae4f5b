// SPDX-License-Identifier: MIT
// libcurl, loaded by those nodes that need it: it brings some 30 libraries along, which others can
// do without.
#ifndef CHATNODE_LIBCURL_H
#define CHATNODE_LIBCURL_H

#include <curl/curl.h>
#include <stdbool.h>

// Its functions that are used here, without their prefix.
#define CN_LIBCURL_TABLE(X)                                                                        \
    X(global_init)                                                                                 \
    X(global_cleanup)                                                                              \
    X(free)                                                                                        \
    X(easy_init)                                                                                   \
    X(easy_cleanup)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(easy_strerror)                                                                               \
    X(multi_init)                                                                                  \
    X(multi_cleanup)                                                                               \
    X(multi_setopt)                                                                                \
    X(multi_assign)                                                                                \
    X(multi_socket_action)                                                                         \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_info_read)                                                                             \
    X(slist_append)                                                                                \
    X(slist_free_all)                                                                              \
    X(url)                                                                                         \
    X(url_cleanup)                                                                                 \
    X(url_get)                                                                                     \
    X(url_set)

struct cn_libcurl {
#define X(name) __typeof__(&curl_##name) name;
    CN_LIBCURL_TABLE(X)
#undef X
};

// Loads it and looks up its functions; it stays loaded. False when it is not installed, which was
// then logged. Main thread.
bool cn_libcurl_load(struct cn_libcurl *out);

#endif
