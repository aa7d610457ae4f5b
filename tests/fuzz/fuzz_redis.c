// SPDX-License-Identifier: MIT
// Fuzz target: the Redis bus against a server that says what the input wants, on real sockets and
// through hiredis. An input is a row of steps with byte 30 between them:
//
//   a            every command under way gets a right answer, until there is none
//   1            the oldest command of the command connection gets a right answer
//   c... b...    these bytes come on the command connection, on the subscriber's
//   s... u...    the room is subscribed to, or no longer
//   p...         this content is published to the room r
//   r            the room r is read
//
// Whatever comes, each publish and each read is answered once, and entries come in rising order.
#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/hash.h"
#include "chatnode/log.h"
#include "redis_private.h"

enum { STEPS_MAX = 64, ROUNDS_MAX = 200, COMMANDS_MAX = 512, REQUESTS_MAX = 64, ROOMS = 4 };

#define STEP_MARK '\x1e'
#define SHA       "0123456789012345678901234567890123456789"
#define TEXT(s)   s, sizeof(s) - 1

// A connection as the server has it.
struct end {
    int fd; // -1: none
    redisReader *reader;
    redisReply *commands[COMMANDS_MAX]; // not answered yet, oldest first
    size_t count;
};

struct world {
    struct cn_reactor *reactor;
    struct cn_bus *bus;
    int listener;
    struct end ends[2]; // 0: commands, 1: subscriptions; in the order of their coming
    size_t accepted;
    size_t asked;
    size_t answered;
    struct cn_pos last[ROOMS];
    bool is_open[ROOMS];
    bool is_subscribed[ROOMS];
};

static struct world world;
static char socket_path[64];
static const char *const room_names[ROOMS] = {"r", "s", "lobby", "x"};

// ---- What the bus tells ----

static size_t room_of(const struct cn_channel_name *channel)
{
    struct cn_str bare = cn_channel_name_bare(channel);
    for (size_t i = 0; i < ROOMS; i++)
        if (cn_str_equal(bare, cn_str_of(room_names[i])))
            return i;
    abort();
}

static void on_open(void *arg, const struct cn_channel_name *channel, struct cn_pos tail)
{
    (void)arg;
    size_t room = room_of(channel);
    CN_ASSERT(world.is_subscribed[room] && !world.is_open[room]);
    world.is_open[room] = true;
    world.last[room] = tail;
}

static void on_entry(void *arg, const struct cn_channel_name *channel, struct cn_pos pos,
                     struct cn_str text)
{
    (void)arg;
    size_t room = room_of(channel);
    CN_ASSERT(world.is_open[room] && text.len > 2);
    CN_ASSERT(cn_pos_compare(pos, world.last[room]) > 0);
    world.last[room] = pos;
}

static void on_reset(void *arg, const struct cn_channel_name *channel, struct cn_pos tail)
{
    (void)arg;
    size_t room = room_of(channel);
    CN_ASSERT(world.is_open[room]);
    world.last[room] = tail;
}

static void on_state(void *arg, enum cn_bus_state state, enum cn_bus_cause cause, const char *why)
{
    (void)arg;
    CN_ASSERT(state == CN_BUS_UP || (cause < CN_BUS_CAUSES && why));
}

static void on_durability(void *arg, enum cn_durability durability, const struct cn_store *store)
{
    (void)arg;
    CN_ASSERT(store && cn_durability_word(durability)[0]);
}

static void on_fatal(void *arg, const char *why)
{
    (void)arg;
    CN_ASSERT(why[0]);
}

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result)
{
    (void)arg;
    (void)publish;
    (void)result;
    world.answered++;
}

static void on_page(void *arg, const struct cn_read *read, const struct cn_page *page)
{
    (void)arg;
    (void)read;
    for (size_t i = 0; i < page->count; i++)
        CN_ASSERT(page->entries[i].text.ptr[0] == '{');
    world.answered++;
}

// ---- The server ----

static void forget_commands(struct end *end)
{
    for (size_t i = 0; i < end->count; i++)
        freeReplyObject(end->commands[i]);
    end->count = 0;
}

static void end_close(struct end *end)
{
    if (end->fd >= 0)
        close(end->fd);
    if (end->reader)
        redisReaderFree(end->reader);
    forget_commands(end);
    *end = (struct end){.fd = -1};
}

// The oldest command is answered.
static void drop_command(struct end *end)
{
    if (end->count == 0)
        return;
    freeReplyObject(end->commands[0]);
    memmove(end->commands, end->commands + 1, --end->count * sizeof(end->commands[0]));
}

