// SPDX-License-Identifier: MIT
// The keys that tokens are verified with now. Sets of keys never change; main puts a new one in the
// old one's place, which lives on until the last verification with it has ended.
#include "chatnode/keyring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "chatnode/clock.h"
#include "chatnode/fetch.h"
#include "chatnode/log.h"
#include "chatnode/metrics_table.h"
#include "chatnode/ref.h"
#include "chatnode/thread.h"

enum {
    FETCH_TIMEOUT_MS = 4000,
    RETRY_FIRST_MS = 1000, // doubles
    RETRY_MAX_MS = 60000,
    ASKED_AGAIN_MS = 60000 // for a key that nobody knows
};

// Never changed after it was made; freed by whoever gives it back last.
struct key_set {
    struct cn_ref ref;
    struct cn_keys *keys; // those of the settings, then the fetched ones
};

struct cn_keyring {
    // Constant after cn_keyring_new.
    struct cn_keyring_options options;
    // Any thread.
    struct cn_mutex lock;    // guards `now`
    struct key_set *now;     // held
    atomic_bool is_fetching; // main writes, as the next two
    atomic_bool has_fetched; // or there is nothing to fetch
    atomic_int_fast64_t began_ms;
    // Main thread.
    struct cn_keys *own;     // of the settings
    struct cn_keys *fetched; // NULL: none yet
    struct cn_fetcher *fetcher;
    struct cn_timer *timer;
    unsigned failures; // since the last success
};

// ---- The set ----

static void release(struct key_set *set)
{
    if (!set || !cn_ref_release(&set->ref))
        return;
    cn_keys_free(set->keys);
    free(set);
}

static struct key_set *hold(struct cn_keyring *keyring)
{
    cn_mutex_lock(&keyring->lock);
    struct key_set *set = keyring->now;
    cn_ref_hold(&set->ref);
    cn_mutex_unlock(&keyring->lock);
    return set;
}

// Makes the set of both kinds the one of now. On an error the old one stays.
static enum cn_err publish(struct cn_keyring *keyring, const struct cn_keys *own,
                           const struct cn_keys *fetched)
{
    struct key_set *set = calloc(1, sizeof(*set));
    if (!set)
        return CN_NOMEM;
    enum cn_err err = cn_keys_join(own, fetched, &set->keys);
    if (err) {
        free(set);
        return err;
    }
    cn_ref_init(&set->ref);
    cn_mutex_lock(&keyring->lock);
    struct key_set *old = keyring->now;
    keyring->now = set;
    cn_mutex_unlock(&keyring->lock);
    size_t before = old ? cn_keys_count(old->keys) : 0;
    cn_metrics_add(CN_M_AUTH_KEYS, (int64_t)cn_keys_count(set->keys) - (int64_t)before);
    release(old);
    return CN_OK;
}

enum cn_token_fault cn_keyring_verify(struct cn_keyring *keyring, struct cn_str token,
                                      const struct cn_token_rules *rules, struct cn_grant **out)
{
    bool has_fetched = atomic_load(&keyring->has_fetched); // before the keys are looked at
    struct key_set *set = hold(keyring);
    enum cn_token_fault fault = cn_token_verify(set->keys, token, rules, out);
    release(set);
    return fault == CN_TOKEN_UNKNOWN_KEY && !has_fetched ? CN_TOKEN_UNAVAILABLE : fault;
}

size_t cn_keyring_count(struct cn_keyring *keyring)
{
    struct key_set *set = hold(keyring);
    size_t count = cn_keys_count(set->keys);
    release(set);
    return count;
}

// ---- Fetching ----

static bool has_url(const struct cn_keyring *keyring)
{
    return keyring->options.url[0] != '\0';
}

// Half to all of a time that doubles, so that nodes do not all come at once.
static int64_t retry_ms(unsigned failures)
{
    int64_t ceiling_ms = RETRY_FIRST_MS;
    for (unsigned i = 1; i < failures && ceiling_ms < RETRY_MAX_MS; i++)
        ceiling_ms *= 2;
    if (ceiling_ms > RETRY_MAX_MS)
        ceiling_ms = RETRY_MAX_MS;
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return ceiling_ms;
    return ceiling_ms / 2 + (int64_t)(random % (uint32_t)(ceiling_ms / 2 + 1));
}

static void fail(struct cn_keyring *keyring, const char *why)
{
    keyring->failures++;
    int64_t wait_ms = retry_ms(keyring->failures);
    if (wait_ms > keyring->options.refresh_ms)
        wait_ms = keyring->options.refresh_ms;
    cn_metrics_add(CN_M_JWKS_FAILED, 1);
    CN_LOG(WARN, "keys.failed", "the keys could not be fetched; the old ones stay",
           CN_F_STR("url", keyring->options.url), CN_F_STR("why", why),
           CN_F_INT("retry_in_ms", wait_ms));
    cn_timer_start(keyring->timer, wait_ms);
}

