// SPDX-License-Identifier: MIT
// The HTTP client. libcurl's multi interface asks for descriptors to be watched and for one timer;
// the reactor does both.
#include "chatnode/fetch.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/list.h"
#include "libcurl.h"

struct cn_fetcher {
    struct cn_reactor *reactor;
    struct cn_libcurl curl;
    CURLM *multi;
    struct cn_timer *timer;   // libcurl's
    struct cn_timer *vacancy; // a place has become free by cancelling
    struct cn_link active;    // of struct cn_fetch: handed to libcurl
    struct cn_link waiting;   // of struct cn_fetch
    struct cn_link watches;   // of struct watch
    size_t active_count, waiting_count;
    size_t at_once, queue;
    char *ca_file; // NULL: the system's
};

struct cn_fetch {
    struct cn_link link;
    struct cn_fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct cn_buf answer;
    bool is_active, is_too_large;
    int64_t deadline_ms;
    void (*done)(void *arg, const struct cn_fetch_answer *answer);
    void *arg;
};

// A descriptor of libcurl's.
struct watch {
    struct cn_link link;
    struct cn_fetcher *fetcher;
    curl_socket_t fd;
    struct cn_io *io;
};

// ---- Which URLs ----

static bool is_loopback(const char *host)
{
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1)
        return ntohl(address.s_addr) >> 24 == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

// One part of a URL; NULL when it has none. curl_free gives it back.
static char *part_of(struct cn_fetcher *fetcher, CURLU *parts, CURLUPart which)
{
    char *text = NULL;
    return fetcher->curl.url_get(parts, which, &text, 0) == CURLUE_OK ? text : NULL;
}

static bool is_allowed(struct cn_fetcher *fetcher, CURLU *parts)
{
    char *scheme = part_of(fetcher, parts, CURLUPART_SCHEME),
         *host = part_of(fetcher, parts, CURLUPART_HOST);
    char *user = part_of(fetcher, parts, CURLUPART_USER),
         *password = part_of(fetcher, parts, CURLUPART_PASSWORD);
    bool is_allowed =
        scheme && host && !user && !password &&
        (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_loopback(host)));
    fetcher->curl.free(scheme);
    fetcher->curl.free(host);
    fetcher->curl.free(user);
    fetcher->curl.free(password);
    return is_allowed;
}

bool cn_fetcher_allows(struct cn_fetcher *fetcher, const char *url)
{
    CURLU *parts = fetcher->curl.url();
    bool is_right = parts && fetcher->curl.url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                    is_allowed(fetcher, parts);
    fetcher->curl.url_cleanup(parts);
    return is_right;
}

// ---- What libcurl wants watched ----

static void collect(struct cn_fetcher *fetcher);

static void on_ready(void *arg, int events)
{
    struct watch *watch = arg; // may be gone after the call
    struct cn_fetcher *fetcher = watch->fetcher;
    int bits =
        (events & CN_IO_READ ? CURL_CSELECT_IN : 0) | (events & CN_IO_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    fetcher->curl.multi_socket_action(fetcher->multi, watch->fd, bits, &running);
    collect(fetcher);
}

static void free_watch(struct watch *watch)
{
    cn_list_remove(&watch->link);
    cn_io_free(watch->io);
    free(watch);
}

// NULL without memory: the request then runs into its deadline.
static struct watch *new_watch(struct cn_fetcher *fetcher, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return NULL;
    watch->fetcher = fetcher;
    watch->fd = fd;
    cn_list_push_back(&fetcher->watches, &watch->link);
    if (cn_io_new(fetcher->reactor, fd, on_ready, watch, &watch->io) != CN_OK) {
        free_watch(watch);
        return NULL;
    }
    fetcher->curl.multi_assign(fetcher->multi, fd, watch);
    return watch;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *own)
{
    (void)easy;
    struct watch *watch = own;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            free_watch(watch);
        return 0;
    }
    if (!watch)
        watch = new_watch(arg, fd);
    if (watch)
        cn_io_watch(watch->io, (what & CURL_POLL_IN ? CN_IO_READ : 0) |
                                   (what & CURL_POLL_OUT ? CN_IO_WRITE : 0));
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    struct cn_fetcher *fetcher = arg;
    if (ms < 0)
        cn_timer_stop(fetcher->timer);
    else
        cn_timer_start(fetcher->timer, ms);
    return 0;
}

static void on_tick(void *arg)
{
    struct cn_fetcher *fetcher = arg;
    int running;
    fetcher->curl.multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(fetcher);
}

// ---- One request ----

static void free_fetch(struct cn_fetch *fetch)
{
    struct cn_fetcher *fetcher = fetch->fetcher;
    if (cn_list_is_linked(&fetch->link)) {
        cn_list_remove(&fetch->link);
        if (fetch->is_active)
            fetcher->active_count--;
        else
            fetcher->waiting_count--;
    }
    if (fetch->is_active)
        fetcher->curl.multi_remove_handle(fetcher->multi, fetch->easy);
    fetcher->curl.easy_cleanup(fetch->easy);
    fetcher->curl.slist_free_all(fetch->headers);
    cn_buf_fini(&fetch->answer);
    free(fetch);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    struct cn_fetch *fetch = arg;
    enum cn_err err = cn_buf_append(&fetch->answer, bytes, len);
    fetch->is_too_large |= err == CN_FULL;
    return err == CN_OK ? len : CURL_WRITEFUNC_ERROR;
}

