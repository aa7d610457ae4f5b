// SPDX-License-Identifier: MIT
// A feed's shelf: the pages of its log that members share. While a read is under way, others who
// need the same page wait for it; for a moment after it has come it serves who comes next.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "hub_private.h"

enum {
    PAGE_ENTRIES = 64,
    NEWEST_ENTRIES = 100,
    READS_AT_ONCE = 16, // of one feed; more members wait in its queue
    // Pages kept by one loop, for all its feeds; the longest unused go first.
    KEPT_PAGES = 64,
    KEPT_BYTES = 4 << 20,
    KEPT_MS = 2000 // since somebody last needed it
};

// One read that is shared: under way, or here.
struct shelved {
    struct cn_link of_feed; // in feed->shelf
    struct cn_link kept;    // in the loop's list, once it is here
    struct cn_link waiting; // of struct cn_recovery, while it is under way
    enum cn_read_kind kind;
    struct cn_pos from;
    int token;
    bool old;                  // under way since before the channel began anew
    struct cn_page_copy *page; // a reference; NULL: under way
    int64_t used_ms;
};

// ---- Life ----

static void free_shelved(struct cn_loop *loop, struct shelved *shelved)
{
    if (shelved->page) {
        loop->kept_pages--;
        loop->kept_bytes -= shelved->page->bytes;
        cn_metrics_add(CN_M_SHELF_BYTES, -(int64_t)shelved->page->bytes);
        cn_page_release(shelved->page);
    }
    cn_list_remove(&shelved->of_feed);
    cn_list_remove(&shelved->kept);
    free(shelved);
}

static struct shelved *longest_unused(const struct cn_loop *loop)
{
    return CN_CONTAINER(loop->kept.next, struct shelved, kept);
}

static void use(struct cn_loop *loop, struct shelved *shelved)
{
    shelved->used_ms = cn_clock_ms();
    cn_list_remove(&shelved->kept);
    cn_list_push_back(&loop->kept, &shelved->kept);
}

static void keep(struct cn_loop *loop, struct shelved *shelved, struct cn_page_copy *page)
{
    shelved->page = cn_page_hold(page);
    loop->kept_pages++;
    loop->kept_bytes += page->bytes;
    cn_metrics_add(CN_M_SHELF_BYTES, (int64_t)page->bytes);
    use(loop, shelved);
    while (loop->kept_pages > KEPT_PAGES || loop->kept_bytes > KEPT_BYTES)
        free_shelved(loop, longest_unused(loop));
}

void cn_shelf_sweep(struct cn_loop *loop, int64_t now_ms)
{
    while (!cn_list_is_empty(&loop->kept) && longest_unused(loop)->used_ms + KEPT_MS <= now_ms)
        free_shelved(loop, longest_unused(loop));
}

void cn_shelf_reset(struct cn_loop *loop, struct cn_feed *feed)
{
    CN_LIST_EACH_SAFE (link, &feed->shelf) {
        struct shelved *shelved = CN_CONTAINER(link, struct shelved, of_feed);
        if (shelved->page)
            free_shelved(loop, shelved);
        else
            shelved->old = true;
    }
}

void cn_shelf_clear(struct cn_loop *loop, struct cn_feed *feed)
{
    CN_ASSERT(feed->count == 0 && cn_list_is_empty(&feed->queue));
    CN_LIST_EACH_SAFE (link, &feed->shelf)
        free_shelved(loop, CN_CONTAINER(link, struct shelved, of_feed));
    feed->reads = 0;
}

// ---- Sharing ----

// True when the page, which is here, brings the member further, exactly; a page of the newest must
// also reach up to the ring.
static bool serves(const struct cn_feed *feed, const struct shelved *shelved,
                   const struct cn_want *want, size_t *at)
{
    uint64_t ordinal;
    *at = 0;
    if (want->kind == CN_READ_NEWEST)
        return shelved->kind == CN_READ_NEWEST &&
               !cn_ring_from(&feed->ring, shelved->page->tail, &ordinal);
    return cn_page_after(shelved->page, want->from, at) && *at < shelved->page->count;
}

// True when the page, which is under way, is the one that is needed, or may be expected to hold
// what is: within a generation the entries are numbered without a hole.
static bool will_do(const struct shelved *shelved, const struct cn_want *want)
{
    if (shelved->old || shelved->kind != want->kind)
        return false;
    if (want->kind == CN_READ_NEWEST || cn_pos_compare(shelved->from, want->from) == 0)
        return true;
    return !want->alone && shelved->from.gen == want->from.gen &&
           want->from.seq > shelved->from.seq && want->from.seq - shelved->from.seq < PAGE_ENTRIES;
}

