# SPDX-License-Identifier: MIT
"""The clients of a run: publishers and readers that behave as docs/protocol.md asks, in one epoll loop, in a process of
their own. They write down what they did and saw as a history (history.py).

They resume by the newest position of each channel, drop positions that they know, send again under the same id until
an ack comes, and come back after a random time that grows with each failure ("full jitter"). Some misbehave on purpose:
they cut their sockets, stop reading for seconds, leave right after sending, or send through two nodes at once.

The parsing is by hand and by regular expression, since a run is about throughput.
"""
import base64
import collections
import heapq
import json
import multiprocessing
import random
import re
import select
import signal
import socket
import struct
import time

from history import BEGINNING, SEQ_BITS, SEQ_MASK, History, View

PUBLISHER_IDS = 10 ** 8  # a message's number is its publisher's index times this, plus a count
HERALD = 9999  # the index of the publisher that begins and ends each channel
PAD = b" " + b"abcdefgh" * 8
SILENT_S, DEAD_S = 2.0, 5.0  # after so long without a byte: asks for a sign of life; gives the connection up
UNANSWERED_S = 6.0  # a publish without any answer for so long on a connection that lives
CONNECT_S = 3.0
OFFLINE_S = 2.0

ENTRY = re.compile(rb'\{"pos":"(\d+)-(\d+)","ts":\d+,"type":"(?:message","room":"([^"]+)|direct)","from":"p(\d+)",'
                   rb'(?:"to":"([^"]+)",)?"content":"([^"]*)","id":"(\d+)"\}')
ACK = re.compile(rb'\{"type":"ack","id":"(\d+)","pos":"(\d+)-(\d+)","ts":\d+,"dup":(true|false)\}')
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


