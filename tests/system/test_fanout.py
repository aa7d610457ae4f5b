# SPDX-License-Identifier: MIT
"""Slow readers cost nobody else anything, and never lose a message without being told."""
import json
import socket

import pytest

import flock
from clients import CLOSE, PING, TEXT, close_of, query_of
from harness import DEADLINE, SLOW, eventually, unique


def read_all(client, last_id, deadline=DEADLINE * 3):
    """(text frames up to the message with `last_id` or to the end, close code or None) of a raw client."""
    found = []
    while True:
        frame = client.recv_frame(deadline)
        if frame is None:
            return found, None
        if frame[0] == CLOSE:
            return found, close_of(frame)
        if frame[0] == TEXT:
            found.append(json.loads(frame[1]))
            if found[-1].get("id") == last_id:
                return found, None
        assert frame[0] in (TEXT, PING)


def has_no_silent_hole(frames):
    """Asserts that each message follows the one before, or a gap stands between them. Counts the gaps."""
    last, gaps, told = None, 0, False
    for frame in frames:
        if frame["type"] == "gap":
            gaps, told = gaps + 1, True
        elif frame["type"] == "message":
            gen, seq = (int(part) for part in frame["pos"].split("-"))
            if last is not None and not told:
                assert (gen, seq) == (last[0], last[1] + 1), f"{frame['pos']} after {last} without a gap"
            elif last is not None:
                assert (gen, seq) > last
            last, told = (gen, seq), False
    return gaps


@pytest.mark.parametrize("bus", ["memory", "redis"])
def test_a_member_that_stops_reading_delays_nobody_and_is_told_or_closed(start, connect, raw, room, bus):
    redis = start.redis() if bus == "redis" else None
    node = start.node(redis=redis, ring_frames=64, ring_bytes=65536, history_messages=200, loops=1).wait_ready()
    slow = raw(node, rcvbuf=4096)
    slow.open(room=room)
    bob, ann = connect(node, room=room), connect(node, room=room)
    for _ in range(200):
        for n in range(20):
            ann.say("x" * 1000, room)
        ann.collect("ack", 20)
    last = ann.publish("end", room)["id"]
    assert len(bob.collect("message", 4001)) == 4001
    frames, code = read_all(slow, last)
    gaps = has_no_silent_hole(frames)
    messages = [frame for frame in frames if frame["type"] == "message"]
    assert messages, "it got nothing at all"
    assert code == 4001 or gaps or len(messages) == 4001, (code, gaps, len(messages))
    ann.publish("afterwards", room)
    bob.expect("message", content="afterwards")


def test_a_member_that_pauses_within_the_ring_gets_every_message(start, connect, raw, room):
    node = start.node(ring_frames=16384, ring_bytes=64 << 20, history_messages=10000, loops=1)
    slow = raw(node, rcvbuf=4096)
    slow.open(room=room)
    ann = connect(node, room=room)
    for _ in range(150):
        for n in range(20):
            ann.say("y" * 2000, room)
        ann.collect("ack", 20)
    last = ann.publish("end", room)["id"]
    frames, code = read_all(slow, last)
    assert code is None
    assert [f["type"] for f in frames if f["type"] != "message"] == []
    assert len(frames) == 3001
    has_no_silent_hole(frames)


def test_a_lagging_member_still_gets_its_answers_whole(start, connect, raw, room):
    node = start.node(ring_frames=16384, ring_bytes=64 << 20, loops=1)
    slow = raw(node, rcvbuf=4096)
    slow.open(room=room)
    ann = connect(node, room=room)
    for turn in range(40):
        for n in range(20):
            ann.say("z" * 3000, room)
        ann.collect("ack", 20)
        slow.send_json({"type": "ping", "id": f"p{turn}"})
    last = ann.publish("end", room)["id"]
    slow.send_json({"type": "ping", "id": "last"})
    pongs, messages = [], 0
    while len(pongs) < 41 or messages < 801:
        frame = slow.recv_frame()
        assert frame and frame[0] in (TEXT, PING), frame
        if frame[0] == TEXT:
            value = json.loads(frame[1])
            if value["type"] == "pong":
                pongs.append(value["id"])
            messages += value["type"] == "message"
    assert pongs == [f"p{n}" for n in range(40)] + ["last"] and last


