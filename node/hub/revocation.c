// SPDX-License-Identifier: MIT
// Revocations: the table of what is revoked, which any thread asks and main alone changes, and the
// end of the sessions that it concerns.
#include "chatnode/revocation.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum {
    KEY_BYTES = CN_RULING_SUBJECT_MAX + 1,
    SWEEP_MS = 60000,
    SWEEP_WHEN_FULL_MS = 1000 // a look at all of them for each that comes would cost too much
};

// What is revoked. Guarded by the table's lock; the last two are main's.
struct entry {
    struct cn_hash_node node; // its key is `key`
    struct cn_ruling ruling;
    uint32_t news;       // the reading in which it was last new
    char key[KEY_BYTES]; // one letter for the kind, then the subject
    uint32_t read;       // the reading that last brought it
    struct cn_link lost; // in the table's list while the bus is to be told again
};

struct cn_revocations {
    struct cn_rwlock lock;
    struct cn_hash table; // of struct entry
    int64_t started_s;    // Unix time, of the node; constant
    atomic_bool is_read;  // all that is kept was told once; main writes
    // Main thread.
    uint32_t reading; // how often all that is kept was told, and one more
    bool has_news;    // in the reading under way
    bool owes_look;   // loops could not be told: they are to look at all their sessions
    struct cn_link lost;
    int64_t swept_ms;
};

struct cn_revocations *cn_revocations_new(void)
{
    struct cn_revocations *revocations = calloc(1, sizeof(*revocations));
    if (!revocations)
        return NULL;
    cn_rwlock_init(&revocations->lock, CN_RANK_REVOCATIONS);
    cn_hash_init(&revocations->table);
    cn_list_init(&revocations->lost);
    revocations->started_s = cn_clock_wall_ms() / 1000;
    revocations->reading = 1;
    atomic_init(&revocations->is_read, false);
    return revocations;
}

static void drop(struct cn_revocations *revocations, struct entry *entry)
{
    cn_hash_remove(&revocations->table, &entry->node);
    cn_list_remove(&entry->lost);
    free(entry);
}

void cn_revocations_free(struct cn_revocations *revocations)
{
    if (!revocations)
        return;
    CN_HASH_EACH (node, &revocations->table)
        drop(revocations, CN_CONTAINER(node, struct entry, node));
    cn_hash_fini(&revocations->table);
    cn_rwlock_fini(&revocations->lock);
    free(revocations);
}

// ---- The table ----

static size_t make_key(enum cn_ruling_kind kind, struct cn_str subject, char out[KEY_BYTES])
{
    out[0] = kind == CN_RULING_TOKEN ? 't' : 'u';
    memcpy(out + 1, subject.ptr, subject.len);
    return subject.len + 1;
}

static struct entry *find_locked(const struct cn_revocations *revocations, enum cn_ruling_kind kind,
                                 struct cn_str subject)
{
    char key[KEY_BYTES];
    cn_rwlock_assert_held(&revocations->lock);
    if (subject.len == 0 || subject.len > CN_RULING_SUBJECT_MAX)
        return NULL;
    size_t len = make_key(kind, subject, key);
    struct cn_hash_node *node = cn_hash_find(&revocations->table, (struct cn_str){key, len});
    return node ? CN_CONTAINER(node, struct entry, node) : NULL;
}

static bool concerns_locked(const struct cn_revocations *revocations, const struct cn_grant *grant)
{
    int64_t now_s = cn_clock_wall_ms() / 1000;
    const struct entry *user = find_locked(revocations, CN_RULING_USER, grant->user);
    if (user && user->ruling.until_s > now_s && grant->issued_s <= user->ruling.before_s)
        return true;
    const struct entry *token = find_locked(revocations, CN_RULING_TOKEN, grant->jti);
    return token && token->ruling.until_s > now_s;
}

enum cn_token_fault cn_revocation_judge(struct cn_hub *hub, const struct cn_grant *grant)
{
    struct cn_revocations *revocations = hub->revocations;
    bool is_known = cn_revocation_is_known(hub); // before the table is looked at
    cn_rwlock_read(&revocations->lock);
    bool found = concerns_locked(revocations, grant);
    cn_rwlock_unlock(&revocations->lock);
    if (found)
        return CN_TOKEN_REVOKED;
    return is_known ? CN_TOKEN_NONE : CN_TOKEN_UNAVAILABLE;
}

bool cn_revocation_is_known(const struct cn_hub *hub)
{
    return atomic_load(&hub->revocations->is_read);
}

