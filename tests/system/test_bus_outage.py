# SPDX-License-Identifier: MIT
"""Redis fails in every way it can; sessions stay, nothing is lost, and nothing is promised that is not kept."""
import signal
import socket
import subprocess
import threading
import time

import pytest

import flock
from harness import CHATNODE, DEADLINE, SLOW, Node, RedisError, eventually, free_port, unique


@pytest.fixture(name="redis")
def _redis(start):
    return start.redis()


@pytest.fixture(name="pair")
def _pair(start, redis):
    return start.cluster(2, redis)


def not_ready(node):
    """The body of /readyz once it says 503."""
    answer = eventually(lambda: (lambda a: a if a.status == 503 else None)(node.internal("/readyz")),
                        what="/readyz says 503")
    return answer.text


@pytest.mark.parametrize("ring_frames", [256, 16])
def test_killed_subscriptions_under_load_lose_nothing(start, redis, ring_frames):
    """With a small ring the members fall off it during the catch-up and go on from the log, which is ahead."""
    cluster = start.cluster(2, redis, ping_interval=600000, history_messages=200000, ring_frames=ring_frames)
    room, each = unique("load"), 3000
    crowd = [flock.Member(cluster[n % 2], room, keep=n == 0) for n in range(20)]
    writers = [flock.Publisher(cluster[n % 2], room, unique("w"), each, window=16) for n in range(4)]
    steps = iter(range(each // 2, each * 4, each // 2))
    state = {"next": next(steps), "kills": 0}

    def kill_now_and_then():
        if sum(len(writer.acks) for writer in writers) < state["next"]:
            return
        killed = redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        if killed:  # else the nodes have not come back from the last time yet
            state["next"] = next(steps, 1 << 60)
            state["kills"] += killed

    messages = flock.run_to_the_end(crowd, writers, DEADLINE * 6, kill_now_and_then)
    assert state["kills"] >= 4, "the test did not disturb anything"
    flock.check(messages, crowd, writers)


def test_subscriptions_killed_each_second_lose_nothing(start, redis):
    cluster = start.cluster(2, redis, ping_interval=600000, history_messages=200000)
    room = unique("paced")
    crowd = [flock.Member(cluster[n % 2], room, keep=n == 0) for n in range(4)]
    writers = [flock.Publisher(cluster[n % 2], room, unique("w"), 10 ** 9, window=2) for n in range(2)]
    begin, state = time.monotonic(), {"kills": 0}

    def kill_each_second():
        passed = time.monotonic() - begin
        if passed > state["kills"] + 1:
            redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            state["kills"] += 1
        if passed > 5.5:
            for writer in writers:
                writer.count = writer.sent

    messages = flock.run_to_the_end(crowd, writers, DEADLINE * 6, kill_each_second)
    assert state["kills"] >= 5
    flock.check(messages, crowd, writers)


def test_killed_command_connections_under_load_lose_nothing(start, redis):
    cluster = start.cluster(2, redis, ping_interval=600000, history_messages=200000)
    room, each = unique("load"), 1500 if SLOW == 1 else 400
    crowd = [flock.Member(cluster[n % 2], room, keep=n == 0) for n in range(10)]
    writers = [flock.Publisher(cluster[n % 2], room, unique("w"), each, window=16) for n in range(4)]
    steps = iter(range(each // 2, each * 4, each))
    state = {"next": next(steps), "kills": 0}

    def kill_now_and_then():
        if sum(len(writer.acks) for writer in writers) >= state["next"]:
            state["next"] = next(steps, 1 << 60)
            state["kills"] += redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    messages = flock.run_to_the_end(crowd, writers, DEADLINE * 6, kill_now_and_then)
    assert state["kills"] >= 2
    flock.check(messages, crowd, writers)


def test_without_redis_a_publish_gets_a_retryable_error_and_sessions_stay(pair, redis, connect, room):
    ann, bob = connect(pair[0], room=room), connect(pair[1], room=room)
    ann.publish("before", room)
    redis.kill()
    begin = time.monotonic()
    error = ann.expect("error", id=ann.say("lost?", room))
    assert (error["code"], error["retry"]) == ("unavailable", True)
    assert time.monotonic() - begin < 3 * SLOW
    assert not_ready(pair[0]) and pair[0].get("/healthz").status == 200
    ann.fence(), bob.fence()
    assert not ann.ended and not bob.ended


def test_when_redis_returns_messages_flow_again_on_the_old_sessions(pair, redis, connect, room):
    ann, bob = connect(pair[0], room=room), connect(pair[1], room=room)
    ann.publish("before", room)
    bob.expect("message", content="before")
    redis.kill()
    not_ready(pair[0]), not_ready(pair[1])
    redis.start()
    pair[0].wait_ready(), pair[1].wait_ready()
    mark = ann.say("after", room)
    assert ann.expect("ack", id=mark)["dup"] is False
    bob.expect("message", id=mark)
    assert not ann.ended and not bob.ended


def test_an_empty_redis_after_a_restart_is_a_gap_and_a_new_generation(pair, redis, connect, room):
    ann, bob = connect(pair[0], room=room), connect(pair[1], room=room)
    old = ann.publish("before", room)["pos"]
    redis.restart()
    new = eventually(lambda: _try_publish(ann, room), DEADLINE * 2, "publishing works again")["pos"]
    assert int(new.split("-")[0]) > int(old.split("-")[0])
    assert bob.expect("gap")["room"] == room
    ann.publish("later", room)
    assert bob.expect("message", content="later")["pos"].split("-")[0] == new.split("-")[0]
    bob.send({"type": "history", "room": room, "id": "h"})
    assert [entry["content"] for entry in bob.expect("history", id="h")["messages"]] == ["before", "after", "later"]


def _try_publish(session, room):
    """One publish; its ack, or None for a retryable error."""
    mark = session.say("after", room)
    for _ in range(int(DEADLINE * 100)):
        with session._changed:
            session._changed.wait(0.01)
            found = [f for f in session.frames if f.get("id") == mark and f["type"] in ("ack", "error")]
        if found:
            assert found[0]["type"] == "ack" or found[0]["retry"]
            return found[0] if found[0]["type"] == "ack" else None
    raise AssertionError("neither ack nor error")


def test_what_was_published_elsewhere_during_a_deaf_spell_is_caught_up(start, connect, room, redis):
    node, other = start.node(redis=redis).wait_ready(), start.node(redis=redis).wait_ready()
    bob, ann = connect(node, room=room), connect(other, room=room)
    ann.publish(0, room)
    node.signal(signal.SIGSTOP)
    for n in range(1, 50):
        ann.publish(n, room)
    redis.command("CLIENT", "KILL", "TYPE", "pubsub")
    node.signal(signal.SIGCONT)
    ann.publish(50, room)
    assert [f["content"] for f in bob.collect("message", 51)] == list(range(51))
    bob.refuse("gap")


def test_a_redis_that_hangs_is_noticed_and_its_answers_are_not_lost(pair, redis, connect, room):
    ann, bob = connect(pair[0], room=room), connect(pair[1], room=room)
    ann.publish("before", room)
    redis.signal(signal.SIGSTOP)
    try:
        mark = ann.say("hanging", room)
        error = ann.expect("error", id=mark)
        assert (error["code"], error["retry"]) == ("unavailable", True)
        not_ready(pair[0])
    finally:
        redis.signal(signal.SIGCONT)
    pair[0].wait_ready()
    ack = ann.publish("hanging", room, id=mark)
    ann.publish("end", room)
    assert [f["content"] for f in bob.collect("message", 3)] == ["before", "hanging", "end"]
    assert ack["id"] == mark


def test_a_message_gets_an_ack_or_an_error_but_never_both(pair, redis, connect, room):
    ann = connect(pair[0], room=room)
    redis.signal(signal.SIGSTOP)
    marks = [ann.say(n, room) for n in range(20)]
    errors = ann.collect("error", 20)
    redis.signal(signal.SIGCONT)
    pair[0].wait_ready()
    ann.publish("end", room)
    ann.refuse("ack")
    assert [error["id"] for error in errors] == marks


def test_a_node_starts_without_redis_and_works_when_it_comes(start, connect, raw, room):
    redis = start.redis(start=False)
    node = start.node(redis=redis)
    assert node.get("/healthz").status == 200
    assert not_ready(node)
    early = connect(node, room=room, wait=False)
    early.expect("welcome")
    redis.start()
    node.wait_ready()
    early.expect("joined", room=room)
    early.publish("hello", room)
    assert early.expect("message")["content"] == "hello"


def test_a_wrong_password_is_not_ready_and_says_so(start, connect, room):
    redis = start.redis("--requirepass", "right")
    node = start.node(redis=f"redis://:wrong@127.0.0.1:{redis.port}/0")
    assert not_ready(node)
    eventually(lambda: "WRONGPASS" in node.log or "password" in node.log.lower() or "NOAUTH" in node.log,
               what="the log tells the reason")
    assert "wrong@" not in node.log and ":wrong" not in node.log
    ann = connect(node, room=room, wait=False)
    ann.expect("welcome")


def test_the_right_password_is_used(start, connect, room):
    redis = start.redis("--requirepass", "right")
    node = start.node(redis=f"redis://:right@127.0.0.1:{redis.port}/0").wait_ready()
    ann = connect(node, room=room)
    ann.publish("x", room)
    redis.kill()
    not_ready(node)
    redis.start()
    node.wait_ready()


def test_another_database_is_used(start, connect, room):
    redis = start.redis()
    node = start.node(redis=f"redis://127.0.0.1:{redis.port}/3").wait_ready()
    connect(node, room=room).publish("x", room)
    assert "db3" in redis.info("keyspace") and "db0" not in redis.info("keyspace")


def test_a_unix_socket_is_used(start, connect, room, tmp_path):
    path = tmp_path / "redis.sock"
    start.redis("--unixsocket", path)
    node = start.node(redis=f"unix://{path}?db=0").wait_ready()
    connect(node, room=room).publish("x", room)


def test_a_read_only_replica_refuses_and_the_client_is_told(start, connect, room):
    primary = start.redis()
    replica = start.redis("--replicaof", "127.0.0.1", primary.port)
    eventually(lambda: replica.info("replication").get("master_link_status") == "up", DEADLINE * 3)
    node = start.node(redis=replica)
    ann = connect(node, room=room, wait=False)
    ann.expect("welcome")
    node_is_up = eventually(lambda: [f for f in ann.frames if f["type"] == "joined" and f.get("room") == room]
                            or not node.ready())
    assert node_is_up
    error = ann.expect("error", id=ann.say("x", room))
    assert error["retry"] is True and error["code"] in ("refused", "unavailable", "not_joined")


def test_a_full_redis_refuses_and_recovers(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)
    ann.publish("before", room)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    error = ann.expect("error", id=ann.say("full", room))
    assert (error["code"], error["retry"]) == ("store_full", True)
    redis.command("CONFIG", "SET", "maxmemory", "0")
    ann.publish("after", room)
    assert [f["content"] for f in ann.collect("message", 2)] == ["before", "after"]


def test_forgotten_scripts_are_loaded_again(start, connect, room):
    redis = start.redis()
    ann = connect(start.node(redis=redis).wait_ready(), room=room)
    for n in range(5):
        redis.command("SCRIPT", "FLUSH")
        ann.publish(n, room)
    assert [f["content"] for f in ann.collect("message", 5)] == list(range(5))


def test_flushed_keys_begin_a_new_generation_with_a_gap(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)
    old = ann.publish("before", room)["pos"]
    redis.command("FLUSHALL")
    new = ann.publish("after", room)["pos"]
    assert int(new.split("-")[0]) > int(old.split("-")[0])
    ann.expect("gap")
    ann.expect("message", content="after")
    ann.publish("later", room)
    ann.expect("message", content="later")
    ann.send({"type": "history", "room": room, "id": "h"})
    assert [entry["content"] for entry in ann.expect("history", id="h")["messages"]] == ["after", "later"]
    back = connect(node, room=room, since=old)
    assert back.joined["recovered"] is False and back.expect("gap")


def test_a_failover_to_the_replica_begins_a_new_generation(start, connect, room):
    primary = start.redis()
    replica = start.redis("--replicaof", "127.0.0.1", primary.port)
    eventually(lambda: replica.info("replication").get("master_link_status") == "up", DEADLINE * 3)
    ann = connect(start.node(redis=primary).wait_ready(), room=room)
    old = ann.publish("before", room)["pos"]
    eventually(lambda: replica.info("replication")["slave_repl_offset"]
               == primary.info("replication")["master_repl_offset"])
    primary.kill()
    replica.command("REPLICAOF", "NO", "ONE")
    bob = connect(start.node(redis=replica).wait_ready(), room=room)
    new = bob.publish("after", room)["pos"]
    assert int(new.split("-")[0]) > int(old.split("-")[0])


class FakeRedis:
    """Answers as a Redis of some version would, and knows nothing else."""

    def __init__(self, version):
        self.version = version
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link):
        with link, link.makefile("rb") as stream:
            try:
                while True:
                    count = stream.readline()
                    if not count.startswith(b"*"):
                        return
                    words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(count[1:]))]
                    link.sendall(self._answer(words[0].upper()))
            except ConnectionError:
                return

    def _answer(self, word):
        if word == b"INFO":
            text = (f"# Server\r\nredis_version:{self.version}\r\nredis_mode:standalone\r\nrun_id:{'a' * 40}\r\n"
                    f"# Replication\r\nrole:master\r\nmaster_replid:{'b' * 40}\r\n").encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        if word == b"PING":
            return b"+PONG\r\n"
        if word == b"HELLO":
            return b"-ERR unknown command\r\n"
        return b"+OK\r\n"

    def stop(self):
        self.listener.close()


def test_a_redis_that_is_too_old_ends_the_node_with_78(start):
    fake = start.keep(FakeRedis("6.2.0"))
    node = start.keep(Node(redis=fake.url, start=False))
    node.spawn()
    node.finish(78)
    assert "7.0" in node.log and "6.2.0" in node.log


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "redis://", "redis://host:99999", "redis://host:x/0", "nonsense",
                                 "redis://127.0.0.1:6379/x"])