def test_answers_that_nobody_reads_close_with_4001(start, connect, raw):
    node = start.node(outbox=65536, loops=1)
    greedy, ann = raw(node, rcvbuf=4096), connect(node)
    greedy.open()
    for n in range(10):
        ann.publish("w" * 30000)
    request = json.dumps({"type": "history", "room": "lobby", "limit": 200})
    try:
        for _ in range(60):
            greedy.send_frame(TEXT, request)
    except (BrokenPipeError, ConnectionResetError):
        pass
    eventually(lambda: node.metric("chatnode_sessions") == 1, what="the slow session ended")
    ann.publish("fine")


def test_one_slow_reader_does_not_delay_the_others(start, raw, room):
    node = start.node(loops=1, ping_interval=600000, ring_frames=64, ring_bytes=65536)
    sleepers = [raw(node, rcvbuf=4096) for _ in range(20)]
    for sleeper in sleepers:
        sleeper.open(room=room)
    crowd = [flock.Member(node, room, keep=n == 0) for n in range(20)]
    writers = [flock.Publisher(node, room, unique("w"), 1000 if SLOW == 1 else 200, 16, pad="v" * 1500)]
    messages = flock.run_to_the_end(crowd, writers)
    flock.check(messages, crowd, writers)
    for sleeper in sleepers:
        frames, code = read_all(sleeper, f"{writers[0].name}-{writers[0].count - 1}")
        assert has_no_silent_hole(frames) or code == 4001 or len(frames) == writers[0].count


def test_slow_readers_cost_no_memory(start, raw, room):
    node = start.node(loops=1, history_messages=50)
    sleepers = [raw(node, rcvbuf=4096) for _ in range(100)]
    for sleeper in sleepers:
        sleeper.open(room=room)
    writer = flock.Publisher(node, room, unique("w"), 500, 8, pad="m" * 8000)
    flock.run([writer], lambda: len(writer.acks) > 50)
    before = node.rss_bytes()
    flock.run([writer], lambda: writer.done)
    grown = node.rss_bytes() - before
    assert grown < (64 << 20) * SLOW, f"{grown >> 20} MiB for 100 sleepers"


class Sleeper:
    """A member that takes a little when it is told to, and keeps what it got."""

    def __init__(self, client, room):
        self.client = client
        client.open(room=room)
        client.sock.setblocking(False)

    def take(self, most):
        try:
            self.client.buffer += self.client.sock.recv(most)
        except BlockingIOError:
            pass

    def wake(self, last_id):
        return read_all(self.client, last_id)