def masked(opcode, payload):
    """A client's frame under the mask zero, which leaves the bytes as they are."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, 0x80 | size, 0, 0, 0, 0)) + payload
    return bytes((opcode, 0xFE)) + struct.pack(">H", size) + b"\0\0\0\0" + payload


def inbox(user):
    return f"in:{user}"


class Session:
    """One client and its connections, one after the other. The subclass says what it asks for and what it does."""

    def __init__(self, crowd, user, rcvbuf=None):
        self.crowd, self.user, self.rcvbuf = crowd, user, rcvbuf
        self.random = random.Random(f"{crowd.seed} {user} {len(crowd.sessions)}")
        self.sock, self.open, self.handshaken = None, False, False
        self.into, self.out = b"", bytearray()
        self.attempts, self.next_try, self.port = 0, 0.0, None
        self.began = self.heard = 0.0
        self.asked = self.reading = True
        self.number = 0
        self.wanted = True
        crowd.sessions.append(self)

    # ---- Coming and going ----

    def connect(self, now):
        ports = [port for port in self.crowd.ports if port != self.port] or self.crowd.ports
        self.port = self.random.choice(ports)
        sock = socket.socket()
        sock.setblocking(False)
        if self.rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(("127.0.0.1", self.port))
        self.sock, self.open, self.handshaken = sock, False, False
        self.number = self.crowd.next_session()
        self.into, self.began, self.heard, self.asked, self.reading = b"", now, now, False, True
        key = base64.b64encode(self.random.randbytes(16)).decode()
        self.out = bytearray(f"GET /ws?{self.query()} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
                             .encode())
        self.crowd.by_fd[sock.fileno()] = self
        self.crowd.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def lose(self, now, abruptly=False, offline=0.0):
        """Closes, and sets the time to come back."""
        if self.sock is None:
            return
        self.crowd.counts["disconnects"] += 1
        if self.open and now - self.began > 1:
            self.attempts = 0
        self.attempts += 1
        del self.crowd.by_fd[self.sock.fileno()]
        if abruptly:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.sock, self.open = None, False
        self.next_try = now + offline + self.random.uniform(0, min(3.0, 0.1 * 2 ** self.attempts))
        self.on_lost(now)

    def turn(self, now):
        """Called some times a second."""
        if self.sock is None:
            if self.wanted and now >= self.next_try:
                self.connect(now)
            return
        if not self.handshaken and now - self.began > CONNECT_S:
            self.lose(now)
        elif self.reading and now - self.heard > DEAD_S:
            self.crowd.counts["connections given up as dead"] += 1
            self.lose(now)
        elif self.handshaken and not self.asked and now - self.heard > SILENT_S:
            self.asked = True
            self.send_json({"type": "ping"})
        if self.sock is not None and self.open:
            self.on_turn(now)

    # ---- Bytes ----

    def send_json(self, value):
        self.send(masked(TEXT, json.dumps(value, separators=(",", ":")).encode()))

    def send(self, data):
        waiting = bool(self.out)
        self.out += data
        if not waiting:
            self.write()

    def write(self):
        try:
            done = self.sock.send(self.out)
        except BlockingIOError:
            done = 0
        except OSError:
            self.crowd.broken.append(self)
            return
        del self.out[:done]
        self.watch()

    def watch(self):
        mask = (select.EPOLLIN if self.reading else 0) | (select.EPOLLOUT if self.out else 0)
        self.crowd.epoll.modify(self.sock.fileno(), mask)

    def serve(self, event, now):
        if event & select.EPOLLOUT and self.out:
            self.write()
        if event & select.EPOLLIN and self.reading:
            self.read(now)
        elif event & (select.EPOLLERR | select.EPOLLHUP):
            self.lose(now)

    def read(self, now):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose(now)
            return
        self.heard, self.asked = now, False
        self.into += data
        if not self.handshaken and not self.take_handshake(now):
            return
        self.take_frames(now)

    def take_handshake(self, now):
        head, found, rest = self.into.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.crowd.counts["refused handshakes"] += 1
            self.lose(now)
            return False
        self.handshaken, self.into = True, rest
        return True

    def take_frames(self, now):
        data, at, size = self.into, 0, len(self.into)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, start = data[at + 2] << 8 | data[at + 3], at + 4
            elif length == 127:
                if size - at < 10:
                    break
                length, start = struct.unpack_from(">Q", data, at + 2)[0], at + 10
            if start + length > size:
                break
            payload = data[start:start + length]
            if data[at] == TEXT:
                if payload.startswith(b'{"pos":"'):
                    self.on_entry(payload, now)
                else:
                    self.on_other(payload, now)
            else:
                self.on_control(data[at], payload, now)
            if self.sock is None:
                return
            at = start + length
        self.into = data[at:]

    def on_control(self, opcode, payload, now):
        if opcode == PING:
            self.send(masked(PONG, payload))
        elif opcode == CLOSE:
            code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
            self.crowd.counts[f"closed with {code}"] += 1
            self.lose(now)
        elif opcode != PONG:
            self.crowd.complain(f"{self.user}: a frame with first byte {opcode:#x}")

    def on_other(self, payload, now):
        if payload.startswith(b'{"type":"ack"'):
            found = ACK.fullmatch(payload)
            if found:
                self.on_ack(int(found[1]), found[2], int(found[3]), found[4] == b"true", now)
                return
        frame = json.loads(payload)
        kind = frame["type"]
        if kind == "welcome":
            self.open = True
            self.on_welcome(now)
        elif kind == "joined":
            self.on_joined(inbox(self.user) if frame.get("inbox") else frame["room"], frame, now)
        elif kind == "gap":
            self.on_gap(inbox(self.user) if frame.get("inbox") else frame["room"], now)
        elif kind == "error":
            self.crowd.counts["error " + frame["code"]] += 1
            self.on_error(frame, now)
        elif kind == "reconnect":
            if self.random.random() < 0.5:  # the others wait for the close
                self.lose(now)
        elif kind != "pong":
            self.crowd.complain(f"{self.user}: {payload[:200]}")

    # ---- What subclasses add ----

    def query(self):
        return f"user={self.user}&room="

    def on_welcome(self, now):
        """The session is open."""

    def on_lost(self, now):
        """The connection is gone."""

    def on_turn(self, now):
        """Some times a second while open."""

    def on_joined(self, channel, frame, now):
        """The answer to a join."""

    def on_gap(self, channel, now):
        """A gap was told."""

    def on_entry(self, payload, now):
        """A message of a channel."""

    def on_ack(self, msg, gen, seq, dup, now):
        """An ack."""

    def on_error(self, frame, now):
        """An error."""


class Watched:
    """A view being made: the history's record and what a client must keep to resume."""

    def __init__(self, view, gens):
        self.view, self.gens = view, gens
        self.gen_text, self.base, self.gen, self.seq = None, 0, -1, -1
        self.since = None  # what the join under way asked with
        self.joined = False

    def position(self):
        """What to resume with; None before there is one."""
        return f"{self.gen}-{self.seq}" if self.gen >= 0 else None

    def on_joined(self, pos, recovered, now):
        self.view.join(now, recovered, self._key(self.since) if self.since else None)
        self.joined = True
        if self.gen < 0 and self.view.start is None:
            gen, seq = pos.split("-")
            self.gen, self.seq = int(gen), int(seq)
            self.view.start = self._key(pos)

    def _key(self, text):
        gen, seq = text.split("-")
        return self.gens.key(int(gen), seq)

    def take(self, gen_text, seq, msg):
        """One entry: recorded, or dropped because its position is known."""
        if gen_text != self.gen_text:
            index = self.gens.of(gen_text)
            number = self.gens.numbers[index]
            if number < self.gen:
                self._drop(index << SEQ_BITS | seq, msg)
                return
            if number > self.gen:
                self.gen, self.seq = number, -1
            self.gen_text, self.base = gen_text, index << SEQ_BITS
        if seq <= self.seq:
            self._drop(self.base | seq, msg)
            return
        self.seq = seq
        self.view.take(self.base | seq, msg)

    def _drop(self, pos, msg):
        self.view.known[0].append(pos)
        self.view.known[1].append(msg)


