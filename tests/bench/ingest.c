// SPDX-License-Identifier: MIT
// Measures storing: many sessions, each in a room of its own or a few in each room, keep a window
// of publishes in flight. Each publish must be acked and come to every member exactly once, in the
// order of positions.
// Prints one JSON line; exits with 1 when something was lost, came twice or in the wrong place.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "link.h"
#include "measure.h"

enum {
    PORTS_MAX = 8,
    WINDOW_MAX = 64,  // the node's own bound, max-in-flight
    WARM_MS = 1000,   // not measured
    STALL_MS = 20000, // without an ack the run is over
    TICK_US = 2000,   // what must be sent again is looked for this often
    RETRY_MS = 100,   // an error that says `retry` is heeded after at most this
    EVENTS_MAX = 512,
};

struct options {
    int ports[PORTS_MAX];
    int port_count;
    int pids[PORTS_MAX]; // of the nodes
    int pid_count;
    int redis_pid;
    int sessions;
    int members; // of each room
    int window;
    int seconds;
    int content_len;
};

// A publish that is not acked yet: number 0 is a free slot; due_us is 0 while it is on its way.
struct slot {
    long number;
    int64_t due_us;
};

// What became of one publish.
struct fate {
    int64_t sent_us;
    struct position acked;
    struct position delivered;
};

struct session {
    struct link link; // the first field: a link's events lead here
    struct ingest *ingest;
    int number;
    bool joined;
    bool touched; // in this turn something was put into its buffer
    struct slot slots[WINDOW_MAX];
    long sent; // publishes are numbered from 1
    struct fate *fates;
    long fates_cap;
    struct position last;
};

struct counts {
    long acked;
    long delivered; // to the publisher, and to the others in the room
    long errors;    // answered with `retry`
    long wrong;     // twice, at another place than acked, or out of order
    long gaps;
};

struct ingest {
    struct options options;
    int epoll;
    struct session *sessions;
    int joined;
    bool sending;
    bool measuring;
    struct counts counts;
    struct histogram ack; // while measuring
    int64_t acked_us;     // the latest one
    int64_t gap_begin_us; // the longest time without an ack
    int64_t gap_end_us;
};

// ---- Publishing ----

static struct fate *fate_of(struct session *session, long number)
{
    if (number < 1 || number > session->sent)
        return NULL;
    return &session->fates[number];
}

static int room_of(const struct session *session)
{
    return session->number / session->ingest->options.members;
}

static void put(struct session *session, struct slot *slot)
{
    char text[9000];
    int len = snprintf(text, sizeof(text),
                       "{\"type\":\"message\",\"room\":\"ingest%d\",\"id\":\"%ld\","
                       "\"content\":\"%0*ld\"}",
                       room_of(session), slot->number, session->ingest->options.content_len,
                       slot->number);
    slot->due_us = 0;
    session->touched = true;
    link_send(&session->link, text, (size_t)len);
}

static void put_new(struct session *session, struct slot *slot)
{
    slot->number = ++session->sent;
    if (session->sent >= session->fates_cap) {
        session->fates_cap = session->fates_cap ? session->fates_cap * 2 : 1024;
        session->fates =
            realloc(session->fates, (size_t)session->fates_cap * sizeof(*session->fates));
        if (session->fates == NULL)
            measure_fail("realloc");
    }
    session->fates[slot->number] = (struct fate){.sent_us = measure_now_us()};
    put(session, slot);
}

static struct slot *find_slot(struct session *session, long number)
{
    for (int i = 0; i < session->ingest->options.window; i++)
        if (session->slots[i].number == number)
            return &session->slots[i];
    return NULL;
}

// ---- What comes back ----

static void note_gap(struct ingest *ingest, int64_t now_us)
{
    if (ingest->acked_us && now_us - ingest->acked_us > ingest->gap_end_us - ingest->gap_begin_us) {
        ingest->gap_begin_us = ingest->acked_us;
        ingest->gap_end_us = now_us;
    }
    ingest->acked_us = now_us;
}

