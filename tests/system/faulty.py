# SPDX-License-Identifier: MIT
"""A small WebSocket server that hands every text to everybody, and that can be told to do it wrong."""
import asyncio
import base64
import hashlib
import json
import threading
import urllib.parse

from harness import free_port

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def frame(text):
    """A server's text frame."""
    payload = text.encode()
    head = bytes([0x81, len(payload)]) if len(payload) < 126 else b"\x81\x7e" + len(payload).to_bytes(2, "big")
    return head + payload


class Peer:
    """One connection; `number` counts those to its room, without those whose URL says that they publish: -1."""

    def __init__(self, writer, room, number):
        self.writer, self.room, self.number = writer, room, number

    def send(self, text):
        self.writer.write(frame(text))


class FaultyServer:
    """`deliver(server, peers, sender, number, text)` sends the room's `number`-th text (from 0) to its peers, or not."""

    def __init__(self, deliver, refusals=0, greet=None, retry_after=1):
        self.deliver, self.refusals, self.greet, self.retry_after = deliver, refusals, greet, retry_after
        self.rooms, self.counts, self.held = {}, {}, None
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait(10)

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/ws"

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        ready.set()
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def _serve(self, reader, writer):
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()

    async def _talk(self, reader, writer):
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        if self.refusals > 0:
            self.refusals -= 1
            writer.write(f"HTTP/1.0 503 Service Unavailable\r\nRetry-After: {self.retry_after}\r\n"
                         "Content-Length: 0\r\n\r\n".encode())
            return
        key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.split(" ")[1]).query)
        room = query.get("room", [""])[0]
        peers = self.rooms.setdefault(room, [])
        number = -1 if "publisher" in query else sum(other.number >= 0 for other in peers)
        peer = Peer(writer, room, number)
        peers.append(peer)
        if self.greet:
            self.greet(peer)
        while True:
            text = await self._read_text(reader)
            number = self.counts.get(room, 0)
            self.counts[room] = number + 1
            self.deliver(self, peers, peer, number, text)

    @staticmethod
    async def _read_text(reader):
        head = await reader.readexactly(2)
        size = head[1] & 127
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2), "big")
        mask = await reader.readexactly(4)
        payload = await reader.readexactly(size)
        return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)).decode()


# ---- Ways to deliver; `at` is the text that it happens to ----

def right(_server, peers, _sender, _number, text):
    """No fault."""
    for peer in peers:
        peer.send(text)


def losing(victims, at=5):
    def deliver(_server, peers, _sender, number, text):
        for peer in peers:
            if number != at or peer.number not in victims:
                peer.send(text)
    return deliver


def doubling(victims, at=5):
    def deliver(_server, peers, _sender, number, text):
        for peer in peers:
            peer.send(text)
            if number == at and peer.number in victims:
                peer.send(text)
    return deliver


def swapping(victims, at=5):
    """The victims get this text after the next one."""
    def deliver(server, peers, _sender, number, text):
        for peer in peers:
            if number != at or peer.number not in victims:
                peer.send(text)
            if number == at + 1 and peer.number in victims:
                peer.send(server.held)
        if number == at:
            server.held = text
    return deliver


def altering(victims, at=5):
    """Another last character."""
    def deliver(_server, peers, _sender, number, text):
        for peer in peers:
            peer.send(text[:-1] + "y" if number == at and peer.number in victims else text)
    return deliver


def straying(server, _peers, sender, number, text):
    """One text goes to all rooms."""
    for room, peers in server.rooms.items():
        for peer in peers:
            if number == 5 or room == sender.room:
                peer.send(text)


def fragmenting(_server, peers, _sender, number, text):
    """One text comes in two frames, which RFC 6455 section 5.4 allows."""
    for peer in peers:
        if number == 5:
            peer.writer.write(b"\x01\x01" + text[:1].encode())
            peer.writer.write(b"\x80" + frame(text[1:])[1:])
        else:
            peer.send(text)


def hanging_up(_server, peers, _sender, number, text):
    for peer in peers:
        if number == 5:
            peer.writer.close()
        else:
            peer.send(text)


# ---- The same in a node's protocol ----

def greet_as_node(peer):
    peer.send('{"type":"joined","pos":"0-0","inbox":true}')
    peer.send(json.dumps({"type": "joined", "room": peer.room, "pos": "0-0"}, separators=(",", ":")))


def as_node(change_ack=lambda number, ack: ack, refuse_first=0):
    """Delivers as a node does; `change_ack` may change an ack, or leave it out with None."""
    seen = {}

    def deliver(_server, peers, sender, _number, text):
        request = json.loads(text)
        tries = seen.setdefault(request["id"], [0])
        tries[0] += 1
        if tries[0] <= refuse_first:
            answer = {"type": "error", "id": request["id"], "code": "busy", "message": "later", "retry": True}
            sender.send(json.dumps(answer, separators=(",", ":")))
            return
        seq = sender.seq = getattr(sender, "seq", -1) + 1
        for peer in peers:
            peer.send(f'{{"pos":"7-{seq}","type":"message","room":"{peer.room}","content":"{request["content"]}"}}')
        ack = change_ack(seq, {"type": "ack", "id": request["id"], "pos": f"7-{seq}"})
        if ack:
            sender.send(json.dumps(ack, separators=(",", ":")))
    return deliver