@pytest.mark.parametrize("bus", ["memory", "redis"])
def test_what_stalled_readers_cost_does_not_grow_with_what_they_miss(start, raw, room, bus):
    redis = start.redis() if bus == "redis" else None
    node = start.node(redis=redis, loops=1, slow_timeout=3600000, ping_interval=3600000, ring_frames=64,
                      history_messages=500, replay=0).wait_ready()  # what is kept for a replay is not the sleepers'
    sleepers = [Sleeper(raw(node, rcvbuf=4096), room) for _ in range(200)]
    crowd = [flock.Member(node, room, keep=n == 0) for n in range(5)]
    count = 6000 if SLOW == 1 else 2400
    writer = flock.Publisher(node, room, unique("w"), count, 16, pad="s" * 4000)
    sessions = crowd + [writer]
    flock.run(sessions, lambda: len(writer.acks) >= count // 3)
    eventually(lambda: node.metric("chatnode_lagging_members") == 200, what="all sleepers are behind")
    before, steps = node.rss_bytes(), []

    def nibble():
        """Twenty times each sleeper takes some of it: they fall off the ring, and stall in the midst of the log."""
        if len(writer.acks) > count // 3 + (len(steps) + 1) * count // 40:
            steps.append(None)
            for sleeper in sleepers:
                sleeper.take(65536)

    flock.run(sessions, lambda: writer.done, turn=nibble)
    messages = flock.run_to_the_end(crowd, [writer])
    flock.check(messages, crowd, [writer])
    assert len(steps) >= 20 and node.metric("chatnode_fallen_total") >= 200
    assert node.metric("chatnode_lagging_members") == 200
    grown = node.rss_bytes() - before
    # A sanitizer keeps what is freed for a while, and says nothing of memory in use.
    assert SLOW > 1 or grown < 10 << 20, f"{grown >> 10} KiB for 200 sleepers"
    for sleeper in sleepers[::20]:
        frames, code = sleeper.wake(f"{writer.name}-{count - 1}")
        assert code is None and frames[-1]["id"] == f"{writer.name}-{count - 1}"
        assert has_no_silent_hole(frames) > 0, "with a log of 500 something must be missing"


def test_who_takes_nothing_for_too_long_is_closed_and_nobody_else(start, raw, room):
    node = start.node(loops=2, slow_timeout=2000, ring_frames=64)
    sleepers = [raw(node, rcvbuf=4096) for _ in range(50)]
    for sleeper in sleepers:
        sleeper.open(room=room)
    crowd = [flock.Member(node, room, keep=n == 0) for n in range(5)]
    writer = flock.Publisher(node, room, unique("w"), 800, 8, pad="t" * 8000)
    talker = json.dumps({"type": "ping"})

    def talk():
        """To go on sending is no excuse."""
        try:
            sleepers[0].send_frame(TEXT, talker)
        except OSError:
            pass  # it is closed already, as it should be

    messages = flock.run_to_the_end(crowd, [writer], turn=talk)
    flock.check(messages, crowd, [writer])
    eventually(lambda: node.metric("chatnode_disconnects_total", 'reason="slow"') == 50, what="all sleepers are closed")
    assert node.metric("chatnode_sessions") == 6
    assert node.metric("chatnode_lagging_members") == 0
    for sleeper in sleepers[1:5]:
        frames, code = read_all(sleeper, None)
        assert code in (4001, None) and has_no_silent_hole(frames) == 0 and len(frames) < 800


def test_who_takes_nothing_and_ends_its_side_is_cut_off(start, raw, room):
    node = start.node(loops=1, slow_timeout=2000)
    writer, stalled = raw(node), raw(node, rcvbuf=2048)
    writer.open(room=room)
    stalled.open(room=room)
    connections = node.metric("chatnode_connections")
    while not node.metric("chatnode_lagging_members"):
        for _ in range(50):
            writer.send_json({"type": "message", "room": room, "content": "x" * 3000, "id": unique("m")})
            writer.until("ack")
    stalled.sock.shutdown(socket.SHUT_WR)
    eventually(lambda: node.metric("chatnode_connections") < connections, what="it is gone, though its socket is not")


def test_a_crowd_that_comes_back_reads_the_log_once(start, connect, raw, room):
    redis = start.redis()
    first, second = (start.node(redis=redis, loops=2).wait_ready() for _ in range(2))
    ann = connect(first, room=room)
    since = ann.publish("seen", room)["pos"]
    for n in range(40):
        ann.publish(n, room)
    crowd = [raw(second) for _ in range(200)]
    for client in crowd:
        client.open(room=room, since=since)
    last = ann.publish("end", room)["id"]
    for client in crowd:
        frames, _ = read_all(client, last)
        assert [frame["content"] for frame in frames] == [*range(40), "end"]
    reads = second.metric("chatnode_log_reads_total", 'kind="sent"')
    assert reads + second.metric("chatnode_log_reads_total", 'kind="shared"') >= 200
    assert reads <= 20 * SLOW, f"{reads} reads"


def test_loops_share_a_room(start):
    node = start.node(loops=4, ping_interval=600000)
    room = unique("many")
    crowd = [flock.Member(node, room, keep=n == 0) for n in range(40)]
    writers = [flock.Publisher(node, room, unique("w"), 500 if SLOW == 1 else 100, 16) for _ in range(4)]
    messages = flock.run_to_the_end(crowd, writers)
    flock.check(messages, crowd, writers)


def test_members_may_come_and_go_while_messages_flow(start, connect, raw, room):
    node = start.node(loops=2)
    writer = flock.Publisher(node, room, unique("w"), 2000 if SLOW == 1 else 400, 4)
    visitors = []

    def visit():
        if len(writer.acks) > len(visitors) * 20:
            client = raw(node)
            client.handshake(query_of(None, room, None, None))
            visitors.append(client)
            if len(visitors) > 5:
                visitors[-5].sock.close()

    flock.run([writer], lambda: writer.done, turn=visit)
    assert len(visitors) >= 19
    stayed = visitors[-1]
    stayed.until("joined", room=room)
    writer.client.sock.setblocking(True)
    connect(node, room=room).publish("end", room)
    assert stayed.until("message", content="end")