class Watcher(Session):
    """A session that records what it sees of its inbox and perhaps of rooms."""

    def __init__(self, crowd, user, name, rooms, steady=True, rcvbuf=None):
        super().__init__(crowd, user, rcvbuf)
        self.rooms, self.steady = rooms, steady
        self.watched = {}
        for channel in [inbox(user), *rooms]:
            view = View(name, channel, steady)
            crowd.history.views.append(view)
            self.watched[channel] = Watched(view, crowd.history.gens)
        self.mine = self.watched[inbox(user)]
        # An inbox is watched from its beginning: a first join brings its newest entries.
        self.mine.view.start = BEGINNING
        self.by_room = {room.encode(): self.watched[room] for room in rooms}
        self.rejoin = []  # (due, room)

    def query(self):
        words = [f"user={self.user}"]
        words.append(f"room={self.rooms[0] if self.rooms else ''}")
        for watched in self.watched.values():
            watched.since, watched.joined = watched.position(), False
        if self.rooms and self.watched[self.rooms[0]].since:
            words.append(f"since={self.watched[self.rooms[0]].since}")
        if self.mine.since:
            words.append(f"inbox={self.mine.since}")
        self.rejoin.clear()
        return "&".join(words)

    def all_joined(self):
        return self.open and all(watched.joined for watched in self.watched.values())

    def on_welcome(self, now):
        for room in self.rooms[1:]:
            self.join(room)

    def join(self, room):
        watched = self.watched[room]
        watched.since, watched.joined = watched.position(), False
        request = {"type": "join", "room": room, "id": f"join-{room}"}
        if watched.since:
            request["since"] = watched.since
        self.send_json(request)

    def on_joined(self, channel, frame, now):
        self.watched[channel].on_joined(frame["pos"], frame["recovered"], now)

    def on_gap(self, channel, now):
        self.watched[channel].view.gap(now)

    def on_error(self, frame, now):
        name = frame.get("id", "")
        if name.startswith("join-") and frame["retry"]:
            self.rejoin.append((now + self.random.uniform(0, 0.5), name[5:]))
        else:
            self.crowd.complain(f"{self.user}: {frame}")

    def on_turn(self, now):
        due = [room for when, room in self.rejoin if when <= now]
        self.rejoin = [item for item in self.rejoin if item[0] > now]
        for room in due:
            self.join(room)

    def on_entry(self, payload, now):
        found = ENTRY.fullmatch(payload)
        if not found:
            self.crowd.complain(f"{self.user}: not an entry: {payload[:300]}")
            return
        gen, seq, room, sender, to, content, number = found.groups()
        watched = self.by_room.get(room) if room else self.mine
        msg = int(number)
        if watched is None:
            self.crowd.complain(f"{self.user}: a room that it is not in: {payload[:300]}")
            return
        watched.take(gen, int(seq), msg)
        if content != number + PAD or msg // PUBLISHER_IDS != int(sender) or \
                (to and self.user.encode() not in (to, b"p" + sender)):
            watched.view.odd.append((self.crowd.history.gens.key(gen, seq), payload[:300].decode(errors="replace")))
        if msg >= HERALD * PUBLISHER_IDS and self.crowd.marks.get(watched.view.channel) == msg:
            watched.view.complete = True

    def read(self, now):
        super().read(now)
        if self.steady:
            for watched in self.watched.values():
                view = watched.view
                if len(view.at) > (view.times[0][-1] if view.times[0] else 0):
                    view.times[0].append(len(view.at))
                    view.times[1].append(now)


