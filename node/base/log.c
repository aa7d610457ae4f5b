// SPDX-License-Identifier: MIT
// The log: each line is built on the stack and leaves in one write(2). Whatever a peer sent is
// escaped, so that it can neither end a line nor steer a terminal.
#include "chatnode/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chatnode/clock.h"

// The tail is kept free for what ends a line that was cut.
enum { LINE_BYTES = 8192, TAIL_BYTES = 64, BODY_BYTES = LINE_BYTES - TAIL_BYTES, NODE_BYTES = 128 };

// The process's log. `node` is written before threads start; the rest may change at any time.
static struct {
    atomic_int fd;
    atomic_int level;
    atomic_bool json;
    atomic_bool colour;
    _Atomic uint64_t lost;
    char node[NODE_BYTES];
} state = {.fd = STDERR_FILENO, .level = CN_LOG_INFO};

static const struct {
    const char *name;
    const char *label; // five wide
    const char *colour;
} levels[] = {
    [CN_LOG_ERROR] = {"error", "ERROR", "\033[31m"},
    [CN_LOG_WARN] = {"warn", "WARN ", "\033[33m"},
    [CN_LOG_INFO] = {"info", "INFO ", "\033[32m"},
    [CN_LOG_DEBUG] = {"debug", "DEBUG", "\033[90m"},
};

struct line {
    char bytes[LINE_BYTES];
    size_t len;
    bool cut; // something did not fit: nothing more goes in but the tail
};

