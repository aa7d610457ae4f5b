// SPDX-License-Identifier: MIT
// Bun's own publish and subscribe, as its documentation shows it. With a Redis every node publishes
// to Redis, and hands on what it hears from there: the hand-written way to several nodes.
// Usage: bun bun.js PORT [REDIS-URL]
import { RedisClient } from "bun";

const [port, redisUrl] = process.argv.slice(2);
const rooms = new Map(); // name -> promise: subscribed at Redis
let publisher, subscriber;

if (redisUrl) {
    publisher = new RedisClient(redisUrl);
    subscriber = new RedisClient(redisUrl);
    await Promise.all([publisher.connect(), subscriber.connect()]);
}

function subscribed(room) {
    if (redisUrl && !rooms.has(room))
        rooms.set(room, subscriber.subscribe(room, (text, channel) => server.publish(channel, text)));
    return rooms.get(room);
}

const server = Bun.serve({
    hostname: "127.0.0.1",
    port: Number(port),
    async fetch(request, server) {
        const room = new URL(request.url).searchParams.get("room");
        if (room === null)
            return new Response("a room, please\n", { status: 400 });
        await subscribed(room);
        return server.upgrade(request, { data: { room } }) ? undefined : new Response("", { status: 400 });
    },
    websocket: {
        perMessageDeflate: false,
        idleTimeout: 960,
        sendPings: false,
        open(socket) {
            socket.subscribe(socket.data.room);
        },
        message(socket, text) {
            if (redisUrl)
                publisher.publish(socket.data.room, text);
            else
                server.publish(socket.data.room, text);
        },
    },
});
