// SPDX-License-Identifier: MIT
// Socket.IO with rooms; with a Redis through its Redis adapter. Of its page on performance: only
// WebSocket, the native add-on (bufferutil), and the handshake's request is let go.
// Usage: node socketio.js PORT [REDIS-URL]
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, redisUrl] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false, perMessageDeflate: false });

if (redisUrl) {
    const { createClient } = await import("redis");
    const { createAdapter } = await import("@socket.io/redis-adapter");
    const publisher = createClient({ url: redisUrl });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createAdapter(publisher, subscriber));
}

io.engine.on("connection", (raw) => {
    raw.request = null;
});
io.on("connection", (socket) => {
    const { room } = socket.handshake.auth;
    socket.join(room);
    socket.on("m", (text) => io.to(room).emit("m", text));
});
http.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
