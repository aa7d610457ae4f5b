# SPDX-License-Identifier: MIT
"""Clients that mean no good, each kind a thread of its own. They come from addresses of their own on loopback, keep
their pace, so that they attack the node and not the machine, and take whatever the node answers."""
import itertools
import json
import os
import random
import socket
import threading

from clients import BINARY, PING, TEXT, RawClient, frame_bytes, upgrade_request

_addresses = itertools.count(2)


class Villain(threading.Thread):
    """One kind of hostile client. `turn` is called again and again, `pause` seconds apart; what it opens it keeps in
    `clients`, of which there are never more than `at_once`."""

    pause = 0.1
    at_once = 20

    def __init__(self, port, room, stop):
        super().__init__(name=type(self).__name__, daemon=True)
        self.port, self.room, self.stopped = port, room, stop
        self.chance = random.Random(self.name)
        self.address = f"127.0.1.{next(_addresses) % 250}"
        self.clients, self.turns, self.refused = [], 0, 0

    def run(self):
        while not self.stopped.wait(self.pause):
            try:
                self.turn()
                self.turns += 1
            except OSError:
                self.refused += 1  # closed, reset, timed out: what a node may well do to one like this
                self.drop(1)
        self.drop(len(self.clients))

    def connect(self, handshake=True, **options):
        client = Hostile(self.port, self.address, **options)
        self.clients.append(client)
        if handshake:
            client.send(upgrade_request(f"/ws?room={self.room}"))
        if len(self.clients) > self.at_once:
            self.drop(1)
        return client

    def drop(self, count):
        for client in self.clients[:count]:
            client.sock.close()
        del self.clients[:count]

    def turn(self):
        raise NotImplementedError


class Hostile(RawClient):
    """A plain socket from another address, which never waits long."""

    def __init__(self, port, address, rcvbuf=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.bind((address, 0))
        self.sock.settimeout(1)
        self.sock.connect(("127.0.0.1", port))
        self.buffer = bytearray()

    def skim(self):
        """Reads what is there."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(1)


class SlowHeaders(Villain):
    """Many requests at once, a byte at a time."""

    REQUEST = upgrade_request("/ws")

    def turn(self):
        if len(self.clients) < self.at_once:
            self.connect(handshake=False).at = 0
        for client in self.clients:
            client.send(self.REQUEST[client.at % len(self.REQUEST):][:1])
            client.at += 1


class Silent(Villain):
    """Connects, and that is all."""

    at_once = 50

    def turn(self):
        self.connect(handshake=False)


class SlowReader(Villain):
    """In the room of all the others, with little room in its socket, and does not read."""

    pause = 1

    def turn(self):
        self.connect(rcvbuf=4096)


class Chatterer(Villain):
    """Says much to the slow readers."""

    at_once = 1

    def turn(self):
        if not self.clients:
            self.connect()
        for _ in range(5):
            self.clients[0].send_frame(TEXT, "x" * 2000)
        self.clients[0].skim()


class PingFlood(Villain):
    """Pings and nothing else, as many as there is room for."""

    pause = 0.02
    at_once = 4
    BURST = b"".join(frame_bytes(PING, b"x" * 100) for _ in range(50))

    def turn(self):
        if len(self.clients) < self.at_once:
            self.connect()
        client = self.chance.choice(self.clients)
        client.send(self.BURST)
        client.skim()


class Oversize(Villain):
    """Messages larger than any may be: whole, in parts without end, and in name only."""

    pause = 0.2

    def turn(self):
        client = self.connect()
        client.response_head(1)
        kind = self.turns % 3
        if kind == 0:
            client.send_frame(TEXT, b"x" * 70000)
        elif kind == 1:
            for part in range(80):
                client.send_frame(TEXT if part == 0 else 0, b"x" * 1000, fin=False)
        else:
            client.send(bytes([0x81, 0xff]) + (1 << 62).to_bytes(8, "big") + b"mask" + b"x" * 1000)


class RandomBytes(Villain):
    """Noise, before the handshake and after it."""

    def turn(self):
        client = self.connect(handshake=self.turns % 2 == 0)
        client.send(self.chance.randbytes(self.chance.randrange(1, 4000)))


class BadFrames(Villain):
    """Frames that are well-formed, and what is in them is not."""

    TEXTS = ["{", '{"type":1}', '{"type":"message","room":"../../etc"}', '{"type":"join","since":"x"}',
             '{"type":"history","limit":1e99}', '{"type":"direct","to":"' + "a" * 65 + '","content":1}',
             "[" * 5000, json.dumps({"type": "message", "content": [[]] * 4000}), '{"a":1,"a":2}']

    def turn(self):
        if len(self.clients) < 5:
            self.connect()
        client = self.chance.choice(self.clients)
        for text in self.chance.sample(self.TEXTS, 3):
            client.send_frame(TEXT, text)
        client.send_frame(BINARY, os.urandom(50))
        client.skim()


class BadHandshakes(Villain):
    """Requests that must not become sessions."""

    REQUESTS = [upgrade_request("/ws", Upgrade="h2c"), upgrade_request("/ws", Sec_WebSocket_Version="8"),
                upgrade_request("/ws", Sec_WebSocket_Key="short"), upgrade_request("/ws", method="POST"),
                upgrade_request("/ws", Origin="https://evil.example"), upgrade_request("/ws?user=" + "u" * 3000),
                b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]

    def turn(self):
        self.connect(handshake=False).send(self.chance.choice(self.REQUESTS))


class Storm(Villain):
    """Many at once, who are gone as soon as they have come."""

    pause = 3
    at_once = 150

    def turn(self):
        for _ in range(self.at_once):
            self.connect()
        self.drop(len(self.clients))


class Hopper(Villain):
    """Joins and leaves rooms without end, and asks for their history."""

    pause = 0.05
    at_once = 3

    def turn(self):
        if len(self.clients) < self.at_once:
            self.connect()
        client = self.chance.choice(self.clients)
        room = f"hop-{self.turns % 5000}"
        for frame in ({"type": "join", "room": room}, {"type": "history", "room": room, "limit": 200},
                      {"type": "leave", "room": room}):
            client.send_frame(TEXT, json.dumps(frame))
        client.skim()


KINDS = [SlowHeaders, Silent, SlowReader, Chatterer, PingFlood, Oversize, RandomBytes, BadFrames, BadHandshakes, Storm, Hopper]


class Gang:
    """All kinds at once, until it is dismissed."""

    def __init__(self, port, room):
        self.stop = threading.Event()
        self.villains = [kind(port, room, self.stop) for kind in KINDS]
        for villain in self.villains:
            villain.start()

    def dismiss(self):
        self.stop.set()
        for villain in self.villains:
            villain.join(10)
        return {villain.name: {"turns": villain.turns, "refused": villain.refused} for villain in self.villains}
