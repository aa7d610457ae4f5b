// SPDX-License-Identifier: MIT
// Throttles: token buckets of a session, of its user on this node, and of the node.
#include "chatnode/throttle.h"

#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/quota.h"
#include "chatnode/ratelimit.h"
#include "chatnode/thread.h"
#include "hub_private.h"

enum { BURST_S = 2, IDLE_USERS_MAX = 65536 };

struct cn_throttles {
    const struct cn_config *config; // constant
    struct cn_quotas *users;        // NULL: they are not limited; has locks of its own
    struct cn_mutex lock;           // guards the rest
    struct cn_ratelimit node;
};

struct cn_throttle {
    struct cn_throttles *all;
    struct cn_quota *user; // NULL: users are not limited
    struct own {
        struct cn_ratelimit bytes;
        struct cn_ratelimit joins;
        struct cn_ratelimit messages;
    } own;
    int64_t refused_since_ms;
    int64_t refused;
};

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// ---- Of a node ----

static int64_t message_burst(const struct cn_config *config, int64_t rate)
{
    int64_t burst = config->message_burst ? config->message_burst : rate * BURST_S;
    return at_least(burst, 1) * CN_POINTS;
}

static enum cn_err make_users(struct cn_throttles *throttles)
{
    const struct cn_config *config = throttles->config;
    if (config->user_message_rate == 0)
        return CN_OK;
    const struct cn_quota_terms terms = {.per_s = config->user_message_rate * CN_POINTS,
                                         .burst = message_burst(config, config->user_message_rate),
                                         .idle_max = IDLE_USERS_MAX};
    throttles->users = cn_quotas_new(&terms);
    return throttles->users ? CN_OK : CN_NOMEM;
}

enum cn_err cn_throttles_new(const struct cn_config *config, struct cn_throttles **out)
{
    *out = NULL;
    if (!config->message_rate && !config->byte_rate && !config->join_rate &&
        !config->user_message_rate && !config->node_message_rate)
        return CN_OK;
    struct cn_throttles *throttles = calloc(1, sizeof(*throttles));
    if (!throttles)
        return CN_NOMEM;
    throttles->config = config;
    if (make_users(throttles)) {
        free(throttles);
        return CN_NOMEM;
    }
    cn_mutex_init(&throttles->lock, CN_RANK_THROTTLE);
    int64_t node_rate = config->node_message_rate * CN_POINTS;
    cn_ratelimit_init(&throttles->node, at_least(node_rate * BURST_S, CN_POINTS), node_rate,
                      cn_clock_ms());
    *out = throttles;
    return CN_OK;
}

void cn_throttles_free(struct cn_throttles *throttles)
{
    if (!throttles)
        return;
    cn_quotas_free(throttles->users);
    cn_mutex_fini(&throttles->lock);
    free(throttles);
}

// ---- Of a session ----

static void init_own(struct own *own, const struct cn_config *config, int64_t now_ms)
{
    int64_t bytes = at_least(config->byte_rate * BURST_S, config->max_message_bytes);
    cn_ratelimit_init(&own->bytes, bytes, config->byte_rate, now_ms);
    cn_ratelimit_init(&own->joins, at_least(config->join_rate * BURST_S, 1), config->join_rate,
                      now_ms);
    cn_ratelimit_init(&own->messages, message_burst(config, config->message_rate),
                      config->message_rate * CN_POINTS, now_ms);
}

enum cn_err cn_throttle_new(struct cn_throttles *throttles, struct cn_str user, int64_t now_ms,
                            struct cn_throttle **out)
{
    struct cn_throttle *throttle = calloc(1, sizeof(*throttle));
    if (!throttle)
        return CN_NOMEM;
    int64_t in_ms;
    throttle->all = throttles;
    if (throttles->users && user.ptr &&
        cn_quota_hold(throttles->users, user, 0, now_ms, &throttle->user, &in_ms)) {
        free(throttle);
        return CN_NOMEM; // nothing else can be: any number may hold it, and nothing was taken
    }
    init_own(&throttle->own, throttles->config, now_ms);
    *out = throttle;
    return CN_OK;
}

void cn_throttle_free(struct cn_throttle *throttle, int64_t now_ms)
{
    if (!throttle)
        return;
    if (throttle->user)
        cn_quota_release(throttle->all->users, throttle->user, now_ms);
    free(throttle);
}