class Reader(Watcher):
    """Reads rooms and an inbox. Flaky ones cut their socket now and then, slow ones stop reading for seconds."""

    def __init__(self, crowd, index, user, rooms):
        self.flaky, self.slow = index % 4 == 3, index % 6 == 2
        super().__init__(crowd, user, f"r{index}({user})", rooms, steady=not (self.flaky or self.slow),
                         rcvbuf=131072 if self.slow else None)
        self.next_whim, self.awake = 0.0, 0.0

    def on_welcome(self, now):
        super().on_welcome(now)
        self.next_whim = now + self.random.uniform(3, 8)

    def stall(self, now, seconds):
        if self.open and self.reading:
            self.reading, self.awake = False, now + seconds
            self.watch()

    def on_turn(self, now):
        super().on_turn(now)
        if not self.reading and now >= self.awake:
            self.reading, self.heard = True, now
            self.watch()
        if self.crowd.ending or now < self.next_whim or not self.reading:
            return
        self.next_whim = now + self.random.uniform(4, 10)
        if self.flaky:
            self.crowd.counts["cut by whim"] += 1
            self.lose(now, abruptly=self.random.random() < 0.5, offline=OFFLINE_S)
        elif self.slow:
            self.crowd.counts["stalled by whim"] += 1
            self.stall(now, self.random.uniform(1, 4))


