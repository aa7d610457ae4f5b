# SPDX-License-Identifier: MIT
"""What is not needed any more costs nothing: after storms, and in rooms that everybody has left. Figures at full size
come from tests/bench/memory.py."""
import json

import pytest

from clients import TEXT, frame_bytes
from harness import DEADLINE, SLOW, eventually, weigh_connections

QUIET = {"loops": 1, "accept_rate": 0, "max_rooms": 100}
AT_ONCE = 50  # requests of one session that wait for an answer; max-in-flight is 64


def ask(client, kind, rooms):
    """Joins or leaves rooms, many at once; returns the answers."""
    answers = []
    for at in range(0, len(rooms), AT_ONCE):
        part = rooms[at:at + AT_ONCE]
        client.send(b"".join(frame_bytes(TEXT, json.dumps({"type": kind, "room": room})) for room in part))
        answers += [client.until({"join": "joined", "leave": "left"}[kind]) for _ in part]
    assert [answer["room"] for answer in sorted(answers, key=lambda a: rooms.index(a["room"]))] == rooms
    return answers


def guests(start_raw, node, count):
    sessions = [start_raw(node) for _ in range(count)]
    for session in sessions:
        session.open(room="")
    return sessions


@pytest.mark.uninstrumented  # a sanitizer keeps what is freed for a while
def test_memory_goes_back_after_a_storm(start):
    node = start.node(**QUIET)
    before = node.rss_bytes()
    taken = weigh_connections(node, 4000) * 4000
    assert taken > 8 << 20
    eventually(lambda: node.rss_bytes() - before < taken / 4, DEADLINE, "the memory of 4,000 sessions is given back")


def test_an_idle_connection_stays_small(start):
    node = start.node(**QUIET)
    each = weigh_connections(node, 3000)
    assert SLOW > 1 or each < 4096, f"{each} bytes a connection"


def test_rooms_that_were_left_cost_nothing(start, raw):
    node = start.node(**QUIET)
    sessions, steps = guests(raw, node, 4), []
    for turn in range(80):
        rooms = [f"passing-{turn}-{room}" for room in range(50)]
        session = sessions[turn % 4]
        ask(session, "join", rooms)
        ask(session, "leave", rooms)
        steps.append(node.rss_bytes())
    eventually(lambda: node.metric("chatnode_channels") == 4 and node.metric("chatnode_feeds") == 4)
    assert SLOW > 1 or steps[-1] - steps[19] < 768 << 10, [step >> 10 for step in steps]  # 3,000 rooms later


@pytest.mark.parametrize("bus", ["memory", "redis"])
def test_many_rooms_at_once_and_all_left_at_once(start, raw, bus):
    node = start.node(redis=start.redis() if bus == "redis" else None, **QUIET).wait_ready()
    sessions = guests(raw, node, 30)
    before = node.rss_bytes()
    for number, session in enumerate(sessions):
        ask(session, "join", [f"room-{number}-{room}" for room in range(100)])
    each = (node.rss_bytes() - before) / 3000
    assert SLOW > 1 or each < 1500, f"{each:.0f} bytes a room"
    assert node.metric("chatnode_channels") == 3000 + 30
    for session in sessions:
        session.sock.close()
    eventually(lambda: node.metric("chatnode_channels") == 0 and node.metric("chatnode_feeds") == 0)


def test_many_rooms_come_back_after_a_restart_of_redis(start, raw):
    redis = start.redis()
    node = start.node(redis=redis, **QUIET).wait_ready()
    sessions = guests(raw, node, 20)
    for number, session in enumerate(sessions):
        ask(session, "join", [f"back-{number}-{room}" for room in range(100)])
    redis.restart()
    node.wait_ready(DEADLINE * 2)
    subscribed = 2000 + 20 + 2  # the last two are the heartbeat's and the notices'
    eventually(lambda: f"pubsub_channels:{subscribed}" in redis.command("INFO", "stats").decode(), DEADLINE * 2)
    for number, session in enumerate(sessions):
        for room in (0, 57, 99):
            text = f"after {number} {room}"
            session.send_json({"type": "message", "room": f"back-{number}-{room}", "id": f"m{room}", "content": text})
            assert session.until("message", DEADLINE * 2)["content"] == text
