// SPDX-License-Identifier: MIT
// ws on Node.js: a broadcast to the members of a room, as its documentation shows it, with the
// native add-on that it recommends (bufferutil, which it loads by itself).
// Usage: node ws.js PORT
import { WebSocket, WebSocketServer } from "ws";

const rooms = new Map(); // name -> set of members
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

function join(name, socket) {
    let members = rooms.get(name);
    if (!members)
        rooms.set(name, (members = new Set()));
    members.add(socket);
    return members;
}

server.on("connection", (socket, request) => {
    const room = new URL(request.url, "http://localhost").searchParams.get("room");
    const members = join(room, socket);
    socket.on("message", (data, isBinary) => {
        for (const member of members)
            if (member.readyState === WebSocket.OPEN)
                member.send(data, { binary: isBinary });
    });
    socket.on("close", () => members.delete(socket));
    socket.on("error", () => socket.terminate());
});
