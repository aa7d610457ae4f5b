// SPDX-License-Identifier: MIT
// One connection of a steady load: it joins, and what it receives is checked and counted.
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "steady_private.h"

enum { RETRY_MS = 1000 }; // where a server refuses and does not say for how long

static bool is_extra(const struct cn_client *client)
{
    return client->number >= client->crew->steady->plan.clients;
}

struct cn_party cn_client_party(const struct cn_client *client)
{
    const struct cn_steady *steady = client->crew->steady;
    struct cn_party party = {.tag = steady->bench->tag, .number = client->number, .room = 0};
    if (!is_extra(client))
        party.room = cn_plan_room(&steady->plan, client->number);
    if (steady->plan.pairs) {
        party.number = party.room;
        party.room = -1;
    }
    return party;
}

static const struct cn_dialect *dialect_of(const struct cn_client *client)
{
    return client->crew->steady->bench->dialect;
}

// ---- Coming ----

static void note_joined(struct cn_client *client)
{
    struct cn_crew *crew = client->crew;
    client->joined = true;
    crew->connecting--;
    CN_TALLY(crew->tally->connected, 1);
    cn_histogram_add(&crew->tally->connect, cn_clock_us() - client->began_us, 1);
}

static void on_open(struct cn_link *link)
{
    struct cn_client *client = (struct cn_client *)link;
    const struct cn_dialect *dialect = dialect_of(client);
    struct cn_party party = cn_client_party(client);
    if (dialect->hello != NULL) {
        char *text = malloc(CN_DIALECT_TEXT_MAX);
        CN_ASSERT(text != NULL);
        cn_link_send(link, text, dialect->hello(&party, text, CN_DIALECT_TEXT_MAX));
        free(text);
        cn_link_flush(link);
    }
    if (dialect->greetings == NULL || dialect->greetings(&party) == 0)
        note_joined(client);
}

static void on_ready(struct cn_client *client)
{
    struct cn_party party = cn_client_party(client);
    client->greetings++;
    if (!client->joined && client->greetings == dialect_of(client)->greetings(&party))
        note_joined(client);
}

static void come_again(struct cn_client *client, int wait_ms)
{
    struct cn_crew *crew = client->crew;
    crew->connecting--;
    crew->waiting++;
    client->due_us = cn_clock_us() + wait_ms * INT64_C(1000);
}

static void on_end(struct cn_link *link, int status, int retry_after_ms)
{
    struct cn_client *client = (struct cn_client *)link;
    struct cn_crew *crew = client->crew;
    if (client->joined) {
        CN_TALLY(crew->tally->dropped, 1);
    } else if (status == 503) {
        CN_TALLY(crew->tally->refused, 1);
        come_again(client, retry_after_ms > 0 ? retry_after_ms : RETRY_MS);
    } else if (status != 0) {
        cn_bench_fail(CN_BENCH_UNREACHABLE, "the server refuses the WebSocket with HTTP status %d",
                      status);
    } else if (crew->tally->connected == 0) {
        cn_bench_fail(CN_BENCH_UNREACHABLE, "no server answers, or it hangs up");
    } else {
        come_again(client, RETRY_MS);
    }
}

// ---- Receiving ----

static void answer(struct cn_client *client, const struct cn_unit *ping)
{
    const struct cn_dialect *dialect = dialect_of(client);
    char bytes[512];
    if (dialect->answer == NULL || ping->len + CN_WS_HEADER_MAX > sizeof(bytes))
        return;
    cn_link_send_raw(&client->link, bytes, dialect->answer(ping, bytes, sizeof(bytes)));
    cn_crew_touch(client);
}

static void on_message(struct cn_client *client, const struct cn_unit *unit, const char *bytes,
                       int64_t now_us)
{
    struct cn_crew *crew = client->crew;
    struct cn_stamp stamp;
    if (client->stream == NULL ||
        !cn_stamp_find(unit->text, unit->len, crew->steady->bench->tag, &stamp))
        return;
    bool own_copy = crew->steady->plan.pairs && stamp.room == (client->stream->room ^ 1u);
    if (own_copy)
        return;
    if (stamp.room != client->stream->room) {
        crew->watch.disordered++; // one that others were to get
        return;
    }
    CN_TALLY(crew->tally->texts, 1);
    CN_TALLY(crew->tally->text_bytes, unit->len);
    if (client->publisher != NULL)
        cn_publisher_delivered(client->publisher, &stamp, unit);
    cn_stream_take(client->stream, &client->member, bytes, unit->size, &stamp, now_us);
}

static void on_unit(struct cn_client *client, const struct cn_unit *unit, const char *bytes,
                    int64_t now_us)
{
    switch (unit->kind) {
    case CN_UNIT_MESSAGE:
        on_message(client, unit, bytes, now_us);
        break;
    case CN_UNIT_ACK:
        if (client->publisher != NULL)
            cn_publisher_ack(client->publisher, unit, now_us);
        break;
    case CN_UNIT_REFUSAL:
        if (client->publisher != NULL)
            cn_publisher_refusal(client->publisher, unit, now_us);
        break;
    case CN_UNIT_READY:
        on_ready(client);
        break;
    case CN_UNIT_GAP:
        CN_TALLY(client->crew->tally->gaps, 1);
        break;
    case CN_UNIT_PING:
        answer(client, unit);
        break;
    case CN_UNIT_PIECE:
        cn_bench_fail(CN_BENCH_INCOMPLETE,
                      "the server cuts messages into fragments, which the bench does not read");
    case CN_UNIT_OTHER:
        break;
    }
}

static size_t on_bytes(struct cn_link *link, char *bytes, size_t len)
{
    struct cn_client *client = (struct cn_client *)link;
    const struct cn_dialect *dialect = dialect_of(client);
    int64_t now_us = cn_clock_us();
    // Another process may send in the next phase already.
    client->crew->watch.measured_from_us =
        atomic_load_explicit(client->crew->steady->measured_from_us, memory_order_relaxed);
    size_t at = 0;
    while (at < len) {
        struct cn_unit unit;
        if (client->stream != NULL)
            at += cn_stream_follow(client->stream, &client->member, bytes + at, len - at, now_us);
        if (at == len || !dialect->cut(bytes + at, len - at, &unit))
            break;
        on_unit(client, &unit, bytes + at, now_us);
        at += unit.size;
    }
    return at;
}

static const struct cn_link_events client_events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_end = on_end};

void cn_client_open(struct cn_client *client)
{
    struct cn_crew *crew = client->crew;
    const struct cn_bench *bench = crew->steady->bench;
    const struct cn_endpoint *endpoint = cn_bench_endpoint(bench, client->number, is_extra(client));
    struct cn_party party = cn_client_party(client);
    char path[CN_LINK_PATH_BYTES] = "";
    size_t path_len = 0;
    if (bench->dialect->path != NULL)
        path_len = bench->dialect->path(endpoint->path, &party, path, sizeof(path));
    CN_ASSERT(path_len < sizeof(path));
    client->due_us = 0;
    client->greetings = 0;
    client->began_us = cn_clock_us();
    crew->connecting++;
    if (!cn_link_open(&client->link, &crew->links, &client_events, endpoint,
                      cn_bench_source(bench, client->number), bench->dialect->path ? path : NULL))
        cn_bench_fail(CN_BENCH_UNREACHABLE,
                      "no socket for connection %ld: the limits of "
                      "descriptors or ports are reached, or nothing answers",
                      client->number + 1);
}
