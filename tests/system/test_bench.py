# SPDX-License-Identifier: MIT
"""The bench's scenarios at tiny sizes: they work, and they notice what they are there to notice."""
import json
import pathlib
import subprocess

import pytest

from faulty import FaultyServer, doubling, losing, right, swapping
from harness import CHATNODE, SLOW, eventually, run_bench

BUILD = pathlib.Path(CHATNODE).parent
STORM = ("--clients", 40, "--rooms", 4, "--messages", 60, "--seconds", 3)


def bench(scenario, *words):
    """The scenario's result, after `run.py` said that it was complete."""
    out, err = run_bench("--scenario", scenario, *words, deadline=60)
    assert not err, err
    machine, people = out.splitlines()
    result = json.loads(machine)
    assert result["scenario"] == scenario and people.startswith(f"{scenario}: complete;")
    assert result["complete"] and result["lost"] == 0
    return result


@pytest.mark.parametrize("scenario, words, returns", [
    ("jitter", ("--cut", 1000, "--offline", 200), 40),
    ("nodekill", (), 13),
    ("avalanche", (), 40),
])
def test_clients_come_back(scenario, words, returns):
    result = bench(scenario, *STORM, *words)
    assert result["came_back"] == result["lost_connections"] >= returns
    assert result["deliveries"] == 60 * (40 + 4)  # each message once to each client, and to each publisher
    assert 0 < result["replay_ms"]["p50"] <= result["replay_ms"]["max"]


def test_newcomers_are_served_while_others_go():
    result = bench("churn", "--clients", 300, "--newcomers", 40, "--messages", 60, "--seconds", 3)
    assert result["lost_connections"] == result["failed_attempts"] == 0 and result["messages"] == 60
    assert result["arrivals"] >= 40 and result["open_before_ms"]["count"] > 0 and result["open_after_ms"]["count"] > 0
    assert result["deliveries"] > 300 * 10 + 17 * 60  # of the members before they are cut, and of those who stay


def test_storing_is_measured():
    result = bench("fanin", "--sessions", 8, "--window", 4, "--seconds", 2)
    assert result["messages"] == result["deliveries"] > 0
    assert result["publishes_per_redis_cpu_second"] > 0 and result["publishes_per_main_cpu_second"] > 0


def test_storing_goes_on_after_a_restart_of_redis():
    result = bench("redisrestart", "--sessions", 8, "--window", 4, "--seconds", 5 * int(SLOW))
    assert result["messages"] > 0 and result["duplicates"] == result["disordered"] == 0
    assert 0 <= result["first_ack_after_pong_ms"]


def test_readers_that_stall_are_measured():
    result = bench("stalled", "--clients", 20, "--messages", 40, "--seconds", 2)
    assert result["complete"] and result["lagging"] >= 0
    assert result["sessions"] == 20 + 100 + 1 and len(result["rss_mib"]) == 4


def url(node):
    return "--url", f"ws://127.0.0.1:{node.port}/ws"


def run_program(program, *words):
    """Exit code and result of one measuring program."""
    argv = [str(word) for word in (BUILD / program, *words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60 * SLOW, check=False)
    return done.returncode, json.loads(done.stdout)


def test_lost_messages_are_noticed(start):
    node = start.node(history_messages=1, ring_frames=16)  # too little for those who were away
    code, result = run_program("chatctl", "bench", "jitter", *url(node), "--clients", 10, "--rooms", 1, "--rate", 200,
                               "--seconds", 3, "--cut", 1000, "--offline", 500, "--json")
    assert code == 1 and not result["complete"]
    assert result["lost"] > 0 and result["unrecovered"] > 0 and result["gaps"] > 0


def in_room(deliver):
    """Entries of one room with positions that go on, as a node makes them; `deliver` chooses who gets which."""
    entries = []

    def serve(server, peers, sender, _number, text):
        request = json.loads(text)
        number = len(entries)
        entries.append(f'{{"pos":"7-{number}","type":"message","room":"{sender.room}","content":"{request["content"]}"}}')
        deliver(server, peers, sender, number, entries[-1])
        sender.send(json.dumps({"type": "ack", "id": request["id"], "pos": f"7-{number}"}, separators=(",", ":")))

    return serve, entries


@pytest.mark.parametrize("deliver, wrong", [
    (right, None), (losing({2}), "lost"), (doubling({2}), "duplicates"), (swapping({2}), "disordered"),
], ids=["right", "losing", "doubling", "swapping"])
def test_a_server_that_does_it_wrong_is_found_out(deliver, wrong):
    serve, entries = in_room(deliver)

    def greet(peer):
        pos = f"7-{len(entries) - 1}" if entries else "0-0"
        peer.send('{"type":"joined","inbox":true,"pos":"0-0"}')
        peer.send(json.dumps({"type": "joined", "room": peer.room, "pos": pos}, separators=(",", ":")))

    server = FaultyServer(serve, greet=greet)
    try:
        code, result = run_program("chatctl", "bench", "churn", "--url", server.url, "--clients", 3, "--newcomers", 2,
                                   "--rate", 20, "--seconds", 2, "--json")
    finally:
        server.stop()
    assert (code, result["complete"]) == ((1, False) if wrong else (0, True)), result
    assert result["messages"] == 40 and result["arrivals"] >= 2
    found = {kind for kind in ("lost", "duplicates", "disordered") if result[kind]}
    assert wrong in found if wrong else not found, result


def test_a_refusal_is_heeded(start, connect):
    node = start.node(max_connections=14)

    def refused():
        return node.metric("chatnode_refused_total", 'reason="limit"')

    strangers = [connect(node) for _ in range(4)]
    argv = [BUILD / "chatctl", "bench", "avalanche", *url(node), "--clients", 9, "--rooms", 4, "--rate", 40,
            "--seconds", 2, "--json"]
    child = subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: refused() > 0)
        for stranger in strangers:
            stranger.close()
        out, _ = child.communicate(timeout=60 * SLOW)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0 and json.loads(out)["came_back"] == 9
    assert refused() < 100  # thousands, if those who were refused came again at once
