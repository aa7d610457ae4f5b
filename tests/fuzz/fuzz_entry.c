// SPDX-License-Identifier: MIT
// Fuzz target: the envelope of an entry as it comes from the bus, which may hold whatever somebody
// wrote into Redis.
#include "fuzz/fuzz.h"

#include "chatnode/codec.h"
#include "chatnode/frame.h"
#include "chatnode/name.h"
#include "chatnode/seal.h"
#include "redis_private.h"

enum { ENTRY_MAX_BYTES = 4096 };

static void check_accepted(struct cn_str text, struct cn_pos pos)
{
    static const char head[] = "{\"pos\":\"";
    char again[CN_POS_TEXT_BYTES];
    size_t len = cn_pos_format(pos, again);
    CN_ASSERT(text.len <= ENTRY_MAX_BYTES && text.len > sizeof(head) - 1 + len);
    CN_ASSERT(memcmp(text.ptr, head, sizeof(head) - 1) == 0);
    CN_ASSERT(memcmp(text.ptr + sizeof(head) - 1, again, len) == 0);
    CN_ASSERT(text.ptr[text.len - 1] == '}');
    CN_ASSERT(cn_name_is_utf8(text));
    for (size_t i = 0; i < text.len; i++)
        CN_ASSERT((unsigned char)text.ptr[i] >= 0x20);
}

static void try_frame(struct cn_str text, struct cn_pos pos)
{
    struct cn_frame *frame = cn_frame_new(pos, text, (struct cn_str){NULL, 0});
    CN_ASSERT(frame);
    CN_ASSERT(cn_str_equal(cn_frame_payload(frame), text));
    cn_frame_release(frame);
}

// As from Redis: with a seal behind it, which a stranger cannot make.
static void try_judges(struct cn_str whole)
{
    static struct cn_sealer *sealer;
    const struct cn_channel_name lobby = cn_channel_name_of(CN_STR_LITERAL("r:lobby"));
    const char *why;
    if (!sealer)
        CN_ASSERT(
            !cn_sealer_new(CN_STR_LITERAL("0123456789abcdef0123456789abcdef"), &sealer, &why));
    const struct cn_redis_judge strict = {sealer, false, ENTRY_MAX_BYTES};
    const struct cn_redis_judge lenient = {NULL, true, ENTRY_MAX_BYTES};
    struct cn_str text = whole;
    struct cn_pos pos;
    if (cn_redis_judge_entry(&lenient, &lobby, &text, &pos) == CN_SEAL_FAULT_NONE)
        check_accepted(text, pos);
    text = whole;
    CN_ASSERT(cn_redis_judge_entry(&strict, &lobby, &text, &pos) != CN_SEAL_FAULT_NONE);
    text = whole;
    CN_ASSERT(cn_redis_judge_notice(&strict, &text) != CN_SEAL_FAULT_NONE);
    text = whole;
    if (cn_redis_judge_notice(&lenient, &text) == CN_SEAL_FAULT_NONE)
        CN_ASSERT(text.ptr == whole.ptr && text.len <= whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cn_str ann = CN_STR_LITERAL("ann"), bob = CN_STR_LITERAL("bob");
    struct cn_str text = {(const char *)data, size};
    struct cn_pos pos;
    try_judges(text);
    if (cn_codec_entry_check(text, ENTRY_MAX_BYTES, &pos))
        return 0;
    check_accepted(text, pos);
    bool one_way = cn_codec_entry_is_between(text, ann, bob);
    CN_ASSERT(one_way == cn_codec_entry_is_between(text, bob, ann));
    try_frame(text, pos);
    return 0;
}
