// SPDX-License-Identifier: MIT
// The first words on a connection: log in, and see whether a Redis that will do is at the other
// end.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#define LEAST_MAJOR 7

static void fail(struct cn_redis_greeting *greeting, const char *what, const redisReply *reply)
{
    char why[200];
    enum cn_bus_cause cause = cn_redis_reply_cause(reply);
    snprintf(why, sizeof(why), "%s (%.*s)", what, (int)(reply->len < 120 ? reply->len : 120),
             reply->str ? reply->str : "");
    cn_redis_link_fail(greeting->link, cause, why);
}

static bool begins(const redisReply *reply, const char *text)
{
    size_t len = strlen(text);
    return reply->len >= len && memcmp(reply->str, text, len) == 0;
}

// The answer to whatever comes first when the server has no room for one more connection.
static bool is_crowded(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && begins(reply, "ERR max number of clients");
}

// True when there is an answer that is no error; otherwise the link has failed for it.
static bool accept_reply(struct cn_redis_greeting *greeting, const redisReply *reply,
                         const char *what)
{
    if (reply == NULL)
        return false;
    if (reply->type != REDIS_REPLY_ERROR)
        return true;
    if (is_crowded(reply))
        what = "Redis takes no more connections";
    else if (begins(reply, "NOAUTH"))
        what = "Redis wants a password, put it into redis-url";
    fail(greeting, what, reply);
    return false;
}

static void on_auth(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    (void)accept_reply(arg, reply, "Redis refuses the user or the password of redis-url");
}

static void on_select(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    (void)accept_reply(arg, reply, "Redis refuses the database of redis-url");
}

// The name is for people who look at CLIENT LIST: that it may be refused does not matter.
static void on_name(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    if (reply && is_crowded(reply))
        (void)accept_reply(arg, reply, "");
}

static void on_server(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    struct cn_redis_greeting *greeting = arg;
    if (!accept_reply(greeting, reply, "Redis refuses INFO"))
        return;
    if (!cn_redis_reply_info(reply, "redis_version", greeting->version,
                             sizeof(greeting->version)) ||
        !cn_redis_reply_info(reply, "run_id", greeting->run_id, sizeof(greeting->run_id))) {
        cn_redis_link_fail(greeting->link, CN_CAUSE_STRANGE,
                           "what answers is not Redis: INFO shows no version");
        return;
    }
    if (strtol(greeting->version, NULL, 10) < LEAST_MAJOR) {
        char why[120];
        snprintf(why, sizeof(why), "Redis is too old: it is %s, 7.0 is needed", greeting->version);
        cn_redis_link_condemn(greeting->link, why);
    }
}

static void on_replication(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    struct cn_redis_greeting *greeting = arg;
    char role[16];
    if (!accept_reply(greeting, reply, "Redis refuses INFO"))
        return;
    if (!cn_redis_reply_info(reply, "role", role, sizeof(role)) ||
        !cn_redis_reply_info(reply, "master_replid", greeting->lineage, sizeof(greeting->lineage)))
        cn_redis_link_fail(greeting->link, CN_CAUSE_STRANGE,
                           "what answers is not Redis: INFO shows no role");
    else if (strcmp(role, "master") != 0)
        cn_redis_link_fail(greeting->link, CN_CAUSE_REPLICA,
                           "this Redis is a replica; redis-url must name the master");
    else
        cn_redis_link_greeted(greeting->link);
}

static bool say(struct cn_redis_greeting *greeting, redisCallbackFn *fn, size_t count,
                const struct cn_str *args)
{
    return cn_redis_link_send(greeting->link, fn, greeting, count, args);
}

static bool say_auth(struct cn_redis_greeting *greeting)
{
    const struct cn_redis_url *url = greeting->url;
    const struct cn_str password = cn_str_of(url->password);
    if (url->user[0] != '\0')
        return say(greeting, on_auth, 3,
                   (struct cn_str[]){CN_STR_LITERAL("AUTH"), cn_str_of(url->user), password});
    return password.len == 0 ||
           say(greeting, on_auth, 2, (struct cn_str[]){CN_STR_LITERAL("AUTH"), password});
}

static bool say_select(struct cn_redis_greeting *greeting)
{
    char db[16];
    snprintf(db, sizeof(db), "%d", greeting->url->db);
    return greeting->url->db == 0 ||
           say(greeting, on_select, 2, (struct cn_str[]){CN_STR_LITERAL("SELECT"), cn_str_of(db)});
}

static bool say_name(struct cn_redis_greeting *greeting)
{
    return say(greeting, on_name, 3,
               (struct cn_str[]){CN_STR_LITERAL("CLIENT"), CN_STR_LITERAL("SETNAME"),
                                 cn_str_of(greeting->name)});
}

static bool say_info(struct cn_redis_greeting *greeting, redisCallbackFn *fn, const char *section)
{
    return say(greeting, fn, 2, (struct cn_str[]){CN_STR_LITERAL("INFO"), cn_str_of(section)});
}

void cn_redis_greet(struct cn_redis_greeting *greeting)
{
    bool sent = say_auth(greeting) && say_select(greeting) && say_name(greeting) &&
                say_info(greeting, on_server, "server") &&
                say_info(greeting, on_replication, "replication");
    if (!sent)
        cn_redis_link_fail(greeting->link, CN_CAUSE_MEMORY, "out of memory");
}