class Publisher(Watcher):
    """Publishes to one room and now and then to a user, with a window of unanswered messages. It watches its inbox,
    where the copies of its direct messages come."""

    WINDOW = 32

    def __init__(self, crowd, index, rooms):
        super().__init__(crowd, f"p{index}", f"p{index}", [])
        self.index, self.to_join = index, rooms
        self.count = 0
        self.flight = {}  # message: [row, frame, due or None while it is under way, sent at]
        self.retries = []  # (due, message)
        self.twin = None
        self.ready = False
        self.leave_after_sending = False
        self.stale = {}  # message: row, of messages that were sent through two nodes and acked once

    def query(self):
        super().query()
        words = f"user={self.user}&room={self.to_join[0]}"
        return words + (f"&inbox={self.mine.since}" if self.mine.since else "")

    def on_welcome(self, now):
        self.missing = set(self.to_join)
        for room in self.to_join[1:]:
            self.send_json({"type": "join", "room": room, "id": f"join-{room}"})

    def on_joined(self, channel, frame, now):
        if channel == inbox(self.user):
            super().on_joined(channel, frame, now)
            return
        self.missing.discard(channel)
        if not self.missing and not self.ready:
            self.ready = True
            self.send_all_again(now)

    def join(self, room):
        self.send_json({"type": "join", "room": room, "id": f"join-{room}"})

    def on_gap(self, channel, now):
        if channel in self.watched:
            super().on_gap(channel, now)

    def on_lost(self, now):
        self.ready = False

    def on_entry(self, payload, now):
        if payload.find(b'"type":"direct"', 0, 100) > 0:
            super().on_entry(payload, now)

    # ---- Sending ----

    def room_left(self):
        return self.WINDOW - len(self.flight) if self.ready and len(self.out) < 65536 else 0

    def publish(self, now, room=None, to=None):
        """A new message to a room or to a user; its number."""
        self.count += 1
        msg = self.index * PUBLISHER_IDS + self.count
        rows, number = self.crowd.history.publishes, b"%d" % msg
        if to:
            row = rows.add(msg, inbox(to), self.number, now, inbox(self.user))
            head = b'{"type":"direct","to":"%s","content":"' % to.encode()
        else:
            row = rows.add(msg, room, self.number, now)
            head = b'{"type":"message","room":"%s","content":"' % room.encode()
        frame = masked(TEXT, head + number + PAD + b'","id":"' + number + b'"}')
        self.flight[msg] = [row, frame, now]
        self.send(frame)
        if self.twin and self.crowd.same_id_until > now and self.twin.ready:
            self.twin.send(frame)
            self.stale[msg] = row
            rows.attempts[row] += 1
            self.crowd.counts["sent through two nodes"] += 1
        return msg

    def send_again(self, msg, now):
        flight = self.flight.get(msg)
        if flight:
            rows = self.crowd.history.publishes
            rows.attempts[flight[0]] = min(rows.attempts[flight[0]] + 1, 60000)
            flight[2] = now
            self.send(flight[1])

    def send_all_again(self, now):
        """After a reconnect: all that is unanswered, in the order of the first sending."""
        self.retries.clear()
        for msg in sorted(self.flight):
            if self.sock is None:
                return
            self.send_again(msg, now)

    def on_ack(self, msg, gen, seq, dup, now):
        rows, pos = self.crowd.history.publishes, self.crowd.history.gens.of(gen) << SEQ_BITS | seq & SEQ_MASK
        flight = self.flight.pop(msg, None)
        row = flight[0] if flight else self.stale.pop(msg, None)
        if row is None:
            self.crowd.counts["acks of what was settled"] += 1
            return
        if flight:
            self.crowd.acked += 1
        rows.ack(row, pos, dup, now)

    def on_error(self, frame, now):
        name = frame.get("id", "")
        if not name.isdigit():
            super().on_error(frame, now)
            return
        msg = int(name)
        flight = self.flight.get(msg)
        if flight is None:
            return
        rows = self.crowd.history.publishes
        if not frame["retry"]:
            self.crowd.complain(f"{self.user}: {frame}")
            rows.fail(flight[0], now)
            del self.flight[msg]
            return
        wait = self.random.uniform(0, min(2.0, 0.05 * 2 ** min(rows.attempts[flight[0]], 8)))
        flight[2] = now + wait  # not unanswered while it waits
        heapq.heappush(self.retries, (now + wait, msg))

    def on_turn(self, now):
        super().on_turn(now)
        while self.ready and self.retries and self.retries[0][0] <= now:
            self.send_again(heapq.heappop(self.retries)[1], now)
        oldest = next(iter(self.flight.values()), None)
        if self.ready and oldest and now - oldest[2] > UNANSWERED_S:
            self.crowd.counts["neither ack nor error"] += 1
            self.lose(now)

    def after_sending(self, now):
        if self.leave_after_sending and self.flight and not self.out:
            self.leave_after_sending = False
            self.crowd.counts["left right after sending"] += 1
            self.lose(now, abruptly=self.random.random() < 0.5)