static CURLcode set_policy(CURL *easy, const struct cn_fetcher *fetcher)
{
    CURLcode rc = fetcher->curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_PROXY, "");
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // A name that is still being resolved is not waited for when its request ends.
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_USERAGENT, "chatnode/" CN_VERSION);
    if (fetcher->ca_file) {
        rc |= fetcher->curl.easy_setopt(easy, CURLOPT_CAINFO, fetcher->ca_file);
        rc |= fetcher->curl.easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    return rc;
}

// NULL without memory; what was there is freed then.
static struct curl_slist *make_headers(struct cn_fetcher *fetcher, bool has_body)
{
    static const char *const lines[] = {"Accept: application/json",
                                        "Content-Type: application/json", "Expect:"};
    struct curl_slist *headers = NULL;
    for (size_t i = 0; i < (has_body ? CN_COUNT(lines) : 1); i++) {
        struct curl_slist *longer = fetcher->curl.slist_append(headers, lines[i]);
        if (!longer) {
            fetcher->curl.slist_free_all(headers);
            return NULL;
        }
        headers = longer;
    }
    return headers;
}

static CURLcode set_order(struct cn_fetch *fetch, const struct cn_fetch_order *order)
{
    const struct cn_fetcher *fetcher = fetch->fetcher;
    CURL *easy = fetch->easy;
    CURLcode rc = fetcher->curl.easy_setopt(easy, CURLOPT_URL, order->url);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_PRIVATE, fetch);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    rc |= fetcher->curl.easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers);
    if (order->body.ptr) {
        rc |= fetcher->curl.easy_setopt(easy, CURLOPT_POST, 1L);
        rc |= fetcher->curl.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                        (curl_off_t)order->body.len);
        rc |= fetcher->curl.easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, order->body.ptr);
    }
    return rc;
}

static struct cn_fetch *new_fetch(struct cn_fetcher *fetcher, const struct cn_fetch_order *order)
{
    struct cn_fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return NULL;
    fetch->fetcher = fetcher;
    fetch->done = order->done;
    fetch->arg = order->arg;
    fetch->deadline_ms = cn_clock_ms() + order->timeout_ms;
    cn_buf_init(&fetch->answer, order->answer_bytes);
    fetch->headers = make_headers(fetcher, order->body.ptr != NULL);
    fetch->easy = fetcher->curl.easy_init();
    if (!fetch->headers || !fetch->easy || set_policy(fetch->easy, fetcher) != CURLE_OK ||
        set_order(fetch, order) != CURLE_OK) {
        free_fetch(fetch);
        return NULL;
    }
    return fetch;
}