def test_an_invalid_redis_url_ends_the_node_with_78(url):
    done = subprocess.run([CHATNODE, "--listen", f"127.0.0.1:{free_port()}", "--internal-listen", "",
                           "--redis-url", url], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 78, done.stderr
    assert "redis-url" in done.stderr + done.stdout


def test_the_harness_reports_redis_errors(redis):
    with pytest.raises(RedisError):
        redis.command("NO-SUCH-COMMAND")


def test_a_redis_busy_with_a_script_is_waited_for(start, connect, room):
    """BUSY comes for as long as the script runs; the publish is stored as soon as it was killed, within its deadline."""
    redis = start.redis("--busy-reply-threshold", "10")
    node = start.node(redis=redis, publish_deadline=int(DEADLINE * 1000)).wait_ready()
    ann = connect(node, room=room)
    looping = threading.Thread(target=_loop_in_redis, args=(redis,))
    looping.start()
    eventually(lambda: _is_busy(redis), what="Redis says BUSY")
    mark = ann.say("patience", room)
    eventually(lambda: node.metric("chatnode_bus_downs_total", 'cause="busy"') > 0, what="the node noticed")
    redis.command("SCRIPT", "KILL")
    looping.join()
    assert ann.expect("ack", id=mark)["dup"] is False


def _loop_in_redis(redis):
    with pytest.raises(RedisError):
        redis.command("EVAL", "while true do end", "0")


def _is_busy(redis):
    try:
        redis.command("PING")
    except RedisError as error:
        return "BUSY" in str(error)
    return False


def test_durability_is_told_and_kept(start, redis, connect, room):
    node = start.node(redis=redis, require_durability="disk")
    assert eventually(lambda: node.internal("/readyz").json()["checks"]["bus"] == "up")
    assert node.internal("/readyz").json()["checks"]["durable"] is False
    ann = connect(node, room=room)
    assert ann.welcome["durability"] == "memory"
    error = ann.expect("error", id=ann.say("on paper?", room))
    assert (error["code"], error["retry"]) == ("not_durable", True)
    redis.command("CONFIG", "SET", "appendonly", "yes")
    node.wait_ready(DEADLINE * 2)
    assert ann.publish("on paper", room)["dup"] is False
    assert connect(node, room=room).welcome["durability"] == "disk"
    assert node.metric("chatnode_bus_durability") == 2


def test_the_bus_in_memory_cannot_be_durable():
    answer = subprocess.run([CHATNODE, "--require-durability", "disk", "--listen", "127.0.0.1:0"],
                            capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert answer.returncode == 78
    assert "require-durability needs redis-url" in answer.stderr


def test_what_a_restart_lost_is_restored_to_the_room(start, redis, connect, room):
    """An empty Redis after a restart gets the acked messages again; members are told of the gap and see them once more."""
    node = start.node(redis=redis).wait_ready()
    ann, bob = connect(node, room=room), connect(node, room=room)
    for text in ("one", "two"):
        ann.publish(text, room)
        bob.expect("message", content=text)
    redis.restart()
    assert bob.expect("gap")["room"] == room
    assert [bob.expect("message")["content"] for _ in range(2)] == ["one", "two"]
    eventually(lambda: node.metric("chatnode_bus_replayed_total", "restored") == 2)
    assert node.metric("chatnode_bus_failovers_total") == 1