static bool accept_end(void)
{
    int fd = accept4(world.listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return false;
    size_t index = world.accepted < 2 ? world.accepted : world.accepted % 2;
    world.accepted++;
    end_close(&world.ends[index]);
    world.ends[index] = (struct end){.fd = fd, .reader = redisReaderCreate()};
    return true;
}

static bool read_commands(struct end *end)
{
    char bytes[16384];
    ssize_t len = end->fd >= 0 ? recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT) : -1;
    if (len == 0)
        end_close(end);
    if (len <= 0)
        return len == 0;
    void *command = NULL;
    CN_ASSERT(redisReaderFeed(end->reader, bytes, (size_t)len) == REDIS_OK);
    while (redisReaderGetReply(end->reader, &command) == REDIS_OK && command) {
        if (end->count < COMMANDS_MAX)
            end->commands[end->count++] = command;
        else
            freeReplyObject(command);
    }
    return true;
}

static void say(struct end *end, const char *bytes, size_t len)
{
    if (end->fd >= 0 && len > 0)
        (void)!send(end->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Everybody does what there is to do.
static void settle(void)
{
    bool busy = true;
    for (int i = 0; busy && i < ROUNDS_MAX; i++) {
        cn_reactor_turn(world.reactor, 0);
        busy = accept_end();
        busy |= read_commands(&world.ends[0]);
        busy |= read_commands(&world.ends[1]);
    }
}

// ---- Right answers ----

static bool is_word(const redisReply *command, size_t index, const char *word)
{
    return command->elements > index && command->element[index]->str &&
           strcasecmp(command->element[index]->str, word) == 0;
}

static void say_bulk(struct end *end, const char *text)
{
    char answer[512];
    int len = snprintf(answer, sizeof(answer), "$%zu\r\n%s\r\n", strlen(text), text);
    say(end, answer, (size_t)len);
}

// Each channel of the command has its own confirmation.
static void confirm(struct end *end, const redisReply *command)
{
    for (size_t i = 1; i < command->elements; i++) {
        char head[64];
        bool joins = is_word(command, 0, "SUBSCRIBE");
        int len = snprintf(head, sizeof(head), "*3\r\n$%d\r\n%s\r\n", joins ? 9 : 11,
                           joins ? "subscribe" : "unsubscribe");
        say(end, head, (size_t)len);
        say_bulk(end, command->element[i]->str);
        say(end, TEXT(":1\r\n"));
    }
}

static void answer_script(struct end *end, const redisReply *command)
{
    // The publish script takes at least five more arguments than keys.
    bool reads = command->elements == 9;
    if (reads)
        say(end, TEXT("*3\r\n:1\r\n:0\r\n$4\r\n17-0\r\n"));
    else
        say(end, TEXT("*1\r\n$8\r\n17-1 5 0\r\n"));
}

static void answer(struct end *end)
{
    const redisReply *command = end->commands[0];
    if (is_word(command, 0, "INFO") && is_word(command, 1, "server"))
        say_bulk(end, "redis_version:7.0.15\r\nrun_id:abc\r\n");
    else if (is_word(command, 0, "INFO"))
        say_bulk(end, "role:master\r\nmaster_replid:0123\r\naof_enabled:1\r\nconnected_slaves:0\r\n"
                      "maxmemory_policy:noeviction\r\n");
    else if (is_word(command, 0, "SCRIPT"))
        say_bulk(end, SHA);
    else if (is_word(command, 0, "CONFIG"))
        say(end, TEXT("*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n"));
    else if (is_word(command, 0, "SUBSCRIBE") || is_word(command, 0, "UNSUBSCRIBE"))
        confirm(end, command);
    else if (is_word(command, 0, "EVALSHA"))
        answer_script(end, command);
    else
        say(end, TEXT("+OK\r\n"));
    drop_command(end);
}

static void answer_all(void)
{
    for (int i = 0; i < ROUNDS_MAX; i++) {
        settle();
        if (world.ends[0].count == 0 && world.ends[1].count == 0)
            return;
        while (world.ends[0].count > 0)
            answer(&world.ends[0]);
        while (world.ends[1].count > 0)
            answer(&world.ends[1]);
    }
}

// The input's bytes are answers to as many commands as there are whole ones in them.
static void say_raw(struct end *end, struct cn_str bytes)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    say(end, bytes.ptr, bytes.len);
    CN_ASSERT(redisReaderFeed(reader, bytes.ptr, bytes.len) == REDIS_OK);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        freeReplyObject(reply);
        drop_command(end);
    }
    redisReaderFree(reader);
}

// ---- What the bus's user does ----

static struct cn_channel_name channel_of(size_t room)
{
    struct cn_channel_name name;
    CN_ASSERT(!cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of(room_names[room]), &name));
    return name;
}