// Hands it to libcurl. False when that failed.
static bool activate(struct cn_fetch *fetch)
{
    struct cn_fetcher *fetcher = fetch->fetcher;
    int64_t left_ms = fetch->deadline_ms - cn_clock_ms();
    if (fetcher->curl.easy_setopt(fetch->easy, CURLOPT_TIMEOUT_MS,
                                  (long)(left_ms > 0 ? left_ms : 1)) != CURLE_OK ||
        fetcher->curl.multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
        return false;
    fetch->is_active = true;
    fetcher->active_count++;
    cn_list_push_back(&fetcher->active, &fetch->link);
    return true;
}

enum cn_err cn_fetch_start(struct cn_fetcher *fetcher, const struct cn_fetch_order *order,
                           struct cn_fetch **out)
{
    if (!cn_fetcher_allows(fetcher, order->url))
        return CN_INVALID;
    bool is_full = fetcher->active_count >= fetcher->at_once;
    if (is_full && fetcher->waiting_count >= fetcher->queue)
        return CN_FULL;
    struct cn_fetch *fetch = new_fetch(fetcher, order);
    if (!fetch)
        return CN_NOMEM;
    if (is_full) {
        cn_list_push_back(&fetcher->waiting, &fetch->link);
        fetcher->waiting_count++;
    } else if (!activate(fetch)) {
        free_fetch(fetch);
        return CN_NOMEM;
    }
    if (out)
        *out = fetch;
    return CN_OK;
}

// ---- How it ends ----

// Tells, and frees.
static void finish(struct cn_fetch *fetch, const struct cn_fetch_answer *answer)
{
    void (*done)(void *arg, const struct cn_fetch_answer *answer) = fetch->done;
    void *arg = fetch->arg;
    struct cn_fetch_answer own = *answer;
    struct cn_buf body = fetch->answer; // lives until it was told
    fetch->answer = (struct cn_buf){.data = NULL};
    own.body = cn_buf_str(&body);
    free_fetch(fetch);
    done(arg, &own);
    cn_buf_fini(&body);
}

static enum cn_err err_of(const struct cn_fetch *fetch, CURLcode rc)
{
    if (fetch->is_too_large)
        return CN_FULL;
    switch (rc) {
    case CURLE_OK:
        return CN_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return CN_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return CN_NOMEM;
    default:
        return CN_UNAVAILABLE;
    }
}

static void finish_by(struct cn_fetcher *fetcher, CURL *easy, CURLcode rc)
{
    char *private = NULL;
    long status = 0;
    fetcher->curl.easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    fetcher->curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    struct cn_fetch *fetch = (void *)private;
    finish(fetch, &(struct cn_fetch_answer){
                      .err = err_of(fetch, rc),
                      .status = (int)status,
                      .why = fetch->is_too_large ? "the answer is too long"
                                                 : fetcher->curl.easy_strerror(rc),
                  });
}

// Lets those that wait have the places that became free. One that cannot be started is told so.
static void advance(struct cn_fetcher *fetcher)
{
    while (fetcher->active_count < fetcher->at_once) {
        struct cn_link *link = cn_list_pop_front(&fetcher->waiting);
        if (!link)
            return;
        struct cn_fetch *fetch = CN_CONTAINER(link, struct cn_fetch, link);
        fetcher->waiting_count--;
        if (cn_clock_ms() >= fetch->deadline_ms)
            finish(fetch, &(struct cn_fetch_answer){.err = CN_TIMEOUT, .why = "waited too long"});
        else if (!activate(fetch))
            finish(fetch, &(struct cn_fetch_answer){.err = CN_NOMEM, .why = "out of memory"});
    }
}

static void collect(struct cn_fetcher *fetcher)
{
    int left;
    CURLMsg *message;
    while ((message = fetcher->curl.multi_info_read(fetcher->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            finish_by(fetcher, message->easy_handle, message->data.result);
    }
    advance(fetcher);
}

void cn_fetch_cancel(struct cn_fetch *fetch)
{
    struct cn_fetcher *fetcher = fetch->fetcher;
    free_fetch(fetch);
    if (fetcher->waiting_count > 0)
        cn_timer_start(fetcher->vacancy, 0);
}

static void on_vacancy(void *arg)
{
    advance(arg);
}

// ---- The fetcher ----

static enum cn_err open_fetcher(struct cn_fetcher *fetcher, const char *ca_file)
{
    if (ca_file && ca_file[0] != '\0') {
        fetcher->ca_file = strdup(ca_file);
        if (!fetcher->ca_file)
            return CN_NOMEM;
    }
    fetcher->multi = fetcher->curl.multi_init();
    if (!fetcher->multi)
        return CN_NOMEM;
    CURLMcode rc = fetcher->curl.multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    rc |= fetcher->curl.multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
    rc |= fetcher->curl.multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    rc |= fetcher->curl.multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
    // Connections kept for the next request.
    rc |= fetcher->curl.multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, (long)fetcher->at_once);
    if (rc != CURLM_OK)
        return CN_SYSTEM;
    enum cn_err err = cn_timer_new(fetcher->reactor, on_tick, fetcher, &fetcher->timer);
    return err ? err : cn_timer_new(fetcher->reactor, on_vacancy, fetcher, &fetcher->vacancy);
}

enum cn_err cn_fetcher_new(const struct cn_fetcher_options *options, struct cn_fetcher **out)
{
    struct cn_fetcher *fetcher = calloc(1, sizeof(*fetcher));
    if (!fetcher)
        return CN_NOMEM;
    if (!cn_libcurl_load(&fetcher->curl) ||
        fetcher->curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(fetcher);
        return CN_UNAVAILABLE;
    }
    fetcher->reactor = options->reactor;
    fetcher->at_once = options->at_once;
    fetcher->queue = options->queue;
    cn_list_init(&fetcher->active);
    cn_list_init(&fetcher->waiting);
    cn_list_init(&fetcher->watches);
    enum cn_err err = open_fetcher(fetcher, options->ca_file);
    if (err != CN_OK) {
        cn_fetcher_free(fetcher);
        return err;
    }
    *out = fetcher;
    return CN_OK;
}

void cn_fetcher_free(struct cn_fetcher *fetcher)
{
    if (!fetcher)
        return;
    CN_LIST_EACH_SAFE (it, &fetcher->active)
        free_fetch(CN_CONTAINER(it, struct cn_fetch, link));
    CN_LIST_EACH_SAFE (it, &fetcher->waiting)
        free_fetch(CN_CONTAINER(it, struct cn_fetch, link));
    (void)fetcher->curl.multi_cleanup(fetcher->multi); // takes NULL
    CN_LIST_EACH_SAFE (it, &fetcher->watches)
        free_watch(CN_CONTAINER(it, struct watch, link));
    cn_timer_free(fetcher->timer);
    cn_timer_free(fetcher->vacancy);
    fetcher->curl.global_cleanup();
    free(fetcher->ca_file);
    free(fetcher);
}