static enum cn_err insert_locked(struct cn_revocations *revocations, const struct cn_ruling *ruling,
                                 struct entry **out)
{
    if (revocations->table.count >= CN_NOTICES_MAX)
        return CN_FULL;
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return CN_NOMEM;
    entry->ruling = *ruling;
    cn_list_init(&entry->lost);
    size_t len = make_key(ruling->kind, cn_ruling_subject(ruling), entry->key);
    entry->node.key = (struct cn_str){entry->key, len};
    enum cn_err err = cn_hash_insert(&revocations->table, &entry->node);
    if (err)
        free(entry);
    else
        *out = entry;
    return err;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// Puts it in, or makes one that is there as severe; *is_new when that ends more sessions: where one
// was over, tokens were believed again.
static enum cn_err put(struct cn_revocations *revocations, const struct cn_ruling *ruling,
                       bool again, bool *is_new)
{
    enum cn_err err = CN_OK;
    cn_rwlock_write(&revocations->lock);
    struct entry *entry = find_locked(revocations, ruling->kind, cn_ruling_subject(ruling));
    *is_new = !entry || entry->ruling.before_s < ruling->before_s ||
              entry->ruling.until_s <= cn_clock_wall_ms() / 1000;
    if (!entry)
        err = insert_locked(revocations, ruling, &entry);
    if (!err) {
        entry->ruling.before_s = later(entry->ruling.before_s, ruling->before_s);
        entry->ruling.until_s = later(entry->ruling.until_s, ruling->until_s);
        if (again)
            entry->read = revocations->reading;
        if (*is_new)
            entry->news = revocations->reading;
    }
    cn_rwlock_unlock(&revocations->lock);
    return err;
}

void cn_revocation_merge(struct cn_hub *hub, struct cn_ruling *ruling)
{
    struct cn_revocations *revocations = hub->revocations;
    cn_rwlock_read(&revocations->lock);
    const struct entry *entry = find_locked(revocations, ruling->kind, cn_ruling_subject(ruling));
    if (entry) {
        ruling->before_s = later(ruling->before_s, entry->ruling.before_s);
        ruling->until_s = later(ruling->until_s, entry->ruling.until_s);
    }
    cn_rwlock_unlock(&revocations->lock);
}

static void forget_what_is_over(struct cn_revocations *revocations, int64_t now_ms)
{
    revocations->swept_ms = now_ms;
    int64_t now_s = cn_clock_wall_ms() / 1000;
    int64_t gone = 0;
    cn_rwlock_write(&revocations->lock);
    CN_HASH_EACH (node, &revocations->table) {
        struct entry *entry = CN_CONTAINER(node, struct entry, node);
        if (entry->ruling.until_s > now_s)
            continue;
        drop(revocations, entry);
        gone++;
    }
    cn_rwlock_unlock(&revocations->lock);
    cn_metrics_add(CN_M_REVOCATIONS, -gone);
}

// Where all places are taken, what is over gives its place at once.
static void forget_in_time(struct cn_revocations *revocations, int64_t now_ms)
{
    bool is_full = revocations->table.count >= CN_NOTICES_MAX;
    if (now_ms - revocations->swept_ms >= (is_full ? SWEEP_WHEN_FULL_MS : SWEEP_MS))
        forget_what_is_over(revocations, now_ms);
}

// ---- On the loops: the end of sessions ----

// What a loop is told: a ruling, or to look at all its sessions for what is new in a reading.
struct ruling_letter {
    struct cn_letter letter;
    uint32_t reading; // 0: it is about the ruling
    struct cn_ruling ruling;
};

static void free_letter(struct cn_mail *mail)
{
    free(CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct ruling_letter, letter));
}

static enum cn_reason reason_of(const struct cn_ruling *ruling)
{
    return ruling->kind == CN_RULING_SESSIONS ? CN_REASON_KICKED : CN_REASON_REVOKED;
}

// A session without a grant began after the node did, and so after what was revoked before that.
static bool is_subject(const struct cn_session *session, const struct cn_ruling *ruling)
{
    const struct cn_grant *grant = session->grant;
    if (ruling->kind == CN_RULING_TOKEN)
        return grant && cn_str_equal(grant->jti, cn_ruling_subject(ruling));
    if (!cn_str_equal(cn_session_user(session), cn_ruling_subject(ruling)))
        return false;
    if (ruling->kind == CN_RULING_SESSIONS)
        return true;
    return grant ? grant->issued_s <= ruling->before_s
                 : ruling->before_s >= session->loop->hub->revocations->started_s;
}

// Looks at every session of the loop's.
static void end_all_subjects(struct cn_loop *loop, const struct cn_ruling *ruling)
{
    struct cn_link *const lists[] = {&loop->idle, &loop->awaiting};
    for (size_t i = 0; i < CN_COUNT(lists); i++) {
        CN_LIST_EACH_SAFE (link, lists[i]) {
            struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
            if (is_subject(session, ruling))
                cn_session_close(session, reason_of(ruling));
        }
    }
}

