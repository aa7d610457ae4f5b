# SPDX-License-Identifier: MIT
"""A paced publisher, readers that keep up, and many that do not read at all: what the latter cost the node in memory, and
the former in time.
"""
import re
import select
import time

from clients import TEXT, RawClient, frame_bytes

ROOM = "busy"
MARK = re.compile(rb'"content":"(\d+) (\d+) ')


class Reader:
    """A session that keeps up; checks that the numbers come without a hole and notes how late each is."""

    def __init__(self, port):
        self.client = RawClient(port)
        self.client.open(room=ROOM)
        self.client.sock.setblocking(False)
        self.last, self.late, self.wrong, self.rest = 0, [], 0, b""

    def read(self):
        data = self.rest + self.client.sock.recv(1 << 20)
        now, end = time.monotonic_ns(), 0
        for found in MARK.finditer(data):
            number, sent = int(found[1]), int(found[2])
            self.wrong += number != self.last + 1
            self.last = number
            self.late.append((now - sent) / 1e6)
            end = found.end()
        self.rest = data[end:][-64:]


def stall(port):
    """A session that will never read, with little room in its socket."""
    client = RawClient(port, rcvbuf=4096)
    client.open(room=ROOM)
    return client


class Busy:
    """The publisher and its readers."""

    def __init__(self, port, readers):
        self.readers = [Reader(port) for _ in range(readers)]
        self.epoll, self.by_fd = select.epoll(), {}
        for reader in self.readers:
            self.epoll.register(reader.client.sock.fileno(), select.EPOLLIN)
            self.by_fd[reader.client.sock.fileno()] = reader
        self.publisher = RawClient(port)
        self.publisher.open(room=ROOM)
        self.publisher.sock.setblocking(False)
        self.sent, self.errors = 0, 0

    def turn(self, wait):
        for fd, _ in self.epoll.poll(max(wait, 0)):
            self.by_fd[fd].read()
        try:
            while data := self.publisher.sock.recv(1 << 20):
                self.errors += data.count(b'"type":"error"')
        except BlockingIOError:
            pass

    def publish(self, content):
        self.sent += 1
        text = f'{{"type":"message","room":"{ROOM}","content":"{self.sent} {time.monotonic_ns()} {"x" * content}"}}'
        self.publisher.sock.setblocking(True)
        self.publisher.sock.sendall(frame_bytes(TEXT, text))
        self.publisher.sock.setblocking(False)

    def run(self, seconds, rate, content):
        """Publishes at an even pace; the lateness of all that came, in ms, sorted."""
        for reader in self.readers:
            reader.late.clear()
        begin = time.monotonic()
        for number in range(int(seconds * rate)):
            while time.monotonic() < begin + number / rate:
                self.turn(begin + number / rate - time.monotonic())
            self.publish(content)
        end = time.monotonic() + 10
        while any(reader.last < self.sent for reader in self.readers) and time.monotonic() < end:
            self.turn(0.1)
        return sorted(late for reader in self.readers for late in reader.late)

    @property
    def is_whole(self):
        return not self.errors and all(reader.last == self.sent and not reader.wrong for reader in self.readers)


def share(late, part):
    return round(late[min(len(late) - 1, int(len(late) * part))], 2)


def measure(node, clients, readers, rate, seconds, content):
    """The figures: lateness without and with `clients` stalled ones, and the node's memory after so many messages."""
    busy = Busy(node.port, readers)
    busy.run(seconds / 3, rate, content)  # the rings are full
    alone = busy.run(seconds, rate, content)
    rss = [node.rss_bytes()]
    crowd = [stall(node.port) for _ in range(clients)]
    late = []
    for _ in range(3):
        late += busy.run(seconds / 3, rate, content)
        rss.append(node.rss_bytes())
    late.sort()
    return {"stalled": clients, "readers": readers, "messages": busy.sent, "content": content, "complete": busy.is_whole,
            "errors": busy.errors, "lost": sum(reader.wrong for reader in busy.readers),
            "behind": busy.sent - min(reader.last for reader in busy.readers),
            "sessions": round(node.metric("chatnode_sessions")),
            "lagging": round(node.metric("chatnode_lagging_members")),
            "alone_ms": {"p50": share(alone, .5), "p99": share(alone, .99)},
            "among_stalled_ms": {"p50": share(late, .5), "p99": share(late, .99)},
            "rss_mib": [round(value / 2 ** 20, 1) for value in rss],
            "rss_kib_a_stalled": round((rss[1] - rss[0]) / 1024 / len(crowd), 1)}
