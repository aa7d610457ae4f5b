// SPDX-License-Identifier: MIT
// The publishers of bench_storm: one a room, at a steady pace, one message in flight each, so that
// the order of the numbers is the order of the log.
#include <stdio.h>
#include <string.h>

#include "storm.h"

static void send_number(struct client *client, long number)
{
    char text[9000];
    int len =
        snprintf(text, sizeof(text),
                 "{\"type\":\"message\",\"room\":\"%s\",\"id\":\"%ld\",\"content\":\"%0*ld\"}",
                 client->room->name, number, client->storm->options.content_len, number);
    client->waiting = number;
    if (client->link.stage == LINK_OPEN)
        link_send(&client->link, text, (size_t)len);
    link_flush(&client->link);
}

void storm_publish_again(struct client *client)
{
    client->storm->counts.retries++;
    send_number(client, client->waiting);
}

static int64_t due_us(const struct storm *storm, const struct client *client)
{
    const struct options *options = &storm->options;
    double share = (double)client->room->sent + (double)client->number / options->rooms;
    return storm->begin_us + (int64_t)(share * options->seconds * 1e6 / (double)options->messages);
}

bool storm_publish(struct storm *storm, int64_t now_us)
{
    bool more = false;
    for (int i = 0; i < storm->options.rooms; i++) {
        struct client *client = &storm->clients[i];
        more |= client->room->acked < storm->options.messages;
        if (client->waiting || client->where != WHERE_IN ||
            client->room->sent >= storm->options.messages || now_us < due_us(storm, client))
            continue;
        send_number(client, ++client->room->sent);
    }
    return more;
}

void storm_publish_answer(struct client *client, const char *text)
{
    if (text_number(text, "\"id\":\"") != client->waiting)
        return;
    if (strstr(text, "\"type\":\"ack\"")) {
        client->room->acked = client->waiting;
        if (client->room->newest < client->waiting)
            client->room->newest = client->waiting;
        client->waiting = 0;
    } else {
        storm_publish_again(client);
    }
}
