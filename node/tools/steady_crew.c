// SPDX-License-Identifier: MIT
// One process of a steady load: its clients come, then it sends and receives, phase by phase.
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "steady_private.h"

enum { REFUSED_LOOK_US = 10000 };

// ---- Its share of the plan ----

static void make_streams(struct cn_crew *crew)
{
    const struct cn_plan *plan = &crew->steady->plan;
    long begin = cn_plan_begin(plan, crew->index);
    long end = cn_plan_begin(plan, crew->index + 1);
    crew->first_room = cn_plan_room(plan, begin);
    crew->stream_count = cn_plan_room(plan, end - 1) - crew->first_room + 1;
    crew->streams = cn_bench_get((size_t)crew->stream_count, sizeof(*crew->streams));
    for (long i = 0; i < crew->stream_count; i++) {
        long room = crew->first_room + i;
        long first = cn_plan_first(plan, room);
        long last = cn_plan_first(plan, room + 1);
        first = first > begin ? first : begin;
        last = last < end ? last : end;
        if (!cn_stream_init(&crew->streams[i], &crew->watch, (unsigned)room,
                            (uint32_t)(last - first), (unsigned)cn_plan_lanes(plan, room)))
            cn_bench_fail(CN_BENCH_INCOMPLETE, "out of memory");
    }
}

static void make_publisher(struct cn_crew *crew, long number, struct cn_client *client)
{
    const struct cn_steady *steady = crew->steady;
    struct cn_publisher *publisher = &crew->publishers[crew->publisher_count++];
    long target = cn_plan_target(&steady->plan, number);
    *publisher = (struct cn_publisher){.number = number,
                                       .target = target,
                                       .lane = cn_plan_lane(&steady->plan, number),
                                       .members = (unsigned)cn_plan_members(&steady->plan, target),
                                       .parts = (unsigned)cn_plan_parts(&steady->plan, target) +
                                                (unsigned)steady->acks,
                                       .client = client};
    if (steady->acks)
        publisher->slots = cn_bench_get((size_t)steady->slots, sizeof(*publisher->slots));
    client->publisher = publisher;
}

// Clients first, then the extra publishers.
static void make_clients(struct cn_crew *crew)
{
    const struct cn_plan *plan = &crew->steady->plan;
    long begin = cn_plan_begin(plan, crew->index);
    long count = cn_plan_begin(plan, crew->index + 1) - begin;
    long extras = 0;
    for (long p = 0; plan->extra && p < plan->publishers; p++)
        extras += cn_plan_home(plan, p) == crew->index;
    crew->client_count = count + extras;
    crew->clients = cn_bench_get((size_t)crew->client_count, sizeof(*crew->clients));
    for (long i = 0; i < count; i++) {
        long room = cn_plan_room(plan, begin + i);
        crew->clients[i] = (struct cn_client){
            .crew = crew, .number = begin + i, .stream = &crew->streams[room - crew->first_room]};
    }
    for (long i = 0; i < extras; i++)
        crew->clients[count + i] = (struct cn_client){
            .crew = crew, .number = plan->clients + crew->index + i * plan->processes};
}

static void make_publishers(struct cn_crew *crew)
{
    const struct cn_plan *plan = &crew->steady->plan;
    long begin = cn_plan_begin(plan, crew->index);
    long own = cn_plan_begin(plan, crew->index + 1) - begin;
    crew->publishers = cn_bench_get((size_t)crew->client_count, sizeof(*crew->publishers));
    for (long p = 0; crew->steady->sends && p < plan->publishers; p++) {
        if (cn_plan_home(plan, p) != crew->index)
            continue;
        long at = plan->extra ? own + p / plan->processes : cn_plan_client(plan, p) - begin;
        make_publisher(crew, p, &crew->clients[at]);
    }
}

static void prepare(struct cn_crew *crew, int index, struct cn_steady *steady)
{
    *crew = (struct cn_crew){.steady = steady, .tally = &steady->tallies[index], .index = index};
    crew->watch = (struct cn_watch){.latency = &crew->tally->latency,
                                    .measured_from_us = INT64_MAX,
                                    .payload = (size_t)steady->bench->options.payload,
                                    .on_complete = cn_crew_complete,
                                    .context = crew};
    make_streams(crew);
    make_clients(crew);
    make_publishers(crew);
    crew->content = cn_bench_get(1, CN_DIALECT_TEXT_MAX);
    memset(crew->content, 'x', (size_t)steady->bench->options.payload);
    crew->text = cn_bench_get(1, CN_DIALECT_TEXT_MAX);
    srand48(steady->bench->options.seed + index + (long)steady->bench->tag);
    if (!cn_links_init(&crew->links) || !cn_links_watch(&crew->links, steady->workers.wakes[index]))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no descriptor for epoll");
}

static void fini(struct cn_crew *crew)
{
    for (long i = 0; i < crew->client_count; i++) {
        cn_link_close(&crew->clients[i].link);
        free(crew->clients[i].member.own);
    }
    for (long i = 0; i < crew->stream_count; i++)
        cn_stream_fini(&crew->streams[i]);
    for (long i = 0; i < crew->publisher_count; i++)
        free(crew->publishers[i].slots);
    free(crew->publishers);
    free(crew->clients);
    free(crew->streams);
    free(crew->content);
    free(crew->text);
    cn_links_fini(&crew->links);
}

// ---- Connecting ----

