# SPDX-License-Identifier: MIT
"""The program from the outside: flags, environment, file, exit codes, signals."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import CHATNODE, DEADLINE, SLOW, Node, eventually, free_port


def run(*arguments, env=None):
    """Runs the program to its end; (exit code, both outputs)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CHATNODE_") and k not in ("PORT", "REDIS_URL")}
    done = subprocess.run([CHATNODE, *[str(word) for word in arguments]], capture_output=True, text=True,
                          timeout=DEADLINE, check=False, env={**clean, **(env or {})})
    return done.returncode, done.stdout + done.stderr


def test_help_names_every_documented_setting():
    code, text = run("--help")
    assert code == 0
    _, document = run("--print-docs", "config")
    keys = re.findall(r"^\| `?--([a-z-]+)", document, re.M) or re.findall(r"`([a-z][a-z-]+)`", document)
    assert len(keys) > 15
    for key in ("listen", "internal-listen", "redis-url", "loops", "node-name", "check-config", "version"):
        assert f"--{key}" in text


def test_version_says_name_and_number():
    code, text = run("--version")
    assert code == 0 and re.search(r"chatnode \d+\.\d+\.\d+", text)


def test_a_good_configuration_checks_with_0():
    assert run("--check-config", "--listen", "127.0.0.1:8123", "--max-rooms", 5)[0] == 0


@pytest.mark.parametrize("flags,words", [
    (("--max-rooms", "0"), ("max-rooms", "1", "10000")),
    (("--max-rooms", "x"), ("max-rooms",)),
    (("--max-rooms", "5x"), ("max-rooms",)),
    (("--max-rooms", "99999999999999999999"), ("max-rooms",)),
    (("--loops", "65"), ("loops", "64")),
    (("--listen", "nowhere"), ("listen",)),
    (("--listen", "127.0.0.1:99999"), ("listen",)),
    (("--log-level", "loud"), ("log-level",)),
    (("--default-room", "a b"), ("default-room",)),
    (("--no-such-flag", "1"), ("no-such-flag",)),
    (("--max-roms", "5"), ("max-roms", "max-rooms")),
    (("--redis-url", "nonsense"), ("redis-url",)),
    (("--max-rooms",), ("max-rooms",)),
    (("positional",), ("positional",)),
    (("--config", "/no/such/file"), ("/no/such/file",)),
])
def test_a_bad_value_checks_with_78_and_names_itself(flags, words):
    code, text = run("--check-config", *flags)
    assert code == 78, text
    for word in words:
        assert word in text, text


def test_a_bad_value_in_the_file_is_found_by_its_line(tmp_path):
    path = tmp_path / "node.conf"
    path.write_text("# a comment\nmax-rooms = 5\nmax-message = 1\n")
    code, text = run("--check-config", "--config", path)
    assert code == 78 and "max-message" in text and f"{path}:3" in text


def test_an_unknown_key_in_the_file_is_a_warning_with_the_nearest_name(tmp_path):
    path = tmp_path / "node.conf"
    path.write_text("max-romms = 5\n")
    code, text = run("--check-config", "--config", path)
    assert code == 0 and "max-romms" in text and "max-rooms" in text


def test_an_unknown_variable_is_a_warning_with_the_nearest_name():
    code, text = run("--check-config", env={"CHATNODE_MAX_ROMMS": "5"})
    assert code == 0 and "MAX_ROMMS" in text and re.search("max[-_]rooms", text, re.I)


@pytest.mark.parametrize("variable", ["CHATNODE_MAX_ROOMS"])
def test_a_bad_value_in_the_environment_names_the_variable(variable):
    code, text = run("--check-config", env={variable: "many"})
    assert code == 78 and variable in text


def test_flags_beat_environment_beats_file(start, connect, tmp_path):
    path = tmp_path / "node.conf"
    path.write_text("max-rooms = 3\nmax-in-flight = 3\nmax-message = 3000\n")
    node = start.node("--config", path, env={"CHATNODE_MAX_ROOMS": "4", "CHATNODE_MAX_IN_FLIGHT": "4"},
                      max_rooms=5)
    limits = str(connect(node).welcome["limits"])
    assert "3000" in limits
    ann = connect(node, room="")
    for n in range(5):
        ann.send({"type": "join", "room": f"r{n}"})
    ann.collect("joined", 5)
    ann.send({"type": "join", "room": "r6", "id": "x"})
    assert ann.expect("error", id="x")["code"] == "too_many_rooms"


def test_the_bare_port_and_redis_url_are_understood(start):
    redis = start.redis()
    port = free_port()
    node = Node(start=False, env={"PORT": str(port), "REDIS_URL": redis.url})
    node.argv = [word for word in node.argv if word not in ("--listen", f"127.0.0.1:{node.port}")]
    node.port = port
    start.keep(node)
    node.start()
    node.wait_ready()
    assert redis.clients("pubsub")


def test_a_secret_can_be_in_a_file(start, tmp_path):
    redis = start.redis("--requirepass", "hushhush")
    path = tmp_path / "url"
    path.write_text(f"redis://:hushhush@127.0.0.1:{redis.port}/0\n")
    node = start.node("--redis-url-file", path).wait_ready()
    assert "hushhush" not in node.log
    assert "hushhush" not in run("--check-config", "--redis-url-file", path)[1]