// Takes the fetched keys.
static void succeed(struct cn_keyring *keyring, struct cn_keys *fetched)
{
    enum cn_err err = publish(keyring, keyring->own, fetched);
    if (err) {
        cn_keys_free(fetched);
        fail(keyring, cn_err_str(err));
        return;
    }
    cn_keys_free(keyring->fetched);
    keyring->fetched = fetched;
    atomic_store(&keyring->has_fetched, true);
    keyring->failures = 0;
    cn_metrics_add(CN_M_JWKS_OK, 1);
    CN_LOG(INFO, "keys.fetched", "the keys were fetched", CN_F_STR("url", keyring->options.url),
           CN_F_INT("keys", cn_keys_count(fetched)));
    cn_timer_start(keyring->timer, keyring->options.refresh_ms);
}

static enum cn_err read_answer(const struct cn_fetch_answer *answer, struct cn_keys **out,
                               const char **why)
{
    *why = answer->why;
    if (answer->err)
        return answer->err;
    *why = "the status is not 200";
    if (answer->status != 200)
        return CN_INVALID;
    *why = "the answer is empty";
    if (answer->body.len == 0)
        return CN_INVALID;
    return cn_keys_parse(answer->body, (struct cn_str){NULL, 0}, out, why);
}

static void on_done(void *arg, const struct cn_fetch_answer *answer)
{
    struct cn_keyring *keyring = arg;
    struct cn_keys *fetched;
    const char *why = "";
    atomic_store(&keyring->is_fetching, false);
    if (read_answer(answer, &fetched, &why))
        fail(keyring, why);
    else
        succeed(keyring, fetched);
    keyring->options.on_fetched(keyring->options.arg);
}

static void fetch(struct cn_keyring *keyring)
{
    if (atomic_load(&keyring->is_fetching))
        return;
    atomic_store(&keyring->began_ms, cn_clock_ms());
    const struct cn_fetch_order order = {.url = keyring->options.url,
                                         .timeout_ms = FETCH_TIMEOUT_MS,
                                         .answer_bytes = CN_KEYS_BYTES_MAX,
                                         .done = on_done,
                                         .arg = keyring};
    enum cn_err err = cn_fetch_start(keyring->fetcher, &order, NULL);
    if (err)
        fail(keyring, cn_err_str(err));
    else
        atomic_store(&keyring->is_fetching, true);
}

static void on_time(void *arg)
{
    fetch(arg);
}

bool cn_keyring_may_refresh(struct cn_keyring *keyring)
{
    return has_url(keyring) && (atomic_load(&keyring->is_fetching) ||
                                cn_clock_ms() - atomic_load(&keyring->began_ms) >= ASKED_AGAIN_MS);
}

bool cn_keyring_refresh(struct cn_keyring *keyring)
{
    if (!cn_keyring_may_refresh(keyring))
        return false;
    fetch(keyring);
    return atomic_load(&keyring->is_fetching);
}

// ---- Life ----

static enum cn_err prepare_fetching(struct cn_keyring *keyring, const char **why)
{
    *why = "out of memory, or libcurl is missing";
    enum cn_err err = cn_timer_new(keyring->options.reactor, on_time, keyring, &keyring->timer);
    if (!err)
        err = cn_fetcher_new(&(struct cn_fetcher_options){.reactor = keyring->options.reactor,
                                                          .at_once = 1,
                                                          .ca_file = keyring->options.ca_file},
                             &keyring->fetcher);
    if (err || cn_fetcher_allows(keyring->fetcher, keyring->options.url))
        return err;
    *why = "auth-jwks-url is neither https:// nor http:// of this machine";
    return CN_INVALID;
}

enum cn_err cn_keyring_new(const struct cn_keyring_options *options, struct cn_str text,
                           struct cn_str secret, struct cn_keyring **out, const char **why)
{
    *why = "out of memory";
    struct cn_keyring *keyring = calloc(1, sizeof(*keyring));
    if (!keyring)
        return CN_NOMEM;
    keyring->options = *options;
    cn_mutex_init(&keyring->lock, CN_RANK_KEYRING);
    enum cn_err err = cn_keyring_replace(keyring, text, secret, why);
    if (!err && has_url(keyring))
        err = prepare_fetching(keyring, why);
    if (err) {
        cn_keyring_free(keyring);
        return err;
    }
    atomic_init(&keyring->has_fetched, !has_url(keyring));
    *out = keyring;
    return CN_OK;
}

void cn_keyring_start(struct cn_keyring *keyring)
{
    if (has_url(keyring))
        fetch(keyring);
}

void cn_keyring_free(struct cn_keyring *keyring)
{
    if (!keyring)
        return;
    cn_fetcher_free(keyring->fetcher);
    cn_timer_free(keyring->timer);
    if (keyring->now)
        cn_metrics_add(CN_M_AUTH_KEYS, -(int64_t)cn_keys_count(keyring->now->keys));
    release(keyring->now);
    cn_keys_free(keyring->own);
    cn_keys_free(keyring->fetched);
    cn_mutex_fini(&keyring->lock);
    free(keyring);
}

enum cn_err cn_keyring_replace(struct cn_keyring *keyring, struct cn_str text, struct cn_str secret,
                               const char **why)
{
    struct cn_keys *own;
    enum cn_err err = cn_keys_parse(text, secret, &own, why);
    if (err)
        return err;
    *why = "more than 64 keys, or no memory for them";
    err = publish(keyring, own, keyring->fetched);
    if (err) {
        cn_keys_free(own);
        return err == CN_FULL ? CN_INVALID : err;
    }
    cn_keys_free(keyring->own);
    keyring->own = own;
    return CN_OK;
}