class Twin(Session):
    """A second session of a publisher, on another node, through which the same messages are sent at the same time."""

    def __init__(self, crowd, publisher):
        super().__init__(crowd, publisher.user)
        self.publisher, self.ready = publisher, False
        publisher.twin = self

    def query(self):
        return f"user={self.user}&room={self.publisher.to_join[0]}"

    def on_joined(self, channel, frame, now):
        self.ready = self.ready or channel == self.publisher.to_join[0]

    def on_lost(self, now):
        self.ready = False

    def on_ack(self, msg, gen, seq, dup, now):
        self.publisher.on_ack(msg, gen, seq, dup, now)


class Crowd:
    """The process's loop."""

    def __init__(self, pipe, options):
        self.pipe, self.options, self.seed = pipe, options, options["seed"]
        self.random = random.Random(f"{self.seed} crowd")
        self.history, self.counts = History(), collections.Counter()
        self.epoll, self.by_fd = select.epoll(), {}
        self.epoll.register(pipe.fileno(), select.EPOLLIN)
        self.ports, self.rooms = options["ports"], options["rooms"]
        self.sessions, self.broken, self.complaints = [], [], []
        self.readers, self.publishers = [], []
        self.herald = Publisher(self, HERALD, self.rooms)
        self.herald.WINDOW = 1 << 20
        self.marks, self.sessions_made, self.acked = {}, 0, 0
        self.same_id_until, self.credit, self.rate = 0.0, 0.0, 0.0
        self.last_turn, self.turn_at, self.next_publisher = 0.0, 0.0, 0
        self.ending, self.running = False, True

    def next_session(self):
        self.sessions_made += 1
        return self.sessions_made

    def complain(self, text):
        self.counts["complaints"] += 1
        if len(self.complaints) < 50:
            self.complaints.append(text)

    def run(self):
        while self.running:
            events = self.epoll.poll(0.01)
            now = time.monotonic()
            for fd, event in events:
                if fd == self.pipe.fileno():
                    self._obey(now)
                elif fd in self.by_fd:
                    self.by_fd[fd].serve(event, now)
            self._drop_broken(now)
            self._publish(now)
            if now >= self.turn_at:
                self.turn_at = now + 0.03
                for session in list(self.sessions):
                    session.turn(now)
                self._drop_broken(now)

    def _drop_broken(self, now):
        while self.broken:
            self.broken.pop().lose(now)

    def _publish(self, now):
        """Spends what the rate allows, round robin; what an outage kept back is caught up for three seconds' worth."""
        self.credit = min(self.credit + (now - self.last_turn) * self.rate, self.rate * 3)
        self.last_turn = now
        idle = 0
        while self.credit >= 1 and idle < len(self.publishers):
            publisher = self.publishers[self.next_publisher % len(self.publishers)]
            self.next_publisher += 1
            count = min(publisher.room_left(), int(self.credit), 8)
            idle = 0 if count > 0 else idle + 1
            for _ in range(count):
                if publisher.sock is None:
                    break
                self.credit -= 1
                self._one(publisher, now)
            publisher.after_sending(now)

    def _one(self, publisher, now):
        if self.random.random() < 0.05:
            publisher.publish(now, to=self.random.choice(self.options["users"]))
        else:
            publisher.publish(now, room=publisher.to_join[0])

    # ---- Orders ----

    def _obey(self, now):
        try:
            order, *words = self.pipe.recv()
        except EOFError:
            self.running = False
            return
        self.pipe.send(getattr(self, "order_" + order)(now, *words))

    def order_seed(self, now):
        """One message to each channel, so that no position is 0-0. False while it cannot be done yet."""
        herald = self.herald
        if not herald.ready or (herald.count and herald.flight):
            return False
        if herald.count:
            herald.wanted = False
            herald.lose(now)
            return True
        self._herald(now)
        return False

    def order_read(self, now):
        """The readers come."""
        for index in range(self.options["readers"]):
            user = self.options["users"][index // 2 % len(self.options["users"])]
            first = index % len(self.rooms)
            rooms = [self.rooms[first], self.rooms[(first + 1 + index // len(self.rooms)) % len(self.rooms)]]
            self.readers.append(Reader(self, index, user, list(dict.fromkeys(rooms))))
        for index in range(self.options["publishers"]):
            self.publishers.append(Publisher(self, index, [self.rooms[index % len(self.rooms)]]))
            if index % 3 == 0:
                Twin(self, self.publishers[-1])

    def order_publish(self, now, rate):
        self.rate, self.last_turn = rate, now

    def order_ready(self, now):
        """Every reader is in its rooms, and every publisher can publish."""
        return all(reader.all_joined() for reader in self.readers) and all(one.ready for one in self.publishers)

    def order_stall(self, now, picks, seconds):
        for pick in picks:
            self.readers[pick % len(self.readers)].stall(now, seconds)

    def order_cut(self, now, picks):
        for pick in picks:
            self.readers[pick % len(self.readers)].lose(now, abruptly=pick % 2 == 0, offline=OFFLINE_S)

    def order_lose_acks(self, now, picks):
        for pick in picks:
            self.publishers[pick % len(self.publishers)].leave_after_sending = True

    def order_same_id(self, now, seconds):
        self.same_id_until = now + seconds

    def order_stats(self, now):
        waiting = sum(len(one.flight) for one in self.publishers + [self.herald])
        return {"acked": self.acked, "waiting": waiting, "sent": len(self.history.publishes),
                "delivered": sum(len(view.at) for view in self.history.views if view.reader[0] == "r"),
                "behind": [view.name for view in self.history.views if not view.complete and view.reader != self.herald.user],
                "sockets": sum(session.sock is not None for session in self.sessions), **self.counts}

    def order_behind(self, now):
        """For a failure: where the readers are that did not get to the end, and how their connections do."""
        return [f"{watched.view.name} at {watched.position()}, joined {watched.joined}; port {one.port}, "
                f"connection {one.number}, {'open' if one.open else 'closed'}, {'reading' if one.reading else 'stalled'}, "
                f"heard {now - one.heard:.1f} s ago" for one in self.readers + self.publishers
                for watched in one.watched.values() if not watched.view.complete]

    def order_end(self, now):
        """No new messages, no more whims."""
        self.rate = self.credit = 0.0
        self.ending = True

    def order_mark(self, now):
        """The last message of each channel. False while it cannot be sent yet."""
        self.herald.wanted = True
        if not self.herald.ready:
            return False
        self.marks.update(self._herald(now))
        return True

    def _herald(self, now):
        rooms, herald = self.rooms, self.herald
        users = self.options["users"] + [f"p{index}" for index in range(self.options["publishers"])]
        sent = {room: herald.publish(now, room=room) for room in rooms}
        sent.update({inbox(user): herald.publish(now, to=user) for user in users})
        return sent

    def order_finish(self, now, path):
        """Writes the history, and ends."""
        self.history.marks = self.marks
        self.history.views = [view for view in self.history.views if view.reader != self.herald.user]
        self.history.counts = dict(self.counts)
        self.history.save(path)
        self.running = False
        return self.complaints


def _main(pipe, options):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Crowd(pipe, options).run()


class Handle:
    """The crowd's process. `crowd.publish(2000)` is Crowd.order_publish there; each returns its result."""

    def __init__(self, **options):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(theirs, options), daemon=True)
        self.process.start()
        theirs.close()

    def __getattr__(self, order):
        def call(*words):
            self.pipe.send((order, *words))
            return self.pipe.recv()

        return call

    def stop(self):
        self.pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
