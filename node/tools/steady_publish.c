// SPDX-License-Identifier: MIT
// The sending side of a steady load: closed loop or paced, ids, acks, and what is sent again.
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "steady_private.h"

enum {
    IDLE_US = 20000,      // looked around after at most this long
    AGAIN_MS = 100,       // what was refused is sent again after at most this
    AGAIN_LOOK_US = 2000, // and looked for this often
    UNSENT_MAX = 1 << 20, // bytes of a publisher that the server has not taken yet
};

static bool sends_now(const struct cn_crew *crew)
{
    return crew->phase == CN_PHASE_WARMING || crew->phase == CN_PHASE_RUNNING;
}

// ---- Slots: until all have a message ----

static _Atomic uint16_t *parts_at(const struct cn_steady *steady, long publisher, uint64_t number)
{
    return &steady->parts[(uint64_t)(publisher * steady->slots) + number % (uint64_t)steady->slots];
}

static struct cn_slot *slot_at(const struct cn_publisher *publisher, uint64_t number)
{
    return &publisher->slots[number % (uint64_t)publisher->client->crew->steady->slots];
}

static bool can_send(const struct cn_publisher *publisher)
{
    const struct cn_client *client = publisher->client;
    const struct cn_steady *steady = client->crew->steady;
    return client->link.stage == CN_LINK_OPEN && client->link.out_len < UNSENT_MAX &&
           publisher->phase_sent < publisher->quota &&
           (steady->slots == 0 ||
            atomic_load(parts_at(steady, publisher->number, publisher->sent + 1)) == 0);
}

static void wake(struct cn_crew *crew, struct cn_publisher *publisher)
{
    if (publisher->queued)
        return;
    publisher->queued = true;
    publisher->next = crew->ready;
    crew->ready = publisher;
}

void cn_crew_wake_publishers(struct cn_crew *crew)
{
    for (long i = 0; i < crew->publisher_count; i++)
        wake(crew, &crew->publishers[i]);
}

// One of this process's publishers, by its number.
static struct cn_publisher *find(struct cn_crew *crew, long number)
{
    const struct cn_plan *plan = &crew->steady->plan;
    if (plan->extra)
        return &crew->publishers[number / plan->processes];
    long client = cn_plan_client(plan, number);
    return crew->clients[client - cn_plan_begin(plan, crew->index)].publisher;
}

// One of those that the message waits for has it.
static void release(struct cn_crew *crew, long publisher, uint64_t number)
{
    const struct cn_steady *steady = crew->steady;
    _Atomic uint16_t *parts = parts_at(steady, publisher, number);
    if (atomic_load(parts) == 0 || atomic_fetch_sub(parts, 1) != 1)
        return;
    if (cn_plan_home(&steady->plan, publisher) == crew->index)
        wake(crew, find(crew, publisher));
    else
        crew->wake_others = true;
}

void cn_crew_complete(void *context, unsigned room, unsigned lane, unsigned slot)
{
    struct cn_crew *crew = context;
    if (crew->steady->slots > 0)
        release(crew, cn_plan_writer(&crew->steady->plan, room, lane), slot);
}

// ---- One message ----

static void put(struct cn_crew *crew, struct cn_publisher *publisher, uint64_t number,
                int64_t due_us, bool again)
{
    const struct cn_bench *bench = crew->steady->bench;
    long slots = crew->steady->slots;
    const struct cn_stamp stamp = {.tag = bench->tag,
                                   .room = (unsigned)publisher->target,
                                   .lane = (unsigned)publisher->lane,
                                   .seq = (uint32_t)(number - 1),
                                   .slot = slots ? (unsigned)(number % (uint64_t)slots) : 0,
                                   .again = again,
                                   .due_us = due_us};
    struct cn_party party = cn_client_party(publisher->client);
    cn_stamp_write(&stamp, crew->content);
    size_t len =
        bench->dialect->publish(&party, crew->steady->plan.pairs ? publisher->target : -1,
                                crew->steady->acks ? (long)number : -1, crew->content,
                                (size_t)bench->options.payload, crew->text, CN_DIALECT_TEXT_MAX);
    cn_link_send(&publisher->client->link, crew->text, len);
    cn_crew_touch(publisher->client);
}

static void publish(struct cn_crew *crew, struct cn_publisher *publisher, int64_t due_us)
{
    const struct cn_steady *steady = crew->steady;
    uint64_t number = ++publisher->sent;
    if (steady->slots > 0)
        atomic_store(parts_at(steady, publisher->number, number), (uint16_t)publisher->parts);
    if (publisher->slots != NULL)
        *slot_at(publisher, number) = (struct cn_slot){.number = number, .due_us = due_us};
    publisher->phase_sent++;
    crew->phase_sent++;
    atomic_fetch_add_explicit(&steady->rooms[publisher->target].sent, 1, memory_order_relaxed);
    CN_TALLY(crew->tally->expected, publisher->members);
    CN_TALLY(crew->tally->due_acks, steady->acks);
    CN_TALLY(crew->tally->sent, 1);
    if (crew->phase == CN_PHASE_RUNNING)
        CN_TALLY(crew->tally->measured_messages, 1);
    put(crew, publisher, number, due_us, false);
}

// ---- Answers ----

static struct cn_slot *find_slot(const struct cn_publisher *publisher, long id)
{
    if (publisher->slots == NULL || id < 1)
        return NULL;
    struct cn_slot *slot = slot_at(publisher, (uint64_t)id);
    return slot->number == (uint64_t)id ? slot : NULL;
}

