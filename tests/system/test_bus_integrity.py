# SPDX-License-Identifier: MIT
"""Others in Redis: what they forge reaches nobody, keys change under way, and a node gets by with the smallest rights."""
import signal

import pytest

from harness import DEADLINE, ROOT, Node, Redis, RedisError, eventually, unique

OLD_KEY = "an-old-key-of-more-than-32-bytes-"
NEW_KEY = "a-new-key-of-more-than-32-bytes--"
TEXT = b'"ts":1,"type":"message","room":"%s","from":"ann","content":"forged","id":"x"}'


class LockedRedis(Redis):
    """As deploy/redis-start.sh starts it: nobody without a name, and one user for the nodes."""

    def __init__(self, password="s3cret"):
        super().__init__(start=False)
        self.password = password
        users = self.argv.index("--user")
        self.argv = [str(ROOT / "deploy/redis-start.sh"), *self.argv[1:users]]
        self.env.update(REDIS_PASSWORD=password, REDIS_USERS=str(self.dir / "users.acl"))
        self.start()

    @property
    def url(self):
        return f"redis://chatnode:{self.password}@127.0.0.1:{self.port}/0"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "bus-key"
    path.write_text(OLD_KEY + "\n")
    return path


def bad(node, reason):
    return node.metric("chatnode_bus_bad_entries_total", f'reason="{reason}"')


def log_of(room):
    return f"chatnode:{{r:{room}}}log"


def channel_of(room):
    return f"chatnode:{{r:{room}}}"


# ---- Rights ----

def test_a_node_works_with_the_smallest_rights(start, connect, room, user):
    redis = start.keep(LockedRedis())
    nodes = start.cluster(2, redis)
    ann, bob = connect(nodes[0], room=room), connect(nodes[1], user=user, room=room)
    positions = [ann.publish(n, room)["pos"] for n in range(3)]
    assert [f["content"] for f in bob.collect("message", 3)] == [0, 1, 2]
    ann.send({"type": "direct", "to": user, "content": "psst", "id": "d"})
    assert bob.expect("direct")["content"] == "psst"
    ann.send({"type": "history", "room": room, "id": "h"})
    assert len(ann.expect("history", id="h")["messages"]) == 3
    back = connect(nodes[1], room=room, since=positions[0])  # from the ring, or from the log
    assert [f["content"] for f in back.collect("message", 2)] == [1, 2]
    redis.restart()  # its log is gone, its users are not: scripts are loaded, channels subscribed, logs read
    for node in nodes:
        node.wait_ready(DEADLINE * 2)
    ann.publish("again", room)
    bob.expect("message", content="again")
    for node in nodes:
        assert "NOPERM" not in node.log and "bus.refused" not in node.log, node.log


def test_a_node_may_wait_for_a_replica(start, connect, room):
    primary = start.redis(shows_config=True)
    replica = start.redis("--replicaof", "127.0.0.1", primary.port)
    eventually(lambda: replica.info("replication").get("master_link_status") == "up", DEADLINE * 3)
    primary.command("CONFIG", "SET", "appendonly", "yes", "min-replicas-to-write", "1")
    node = start.node(redis=primary, require_durability="replicated", replica_wait=1000)
    node.wait_ready(DEADLINE * 2)
    assert connect(node, room=room).publish("x", room)["dup"] is False


@pytest.mark.parametrize("words", [
    ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "requirepass"), ("CONFIG", "SET", "dir", "/tmp"), ("SCRIPT", "FLUSH"),
    ("EVAL", "return 1", "0"), ("ACL", "LIST"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "pubsub"),
    ("MONITOR",), ("SHUTDOWN",), ("REPLICAOF", "127.0.0.1", "1"), ("MODULE", "LIST"), ("PSUBSCRIBE", "*"),
    ("GET", "other:key"), ("SET", "other:key", "x"), ("PUBLISH", "other:channel", "x"), ("SUBSCRIBE", "other:channel"),
    ("XADD", "other:log", "*", "d", "x"), ("MGET", "chatnode:a", "other:key"), ("RENAME", "chatnode:a", "chatnode:b")],
    ids=" ".join)
def test_a_nodes_user_may_do_nothing_else(start_for_module, words):
    redis = start_for_module.started[0] if start_for_module.started else start_for_module.keep(LockedRedis())
    with pytest.raises(RedisError, match="NOPERM"):
        redis.commands(("AUTH", "chatnode", redis.password), words)
    with pytest.raises(RedisError, match="NOAUTH"):
        redis.command(*words)


def test_redis_does_not_start_without_a_password():
    redis = Redis(start=False)
    redis.argv = [str(ROOT / "deploy/redis-start.sh"), *redis.argv[1:]]
    redis.spawn()
    assert redis.wait() == 78
    assert "REDIS_PASSWORD" in redis.log
    redis.stop()


# ---- Seals ----