static void compare(struct ingest *ingest, const struct fate *fate)
{
    if (fate->acked.gen && fate->delivered.gen)
        ingest->counts.wrong += position_compare(fate->acked, fate->delivered) != 0;
}

static void on_ack(struct session *session, long number, const char *text)
{
    struct ingest *ingest = session->ingest;
    struct slot *slot = find_slot(session, number);
    struct fate *fate = fate_of(session, number);
    if (slot == NULL || fate == NULL || !text_position(text, &fate->acked)) {
        ingest->counts.wrong++;
        return;
    }
    int64_t now_us = measure_now_us();
    note_gap(ingest, now_us);
    compare(ingest, fate);
    ingest->counts.acked++;
    if (ingest->measuring)
        histogram_add(&ingest->ack, now_us - fate->sent_us, 1);
    slot->number = 0;
    if (ingest->sending)
        put_new(session, slot);
}

static void on_entry(struct session *session, const char *text)
{
    struct counts *counts = &session->ingest->counts;
    struct position pos;
    if (!text_position(text, &pos))
        return;
    counts->wrong += position_compare(session->last, pos) >= 0;
    session->last = pos;
    counts->delivered++;
    if (text_number(text, "\"from\":\"i") != session->number)
        return; // another member's: the order shows that it came once
    struct fate *fate = fate_of(session, text_number(text, "\"content\":\""));
    if (fate == NULL || fate->delivered.gen != 0) {
        counts->wrong++;
        return;
    }
    fate->delivered = pos;
    compare(session->ingest, fate);
}

static void on_error(struct session *session, long number, const char *text)
{
    struct slot *slot = find_slot(session, number);
    errno = 0;
    if (slot == NULL || strstr(text, "\"retry\":true") == NULL)
        measure_fail(text);
    session->ingest->counts.errors++;
    slot->due_us = measure_now_us() + (int64_t)(drand48() * RETRY_MS * 1e3) + 1;
}

static void on_text(struct link *link, char *text, size_t len)
{
    struct session *session = (struct session *)link;
    (void)len;
    if (strncmp(text, "{\"pos\":", 7) == 0) {
        on_entry(session, text);
    } else if (strncmp(text, "{\"type\":\"ack\"", 13) == 0) {
        on_ack(session, text_number(text, "\"id\":\""), text);
    } else if (strncmp(text, "{\"type\":\"error\"", 15) == 0) {
        on_error(session, text_number(text, "\"id\":\""), text);
    } else if (strncmp(text, "{\"type\":\"gap\"", 13) == 0) {
        session->ingest->counts.gaps++;
    } else if (!session->joined && strncmp(text, "{\"type\":\"joined\",\"room\"", 23) == 0) {
        session->joined = true;
        session->ingest->joined++;
    }
}

static void on_end(struct link *link, int status, int retry_after_ms)
{
    (void)link;
    (void)retry_after_ms;
    errno = 0;
    measure_fail(status ? "a session was refused" : "a session was ended");
}

static const struct link_events session_events = {.on_text = on_text, .on_end = on_end};

// ---- The run ----

static void send_again(struct session *session, int64_t now_us)
{
    for (int i = 0; i < session->ingest->options.window; i++) {
        struct slot *slot = &session->slots[i];
        if (slot->number && slot->due_us && slot->due_us <= now_us)
            put(session, slot);
    }
}

static void turn(struct ingest *ingest)
{
    static int64_t ticked_us;
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(ingest->epoll, events, EVENTS_MAX, TICK_US / 1000);
    for (int i = 0; i < count; i++)
        link_on_event(events[i].data.ptr, events[i].events);
    int64_t now_us = measure_now_us();
    bool tick = now_us - ticked_us >= TICK_US;
    for (int i = 0; i < ingest->options.sessions; i++) {
        struct session *session = &ingest->sessions[i];
        if (tick && session->joined)
            send_again(session, now_us);
        if (session->touched)
            link_flush(&session->link);
        session->touched = false;
    }
    if (tick)
        ticked_us = now_us;
}

