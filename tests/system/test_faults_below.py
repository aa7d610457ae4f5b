# SPDX-License-Identifier: MIT
"""Faults from below: no memory, no descriptors, no room for the log, a reader of the log that is gone, a clock that
jumps, a process that stands still for a while. The node goes on, says what is the matter, and works as ever afterwards."""
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import threading

import pytest

from clients import TEXT, RawClient, upgrade_request
from harness import CHATNODE, DEADLINE, SLOW, Node, eventually, unique

SCARCE = pathlib.Path(CHATNODE).parent / "chatnode-scarce"
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def works(node, connect, room=None):
    """Two new sessions in a room: what one says reaches the other; and directly as well."""
    room = room or unique("after")
    ann, bob = connect(node, room=room), connect(node, room=room)
    said = unique("well?")
    pos = ann.publish(said, room)["pos"]
    assert bob.expect("message", room=room, content=said)["pos"] == pos
    ann.tell(bob.user, "you too?")
    bob.expect("direct", content="you too?")


# ---- Memory ----

class Scarce(Node):
    """A node in which so many of a thousand allocations fail while it is told so."""

    def __init__(self, per_mille, seed, **options):
        super().__init__(start=False, env={"SCARCE_PER_MILLE": str(per_mille), "SCARCE_SEED": str(seed)}, **options)
        self.argv[0] = str(SCARCE)

    def starve(self):
        self.signal(signal.SIGUSR2)

    def feed(self):
        self.signal(signal.SIGWINCH)


def misbehave(node, chance, turns):
    """Clients that try everything, and take whatever comes."""
    clients = []
    for turn in range(turns):
        room, user = f"hall-{chance.randrange(3)}", f"user-{turn}"
        try:
            if len(clients) < 8 or chance.random() < 0.2:
                clients.append(RawClient(node.port))
                clients[-1].sock.settimeout(2 * SLOW)
                clients[-1].send(upgrade_request(f"/ws?user={user}&room={room}"))
                clients[-1].recv(2 * SLOW)
            client = chance.choice(clients)
            client.send_frame(TEXT, chance.choice([json.dumps(frame) for frame in (
                {"type": "message", "room": room, "content": "x" * chance.randrange(3000), "id": unique("m")},
                {"type": "join", "room": room, "since": "0-0"}, {"type": "leave", "room": room},
                {"type": "history", "room": room, "limit": 50}, {"type": "history", "with": "user-1", "limit": 9},
                {"type": "direct", "to": f"user-{turn - 1}", "content": "psst"}, {"type": "ping"})] + ["plain text"]))
            client.recv(0.02 * SLOW)
        except OSError:
            pass  # it was closed, or waits for memory
        if chance.random() < 0.1:
            clients.pop(chance.randrange(len(clients))).sock.close()
    for client in clients:
        client.sock.close()


@pytest.mark.parametrize("bus", ["memory", "redis"])
@pytest.mark.parametrize("per_mille", [5, 50, 400])
def test_a_node_outlives_a_lack_of_memory(start, connect, bus, per_mille):
    seed = random.randrange(1 << 30)
    print("seed", seed)  # shown when it fails
    chance = random.Random(seed)
    node = start.keep(Scarce(per_mille, seed, redis=start.redis() if bus == "redis" else None)).start().wait_ready()
    works(node, connect)
    for _ in range(3):
        node.starve()
        misbehave(node, chance, 60)
        node.feed()
        assert node.alive(), (node.child.returncode, node.log[-5000:])
        node.wait_ready(DEADLINE * 2)
        works(node, connect, room="hall-1")
    eventually(lambda: node.metric("chatnode_sessions") <= 8, what="only those of `works` are left, if at all")


# ---- Descriptors ----

def test_connections_wait_while_there_are_no_descriptors(start, connect, raw):
    node = start.node(loops=1)
    ann = connect(node, room="tea")
    opened = len(os.listdir(f"/proc/{node.pid}/fd"))
    _, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (opened + 2, hard))
    waiting = [raw(node) for _ in range(6)]
    eventually(lambda: "accept.failed" in node.log, what="the node says so")
    ann.publish("still here", "tea")
    ann.expect("message", content="still here")
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (opened + 50, hard))
    for client in waiting:
        client.open(room="tea")
    works(node, connect)


# ---- The log ----

def test_a_full_disk_costs_only_lines_of_the_log(start, connect):
    node = start.node("--log-file", "/dev/full", "--log-level", "debug")
    works(node, connect)
    eventually(lambda: node.metric("chatnode_log_lost_lines_total") > 0, what="the node counts them")


def test_a_log_that_nobody_reads_any_more(start, connect):
    node = start.keep(Node(start=False))
    reader, writer = os.pipe()
    node.child = subprocess.Popen(node.argv + ["--log-level", "debug"], stdin=subprocess.DEVNULL, stderr=writer,
                                  env=node.env)
    os.close(writer)
    eventually(node._answers, what="the node answers")
    os.close(reader)
    works(node, connect)


def test_clients_that_vanish_while_they_are_written_to(start, connect, raw):
    node = start.node(loops=1)
    ann = connect(node, room="tea")
    for turn in range(20):
        gone = raw(node)
        gone.open(room="tea")
        ann.say("y" * 20000, "tea")
        gone.sock.close()
        ann.publish(f"turn {turn}", "tea")
    works(node, connect)


# ---- Clocks ----

@pytest.mark.uninstrumented  # the library that lies about the time must be the first to be loaded, and so must theirs
def test_the_wall_clock_may_jump(start, connect, tmp_path):
    said = tmp_path / "now"
    said.write_text("+0")
    node = start.node(ping_interval=200, pong_timeout=2000, env={
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(said), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    ann, bob = connect(node, room="tea"), connect(node, room="tea")
    seen = []
    for jump in ("+0", "+3600", "-86400", "+86400", "-1"):
        said.write_text(jump)
        pos = ann.publish(f"at {jump}", "tea")["pos"]
        got = bob.expect("message", content=f"at {jump}")
        assert got["pos"] == pos
        seen.append((tuple(map(int, pos.split("-"))), got["ts"]))
    assert [pos for pos, _ in seen] == sorted(pos for pos, _ in seen)
    assert len({pos[0] for pos, _ in seen}) == 1, "no new generation for a clock"
    assert seen[1][1] - seen[0][1] > 3_000_000 > seen[2][1] - seen[1][1], "the clock did jump"
    works(node, connect)


# ---- A process that stands still ----

def test_a_node_that_stood_still_goes_on(start, connect):
    redis = start.redis()
    frozen, other = start.cluster(2, redis)
    ann, bob = connect(frozen, room="tea"), connect(other, room="tea")
    frozen.signal(signal.SIGSTOP)
    try:
        said = [bob.publish(f"while you slept {i}", "tea")["pos"] for i in range(50)]
        timer = threading.Event()
        timer.wait(4)  # longer than the watchdog takes: the node finds its connections old when it wakes
    finally:
        frozen.signal(signal.SIGCONT)
    assert [frame["pos"] for frame in ann.collect("message", 50)] == said
    works(frozen, connect)