// The place in the room's order that was acked must be the one where the message is.
static void compare(struct cn_crew *crew, const struct cn_slot *slot)
{
    if (!cn_pos_is_zero(slot->acked) && !cn_pos_is_zero(slot->delivered))
        crew->watch.disordered += cn_pos_compare(slot->acked, slot->delivered) != 0;
}

void cn_publisher_ack(struct cn_publisher *publisher, const struct cn_unit *unit, int64_t now_us)
{
    struct cn_crew *crew = publisher->client->crew;
    struct cn_slot *slot = find_slot(publisher, unit->id);
    if (slot == NULL || slot->is_acked) {
        crew->watch.duplicates++;
        return;
    }
    slot->is_acked = true;
    slot->acked = unit->pos;
    compare(crew, slot);
    CN_TALLY(crew->tally->acks, 1);
    if (slot->due_us >= crew->watch.measured_from_us)
        cn_histogram_add(&crew->tally->ack, now_us - slot->due_us, 1);
    atomic_store_explicit(&crew->tally->last_us, now_us, memory_order_relaxed);
    release(crew, publisher->number, slot->number);
}

void cn_publisher_delivered(struct cn_publisher *publisher, const struct cn_stamp *stamp,
                            const struct cn_unit *unit)
{
    struct cn_slot *slot = find_slot(publisher, (long)stamp->seq + 1);
    bool own = stamp->room == publisher->target && stamp->lane == publisher->lane;
    if (slot == NULL || !own || !cn_pos_is_zero(slot->delivered))
        return;
    slot->delivered = unit->pos;
    compare(publisher->client->crew, slot);
}

void cn_publisher_refusal(struct cn_publisher *publisher, const struct cn_unit *unit,
                          int64_t now_us)
{
    struct cn_crew *crew = publisher->client->crew;
    struct cn_slot *slot = find_slot(publisher, unit->id);
    if (slot == NULL || !unit->retry) {
        CN_TALLY(crew->tally->refusals, 1);
        return;
    }
    crew->again += slot->again_us == 0;
    slot->again_us = now_us + (int64_t)(drand48() * AGAIN_MS * 1e3) + 1;
}

static void send_again(struct cn_crew *crew, struct cn_publisher *publisher, int64_t now_us)
{
    for (long i = 0; i < crew->steady->slots; i++) {
        struct cn_slot *slot = &publisher->slots[i];
        if (slot->again_us == 0 || slot->again_us > now_us)
            continue;
        slot->again_us = 0;
        crew->again--;
        CN_TALLY(crew->tally->retries, 1);
        put(crew, publisher, slot->number, slot->due_us, true);
    }
}

// ---- All of them ----

void cn_crew_begin_phase(struct cn_crew *crew)
{
    const struct cn_steady *steady = crew->steady;
    uint64_t messages = (uint64_t)steady->bench->options.messages;
    uint64_t publishers = (uint64_t)steady->plan.publishers;
    bool bounded = messages > 0 && crew->phase == CN_PHASE_RUNNING;
    crew->phase_sent = 0;
    crew->phase_quota = 0;
    for (long i = 0; i < crew->publisher_count; i++) {
        struct cn_publisher *publisher = &crew->publishers[i];
        publisher->phase_sent = 0;
        publisher->quota = UINT64_MAX;
        if (bounded)
            publisher->quota =
                messages / publishers + ((uint64_t)publisher->number < messages % publishers);
        crew->phase_quota += bounded ? publisher->quota : 0;
    }
    cn_crew_wake_publishers(crew);
}

// As fast as slots get free.
static void publish_loop(struct cn_crew *crew)
{
    while (crew->ready != NULL) {
        struct cn_publisher *publisher = crew->ready;
        crew->ready = publisher->next;
        publisher->queued = false;
        while (can_send(publisher))
            publish(crew, publisher, cn_clock_us());
    }
}

// One after the other, each when it is due; microseconds until the next one is.
static int64_t publish_paced(struct cn_crew *crew)
{
    const struct cn_steady *steady = crew->steady;
    uint64_t count = (uint64_t)crew->publisher_count;
    int64_t now_us = cn_clock_us();
    while (count > 0) {
        struct cn_publisher *publisher = &crew->publishers[crew->phase_sent % count];
        uint64_t before = crew->phase_sent / count * (uint64_t)steady->plan.publishers +
                          (uint64_t)publisher->number;
        int64_t due_us =
            crew->phase_us + (int64_t)((double)before * 1e6 / steady->bench->options.rate);
        if (due_us > now_us)
            return due_us - now_us;
        if (!can_send(publisher))
            break;
        publish(crew, publisher, due_us);
    }
    return IDLE_US;
}

static void send_all_again(struct cn_crew *crew)
{
    int64_t now_us = cn_clock_us();
    for (long i = 0; i < crew->publisher_count && crew->again > 0; i++)
        send_again(crew, &crew->publishers[i], now_us);
}

int64_t cn_crew_publish(struct cn_crew *crew)
{
    int64_t wait_us = IDLE_US;
    if (crew->again > 0)
        send_all_again(crew);
    if (sends_now(crew) && crew->steady->bench->options.rate > 0)
        wait_us = publish_paced(crew);
    else if (sends_now(crew))
        publish_loop(crew);
    bool sent_all = crew->phase == CN_PHASE_RUNNING && crew->phase_sent == crew->phase_quota;
    atomic_store_explicit(&crew->tally->sent_all, sent_all, memory_order_relaxed);
    if (crew->again > 0 && wait_us > AGAIN_LOOK_US)
        return AGAIN_LOOK_US;
    return wait_us < IDLE_US ? wait_us : IDLE_US;
}