static void open_all(struct ingest *ingest)
{
    const struct options *options = &ingest->options;
    ingest->sessions = calloc((size_t)options->sessions, sizeof(*ingest->sessions));
    ingest->epoll = epoll_create1(0);
    if (ingest->sessions == NULL || ingest->epoll < 0)
        measure_fail("calloc");
    for (int i = 0; i < options->sessions; i++) {
        struct session *session = &ingest->sessions[i];
        session->ingest = ingest;
        session->number = i;
        char path[64];
        snprintf(path, sizeof(path), "/ws?user=i%d&room=ingest%d", i, room_of(session));
        if (!link_open(&session->link, ingest->epoll, &session_events,
                       options->ports[i % options->port_count], i, path))
            measure_fail("connect");
        while (i + 1 - ingest->joined > 64)
            turn(ingest);
    }
    while (ingest->joined < options->sessions)
        turn(ingest);
}

static void turn_until(struct ingest *ingest, int64_t end_us)
{
    while (measure_now_us() < end_us)
        turn(ingest);
}

static void begin_sending(struct ingest *ingest)
{
    ingest->sending = true;
    for (int i = 0; i < ingest->options.sessions; i++)
        for (int k = 0; k < ingest->options.window; k++)
            put_new(&ingest->sessions[i], &ingest->sessions[i].slots[k]);
}

static long count_sent(const struct ingest *ingest)
{
    long sent = 0;
    for (int i = 0; i < ingest->options.sessions; i++)
        sent += ingest->sessions[i].sent;
    return sent;
}

// Until everything that was sent is acked and delivered, or nothing more comes.
static void finish(struct ingest *ingest)
{
    ingest->sending = false;
    long sent = count_sent(ingest);
    int64_t begin_us = measure_now_us();
    long due = sent * ingest->options.members;
    while (ingest->counts.acked < sent || ingest->counts.delivered < due) {
        turn(ingest);
        int64_t since_us = ingest->acked_us > begin_us ? ingest->acked_us : begin_us;
        if (measure_now_us() - since_us > (int64_t)STALL_MS * 1000)
            return;
    }
}

// ---- The result ----

struct usage {
    int64_t us;
    long acked;
    int64_t redis_us;
    int64_t own_us;
    int64_t nodes_us; // all threads
    int64_t main_us;  // of the busiest node's main thread
};

static struct usage look(const struct ingest *ingest, int64_t mains_us[])
{
    const struct options *options = &ingest->options;
    struct usage usage = {.us = measure_now_us(), .acked = ingest->counts.acked};
    if (options->redis_pid)
        usage.redis_us = measure_cpu_us(options->redis_pid);
    usage.own_us = measure_cpu_us((int)getpid());
    for (int i = 0; i < options->pid_count; i++) {
        usage.nodes_us += measure_cpu_us(options->pids[i]);
        mains_us[i] = measure_main_cpu_us(options->pids[i]);
    }
    return usage;
}