def test_a_port_in_use_ends_the_node_and_says_so(start):
    node = start.node()
    code, text = run("--listen", f"127.0.0.1:{node.port}", "--internal-listen", "")
    assert code not in (0, 139, 134) and str(node.port) in text


def test_the_healthcheck_asks_the_running_node(start):
    node = start.node()
    public = ("--healthcheck", "--listen", f"127.0.0.1:{node.port}", "--internal-listen")
    both = (*public, f"127.0.0.1:{node.internal_port}")
    assert run(*both)[0] == 0 and run(*public, "")[0] == 0
    node.terminate()
    assert run(*both)[0] == 1 and run(*public, "")[0] == 1


def test_a_full_node_is_healthy(start, connect):
    node = start.node(max_connections=2)
    sessions = [connect(node) for _ in range(2)]
    assert run("--healthcheck", "--listen", f"127.0.0.1:{node.port}",
               "--internal-listen", f"127.0.0.1:{node.internal_port}")[0] == 0
    assert len(sessions) == 2


def test_too_few_descriptors_for_the_loops_are_told():
    done = subprocess.run(["prlimit", "--nofile=200:200", CHATNODE, "--loops", "64", "--listen", "127.0.0.1:0",
                           "--internal-listen", ""], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1 and "too few descriptors" in done.stderr


def test_sigterm_sends_clients_away_and_exits_with_0(start, connect, room):
    node = start.node(drain=1500)
    sessions = [connect(node, room=room) for _ in range(10)]
    node.signal(signal.SIGTERM)
    notes = [session.expect("reconnect") for session in sessions]
    assert all(0 <= note["in_ms"] <= 1500 for note in notes)
    assert {session.closed() for session in sessions} <= {1012, 1001}
    node.finish(0)


def test_a_draining_node_is_not_ready_and_takes_no_one_in(start, connect, raw):
    node = start.node(drain=int(4000 * SLOW))
    connect(node)
    node.signal(signal.SIGTERM)
    eventually(lambda: not node.ready(), what="/readyz says no")
    with pytest.raises((OSError, AssertionError)):
        raw(node).handshake()
    node.signal(signal.SIGTERM)
    node.finish(0)


def test_what_is_in_flight_at_sigterm_gets_its_answer(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, drain=3000).wait_ready()
    ann = connect(node, room=room)
    marks = [ann.say(n, room) for n in range(40)]
    node.signal(signal.SIGTERM)
    ann.closed(DEADLINE * 2)
    answered = [f["id"] for f in ann.frames if f["type"] in ("ack", "error")]
    assert answered == marks
    node.finish(0)


def test_a_second_sigterm_ends_at_once(start, connect):
    node = start.node(drain=600000)
    session = connect(node)
    node.signal(signal.SIGTERM)
    session.expect("reconnect")
    begin = time.monotonic()
    node.signal(signal.SIGTERM)
    assert session.closed() in (1001, 1012)
    node.finish(0)
    assert time.monotonic() - begin < DEADLINE


def test_sigint_is_like_sigterm(start, connect):
    node = start.node(drain=200)
    session = connect(node)
    node.signal(signal.SIGINT)
    assert session.closed() in (1001, 1012)
    node.finish(0)


def test_without_sessions_sigterm_ends_at_once(start):
    node = start.node(drain=600000)
    node.signal(signal.SIGTERM)
    node.finish(0)


def test_a_client_that_does_not_answer_the_close_does_not_hold_the_node(start, raw):
    node = start.node(drain=300)
    client = raw(node)
    client.open()
    node.signal(signal.SIGTERM)
    node.finish(0)


def test_sighup_takes_over_the_log_level_and_says_what_needs_a_restart(start, connect, tmp_path):
    path = tmp_path / "node.conf"
    path.write_text("log-level = info\n")
    node = start.node("--config", path)
    connect(node)
    assert '"level":"debug"' not in node.log
    path.write_text("log-level = debug\nring-frames = 99\n")
    node.signal(signal.SIGHUP)
    eventually(lambda: "restart" in node.log, what="the log says what was not taken over")

    def tells_more():
        connect(node)
        return '"level":"debug"' in node.log

    eventually(tells_more, what="the new level holds")


def test_sighup_with_a_bad_file_changes_nothing(start, connect, tmp_path):
    path = tmp_path / "node.conf"
    path.write_text("max-rooms = 2\n")
    node = start.node("--config", path)
    path.write_text("max-rooms = zero\n")
    node.signal(signal.SIGHUP)
    eventually(lambda: "max-rooms" in node.log, what="the log tells the error")
    connect(node).publish("still here")


def test_sigusr1_reopens_the_log(start, connect, tmp_path):
    log = tmp_path / "node.log"
    node = start.node("--log-file", log)
    eventually(lambda: log.exists() and log.stat().st_size, what="the log is written")
    log.rename(tmp_path / "old.log")
    node.signal(signal.SIGUSR1)
    eventually(log.exists, what="the log is opened again")


def test_log_lines_are_json_off_a_terminal(start):
    node = start.node()
    lines = [json.loads(line) for line in node.log.splitlines() if line.strip()]
    assert lines and all("node" in line or "event" in line for line in lines)


def test_messages_are_not_logged(start, connect):
    node = start.node(log_level="info")
    connect(node, user="ann").publish("a-very-private-word")
    assert "a-very-private-word" not in node.log


def test_a_flag_may_carry_its_value_after_an_equals_sign(start, connect):
    assert "3001" in str(connect(start.node("--max-message=3001")).welcome["limits"])
