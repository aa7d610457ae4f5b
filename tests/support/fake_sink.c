// SPDX-License-Identifier: MIT
// A sink for tests: takes a write apart into its frames and keeps them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/fake_sink.h"

#include "chatnode/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void keep(struct fake_sink *sink, int opcode, const unsigned char *payload, size_t len)
{
    if (sink->count == sink->cap) {
        sink->cap = sink->cap ? sink->cap * 2 : 8;
        sink->frames = realloc(sink->frames, sink->cap * sizeof(*sink->frames));
        assert_non_null(sink->frames);
    }
    char *text = malloc(len + 1);
    assert_non_null(text);
    memcpy(text, payload, len);
    text[len] = '\0';
    sink->frames[sink->count++] = (struct fake_frame){opcode, sink->writes, text, len};
}

// The length of a final, unmasked frame's header and payload (RFC 6455 section 5.2).
static size_t measure(const unsigned char *bytes, size_t len, size_t *header)
{
    assert_true(len >= 2);
    assert_true(bytes[0] & 0x80);
    assert_false(bytes[0] & 0x70);
    assert_false(bytes[1] & 0x80);
    size_t more = bytes[1] == 126 ? 2 : bytes[1] == 127 ? 8 : 0;
    size_t payload = more ? 0 : bytes[1];
    assert_true(len >= 2 + more);
    for (size_t i = 0; i < more; i++)
        payload = payload << 8 | bytes[2 + i];
    *header = 2 + more;
    return payload;
}

static bool sink_write(struct cn_sink *base, const unsigned char *bytes, size_t len)
{
    struct fake_sink *sink = CN_CONTAINER(base, struct fake_sink, sink);
    assert_false(sink->full);
    assert_false(sink->closed);
    assert_true(len > 0);
    sink->writes++;
    sink->bytes += len;
    if (sink->clock_us)
        *sink->clock_us += sink->cost_us;
    if (len > sink->largest_write)
        sink->largest_write = len;
    size_t frames = 0;
    for (size_t at = 0; at < len; frames++) {
        size_t header;
        size_t payload = measure(bytes + at, len - at, &header);
        assert_true(payload <= len - at - header);
        keep(sink, bytes[at] & 0x0f, bytes + at + header, payload);
        at += header + payload;
    }
    // The contract: cut at a frame's end unless one frame alone is larger.
    assert_true(len <= CN_SINK_BYTES || frames == 1);
    if (sink->writes_left > 0)
        sink->writes_left--;
    sink->full = sink->writes_left == 0;
    return !sink->full;
}

static void sink_close(struct cn_sink *base, enum cn_reason reason)
{
    struct fake_sink *sink = CN_CONTAINER(base, struct fake_sink, sink);
    assert_false(sink->closed);
    sink->closed = true;
    sink->reason = reason;
}

void fake_sink_init(struct fake_sink *sink)
{
    static const struct cn_sink_ops ops = {.write = sink_write, .close = sink_close};
    *sink = (struct fake_sink){.sink = {.ops = &ops}, .writes_left = -1};
}

void fake_sink_fini(struct fake_sink *sink)
{
    for (size_t i = 0; i < sink->count; i++)
        free(sink->frames[i].text);
    free(sink->frames);
    *sink = (struct fake_sink){0};
}

void fake_sink_limit(struct fake_sink *sink, int64_t writes)
{
    // A socket is found to be full by the write that fills it.
    sink->writes_left = writes > 0 ? writes : 1;
}

void fake_sink_drain(struct fake_sink *sink)
{
    sink->full = false;
    sink->writes_left = -1;
}

const char *fake_sink_next(struct fake_sink *sink)
{
    while (sink->next < sink->count) {
        const struct fake_frame *frame = &sink->frames[sink->next++];
        if (frame->opcode == 1)
            return frame->text;
    }
    return NULL;
}

void fake_sink_skip(struct fake_sink *sink)
{
    sink->next = sink->count;
}

size_t fake_sink_count(const struct fake_sink *sink, int opcode)
{
    size_t count = 0;
    for (size_t i = 0; i < sink->count; i++)
        count += sink->frames[i].opcode == opcode;
    return count;
}

// ---- JSON ----

bool frame_has(const char *text, const char *key, const char *json)
{
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "\"%s\":%s", key, json);
    return text && strstr(text, wanted) != NULL;
}

bool frame_is(const char *text, const char *type)
{
    char json[64];
    snprintf(json, sizeof(json), "\"%s\"", type);
    return frame_has(text, "type", json);
}

const char *frame_text(const char *text, const char *key)
{
    static char value[512];
    char head[80];
    snprintf(head, sizeof(head), "\"%s\":\"", key);
    assert_non_null(text);
    const char *at = strstr(text, head);
    if (!at)
        fail_msg("no \"%s\" in %s", key, text);
    at += strlen(head);
    size_t len = strcspn(at, "\"");
    assert_true(len < sizeof(value));
    memcpy(value, at, len);
    value[len] = '\0';
    return value;
}
