// SPDX-License-Identifier: MIT
// What is believed of the texts that come out of Redis. Others may write there too: size, form,
// version and, with keys, the seal are looked at once, before anything else is.
#include <stdio.h>

#include "redis_private.h"

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/log.h"

#define QUIET_MS 30000 // the same fault is not logged again within this time

// What the seals of notices are made for; no channel has this name.
#define NOTICES CN_STR_LITERAL("notices")

// The seal, or that there is none, will do.
static enum cn_seal_fault judge_seal(const struct cn_redis_judge *judge,
                                     const struct cn_seal_subject *subject, struct cn_str seal)
{
    if (!seal.ptr)
        return judge->sealer && !judge->takes_unsealed ? CN_SEAL_FAULT_UNSEALED
                                                       : CN_SEAL_FAULT_NONE;
    if (judge->sealer)
        return cn_seal_check(judge->sealer, subject, seal);
    if (seal.len < 2 || seal.ptr[1] != CN_SEAL_VERSION)
        return CN_SEAL_FAULT_VERSION;
    return seal.len == CN_SEAL_BYTES ? CN_SEAL_FAULT_NONE : CN_SEAL_FAULT_FORM;
}

enum cn_seal_fault cn_redis_judge_entry(const struct cn_redis_judge *judge,
                                        const struct cn_channel_name *channel, struct cn_str *text,
                                        struct cn_pos *pos)
{
    struct cn_seal_subject subject = {'e', cn_channel_name_str(channel), {NULL, 0}};
    struct cn_str entry = *text;
    struct cn_str seal = cn_seal_cut(&entry);
    if (text->len == 0 || entry.len > judge->entry_bytes)
        return CN_SEAL_FAULT_SIZE;
    if (cn_codec_entry_open(entry, judge->entry_bytes, pos, &subject.text) != CN_OK)
        return CN_SEAL_FAULT_FORM;
    enum cn_seal_fault fault = judge_seal(judge, &subject, seal);
    if (fault == CN_SEAL_FAULT_NONE)
        *text = entry;
    return fault;
}

enum cn_seal_fault cn_redis_judge_notice(const struct cn_redis_judge *judge, struct cn_str *text)
{
    struct cn_str notice = *text;
    struct cn_str seal = cn_seal_cut(&notice);
    if (text->len == 0 || notice.len > CN_NOTICE_BYTES_MAX)
        return CN_SEAL_FAULT_SIZE;
    if (notice.len < 2 || notice.ptr[0] != '{' || notice.ptr[notice.len - 1] != '}')
        return CN_SEAL_FAULT_FORM;
    const struct cn_seal_subject subject = {'n', NOTICES, notice};
    enum cn_seal_fault fault = judge_seal(judge, &subject, seal);
    if (fault == CN_SEAL_FAULT_NONE)
        *text = notice;
    return fault;
}

struct cn_redis_judge cn_redis_bus_judge(const struct cn_redis_bus *redis)
{
    return (struct cn_redis_judge){.sealer = redis->base.sealer,
                                   .takes_unsealed = redis->base.options.takes_unsealed,
                                   .entry_bytes = redis->base.options.entry_bytes};
}

bool cn_redis_bus_seal(struct cn_redis_bus *redis, struct cn_publish *publish)
{
    const struct cn_seal_subject subject = {
        'e', cn_channel_name_str(&publish->channel), {publish->body, publish->body_len}};
    if (!redis->base.sealer || publish->seal_len > 0)
        return true;
    if (cn_seal_make(redis->base.sealer, &subject, publish->body + publish->body_len) != CN_OK)
        return false;
    publish->seal_len = CN_SEAL_BYTES;
    return true;
}

bool cn_redis_bus_seal_notice(struct cn_redis_bus *redis, struct cn_notice *notice)
{
    const struct cn_seal_subject subject = {'n', NOTICES, {notice->text, notice->len}};
    if (!redis->base.sealer)
        return true;
    if (cn_seal_make(redis->base.sealer, &subject, notice->text + notice->len) != CN_OK)
        return false;
    notice->len += CN_SEAL_BYTES;
    return true;
}

void cn_redis_bus_drop(struct cn_redis_bus *redis, struct cn_str where, enum cn_seal_fault fault,
                       size_t count)
{
    int64_t now = cn_clock_ms();
    int64_t *logged_ms = &redis->dropped_ms[fault];
    if (count == 0)
        return;
    redis->base.stats.bad_entries += count;
    redis->base.stats.bad[fault] += count;
    if (*logged_ms != 0 && now - *logged_ms < QUIET_MS)
        return;
    *logged_ms = now;
    CN_LOG(WARN, "bus.bad_entry", "dropped what no node has written: somebody else writes there",
           CN_F_STR("reason", cn_seal_fault_word(fault)), CN_F_VIEW("channel", where),
           CN_F_INT("count", count));
}