// A user has few sessions among many: they are looked up, if there is memory for it.
static void end_sessions_of_user(struct cn_loop *loop, const struct cn_ruling *ruling)
{
    struct cn_registry *registry = loop->hub->registry;
    size_t count = cn_registry_user_sessions(registry, cn_ruling_subject(ruling), NULL, 0);
    uint64_t *ids = count ? calloc(count, sizeof(*ids)) : NULL;
    if (count > 0 && !ids) {
        end_all_subjects(loop, ruling);
        return;
    }
    size_t found = cn_registry_user_sessions(registry, cn_ruling_subject(ruling), ids, count);
    for (size_t i = 0; i < found && i < count; i++) {
        unsigned index;
        if (cn_registry_find_loop(registry, ids[i], &index) || index != loop->index)
            continue;
        struct cn_session *session = cn_session_find(loop, ids[i]);
        if (session && is_subject(session, ruling))
            cn_session_close(session, reason_of(ruling));
    }
    free(ids);
}

// In open mode only what is new ends a session: who was sent away before may be here again.
static bool is_revoked(struct cn_session *session, uint32_t reading)
{
    struct cn_hub *hub = session->loop->hub;
    struct cn_revocations *revocations = hub->revocations;
    if (session->grant)
        return cn_revocation_judge(hub, session->grant) == CN_TOKEN_REVOKED;
    cn_rwlock_read(&revocations->lock);
    const struct entry *entry = find_locked(revocations, CN_RULING_USER, cn_session_user(session));
    bool found = entry && entry->news == reading && is_subject(session, &entry->ruling);
    cn_rwlock_unlock(&revocations->lock);
    return found;
}

static void review(struct cn_link *list, uint32_t reading)
{
    CN_LIST_EACH_SAFE (link, list) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        if (is_revoked(session, reading))
            cn_session_close(session, CN_REASON_REVOKED);
    }
}

static void read_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    const struct ruling_letter *letter = CN_CONTAINER(mail, struct ruling_letter, letter);
    if (letter->reading) {
        review(&loop->idle, letter->reading);
        review(&loop->awaiting, letter->reading);
    } else if (letter->ruling.kind == CN_RULING_TOKEN) {
        end_all_subjects(loop, &letter->ruling);
    } else {
        end_sessions_of_user(loop, &letter->ruling);
    }
    free_letter(&mail->mail);
}

// ---- On main: what the bus tells ----

// One a loop and ruling, or a loop and reading: bounded by what the bus brings.
static void tell_loops(struct cn_hub *hub, const struct cn_ruling *ruling, uint32_t reading)
{
    for (unsigned i = 0; i < hub->loop_count; i++) {
        struct ruling_letter *letter = calloc(1, sizeof(*letter));
        if (!letter) {
            CN_LOG(ERROR, "revocation.nomem", "no memory to end revoked sessions; tried again");
            hub->revocations->owes_look = true;
            return;
        }
        letter->letter = (struct cn_letter){{NULL, free_letter}, read_letter};
        letter->reading = reading;
        if (ruling)
            letter->ruling = *ruling;
        cn_loop_post_always(hub->loops[i], &letter->letter);
    }
}

static void log_ruling(const struct cn_ruling *ruling)
{
    CN_LOG(INFO, "revocation.heard", "sessions are ended, tokens believed no more",
           CN_F_STR("kind", cn_ruling_word(ruling->kind)),
           CN_F_VIEW("subject", cn_ruling_subject(ruling)), CN_F_INT("before", ruling->before_s),
           CN_F_INT("until", ruling->until_s));
}

static enum cn_err take(struct cn_hub *hub, const struct cn_ruling *ruling, bool again)
{
    struct cn_revocations *revocations = hub->revocations;
    forget_in_time(revocations, cn_clock_ms());
    size_t before = revocations->table.count;
    bool is_new;
    enum cn_err err = put(revocations, ruling, again, &is_new);
    cn_metrics_add(CN_M_REVOCATIONS, (int64_t)(revocations->table.count - before));
    if (err)
        CN_LOG(ERROR, "revocation.lost",
               "a revocation finds no room here: it ends sessions, no more",
               CN_F_STR("error", cn_err_str(err)));
    if (is_new && again && !err) {
        revocations->has_news = true;
    } else if (is_new) {
        log_ruling(ruling);
        tell_loops(hub, ruling, 0);
    }
    return err;
}

enum cn_err cn_revocation_take(struct cn_hub *hub, const struct cn_ruling *ruling)
{
    return take(hub, ruling, false);
}

