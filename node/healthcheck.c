// SPDX-License-Identifier: MIT
// The health check for containers, which have no other HTTP client.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "chatnode/tls.h"
#include "node_private.h"

enum { TIMEOUT_S = 3, HOST_BYTES = 256 };

// Cuts "0.0.0.0:8000" or "[::]:8000" in two; a wildcard address becomes its loopback.
static bool split_address(const char *listen, char host[HOST_BYTES], const char **port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || (size_t)(colon - listen) >= HOST_BYTES)
        return false;
    size_t len = (size_t)(colon - listen);
    bool in_brackets = len >= 2 && listen[0] == '[' && listen[len - 1] == ']';
    struct cn_str bare = {listen + in_brackets, len - 2 * (size_t)in_brackets};
    if (cn_str_equal(bare, CN_STR_LITERAL("0.0.0.0")))
        bare = CN_STR_LITERAL("127.0.0.1");
    else if (cn_str_equal(bare, CN_STR_LITERAL("::")))
        bare = CN_STR_LITERAL("::1");
    *port = colon + 1;
    return cn_str_copy(bare, host, HOST_BYTES) == CN_OK;
}

static int connect_to(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    struct addrinfo *found;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static const char request[] = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
                              "connection: close\r\n\r\n";
static const char good[] = "HTTP/1.1 200";
enum { GOOD_BYTES = sizeof(good) - 1 };

static bool ask_plainly(int fd, char answer[GOOD_BYTES])
{
    return write(fd, request, sizeof(request) - 1) == sizeof(request) - 1 &&
           recv(fd, answer, GOOD_BYTES, MSG_WAITALL) == GOOD_BYTES;
}

static bool is_well(const char *listen, bool has_tls)
{
    char host[HOST_BYTES];
    char answer[GOOD_BYTES];
    const char *port;
    int fd = split_address(listen, host, &port) ? connect_to(host, port) : -1;
    bool answered = fd >= 0 && (has_tls ? cn_tls_ask(fd, request, answer, GOOD_BYTES)
                                        : ask_plainly(fd, answer));
    if (fd >= 0)
        close(fd);
    return answered && memcmp(answer, good, GOOD_BYTES) == 0;
}

enum cn_exit cn_healthcheck(const struct cn_config *config)
{
    // The operators' listener, where there is one: the public one refuses when the node is full.
    bool is_internal = config->internal_listen[0] && !config->internal_tls_client_ca[0];
    bool well = is_internal ? is_well(config->internal_listen, config->internal_tls_cert[0] != '\0')
                            : is_well(config->listen, config->tls_cert[0] != '\0');
    puts(well ? "healthy" : "not healthy");
    return well ? CN_EXIT_OK : CN_EXIT_FAILED;
}
