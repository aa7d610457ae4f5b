# SPDX-License-Identifier: MIT
"""chatctl bench: every steady scenario against a real node, and against servers that do it wrong."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from faulty import (FaultyServer, altering, as_node, doubling, fragmenting, greet_as_node, hanging_up, losing, right,
                    straying, swapping)
from harness import CHATNODE, SLOW, eventually, free_port

CHATCTL = pathlib.Path(CHATNODE).parent / "chatctl"


def chatctl(*words, patience=10):
    """Runs it; (exit code, stdout, stderr)."""
    argv = [str(word) for word in (CHATCTL, *words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=(60 + patience) * SLOW, check=False)
    return done.returncode, done.stdout, done.stderr


def bench(scenario, url, *words, patience=10):
    """The exit code and the result."""
    code, out, errors = chatctl("bench", scenario, "--url", url, "--json", "--patience", patience, *words)
    assert out, errors
    return code, json.loads(out)


def url_of(node):
    return f"ws://127.0.0.1:{node.port}/ws"


@pytest.fixture(scope="module")
def node(start_for_module):
    return start_for_module.node()


def assert_right(code, result):
    assert code == 0 and result["complete"], result
    assert result["lost"] == result["duplicates"] == result["disordered"] == 0


# ---- Against a node ----

@pytest.mark.parametrize("words, deliveries", [
    (("fanout", "--clients", 20, "--messages", 50), 20 * 50),
    (("fanout", "--clients", 20, "--messages", 50, "--in-flight", 8, "--publishers", 3), 20 * 50),
    (("fanout", "--clients", 20, "--messages", 50, "--in-flight", 8, "--processes", 3), 20 * 50),
    (("fanout", "--clients", 20, "--messages", 40, "--rate", 200, "--sources", 3), 20 * 40),
    (("fanout", "--clients", 20, "--messages", 40, "--acks", "--connect-rate", 200), 20 * 40),
    (("rooms", "--clients", 24, "--rooms", 6, "--messages", 60), 4 * 60),
    (("rooms", "--clients", 24, "--rooms", 3, "--publishers", 12, "--in-flight", 2, "--processes", 2, "--messages", 60),
     8 * 60),
    (("direct", "--clients", 24, "--rooms", 12, "--in-flight", 4, "--messages", 60), 2 * 60),
    (("direct", "--clients", 4, "--rate", 100, "--messages", 40), 40),
    (("fanin", "--clients", 6, "--in-flight", 8, "--messages", 120), 120),
])
def test_everything_arrives_and_is_counted(node, words, deliveries):
    scenario, *rest = words
    code, result = bench(scenario, url_of(node), "--warmup", 0.2, "--pid", node.pid, *rest)
    assert_right(code, result)
    assert result["scenario"] == scenario
    assert result["messages"] == rest[rest.index("--messages") + 1] and result["deliveries"] == deliveries
    assert result["latency_us"]["count"] == deliveries and 0 < result["latency_us"]["p50"] <= result["latency_us"]["max"]
    assert result["connect_ms"]["count"] >= result["clients"]
    assert result["text_bytes"] > result["payload_bytes"] == 128
    assert result["server"]["cpu_us_per_delivery"] > 0 and result["server"]["rss_bytes"] > 0
    with_acks = scenario == "fanin" or "--acks" in rest
    assert (result["ack_us"]["count"] == result["messages"]) if with_acks else result["ack_us"] is None


def test_time_ends_a_run_too(node):
    code, result = bench("fanout", url_of(node), "--clients", 5, "--seconds", 0.5, "--warmup", 0)
    assert_right(code, result)
    assert result["messages"] > 0 and result["deliveries"] == 5 * result["messages"] and result["seconds"] > 0.3


def test_idle_connections_are_weighed(node):
    code, result = bench("idle", url_of(node), "--clients", 50, "--seconds", 0.5, "--pid", node.pid)
    assert_right(code, result)
    assert result["messages"] == 0 and result["latency_us"] is None
    assert result["server"]["rss_bytes_per_connection"] is not None


def test_nodes_share_the_clients(start):
    cluster = start.cluster(2)
    words = ("--url", url_of(cluster[1]), "--publish-url", url_of(cluster[1]), "--clients", 10, "--messages", 30)
    code, result = bench("fanout", url_of(cluster[0]), *words, "--pid", cluster[0].pid, "--pid", cluster[1].pid)
    assert_right(code, result)
    assert result["urls"] == [url_of(cluster[0]), url_of(cluster[1])] and result["deliveries"] == 300
    assert [one.metric("chatnode_publishes_total") > 0 for one in cluster] == [False, True]


def test_people_get_a_table(node):
    code, out, errors = chatctl("bench", "fanout", "--url", url_of(node), "--clients", 5, "--messages", 20, "--warmup", 0)
    assert code == 0
    assert "complete: nothing lost, doubled or reordered" in out and "limited by" in out
    assert "connecting" in errors


def test_an_interrupt_ends_the_run_and_says_so(node):
    before = node.metric("chatnode_publishes_total")
    argv = [CHATCTL, "bench", "fanout", "--url", url_of(node), "--clients", "5", "--seconds", "60", "--json"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        eventually(lambda: node.metric("chatnode_publishes_total") > before)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30 * SLOW)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 1 and json.loads(out)["limited_by"] == "it was interrupted"


# ---- Against servers that do it wrong ----

@pytest.fixture
def faulty():
    servers = []

    def start_one(*words, **options):
        servers.append(FaultyServer(*words, **options))
        return servers[-1].url
    yield start_one
    for server in servers:
        server.stop()


def plain(url, *words, patience=3):
    return bench("fanout", url, "--publish-url", f"{url}?publisher=1", "--dialect", "plain", "--warmup", 0, "--clients", 3,
                 "--messages", 30, *words, patience=patience)


ALL, LAST = {0, 1, 2}, {2}


def test_a_server_without_faults_passes(faulty):
    assert_right(*plain(faulty(right), "--in-flight", 8))


@pytest.mark.parametrize("victims, lost", [({0}, 1), (LAST, 1), (ALL, 3)])
def test_what_is_lost_is_counted(faulty, victims, lost):
    code, result = plain(faulty(losing(victims)), "--rate", 200)
    assert code == 1 and not result["complete"] and result["lost"] == lost
    assert result["duplicates"] == result["disordered"] == 0


def test_a_closed_loop_ends_when_something_is_lost(faulty):
    code, result = plain(faulty(losing(LAST)))
    assert code == 1 and result["lost"] == 1 and result["limited_by"] == "messages that did not come"


@pytest.mark.parametrize("victims, twice", [({0}, 1), (LAST, 1), (ALL, 3)])
def test_what_comes_twice_is_counted(faulty, victims, twice):
    code, result = plain(faulty(doubling(victims)), "--rate", 200)
    assert code == 1 and result["duplicates"] == twice and result["lost"] == 0


@pytest.mark.parametrize("victims, late", [({0}, 1), (LAST, 1), (ALL, 3)])
def test_what_comes_late_is_counted(faulty, victims, late):
    code, result = plain(faulty(swapping(victims)), "--in-flight", 8)
    assert code == 1 and result["disordered"] == late and result["lost"] == result["duplicates"] == 0


@pytest.mark.parametrize("processes", [1, 3])
def test_members_that_see_another_order_are_noticed(faulty, processes):
    """Each publisher's messages are in order, but one member gets two publishers' messages the other way round."""
    code, result = plain(faulty(swapping(LAST)), "--publishers", 2, "--rate", 200, "--processes", processes)
    assert code == 1 and result["disordered"] >= 1 and result["lost"] == 0


def test_an_altered_text_is_noticed(faulty):
    code, result = plain(faulty(altering(LAST)), "--rate", 200)
    assert code == 1 and result["disordered"] == 1


def test_a_server_that_hangs_up_ends_the_run(faulty):
    code, result = plain(faulty(hanging_up), patience=30)
    assert code == 1 and result["limited_by"] == "the server ended connections"


def test_a_refused_handshake_comes_again(faulty):
    code, result = plain(faulty(right, refusals=2), "--connect-rate", 20, patience=10)
    assert_right(code, result)
    assert result["refused_handshakes"] == 2


def test_a_wait_without_end_is_not_waited_for(faulty):
    code, result = plain(faulty(right, refusals=1, retry_after=99999999999), patience=2)
    assert code == 1 and result["refused_handshakes"] == 1 and result["messages"] == 0


def test_what_strays_into_another_room_is_noticed(faulty):
    code, result = bench("rooms", faulty(straying), "--dialect", "plain", "--warmup", 0, "--clients", 6, "--rooms", 3,
                         "--messages", 30, patience=3)
    assert code == 1 and result["disordered"] == 3 * 4 and result["lost"] == result["duplicates"] == 0


def on_a_terminal(*words):
    """The exit code, and what stands below the live report's last erasure."""
    main, side = os.openpty()
    argv = [str(word) for word in (CHATCTL, "bench", *words)]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=side, env={**os.environ, "TERM": "xterm"})
    os.close(side)
    shown = b""
    try:
        while part := read_terminal(main):
            shown += part
        code = child.wait(60 * SLOW)
    finally:
        child.kill()
        child.wait()
        os.close(main)
    assert b"\x1b[J" in shown
    return code, shown.rpartition(b"\x1b[J")[2].decode()