static void subscribe(struct cn_str name, bool wanted)
{
    for (size_t i = 0; i < ROOMS; i++) {
        if (!cn_str_equal(name, cn_str_of(room_names[i])) || world.is_subscribed[i] == wanted)
            continue;
        struct cn_channel_name channel = channel_of(i);
        world.is_subscribed[i] = wanted;
        world.is_open[i] = false;
        if (wanted)
            CN_ASSERT(cn_bus_subscribe(world.bus, &channel) == CN_OK);
        else
            cn_bus_unsubscribe(world.bus, &channel);
    }
}

static void publish(struct cn_str content)
{
    struct cn_publish *publish = cn_publish_new(content, 0);
    CN_ASSERT(publish);
    publish->channel = channel_of(0);
    publish->deadline_ms = cn_clock_ms() + 5000;
    snprintf(publish->user, sizeof(publish->user), "ann");
    snprintf(publish->id, sizeof(publish->id), "id%zu", world.asked++);
    publish->done = on_published;
    cn_bus_publish_take(world.bus, &publish);
}

static void read_log(void)
{
    struct cn_read *read = calloc(1, sizeof(*read));
    CN_ASSERT(read);
    read->channel = channel_of(0);
    read->deadline_ms = cn_clock_ms() + 5000;
    read->kind = CN_READ_AFTER;
    read->limit = 16;
    read->done = on_page;
    world.asked++;
    cn_bus_read_take(world.bus, &read);
}

static void take_step(struct cn_str step)
{
    uint8_t kind = fuzz_byte(&step);
    if (kind == 'a')
        answer_all();
    else if (kind == '1' && world.ends[0].count > 0)
        answer(&world.ends[0]);
    else if (kind == 'c' || kind == 'b')
        say_raw(&world.ends[kind == 'b'], step);
    else if (kind == 's' || kind == 'u')
        subscribe(step, kind == 's');
    else if (kind == 'p' && world.asked < REQUESTS_MAX)
        publish(step);
    else if (kind == 'r' && world.asked < REQUESTS_MAX)
        read_log();
    settle();
}

// ---- Life ----

static void remove_socket(void)
{
    unlink(socket_path);
}

// Once for all inputs: a listening socket.
static int make_listener(void)
{
    static int listener = -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (listener >= 0)
        return listener;
    cn_log_set_level(CN_LOG_ERROR);
    CN_ASSERT(cn_log_open("/dev/null", CN_LOG_TEXT) == CN_OK);
    snprintf(socket_path, sizeof(socket_path), "/tmp/chatnode-fuzz-%d.sock", (int)getpid());
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    unlink(socket_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CN_ASSERT(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CN_ASSERT(listen(listener, 16) == 0);
    atexit(remove_socket);
    return listener;
}

static void on_wake(void *arg)
{
    (void)arg;
}

static void open_world(void)
{
    static const struct cn_bus_events events = {.on_open = on_open,
                                                .on_entry = on_entry,
                                                .on_reset = on_reset,
                                                .on_state = on_state,
                                                .on_durability = on_durability,
                                                .on_fatal = on_fatal};
    char url[96];
    const char *why = NULL;
    world = (struct world){.listener = make_listener(), .ends = {{.fd = -1}, {.fd = -1}}};
    snprintf(url, sizeof(url), "unix://%s", socket_path);
    const struct cn_bus_options options = {.url = url,
                                           .prefix = "p:",
                                           .node = "fuzz",
                                           .history_messages = 16,
                                           .history_ttl_s = 100,
                                           .dedupe_ttl_s = 10,
                                           .queue = 64,
                                           .entry_bytes = 4096,
                                           .watchdog_ms = 3000,
                                           .held_messages = 4,
                                           .check_ms = 1000,
                                           .replay_ms = 1000,
                                           .replay_bytes = 4096,
                                           .replica_wait_ms = 100};
    CN_ASSERT(cn_reactor_new(&world.reactor, on_wake, NULL) == CN_OK);
    CN_ASSERT(cn_bus_new(world.reactor, &options, &events, &world.bus, &why) == CN_OK);
    CN_ASSERT(cn_bus_start(world.bus) == CN_OK);
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str rest = {(const char *)data, size}, step;
    open_world();
    for (int i = 0; i < STEPS_MAX && fuzz_cut(&rest, STEP_MARK, &step); i++)
        take_step(step);
    cn_bus_free(world.bus);
    CN_ASSERT(world.answered == world.asked);
    cn_reactor_free(world.reactor);
    while (accept_end())
        ;
    end_close(&world.ends[0]);
    end_close(&world.ends[1]);
    return 0;
}