def test_what_strangers_write_reaches_no_client(start, connect, room, key_file):
    redis = start.redis()
    node = start.node("--bus-key-file", key_file, redis=redis).wait_ready()
    ann, bob = connect(node, room=room), connect(node, room=room)
    first = ann.publish("true", room)
    gen = first["pos"].split("-")[0]
    _, fields = redis.command("XRANGE", log_of(room), "-", "+")[0]
    entry = fields[1]
    forged = TEXT % room.encode()
    other = unique("other")
    redis.command("XADD", log_of(other), f"{gen}-0", "d", entry)  # moved
    redis.command("XADD", log_of(room), f"{gen}-*", "d", forged)
    redis.command("XADD", log_of(room), f"{gen}-*", "d", entry.replace(b"true", b"lies"))
    redis.command("XADD", log_of(room), f"{gen}-*", "d", entry.replace(b"~2", b"~7"))
    redis.command("XADD", log_of(room), f"{gen}-*", "d", b"\0\xff" * 50)
    redis.command("XADD", log_of(room), f"{gen}-*", "d", b"x" * (4 << 20))
    redis.command("PUBLISH", channel_of(room), b'{"pos":"%s-1",' % gen.encode() + forged)
    redis.command("PUBLISH", channel_of(room), b"y" * (4 << 20))
    ann.publish("also true", room)
    assert [f["content"] for f in bob.collect("message", 2)] == ["true", "also true"]
    assert [f["content"] for f in ann.collect("message", 2)] == ["true", "also true"]
    carl = connect(node, room=other)
    for client, name, wanted in ((ann, room, ["true", "also true"]), (carl, other, [])):
        client.send({"type": "history", "room": name, "id": "h"})
        assert [entry["content"] for entry in client.expect("history", id="h")["messages"]] == wanted
    back = connect(node, room=room, since=first["pos"])
    assert back.joined["recovered"] is True
    assert back.expect("message")["content"] == "also true"
    eventually(lambda: all(bad(node, reason) >= count for reason, count in
                           (("unsealed", 2), ("seal", 2), ("version", 1), ("form", 1), ("size", 2))), what="they are counted")
    assert "bus.bad_entry" in node.log and f"r:{room}" in node.log and "forged" not in node.log
    assert node.ready() and node.metric("chatnode_bus_resets_total") == 0


def test_without_a_key_nothing_is_sealed(start, connect, room):
    redis = start.redis()
    connect(start.node(redis=redis).wait_ready(), room=room).publish("x", room)
    _, fields = redis.command("XRANGE", log_of(room), "-", "+")[0]
    assert fields[1].endswith(b"}") and len(fields) == 2


def test_keys_are_rotated_by_hup_under_way(start, connect, room, key_file):
    redis = start.redis()
    nodes = [start.node("--bus-key-file", key_file, redis=redis).wait_ready() for _ in range(2)]
    ann, bob = connect(nodes[0], room=room), connect(nodes[1], room=room)
    said = 0
    for keys in (f"{OLD_KEY},{NEW_KEY}", f"{NEW_KEY}\n{OLD_KEY}", NEW_KEY):
        key_file.write_text(keys + "\n")
        for node in nodes:
            before = node.log.count("config.reload")
            node.signal(signal.SIGHUP)
            eventually(lambda n=node, b=before: n.log.count("config.reload") > b, what="the keys were read")
            ann.publish(said, room)
            said += 1
    assert [f["content"] for f in bob.collect("message", said)] == list(range(said))
    assert sum(bad(node, "unknown_key") for node in nodes) == 0
    key_file.write_text("too short\n")
    nodes[0].signal(signal.SIGHUP)
    eventually(lambda: "32 bytes" in nodes[0].log, what="it says what is wrong")
    ann.publish("still", room)
    assert bob.expect("message")["content"] == "still"
    assert OLD_KEY not in nodes[0].log and NEW_KEY not in nodes[0].log


def test_a_key_that_will_not_do_ends_the_start(start):
    node = Node("--bus-key", "short", start=False).spawn()
    assert node.wait() == 78
    assert "bus-key" in node.log and "short" not in node.log.replace("32 bytes", "")
    node.child = None


def test_nodes_with_and_without_a_key(start, connect, room, key_file):
    """As docs/operations.md says of a key that is introduced: first to believe both, then only what is sealed."""
    redis = start.redis()
    plain = start.node(redis=redis).wait_ready()
    both = start.node("--bus-key-file", key_file, "--bus-unsealed", redis=redis).wait_ready()
    strict = start.node("--bus-key-file", key_file, redis=redis).wait_ready()
    of_plain, of_both, of_strict = (connect(node, room=room) for node in (plain, both, strict))
    of_plain.publish("plain", room)
    of_both.publish("sealed", room)
    assert [f["content"] for f in of_plain.collect("message", 2)] == ["plain", "sealed"]
    assert [f["content"] for f in of_both.collect("message", 2)] == ["plain", "sealed"]
    assert of_strict.expect("message")["content"] == "sealed"
    eventually(lambda: bad(strict, "unsealed") >= 1, what="it is counted")
    assert bad(both, "unsealed") == 0
