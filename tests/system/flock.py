# SPDX-License-Identifier: MIT
"""Hundreds of sessions in one epoll loop: members that hash what they get, publishers that keep a window full."""
import hashlib
import json
import select
import time

from clients import PING, PONG, TEXT, RawClient, frame_bytes, split_frames
from harness import DEADLINE


class Member:
    """A session in one room that only reads. All members of a room must get the same bytes after `joined`."""

    def __init__(self, node, room, keep=False, user=None):
        client = RawClient(node.port)
        client.open(user=user, room=room)
        assert not client.pending and not client.buffer, "something was published before all members had joined"
        self.sock = client.sock
        self.sock.setblocking(False)
        self.hash = hashlib.blake2b(digest_size=16)
        self.received = 0
        self.kept = bytearray() if keep else None

    def fileno(self):
        return self.sock.fileno()

    def ready(self):
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        assert data, "a member was closed"
        self.received += len(data)
        self.hash.update(data)
        if self.kept is not None:
            self.kept += data

    def messages(self):
        """The parsed text frames of a member made with keep=True."""
        frames, rest = split_frames(bytes(self.kept))
        assert not rest
        return [json.loads(payload) for opcode, payload in frames if opcode == TEXT]


class Publisher:
    """A session that publishes `count` messages with at most `window` of them unanswered."""

    def __init__(self, node, room, name, count, window, pad=""):
        self.client = RawClient(node.port)
        self.client.open(user=name, room=room)
        self.sock = self.client.sock
        self.sock.setblocking(False)
        self.room, self.name, self.count, self.window, self.pad = room, name, count, window, pad
        self.sent, self.acks, self.errors = 0, {}, []
        self.out, self.into = bytearray(), bytearray(self.client.buffer)
        self.resend = []

    def fileno(self):
        return self.sock.fileno()

    @property
    def done(self):
        return len(self.acks) == self.count

    def fill(self):
        """Brings the number of unanswered messages back to the window."""
        while self.resend:
            self._queue(self.resend.pop())
        while self.sent < self.count and self.sent - len(self.acks) < self.window:
            self._queue(self.sent)
            self.sent += 1
        self._write()

    def _queue(self, number):
        self.out += frame_bytes(TEXT, json.dumps({"type": "message", "room": self.room, "id": f"{self.name}-{number}",
                                                  "content": f"{self.name} {number} {self.pad}"}))

    def _write(self):
        while self.out:
            try:
                done = self.sock.send(self.out)
            except BlockingIOError:
                return
            del self.out[:done]

    def ready(self):
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        assert data, f"publisher {self.name} was closed"
        self.into += data
        frames, self.into = split_frames(self.into)
        for opcode, payload in frames:
            if opcode == PING:
                self.out += frame_bytes(PONG, payload)
            elif opcode == TEXT and payload.startswith(b'{"type":"ack"'):
                ack = json.loads(payload)
                self.acks[ack["id"]] = ack["pos"]
            elif opcode == TEXT and payload.startswith(b'{"type":"error"'):
                self._failed(json.loads(payload))
        self.fill()

    def _failed(self, error):
        """A retryable error: the same id is sent again."""
        assert error["retry"] and error.get("id"), error
        self.errors.append(error)
        self.resend.append(int(error["id"].rsplit("-", 1)[1]))


def run(sessions, finished, deadline=DEADLINE * 6, turn=None):
    """Serves all sessions until `finished()`; `turn()` is called after each round."""
    epoll, by_fd = select.epoll(), {}
    for session in sessions:
        epoll.register(session.fileno(), select.EPOLLIN)
        by_fd[session.fileno()] = session
    for session in sessions:
        if isinstance(session, Publisher):
            session.fill()
    end = time.monotonic() + deadline
    try:
        while not finished():
            assert time.monotonic() < end, f"not finished within {deadline:g} s: {progress(sessions)}"
            for fd, _ in epoll.poll(0.1):
                by_fd[fd].ready()
            for session in sessions:
                if isinstance(session, Publisher) and session.out:
                    session.fill()
            if turn:
                turn()
    finally:
        epoll.close()


def progress(sessions):
    """A short text for a failure."""
    acks = [len(s.acks) for s in sessions if isinstance(s, Publisher)]
    received = sorted({s.received for s in sessions if isinstance(s, Member)})
    return f"acks {acks}, bytes at members {received[:3]}..{received[-3:]}"


def run_to_the_end(members, publishers, deadline=DEADLINE * 6, turn=None):
    """Publishes everything, waits until each member has got as many bytes as the most advanced one and that one has
    every message; returns the messages of the first member, which must have been made with keep=True."""
    witness = members[0]
    run(members + publishers, lambda: all(publisher.done for publisher in publishers), deadline, turn)
    total = sum(publisher.count for publisher in publishers)
    marks = [f"{publisher.name}-{publisher.count - 1}".encode() for publisher in publishers]

    def complete():
        count = witness.kept.count(b'"type":"message"')
        assert count <= total, f"{count} messages instead of {total}: some came twice"
        tail = bytes(witness.kept[-(1 << 20):])
        return (len({member.received for member in members}) == 1
                and all(mark in tail or mark in witness.kept for mark in marks)
                and count == total)

    run(members + publishers, complete, deadline)
    return witness.messages()


def check(messages, members, publishers):
    """Same bytes everywhere; every acked message once, at its position, each publisher's own in order."""
    digests = {member.hash.digest() for member in members}
    assert len(digests) == 1, f"{len(digests)} different streams"
    kinds = {message["type"] for message in messages}
    assert kinds == {"message"}, kinds
    acked = {mark: pos for publisher in publishers for mark, pos in publisher.acks.items()}
    found = {message["id"]: message["pos"] for message in messages}
    assert len(found) == len(messages), "a message came twice"
    assert found == acked
    positions = [tuple(int(part) for part in message["pos"].split("-")) for message in messages]
    assert all(a < b for a, b in zip(positions, positions[1:])), "positions do not rise"
    for publisher in publishers:
        if not publisher.errors:
            own = [int(m["id"].rsplit("-", 1)[1]) for m in messages if m["from"] == publisher.name]
            assert own == list(range(publisher.count)), f"{publisher.name} is out of order"
