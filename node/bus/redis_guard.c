// SPDX-License-Identifier: MIT
// Keeps from hiredis what it asserts that no Redis says: an answer that no command waits for, a
// push that is not shaped like one. And bounds what an answer may announce, since hiredis makes
// room for an array's elements before they come. It is looked at while it is read, where reading
// can still fail: the connection then breaks as with any other bytes that are not the protocol's.
#include <string.h>
#include <strings.h>

#include "redis_private.h"

enum { ELEMENTS_MAX = 65536, PUSH_ELEMENTS = 3 };

#if HIREDIS_MAJOR > 0
typedef size_t element_count;
#else
typedef int element_count;
#endif

static struct cn_redis_guard *guard_of(const redisReadTask *task)
{
    return task->privdata;
}

// No command waits: what comes is a push, if anything has been subscribed to.
static bool is_idle(const struct cn_redis_guard *guard)
{
    return guard->ac->replies.head == NULL;
}

static bool is_subscribed(const struct cn_redis_guard *guard)
{
    return guard->ac->c.flags & REDIS_SUBSCRIBED;
}

static bool is_top(const redisReadTask *task)
{
    return task->parent == NULL;
}

// An element of a push itself, not one further down.
static bool is_of_push(const redisReadTask *task)
{
    return !is_top(task) && is_top(task->parent) && is_idle(guard_of(task));
}

// Nobody asked for it.
static bool is_unasked(const redisReadTask *task)
{
    const struct cn_redis_guard *guard = guard_of(task);
    return is_top(task) && is_idle(guard) && !is_subscribed(guard) &&
           task->type != REDIS_REPLY_ERROR;
}

static void *refuse(const redisReadTask *task)
{
    guard_of(task)->has_refused = true;
    return NULL;
}

// A push is a kind, a channel, and then a message's text, or how many channels there are now.
static bool has_text(const redisReadTask *task)
{
    const redisReply *push = task->parent->obj;
    if (task->idx < PUSH_ELEMENTS - 1)
        return true;
    return push->element[0] && strcasecmp(push->element[0]->str, "message") == 0;
}

static void *make_string(const redisReadTask *task, char *text, size_t len)
{
    if (is_unasked(task) ||
        (is_of_push(task) && (task->type != REDIS_REPLY_STRING || !has_text(task))))
        return refuse(task);
    return guard_of(task)->own->createString(task, text, len);
}

static void *make_array(const redisReadTask *task, element_count count)
{
    bool is_push = is_top(task) && is_idle(guard_of(task));
    if (is_unasked(task) || is_of_push(task) || count > ELEMENTS_MAX ||
        (is_push && count != PUSH_ELEMENTS))
        return refuse(task);
    return guard_of(task)->own->createArray(task, count);
}

static void *make_integer(const redisReadTask *task, long long value)
{
    if (is_unasked(task) || (is_of_push(task) && has_text(task)))
        return refuse(task);
    return guard_of(task)->own->createInteger(task, value);
}

static void *make_nil(const redisReadTask *task)
{
    if (is_unasked(task) || is_of_push(task))
        return refuse(task);
    return guard_of(task)->own->createNil(task);
}

void cn_redis_guard_set(struct cn_redis_guard *guard, redisAsyncContext *ac)
{
    redisReader *reader = ac->c.reader;
    *guard = (struct cn_redis_guard){.ac = ac, .own = reader->fn, .guarded = *reader->fn};
    guard->guarded.createString = make_string;
    guard->guarded.createArray = make_array;
    guard->guarded.createInteger = make_integer;
    guard->guarded.createNil = make_nil;
    reader->fn = &guard->guarded;
    reader->privdata = guard;
}
