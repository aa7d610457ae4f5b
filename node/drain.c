// SPDX-License-Identifier: MIT
// The drain: /readyz says no and, once the balancer has seen it, no more connections are taken;
// those that are here are sent away spread over time; then the end.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "node_private.h"

enum {
    LOOK_EVERY_MS = 25,
    CLOSE_FRAMES_MS = 250,    // for the last close frames to be written
    PAST_THE_SPREAD_MS = 2000 // for slow closes, beyond the deadline of publishes in flight
};

// Main thread.
struct cn_drain {
    struct cn_node *node;
    struct cn_timer *timer;
    int64_t close_ms;       // when the listener closes and sessions are sent away; 0: done
    int64_t deadline_ms;    // the end at the latest
    int64_t empty_since_ms; // 0: somebody waits still
    void (*done)(struct cn_node *node);
};

// ---- A letter to each loop ----

struct away_letter {
    struct cn_letter letter;
    int64_t spread_ms;
};

static void free_away(struct cn_mail *mail)
{
    free(CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct away_letter, letter));
}

static void read_away(struct cn_letter *letter, struct cn_loop *loop)
{
    struct away_letter *away = CN_CONTAINER(letter, struct away_letter, letter);
    cn_loop_send_away(loop, away->spread_ms, CN_REASON_RESTART);
    free(away);
}

static enum cn_err send_away(struct cn_loop *loop, int64_t spread_ms)
{
    struct away_letter *away = malloc(sizeof(*away));
    if (!away)
        return CN_NOMEM;
    *away = (struct away_letter){{{NULL, free_away}, read_away}, spread_ms};
    cn_loop_post_always(loop, &away->letter);
    return CN_OK;
}

// ---- Waiting for the end ----

static bool is_empty(const struct cn_node *node)
{
    return cn_registry_count(cn_hub_registry(node->hub)) == 0 && cn_hub_pending(node->hub) == 0 &&
           cn_edge_publishes(node->edge) == 0;
}

static bool is_over(struct cn_drain *drain, int64_t now_ms)
{
    if (now_ms >= drain->deadline_ms)
        return true;
    if (!is_empty(drain->node)) {
        drain->empty_since_ms = 0;
        return false;
    }
    if (drain->empty_since_ms == 0)
        drain->empty_since_ms = now_ms;
    return now_ms - drain->empty_since_ms >= CLOSE_FRAMES_MS;
}

// The second part: the balancer has turned to others by now.
static enum cn_err send_all_away(struct cn_drain *drain)
{
    struct cn_node *node = drain->node;
    enum cn_err err = CN_OK;
    drain->close_ms = 0;
    cn_edge_stop_accepting(node->edge);
    for (unsigned i = 0; !err && i < cn_hub_loops(node->hub); i++)
        err = send_away(cn_hub_loop(node->hub, i), node->config->drain_ms);
    CN_LOG(INFO, "drain.closing", "no new sessions; those that are here are sent away",
           CN_F_INT("sessions", cn_registry_count(cn_hub_registry(node->hub))),
           CN_F_INT("within_ms", node->config->drain_ms));
    return err;
}

static void look(void *arg)
{
    struct cn_drain *drain = arg;
    int64_t now_ms = cn_clock_ms();
    enum cn_err err = CN_OK;
    if (drain->close_ms && now_ms >= drain->close_ms)
        err = send_all_away(drain);
    if (!err && (drain->close_ms || !is_over(drain, now_ms))) {
        cn_timer_start(drain->timer, LOOK_EVERY_MS);
        return;
    }
    CN_LOG(INFO, "drain.done", "the drain is over",
           CN_F_INT("sessions_left", cn_registry_count(cn_hub_registry(drain->node->hub))));
    drain->done(drain->node);
}

enum cn_err cn_drain_start(struct cn_node *node, void (*done)(struct cn_node *node),
                           struct cn_drain **out)
{
    struct cn_drain *drain = calloc(1, sizeof(*drain));
    if (!drain)
        return CN_NOMEM;
    enum cn_err err = cn_timer_new(node->reactor, look, drain, &drain->timer);
    if (err) {
        free(drain);
        return err;
    }
    const struct cn_config *config = node->config;
    drain->node = node;
    drain->done = done;
    drain->close_ms = cn_clock_ms() + config->drain_delay_ms;
    drain->deadline_ms =
        drain->close_ms + config->drain_ms + config->publish_deadline_ms + PAST_THE_SPREAD_MS;
    cn_hub_set_draining(node->hub);
    CN_LOG(INFO, "drain.started", "not ready any more; connections are taken for a moment still",
           CN_F_INT("sessions", cn_registry_count(cn_hub_registry(node->hub))),
           CN_F_INT("closing_in_ms", config->drain_delay_ms));
    cn_timer_start(drain->timer, 0);
    *out = drain;
    return CN_OK;
}

void cn_drain_free(struct cn_drain *drain)
{
    if (!drain)
        return;
    cn_timer_free(drain->timer);
    free(drain);
}