def read_terminal(descriptor):
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""  # the other end is closed


def test_a_failure_stays_on_the_terminal(faulty):
    code, shown = on_a_terminal("fanout", "--url", faulty(fragmenting), "--dialect", "plain", "--rate", 20, "--clients", 2,
                                "--processes", 2)
    assert code == 1 and shown.strip() == "bench: the server cuts messages into fragments, which the bench does not read"


def fanin(url, patience=3):
    return bench("fanin", url, "--warmup", 0, "--clients", 2, "--messages", 20, "--in-flight", 4, patience=patience)


def test_refused_messages_are_sent_again(faulty):
    code, result = fanin(faulty(as_node(refuse_first=1), greet=greet_as_node), patience=10)
    assert_right(code, result)
    assert result["retries"] == 10  # both clients use the same ids: the server refuses each once


def test_an_ack_must_name_the_place_where_the_message_is(faulty):
    def misplace(number, ack):
        return {**ack, "pos": "7-99"} if number == 3 else ack
    code, result = fanin(faulty(as_node(misplace), greet=greet_as_node))
    assert code == 1 and result["disordered"] == 2 and result["lost"] == 0


def test_a_missing_ack_is_noticed(faulty):
    code, result = fanin(faulty(as_node(lambda number, ack: None if number == 3 else ack), greet=greet_as_node))
    assert code == 1 and not result["complete"] and result["lost"] == 0