// What costs more than the bucket holds costs all that it holds.
static int64_t take(struct cn_ratelimit *limit, int64_t cost, int64_t now_ms)
{
    return cn_ratelimit_take(limit, cost < limit->capacity ? cost : limit->capacity, 0, now_ms);
}

static enum cn_limit take_own(struct own *own, const struct cn_cost *cost, int64_t now_ms,
                              int64_t *in_ms)
{
    if ((*in_ms = take(&own->bytes, cost->bytes, now_ms)))
        return CN_LIMIT_BYTES;
    if ((*in_ms = take(&own->joins, cost->joins, now_ms)))
        return CN_LIMIT_JOINS;
    if ((*in_ms = take(&own->messages, cost->points, now_ms)))
        return CN_LIMIT_MESSAGES;
    return CN_LIMIT_NONE;
}

// The node's comes before the user's, as that one would not get its tokens back.
static enum cn_limit take_shared(struct cn_throttle *throttle, const struct cn_cost *cost,
                                 int64_t now_ms, int64_t *in_ms)
{
    struct cn_throttles *all = throttle->all;
    if (all->node.per_s) {
        cn_mutex_lock(&all->lock);
        *in_ms = take(&all->node, cost->points, now_ms);
        cn_mutex_unlock(&all->lock);
        if (*in_ms)
            return CN_LIMIT_NODE;
    }
    if (throttle->user &&
        (*in_ms = cn_quota_take(all->users, throttle->user, cost->points, now_ms)))
        return CN_LIMIT_USER;
    return CN_LIMIT_NONE;
}

enum cn_limit cn_throttle_take(struct cn_throttle *throttle, const struct cn_cost *cost,
                               int64_t now_ms, int64_t *in_ms)
{
    const struct own before = throttle->own;
    enum cn_limit met = take_own(&throttle->own, cost, now_ms, in_ms);
    if (!met)
        met = take_shared(throttle, cost, now_ms, in_ms);
    if (met)
        throttle->own = before;
    return met;
}

bool cn_throttle_refused(struct cn_throttle *throttle, int64_t now_ms)
{
    int64_t limit = throttle->all->config->flood_limit;
    if (throttle->refused == 0 || now_ms - throttle->refused_since_ms >= CN_FLOOD_WINDOW_MS) {
        throttle->refused = 0;
        throttle->refused_since_ms = now_ms;
    }
    return ++throttle->refused > limit && limit > 0;
}

// ---- The session's answer ----

static void refuse(struct cn_session *session, enum cn_limit met, struct cn_str id, int64_t now_ms,
                   int64_t in_ms)
{
    static const enum cn_metric_row rows[] = {
        [CN_LIMIT_BYTES] = CN_M_LIMITED_BYTES,       [CN_LIMIT_JOINS] = CN_M_LIMITED_JOINS,
        [CN_LIMIT_MESSAGES] = CN_M_LIMITED_MESSAGES, [CN_LIMIT_USER] = CN_M_LIMITED_USER,
        [CN_LIMIT_NODE] = CN_M_LIMITED_NODE,
    };
    cn_metrics_add(rows[met], 1);
    if (met == CN_LIMIT_NODE) { // not this client's fault
        cn_session_problem(session, CN_PROBLEM_OVERLOADED, id);
        return;
    }
    cn_metrics_add(CN_M_PROBLEMS, 1);
    cn_session_answer(session, cn_codec_rate_limited(&session->loop->text, in_ms, id));
    if (cn_throttle_refused(session->throttle, now_ms))
        cn_session_close(session, CN_REASON_FLOODING);
}

bool cn_session_may(struct cn_session *session, const struct cn_cost *cost, struct cn_str id)
{
    struct cn_throttles *throttles = session->loop->hub->throttles;
    if (!throttles)
        return true;
    int64_t now_ms = cn_clock_ms();
    if (!session->throttle &&
        cn_throttle_new(throttles, cn_session_user(session), now_ms, &session->throttle)) {
        cn_session_problem(session, CN_PROBLEM_INTERNAL, id);
        return false;
    }
    int64_t in_ms;
    enum cn_limit met = cn_throttle_take(session->throttle, cost, now_ms, &in_ms);
    if (met)
        refuse(session, met, id, now_ms, in_ms);
    return met == CN_LIMIT_NONE;
}