void cn_revocation_on_notice(void *arg, struct cn_str text, bool again)
{
    struct cn_hub *hub = arg;
    struct cn_ruling ruling;
    if (cn_ruling_parse(text, &ruling)) {
        cn_metrics_add(CN_M_NOTICES_BAD, 1);
        return;
    }
    cn_metrics_add(CN_M_NOTICES, 1);
    if (ruling.until_s <= cn_clock_wall_ms() / 1000)
        return;
    if (ruling.kind != CN_RULING_SESSIONS) {
        (void)take(hub, &ruling, again); // it has said so
    } else if (!again) {
        log_ruling(&ruling);
        tell_loops(hub, &ruling, 0);
    }
}

void cn_revocation_sweep(struct cn_hub *hub, int64_t now_ms)
{
    struct cn_revocations *revocations = hub->revocations;
    forget_in_time(revocations, now_ms);
    if (!revocations->owes_look)
        return;
    revocations->owes_look = false;
    tell_loops(hub, NULL, revocations->reading);
}

// ---- What the bus has lost is told it again ----

void cn_revocation_notify(struct cn_hub *hub, const struct cn_ruling *ruling,
                          void (*done)(void *arg, enum cn_err err), void *arg)
{
    char text[CN_RULING_TEXT_BYTES];
    size_t len = cn_ruling_format(ruling, text);
    int64_t until_ms = ruling->kind == CN_RULING_SESSIONS ? 0 : ruling->until_s * 1000;
    cn_bus_notify(hub->bus, (struct cn_str){text, len}, until_ms, done, arg);
}

// One after the other: the answer to one sends the next. After a failure the next reading shows
// what is still missing.
static void on_restored(void *arg, enum cn_err err)
{
    struct cn_hub *hub = arg;
    struct cn_link *link = err ? NULL : cn_list_pop_front(&hub->revocations->lost);
    if (!link)
        return;
    const struct entry *entry = CN_CONTAINER(link, struct entry, lost);
    CN_LOG(WARN, "revocation.restored", "the bus had lost a revocation; it is told again",
           CN_F_STR("kind", cn_ruling_word(entry->ruling.kind)),
           CN_F_VIEW("subject", cn_ruling_subject(&entry->ruling)));
    cn_revocation_notify(hub, &entry->ruling, on_restored, hub);
}

// Those that the reading did not bring, and that are not over.
static void collect_lost(struct cn_revocations *revocations)
{
    int64_t now_s = cn_clock_wall_ms() / 1000;
    cn_rwlock_read(&revocations->lock);
    CN_HASH_EACH (node, &revocations->table) {
        struct entry *entry = CN_CONTAINER(node, struct entry, node);
        cn_list_remove(&entry->lost);
        if (entry->read != revocations->reading && entry->ruling.until_s > now_s)
            cn_list_push_back(&revocations->lost, &entry->lost);
    }
    cn_rwlock_unlock(&revocations->lock);
}

void cn_revocation_on_noticed(void *arg)
{
    struct cn_hub *hub = arg;
    struct cn_revocations *revocations = hub->revocations;
    collect_lost(revocations);
    if (revocations->has_news)
        tell_loops(hub, NULL, revocations->reading);
    revocations->has_news = false;
    revocations->reading++;
    atomic_store(&revocations->is_read, true);
    on_restored(hub, CN_OK);
}

// ---- What operators see ----

static enum cn_err list_entry(const struct entry *entry, bool first, struct cn_buf *out)
{
    const struct cn_ruling *ruling = &entry->ruling;
    enum cn_err err =
        cn_buf_printf(out, "%s{\"%s\":", first ? "" : ",", cn_ruling_word(ruling->kind));
    if (!err)
        err = cn_codec_quote(out, cn_ruling_subject(ruling));
    if (!err && ruling->kind == CN_RULING_USER)
        err = cn_buf_printf(out, ",\"before\":%lld", (long long)ruling->before_s);
    return err ? err : cn_buf_printf(out, ",\"until\":%lld}", (long long)ruling->until_s);
}

enum cn_err cn_revocation_list(struct cn_hub *hub, struct cn_buf *out)
{
    struct cn_revocations *revocations = hub->revocations;
    int64_t now_s = cn_clock_wall_ms() / 1000;
    enum cn_err err = cn_buf_printf(out, "{\"revocations\":[");
    bool first = true;
    cn_rwlock_read(&revocations->lock);
    CN_HASH_EACH (node, &revocations->table) {
        const struct entry *entry = CN_CONTAINER(node, struct entry, node);
        if (err || entry->ruling.until_s <= now_s)
            continue;
        err = list_entry(entry, first, out);
        first = false;
    }
    cn_rwlock_unlock(&revocations->lock);
    return err ? err : cn_buf_printf(out, "]}\n");
}
