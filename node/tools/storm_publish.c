// SPDX-License-Identifier: MIT
// The publishers of a storm: one a room, at a steady pace, one message in flight each, so that the
// order of the numbers is the order of the log.
#include <stdio.h>
#include <string.h>

#include "chatnode/clock.h"
#include "storm_private.h"

static void send_number(struct cn_storm_client *client, long number)
{
    char content[CN_DIALECT_TEXT_MAX];
    char text[CN_DIALECT_TEXT_MAX];
    const struct cn_bench *bench = client->storm->bench;
    struct cn_party party = {bench->tag, client->number, client->room->number};
    int digits = snprintf(content, sizeof(content), "%0*ld", (int)bench->options.payload, number);
    size_t len =
        bench->dialect->publish(&party, -1, number, content, (size_t)digits, text, sizeof(text));
    client->waiting = number;
    if (client->link.stage != CN_LINK_OPEN)
        return;
    cn_link_send(&client->link, text, len);
    cn_link_flush(&client->link);
}

void cn_storm_publish_again(struct cn_storm_client *client)
{
    client->storm->counts.retries++;
    send_number(client, client->waiting);
}

static int64_t due_us(const struct cn_storm *storm, const struct cn_storm_client *client)
{
    const struct cn_storm_room *room = client->room;
    double share = ((double)room->sent + (double)room->number / (double)storm->publishers) /
                   (double)room->quota;
    return storm->begin_us + (int64_t)(share * storm->bench->options.seconds * 1e6);
}

bool cn_storm_publish(struct cn_storm *storm, int64_t now_us)
{
    bool more = false;
    for (long i = 0; i < storm->publishers; i++) {
        struct cn_storm_client *client = &storm->clients[i];
        more |= client->room->acked < client->room->quota;
        if (client->waiting || client->where != CN_STORM_IN ||
            client->room->sent >= client->room->quota || now_us < due_us(storm, client))
            continue;
        send_number(client, ++client->room->sent);
    }
    return more;
}

void cn_storm_answer(struct cn_storm_client *client, const char *text)
{
    if (cn_text_number(text, "\"id\":\"") != client->waiting)
        return;
    if (strstr(text, "\"type\":\"ack\"")) {
        client->room->acked = client->waiting;
        if (client->room->newest < client->waiting)
            client->room->newest = client->waiting;
        client->waiting = 0;
    } else if (strstr(text, "\"retry\":true")) {
        cn_storm_publish_again(client);
    } else {
        cn_bench_fail(CN_BENCH_INCOMPLETE, "the server refuses a message: %s", text);
    }
}