// Those who may come again by now, `most` at once.
static void open_refused(struct cn_crew *crew, long most)
{
    int64_t now_us = cn_clock_us();
    if (now_us - crew->looked_us < REFUSED_LOOK_US)
        return; // it looks at all clients
    crew->looked_us = now_us;
    for (long i = 0; i < crew->opened && crew->waiting > 0 && crew->connecting < most; i++) {
        struct cn_client *client = &crew->clients[i];
        if (client->due_us == 0 || client->due_us > now_us)
            continue;
        crew->waiting--;
        cn_client_open(client);
    }
}

// How many may have been begun by now.
static long allowed(const struct cn_crew *crew)
{
    double rate = crew->steady->bench->options.connect_rate / (double)crew->steady->plan.processes;
    long all = crew->client_count;
    if (rate <= 0)
        return all;
    double due = (double)(cn_clock_us() - crew->phase_us) * rate / 1e6 + 1;
    return due < (double)all ? (long)due : all;
}

static void open_more(struct cn_crew *crew)
{
    long most = allowed(crew);
    long together = CN_BENCH_CONNECTING / crew->steady->plan.processes + 1;
    while (crew->opened < most && crew->connecting < together)
        cn_client_open(&crew->clients[crew->opened++]);
    if (crew->waiting > 0)
        open_refused(crew, together);
}

// ---- The turn ----

void cn_crew_touch(struct cn_client *client)
{
    if (client->dirty)
        return;
    client->dirty = true;
    client->next_dirty = client->crew->dirty;
    client->crew->dirty = client;
}

static void flush_dirty(struct cn_crew *crew)
{
    while (crew->dirty != NULL) {
        struct cn_client *client = crew->dirty;
        crew->dirty = client->next_dirty;
        client->dirty = false;
        cn_link_flush(&client->link);
    }
}

static void wake_others(struct cn_crew *crew)
{
    for (int i = 0; i < crew->steady->plan.processes; i++)
        if (i != crew->index)
            cn_workers_wake(&crew->steady->workers, i);
    crew->wake_others = false;
}

// What the check has counted, for the coordinator.
static void tell(struct cn_crew *crew)
{
    struct cn_tally *tally = crew->tally;
    if (crew->watch.deliveries != atomic_load_explicit(&tally->deliveries, memory_order_relaxed))
        atomic_store_explicit(&tally->last_us, cn_clock_us(), memory_order_relaxed);
    atomic_store_explicit(&tally->deliveries, crew->watch.deliveries, memory_order_relaxed);
    atomic_store_explicit(&tally->measured, crew->watch.measured, memory_order_relaxed);
    atomic_store_explicit(&tally->duplicates, crew->watch.duplicates, memory_order_relaxed);
    atomic_store_explicit(&tally->disordered, crew->watch.disordered, memory_order_relaxed);
    atomic_store_explicit(&tally->overflows, crew->watch.overflowed, memory_order_relaxed);
}

static void follow_phase(struct cn_crew *crew)
{
    enum cn_phase phase = (enum cn_phase)atomic_load(crew->steady->phase);
    if (phase == crew->phase)
        return;
    crew->phase = phase;
    crew->phase_us = atomic_load(crew->steady->phase_us);
    if (phase == CN_PHASE_WARMING || phase == CN_PHASE_RUNNING)
        cn_crew_begin_phase(crew);
    atomic_store(&crew->tally->phase, (int)phase);
}

static void turn(struct cn_crew *crew, int64_t wait_us)
{
    cn_links_turn_us(&crew->links, wait_us);
    tell(crew);
    if (crew->links.woken)
        cn_crew_wake_publishers(crew);
    if (crew->wake_others)
        wake_others(crew);
}

// ---- The end ----

static uint64_t count_lost(const struct cn_crew *crew, const struct cn_client *client)
{
    uint64_t sent = atomic_load(&crew->steady->rooms[client->stream->room].sent);
    return sent > client->member.unique ? sent - client->member.unique : 0;
}

// All processes that have members of a room must have seen the same order.
static void compare_order(struct cn_crew *crew, const struct cn_stream *stream)
{
    _Atomic uint64_t *order = &crew->steady->rooms[stream->room].order;
    uint64_t expected = 0;
    if (!atomic_compare_exchange_strong(order, &expected, stream->order) &&
        expected != stream->order)
        CN_TALLY(crew->tally->disordered, 1);
}

static void count_up(struct cn_crew *crew)
{
    uint64_t lost = 0;
    for (long i = 0; i < crew->client_count; i++)
        if (crew->clients[i].stream != NULL)
            lost += count_lost(crew, &crew->clients[i]);
    CN_TALLY(crew->tally->lost, lost);
    for (long i = 0; i < crew->stream_count && lost == 0; i++) {
        CN_TALLY(crew->tally->disordered, cn_stream_reordered(&crew->streams[i]));
        compare_order(crew, &crew->streams[i]);
    }
}

int cn_crew_work(int index, void *context)
{
    struct cn_crew crew;
    prepare(&crew, index, context);
    crew.phase_us = atomic_load(crew.steady->phase_us);
    while (crew.phase != CN_PHASE_ENDED) {
        follow_phase(&crew);
        open_more(&crew);
        int64_t wait_us = cn_crew_publish(&crew);
        flush_dirty(&crew);
        turn(&crew, crew.opened < crew.client_count && wait_us > 1000 ? 1000 : wait_us);
    }
    tell(&crew);
    count_up(&crew);
    fini(&crew);
    return 0;
}