# ---- What it is told ----

@pytest.mark.parametrize("words, complaint", [
    ((), "which scenario"),
    (("dance",), "no such scenario"),
    (("fanout", "--dance"), "--dance is no option"),
    (("idle", "--rate", 3), "--rate does not apply to idle"),
    (("fanout", "--clients", "many"), "--clients takes a whole number from 1 to"),
    (("fanout", "--url", "http://127.0.0.1:1/"), "does not begin with ws:// or tcp://"),
    (("fanout", "--url", "tcp://127.0.0.1:1"), "the dialect chatnode wants ws://"),
    (("fanout", "--dialect", "latin"), "latin is no dialect"),
    (("fanout", "--publishers", 65537), "more than 65,536 publishers to a room"),
    (("rooms", "--publish-url", "ws://127.0.0.1:1/"), "--publish-url does not apply to rooms"),
    (("fanout", "--dialect", "plain", "--acks"), "this dialect has no acks"),
    (("direct", "--clients", 3), "their number must be even"),
    (("rooms", "--clients", 3, "--rooms", 4), "more rooms than clients"),
    (("fanout", "--pid", 1 << 29), "does not exist"),
])
def test_nonsense_is_refused(words, complaint):
    code, out, errors = chatctl("bench", *words)
    assert code == 64 and complaint in errors and out == ""


def test_no_server_is_said():
    code, out, errors = chatctl("bench", "fanout", "--url", f"ws://127.0.0.1:{free_port()}/ws", "--clients", 2)
    assert code == 69 and "no server answers" in errors and out == ""


SCENARIOS = ("fanout", "rooms", "direct", "fanin", "idle", "jitter", "avalanche", "churn")


def help_of(*words):
    """The options that --help prints with their defaults, each one once."""
    code, out, _ = chatctl("bench", *words, "--help")
    assert code == 0 and out.startswith("usage: chatctl bench")
    rows = re.findall(r"^  --(\S+) (.*(?:\n {24}.*)*)", out, re.M)
    options = {name: re.search(r"default: ([^)]*)", " ".join(text.split())) for name, text in rows}
    assert rows and len(options) == len(rows)
    return {name: found and found[1] for name, found in options.items()}, out


def test_help_lists_the_scenarios_and_what_they_share():
    options, out = help_of()
    assert all(f"\n  {name} " in out for name in SCENARIOS) and len(out.splitlines()) < 40
    for name in SCENARIOS:
        assert options.items() <= help_of(name)[0].items()


def test_help_of_a_scenario_has_its_own_options_only():
    shown = {name: help_of(name)[0] for name in SCENARIOS}
    assert [shown[name]["clients"] for name in ("fanout", "jitter", "avalanche", "churn")] == ["100", "2000", "5000", "10000"]
    assert "sessions" not in help_of("rooms")[1] and "sessions" in help_of("direct")[1]
    for name, options in shown.items():
        for option in set().union(*shown.values()) - options.keys():
            code, _, errors = chatctl("bench", name, f"--{option}", "1")
            assert code == 64 and f"--{option} does not apply to {name}" in errors


def test_help_and_version():
    for words in (("--help",), ("bench", "--help"), ("bench", "fanin", "--help")):
        code, out, _ = chatctl(*words)
        assert code == 0 and "usage: chatctl" in out
    assert chatctl("--version")[1].startswith("chatctl ")
    assert chatctl("dance")[0] == 64
