#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Where each byte of an idle connection is, and what rooms cost: the tables of docs/memory.md.

    memory.py account           every block that an idle connection holds, and what the kernel holds for it
    memory.py storm             what is left after many connections have come and gone
    memory.py rooms [--redis]   many rooms alive at once, then (with Redis) a restart of Redis, then all left
    memory.py passing           many rooms joined and left by few sessions

Needs valgrind for `account`; without root it says nothing of the kernel's caches.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import servers  # makes tests/system importable
import harness
from clients import TEXT, RawClient, frame_bytes

QUIET = ("--log-level", "warn", "--loops", 1, "--accept-rate", 0, "--ping-interval", 3600000)
HANDSHAKES = 400  # a second, under valgrind: few are under way at the peak
JOINS_AT_ONCE = 50  # of one session; max-in-flight is 64
# The function that tells a block's place, and the place; the first that is in the block's stack counts.
PLACES = (
    ("cn_feed_new", "feed of the inbox"),
    ("cn_member_join", "member, two: inbox and room"),
    ("add_user_locked", "user in the registry"),
    ("add_channel", "main's channel of the inbox"),
    ("find_or_make", "the bus's channel of the inbox"),
    ("make_channel", "the bus's channel of the inbox"),
    ("cn_session_new", "session"),
    ("cn_feed_add", "table of the room's members"),
)
SLABS = ("TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "tcp_bind_bucket", "skbuff_head_cache", "pwq")


# ---- The heap, block by block ----

def chunk_bytes(size):
    """What glibc's malloc takes for a block: 8 bytes more, a multiple of 16, 32 at the least."""
    return max(32, (round(size) + 8 + 15) // 16 * 16)


def place_of(stack, size):
    if "resize" in stack:
        return "hash tables"
    for function, place in PLACES:
        if function in stack:
            return place
    if any(name.startswith(("cn_", "on_flush")) for name in stack[:3]) or "???" not in stack:
        return "other"
    if size > 1024:
        return "libwebsockets: receive buffer"
    return f"libwebsockets: a block of {size:.0f}"


def heap_of(connections):
    """{place: (blocks, bytes)} at the peak, as valgrind's dhat counts them."""
    out = tempfile.NamedTemporaryFile(suffix=".dhat")
    node = harness.Node(*QUIET, start=False)
    node.argv = ["valgrind", "--tool=dhat", f"--dhat-out-file={out.name}", *node.argv]
    try:
        harness.weigh_connections(node.start(), connections, "--connect-rate", HANDSHAKES)
        harness.eventually(lambda: node.metric("chatnode_feeds") == 0)  # who is in when it stops is sent a farewell
    finally:
        harness.stop_all([node])
    found = json.load(open(out.name))
    places = collections.defaultdict(lambda: [0, 0])
    for point in found["pps"]:
        if point.get("gbk"):
            stack = [found["ftbl"][frame].split(": ", 1)[-1].split(" (")[0] for frame in point["fs"]]
            size = point["gb"] / point["gbk"]
            place = places[place_of(stack, size)]
            place[0] += point["gbk"]
            place[1] += point["gbk"] * chunk_bytes(size)
    return places


def resident(connections):
    node = harness.Node(*QUIET)
    try:
        return harness.weigh_connections(node, connections) * connections
    finally:
        harness.stop_all([node])


def account_heap(connections):
    small, large = heap_of(connections), heap_of(2 * connections)
    rows = []
    for place, (blocks, size) in large.items():
        rows.append((place, (blocks - small[place][0]) / connections, (size - small[place][1]) / connections))
    rows = sorted((row for row in rows if row[2] >= 1), key=lambda row: -row[2])
    whole = (resident(10000) - resident(5000)) / 5000
    print("| user space | blocks | bytes |\n|---|---|---|")
    for place, blocks, size in rows:
        print(f"| {place} | {blocks:.2f} | {size:.0f} |")
    total = sum(row[2] for row in rows)
    print(f"| tables by descriptor, blocks freed since, pages partly used | | {whole - total:.0f} |")
    print(f"| **resident** (5,000 to 10,000 connections) | | **{whole:.0f}** |\n")


# ---- The kernel's part ----

def slabs():
    """{cache: bytes in use}; empty when only root may read it."""
    try:
        lines = pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]
    except PermissionError:
        return {}
    return {words[0]: (int(words[1]), int(words[3])) for words in map(str.split, lines)}


def account_kernel(build, connections):
    before = slabs()
    node = harness.Node(*QUIET)
    argv = [build / "chatctl", "bench", "idle", "--url", f"ws://127.0.0.1:{node.port}/ws", "--clients", connections,
            "--seconds", 600]
    load = subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        harness.eventually(lambda: len(os.listdir(f"/proc/{node.pid}/fd")) > connections, 60)
        after = slabs()
    finally:
        load.terminate()
        load.wait()
        harness.stop_all([node])
    print("| kernel, one end of the connection | objects | bytes |\n|---|---|---|")
    rows = [(name, (after[name][0] - before[name][0]) / connections / 2, after[name][1]) for name in SLABS if name in before]
    for name, count, size in rows:
        if count > 0.1:
            print(f"| {name} of {size} bytes | {count:.2f} | {count * size:.0f} |")
    print(f"| **together** | | **{sum(count * size for _, count, size in rows if count > 0.1):.0f}** |")


def account(given):
    account_heap(given.connections or 2000)
    account_kernel(given.build, 9000)
    return True


# ---- Storms and rooms ----

def mib(size):
    return f"{size / (1 << 20):.1f} MiB"


def settled(node, begin, limit):
    """Resident memory above `begin` once it is below the limit, or after a while."""
    try:
        harness.eventually(lambda: node.rss_bytes() - begin <= limit, 10)
    except AssertionError:
        pass  # the scene says so
    return node.rss_bytes() - begin


def storm(given):
    connections = given.connections or 10000
    node = harness.Node(*QUIET)
    try:
        begin, left = node.rss_bytes(), 0
        for turn in range(3):
            peak = harness.weigh_connections(node, connections) * connections
            left = settled(node, begin, peak / 4)
            print(f"storm {turn + 1} of {connections:,} connections: {mib(peak)} more, then {mib(left)}", flush=True)
        return left < peak / 4
    finally:
        harness.stop_all([node])


def answers(client, mark, count):
    """Reads until that many frames of a kind have come."""
    rest = b""
    while count > 0:
        data = rest + client.sock.recv(1 << 18)
        if len(data) == len(rest) or b'"type":"error"' in data:
            raise SystemExit(f"the node closed or refused: {data[:200]!r}")
        cut = max(data.rfind(mark) + len(mark), len(data) - len(mark) + 1) if mark in data else 0
        count -= data.count(mark)
        rest = data[cut:] if cut else data[-len(mark) + 1:]


def ask(client, kind, rooms):
    """Joins or leaves rooms, as many at once as a session may have in flight."""
    answer = {"join": b'"type":"joined"', "leave": b'"type":"left"'}[kind]
    for at in range(0, len(rooms), JOINS_AT_ONCE):
        part = rooms[at:at + JOINS_AT_ONCE]
        client.send(b"".join(frame_bytes(TEXT, f'{{"type":"{kind}","room":"{room}"}}') for room in part))
        answers(client, answer, len(part))


def cpu_us(node):
    return sum(map(int, pathlib.Path(f"/proc/{node.pid}/stat").read_text().split()[13:15])) * 1e6 / os.sysconf("SC_CLK_TCK")


def open_sessions(node, count):
    sessions = []
    for _ in range(count):
        client = RawClient(node.port)
        client.open(room="")
        sessions.append(client)
    return sessions


def reads_done(redis):
    """Calls of the scripts since Redis was started: here each is a read of a channel."""
    return sum(map(int, re.findall(r"cmdstat_evalsha(?:_ro)?:calls=(\d+)", redis.command("INFO", "commandstats").decode())))


def restart(redis, channels):
    """Restarts Redis; prints when the node has subscribed to all channels again and read each one's log."""
    begin = time.monotonic()
    redis.restart()
    back = time.monotonic() - begin
    harness.eventually(lambda: int(re.search(r"pubsub_channels:(\d+)", redis.command("INFO", "stats").decode())[1]) > channels, 120)
    subscribed = time.monotonic() - begin
    harness.eventually(lambda: reads_done(redis) >= channels, 120)
    print(f"Redis restarted: answers after {back:.2f} s, {channels:,} channels subscribed after {subscribed:.2f} s, "
          f"all read after {time.monotonic() - begin:.2f} s", flush=True)


def rooms(given):
    each = 100
    count = (given.rooms or 100000) // each
    redis = harness.Redis() if given.redis else None
    node = harness.Node(*QUIET, "--max-rooms", each, redis=redis)
    try:
        sessions = open_sessions(node.wait_ready(), count)
        begin, at_cpu = node.rss_bytes(), cpu_us(node)
        for number, client in enumerate(sessions, 1):
            ask(client, "join", [f"r{number}-{room}" for room in range(each)])
            if number in (count // 100, count // 10, count):
                print(f"{number * each:,} rooms: {(node.rss_bytes() - begin) / number / each:.0f} bytes each, "
                      f"{(cpu_us(node) - at_cpu) / number / each:.1f} us of CPU a join so far", flush=True)
        peak, channels = node.rss_bytes() - begin, int(node.metric("chatnode_channels"))
        if redis:
            restart(redis, channels)
        at_cpu = cpu_us(node)
        for client in sessions:
            client.sock.close()
        harness.eventually(lambda: node.metric("chatnode_channels") == 0, 60)
        left = settled(node, begin, peak / 10)
        print(f"all left: {(cpu_us(node) - at_cpu) / count / each:.1f} us of CPU a room; {mib(peak)} more with them, then {mib(left)}")
        return left < peak / 10
    finally:
        harness.stop_all([node, redis] if redis else [node])


def passing(given):
    """Each of few sessions joins 50 rooms, leaves them, joins 50 others."""
    count, few = given.rooms or 100000, 10
    node = harness.Node(*QUIET)
    try:
        sessions, steps = open_sessions(node, few), []
        for at in range(0, count, JOINS_AT_ONCE):
            names = [f"p{at + room}" for room in range(JOINS_AT_ONCE)]
            client = sessions[at // JOINS_AT_ONCE % few]
            ask(client, "join", names)
            ask(client, "leave", names)
            if (at + JOINS_AT_ONCE) % max(count // 5, JOINS_AT_ONCE) == 0:
                steps.append(node.rss_bytes())
                print(f"{at + JOINS_AT_ONCE:,} rooms joined and left: {mib(steps[-1])} resident", flush=True)
        harness.eventually(lambda: node.metric("chatnode_feeds") == few and node.metric("chatnode_channels") == few)
        return steps[-1] - steps[0] < 1 << 20
    finally:
        harness.stop_all([node])


SCENES = {scene.__name__: scene for scene in (account, storm, rooms, passing)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--build", type=pathlib.Path, default=servers.ROOT / "build/release")
    parser.add_argument("--connections", type=int)
    parser.add_argument("--rooms", type=int)
    parser.add_argument("--redis", action="store_true", help="rooms: a cluster member instead of a single node")
    given = parser.parse_args()
    harness.CHATNODE = str(given.build / "chatnode")
    good = SCENES[given.scene](given)
    print(f"{given.scene}: {'complete' if good else 'MEMORY WAS NOT GIVEN BACK'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