static struct shelved *find_here(const struct cn_feed *feed, const struct cn_want *want, size_t *at)
{
    CN_LIST_EACH (link, &feed->shelf) {
        struct shelved *shelved = CN_CONTAINER(link, struct shelved, of_feed);
        if (shelved->page && serves(feed, shelved, want, at))
            return shelved;
    }
    return NULL;
}

static struct shelved *find_under_way(const struct cn_feed *feed, const struct cn_want *want)
{
    CN_LIST_EACH (link, &feed->shelf) {
        struct shelved *shelved = CN_CONTAINER(link, struct shelved, of_feed);
        if (!shelved->page && will_do(shelved, want))
            return shelved;
    }
    return NULL;
}

// ---- Reading ----

static enum cn_err read_log(struct cn_member *member, const struct cn_want *want,
                            struct cn_link *waiting)
{
    struct cn_session *session = member->session;
    struct cn_loop *loop = session->loop;
    // No session may keep main busy alone, whatever it joins and leaves.
    if (session->in_flight >= loop->hub->config->max_in_flight)
        return CN_FULL;
    struct shelved *shelved = calloc(1, sizeof(*shelved));
    if (!shelved)
        return CN_NOMEM;
    loop->last_token = loop->last_token == INT32_MAX ? 1 : loop->last_token + 1;
    const struct cn_read_order order = {
        .channel = cn_feed_name(member->feed),
        .kind = want->kind,
        .from = want->from,
        .limit = want->kind == CN_READ_AFTER ? PAGE_ENTRIES : NEWEST_ENTRIES,
        .token = loop->last_token,
    };
    enum cn_err err = cn_read_send(session, &order);
    if (err) {
        free(shelved);
        return err;
    }
    *shelved = (struct shelved){.kind = order.kind, .from = order.from, .token = order.token};
    cn_list_init(&shelved->waiting);
    cn_list_push_back(&shelved->waiting, waiting);
    cn_list_push_front(&member->feed->shelf, &shelved->of_feed);
    member->feed->reads++;
    return CN_OK;
}

enum cn_err cn_shelf_get(struct cn_member *member, const struct cn_want *want,
                         struct cn_link *waiting, struct cn_page_copy **page, size_t *at)
{
    struct cn_feed *feed = member->feed;
    *page = NULL;
    struct shelved *shelved = find_here(feed, want, at);
    if (shelved) {
        use(member->session->loop, shelved);
        *page = cn_page_hold(shelved->page);
        cn_metrics_add(CN_M_READS_SHARED, 1);
        return CN_OK;
    }
    shelved = find_under_way(feed, want);
    if (shelved) {
        cn_list_push_back(&shelved->waiting, waiting);
        cn_metrics_add(CN_M_READS_SHARED, 1);
        return CN_OK;
    }
    if (feed->reads < READS_AT_ONCE)
        return read_log(member, want, waiting);
    cn_list_push_back(&feed->queue, waiting);
    return CN_OK;
}

static struct shelved *find_token(const struct cn_feed *feed, int token)
{
    CN_LIST_EACH (link, &feed->shelf) {
        struct shelved *shelved = CN_CONTAINER(link, struct shelved, of_feed);
        if (shelved->token == token)
            return shelved;
    }
    return NULL;
}

static void serve_queue(struct cn_feed *feed)
{
    struct cn_link *link;
    while (feed->reads < READS_AT_ONCE && (link = cn_list_pop_front(&feed->queue)))
        cn_recovery_again(link);
}

// Whoever gets the page may leave, or ask for more: the lists are looked at anew after each.
void cn_shelf_on_page(struct cn_loop *loop, struct cn_page_copy *page)
{
    struct cn_feed *feed = cn_feed_find(loop, &page->channel);
    struct shelved *shelved = feed ? find_token(feed, page->token) : NULL;
    if (!shelved)
        return;
    struct cn_link waiting;
    struct cn_link *link;
    cn_list_init(&waiting);
    while ((link = cn_list_pop_front(&shelved->waiting)))
        cn_list_push_back(&waiting, link);
    feed->reads--;
    if (page->err || page->count == 0 || shelved->old)
        free_shelved(loop, shelved);
    else
        keep(loop, shelved, page);
    while ((link = cn_list_pop_front(&waiting)))
        cn_recovery_on_page(link, page);
    serve_queue(feed);
}