static struct usage measure(struct ingest *ingest)
{
    int64_t before_us[PORTS_MAX];
    int64_t after_us[PORTS_MAX];
    struct usage before = look(ingest, before_us);
    ingest->measuring = true;
    turn_until(ingest, before.us + ingest->options.seconds * INT64_C(1000000));
    ingest->measuring = false;
    struct usage after = look(ingest, after_us);
    struct usage used = {.us = after.us - before.us,
                         .acked = after.acked - before.acked,
                         .redis_us = after.redis_us - before.redis_us,
                         .own_us = after.own_us - before.own_us,
                         .nodes_us = after.nodes_us - before.nodes_us};
    for (int i = 0; i < ingest->options.pid_count; i++)
        if (after_us[i] - before_us[i] > used.main_us)
            used.main_us = after_us[i] - before_us[i];
    return used;
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static bool print_result(const struct ingest *ingest, const struct usage *used)
{
    const struct options *options = &ingest->options;
    const struct counts *counts = &ingest->counts;
    long sent = count_sent(ingest);
    long lost = sent - counts->acked + sent * options->members - counts->delivered;
    bool good = lost == 0 && counts->wrong == 0 && counts->gaps == 0 && used->acked > 0;
    printf("{\"sessions\":%d,\"members\":%d,\"window\":%d,\"nodes\":%d,\"content\":%d,"
           "\"sent\":%ld,\"acked\":%ld,"
           "\"delivered\":%ld,\"lost\":%ld,\"wrong\":%ld,\"gaps\":%ld,\"errors\":%ld,",
           options->sessions, options->members, options->window, options->port_count,
           options->content_len, sent, counts->acked, counts->delivered, lost, counts->wrong,
           counts->gaps, counts->errors);
    printf("\"seconds\":%.2f,\"acks_per_second\":%.0f,\"ack_ms\":{\"p50\":%.2f,\"p99\":%.2f,"
           "\"max\":%.2f},\"redis_us_per_publish\":%.2f,\"node_us_per_publish\":%.2f,"
           "\"busiest_main_us_per_publish\":%.2f,",
           (double)used->us / 1e6, share(used->acked, used->us) * 1e6,
           histogram_at(&ingest->ack, 0.5) / 1e3, histogram_at(&ingest->ack, 0.99) / 1e3,
           (double)ingest->ack.max_us / 1e3, share(used->redis_us, used->acked),
           share(used->nodes_us, used->acked),
           share(used->main_us * options->pid_count, used->acked));
    printf("\"redis_busy\":%.3f,\"main_busy\":%.3f,\"nodes_busy\":%.3f,\"load_busy\":%.3f,"
           "\"gap_begin_s\":%.6f,\"gap_end_s\":%.6f,\"complete\":%s}\n",
           share(used->redis_us, used->us), share(used->main_us, used->us),
           share(used->nodes_us, used->us), share(used->own_us, used->us),
           (double)ingest->gap_begin_us / 1e6, (double)ingest->gap_end_us / 1e6,
           good ? "true" : "false");
    return good;
}

// ---- The program ----

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: bench_ingest --ports N[,N...] [--pids N[,N...]] [--redis-pid N]\n"
                    "  [--sessions N] [--members N] [--window N] [--seconds N]\n"
                    "  [--content BYTES]\n");
    exit(64);
}

static int parse_list(const char *text, int *out)
{
    char *end = NULL;
    for (int count = 0; count < PORTS_MAX; text = end + 1) {
        out[count++] = (int)strtol(text, &end, 10);
        if (*end != ',')
            return count;
    }
    usage();
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"ports", required_argument, NULL, 'p'},
                                          {"pids", required_argument, NULL, 'i'},
                                          {"redis-pid", required_argument, NULL, 'r'},
                                          {"sessions", required_argument, NULL, 's'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"content", required_argument, NULL, 'b'},
                                          {"members", required_argument, NULL, 'm'},
                                          {0}};
    int values[128] = {['s'] = 64, ['w'] = 32, ['t'] = 10, ['b'] = 32, ['m'] = 1};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == '?')
            usage();
        if (option == 'p')
            options->port_count = parse_list(optarg, options->ports);
        else if (option == 'i')
            options->pid_count = parse_list(optarg, options->pids);
        else
            values[option] = (int)strtol(optarg, NULL, 10);
    }
    options->redis_pid = values['r'];
    options->sessions = values['s'];
    options->members = values['m'];
    options->window = values['w'];
    options->seconds = values['t'];
    options->content_len = values['b'];
    if (optind < argc || options->port_count == 0 || options->members < 1 ||
        options->sessions < options->members || options->sessions % options->members != 0 ||
        options->window < 1 || options->window > WINDOW_MAX || options->seconds < 1 ||
        options->content_len < 1 || options->content_len > 8000)
        usage();
}

int main(int argc, char **argv)
{
    static struct ingest ingest;
    parse(argc, argv, &ingest.options);
    measure_raise_limits();
    open_all(&ingest);
    begin_sending(&ingest);
    turn_until(&ingest, measure_now_us() + WARM_MS * 1000);
    struct usage used = measure(&ingest);
    finish(&ingest);
    return print_result(&ingest, &used) ? 0 : 1;
}