static void put(struct line *line, const char *bytes, size_t len)
{
    if (line->cut || line->len + len > BODY_BYTES) {
        line->cut = true;
        return;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

// Puts what ends a value or the line; there is always room for it.
static void put_tail(struct line *line, const char *text)
{
    size_t len = strlen(text);
    CN_ASSERT(line->len + len <= LINE_BYTES);
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

static void put_number(struct line *line, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    put_text(line, text);
}

static size_t utf8_length(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if ((lead & 0xF0) == 0xE0)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

// Reads one code point (RFC 3629 section 4); its length in bytes, 0 when it is malformed.
static size_t utf8_decode(struct cn_str text, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t len = utf8_length(bytes[0]);
    if (len == 0 || len > text.len)
        return 0;
    uint32_t value = len == 1 ? bytes[0] : bytes[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3Fu);
    }
    if (value < least[len] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return len;
}

// Control characters, line separators, and what turns the direction of writing.
static bool is_hidden(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0) ||
           (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

// Puts the first character of `text`, escaped where it must be; the bytes it took.
static size_t put_char(struct line *line, struct cn_str text)
{
    char escaped[8];
    uint32_t point = 0;
    size_t len = utf8_decode(text, &point);
    if (len == 0) {
        put_text(line, "\xEF\xBF\xBD");
        return 1;
    }
    if (is_hidden(point)) {
        (void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)point & 0xFFFF);
        put_text(line, escaped);
    } else if (point == '"' || point == '\\') {
        put(line, (char[]){'\\', (char)point}, 2);
    } else {
        put(line, text.ptr, len);
    }
    return len;
}

static void put_escaped(struct line *line, struct cn_str text)
{
    for (size_t at = 0; at < text.len && !line->cut;)
        at += put_char(line, (struct cn_str){text.ptr + at, text.len - at});
}

// Once the opening quote is in, the closing one follows, cut or not.
static void put_quoted(struct line *line, struct cn_str text)
{
    put_text(line, "\"");
    if (line->cut)
        return;
    put_escaped(line, text);
    put_tail(line, "\"");
}

static bool needs_quotes(struct cn_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte <= ' ' || byte >= 0x7F || byte == '"' || byte == '\\' || byte == '=')
            return true;
    }
    return text.len == 0;
}

static void put_value(struct line *line, const struct cn_log_field *field, bool json)
{
    if (field->text.ptr == NULL)
        put_number(line, field->number);
    else if (json || needs_quotes(field->text))
        put_quoted(line, field->text);
    else
        put(line, field->text.ptr, field->text.len);
}

// Puts `,"key":value` or ` key=value`. A field of which no part of a quoted value fits is left out.
static void put_field(struct line *line, const struct cn_log_field *field, bool json)
{
    size_t start = line->len;
    put_text(line, json ? ",\"" : " ");
    put_text(line, field->key);
    put_text(line, json ? "\":" : "=");
    size_t value = line->len;
    put_value(line, field, json);
    if (line->cut && line->len == value)
        line->len = start;
}

static void begin_json(struct line *line, enum cn_log_level level, const char *event,
                       const char *message)
{
    char stamp[64];
    int64_t now_ms = cn_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(stamp, sizeof(stamp), "{\"ts\":\"%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(stamp + len, sizeof(stamp) - len, ".%03dZ\"", (int)(now_ms % 1000));
    put_text(line, stamp);
    put_field(line, &CN_F_STR("level", levels[level].name), true);
    if (state.node[0] != '\0')
        put_field(line, &CN_F_STR("node", state.node), true);
    put_field(line, &CN_F_STR("event", event), true);
    put_field(line, &CN_F_STR("msg", message), true);
}

// For people: their own time of day, no date.
static void begin_text(struct line *line, enum cn_log_level level, const char *message)
{
    char stamp[32];
    int64_t now_ms = cn_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm local;
    localtime_r(&seconds, &local);
    size_t len = strftime(stamp, sizeof(stamp), "%H:%M:%S", &local);
    (void)snprintf(stamp + len, sizeof(stamp) - len, ".%03d ", (int)(now_ms % 1000));
    put_text(line, stamp);
    bool colour = atomic_load(&state.colour);
    put_text(line, colour ? levels[level].colour : "");
    put_text(line, levels[level].label);
    put_text(line, colour ? "\033[0m " : " ");
    put_escaped(line, cn_str_of(message));
    put_text(line, " ");
}

static void end_line(struct line *line, bool json)
{
    if (line->cut)
        put_tail(line, json ? ",\"cut\":true" : " (cut)");
    // Two blanks part the message from the fields; a line without fields ends at the message.
    while (!json && line->bytes[line->len - 1] == ' ')
        line->len--;
    put_tail(line, json ? "}\n" : "\n");
}

// A reader that stands still (a full pipe, a stopped terminal) must not stop the node, and one that
// is gone must not kill it with SIGPIPE: the line is lost then.
static bool write_line(const struct line *line)
{
    struct pollfd target = {.fd = atomic_load(&state.fd), .events = POLLOUT};
    if (poll(&target, 1, 0) != 1 || target.revents != POLLOUT)
        return false;
    return write(target.fd, line->bytes, line->len) == (ssize_t)line->len;
}

void cn_log_write(enum cn_log_level level, const char *event, const char *message,
                  const struct cn_log_field *fields, size_t count)
{
    int saved_errno = errno;
    bool json = atomic_load(&state.json);
    struct line line;
    line.len = 0;
    line.cut = false;
    if (json)
        begin_json(&line, level, event, message);
    else
        begin_text(&line, level, message);
    for (size_t i = 0; i < count && !line.cut; i++)
        put_field(&line, &fields[i], json);
    end_line(&line, json);
    if (!write_line(&line))
        atomic_fetch_add(&state.lost, 1);
    errno = saved_errno;
}

// Makes `fd` the target. The number of an open file is kept, so that a thread that is just writing
// never meets a closed descriptor.
static enum cn_err adopt(int fd)
{
    int old = atomic_load(&state.fd);
    if (old == STDERR_FILENO || fd == STDERR_FILENO) {
        atomic_store(&state.fd, fd);
        if (old != STDERR_FILENO)
            (void)close(old);
        return CN_OK;
    }
    int rc = dup3(fd, old, O_CLOEXEC);
    int saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return rc < 0 ? CN_SYSTEM : CN_OK;
}

enum cn_err cn_log_open(const char *path, enum cn_log_format format)
{
    int fd = STDERR_FILENO;
    if (path != NULL)
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0)
        return CN_SYSTEM;
    enum cn_err err = adopt(fd);
    if (err != CN_OK)
        return err;
    bool terminal = isatty(atomic_load(&state.fd)) == 1;
    const char *no_color = getenv("NO_COLOR"); // no-color.org: set and not empty
    atomic_store(&state.colour, terminal && (no_color == NULL || no_color[0] == '\0'));
    atomic_store(&state.json, format == CN_LOG_JSON || (format == CN_LOG_AUTO && !terminal));
    return CN_OK;
}

void cn_log_close(void)
{
    enum cn_err err = adopt(STDERR_FILENO);
    CN_ASSERT(err == CN_OK);
    atomic_store(&state.colour, false);
}

void cn_log_set_node(const char *name)
{
    (void)snprintf(state.node, sizeof(state.node), "%s", name);
}

void cn_log_set_level(enum cn_log_level level)
{
    atomic_store_explicit(&state.level, (int)level, memory_order_relaxed);
}

bool cn_log_is_on(enum cn_log_level level)
{
    return (int)level <= atomic_load_explicit(&state.level, memory_order_relaxed);
}

enum cn_err cn_log_level_parse(struct cn_str text, enum cn_log_level *out)
{
    for (size_t i = 0; i < CN_COUNT(levels); i++) {
        if (cn_str_equal(text, cn_str_of(levels[i].name))) {
            *out = (enum cn_log_level)i;
            return CN_OK;
        }
    }
    return CN_INVALID;
}

uint64_t cn_log_lost(void)
{
    return atomic_load(&state.lost);
}
