# SPDX-License-Identifier: MIT
"""Revocations: on every node at once, over restarts of nodes and of Redis, and over the time that a node was cut off."""
import signal
import time

import pytest

from harness import DEADLINE, Node, eventually
from tokens import FLAGS, mint

KICKED, REVOKED = 4504, 4502


def post(node, path, body, **headers):
    return node.internal(f"/api/v1/{path}", method="POST", body=body,
                         headers={"content-type": "application/json", **headers})


def revoke(node, body):
    answer = post(node, "revoke", body)
    assert answer.status == 200, answer.text
    return answer.json()


def revocations(node):
    return node.internal("/api/v1/revocations").json()["revocations"]


def test_sessions_end_on_all_nodes(cluster, connect, user, room):
    sessions = [connect(node, user=user, room=room) for node in cluster for _ in range(2)]
    other = connect(cluster[0], room=room)
    answer = revoke(cluster[1], f'{{"user":"{user}"}}')
    assert answer["user"] == user and answer["until"] - answer["before"] == 86400
    assert [client.closed() for client in sessions] == [REVOKED] * len(sessions)
    for node in cluster:
        eventually(lambda n=node: answer in revocations(n), what="every node knows it")
        assert node.metric("chatnode_disconnects_total", 'reason="revoked"') >= 2
    other.publish("still here", room)
    connect(cluster[2], user=user, room=room)  # without tokens he may come back


def test_sessions_end_without_a_revocation(cluster, connect, user, room):
    sessions = [connect(node, user=user, room=room) for node in cluster]
    assert post(cluster[0], "disconnect", f'{{"user":"{user}"}}').json() == {"user": user}
    assert [client.closed() for client in sessions] == [KICKED] * 3
    assert not any(entry.get("user") == user for entry in revocations(cluster[0]))


@pytest.mark.parametrize("body, status, code", [
    ("{", 400, "bad_json"), ("{}", 400, "bad_request"), ('{"user":"a b"}', 400, "bad_name"),
    ('{"user":"a","jti":"b"}', 400, "bad_request"), ('{"jti":"x","ttl_s":-1}', 400, "bad_request")])
def test_what_is_no_order_is_refused(node, body, status, code):
    answer = post(node, "revoke", body)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_the_api_wants_its_key_and_its_method(start):
    node = start.node(api_key="hush")
    for path in ("revoke", "disconnect"):
        assert post(node, path, '{"user":"ann"}').status == 401
        assert node.internal(f"/api/v1/{path}", headers={"authorization": "Bearer hush"}).status == 405
    assert node.internal("/api/v1/revocations").status == 401
    assert post(node, "revocations", "{}", authorization="Bearer hush").status == 405
    assert post(node, "revoke", '{"user":"ann"}', authorization="Bearer hush").status == 200
    assert node.internal("/api/v1/revocations", headers={"authorization": "Bearer hush"}).json()["revocations"][0]["user"] == "ann"
    assert node.get("/api/v1/revocations").status == 404  # not where clients are


def test_a_node_that_starts_later_knows(start):
    redis = start.redis()
    one = start.node(redis=redis).wait_ready()
    known = [revoke(one, '{"user":"ann","ttl_s":1000}'), revoke(one, '{"jti":"t-1"}')]
    one.terminate()
    late = start.node(redis=redis).wait_ready()
    eventually(lambda: len(revocations(late)) == 2, what="it has read what is kept")
    assert sorted(map(str, revocations(late))) == sorted(map(str, known))


def test_a_node_that_was_cut_off_ends_sessions_when_it_is_back(start, connect, room, user):
    redis = start.redis()
    one, two = (start.node(redis=redis, watchdog=300).wait_ready() for _ in range(2))
    victim = connect(two, user=user, room=room)
    two.signal(signal.SIGSTOP)
    try:
        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        one.wait_ready()
        revoke(one, f'{{"user":"{user}"}}')
    finally:
        two.signal(signal.SIGCONT)
    assert victim.closed() == REVOKED


def test_a_revoked_token_opens_no_session(start, connect, room):
    redis = start.redis()
    one, two = (start.node(redis=redis, **FLAGS, auth_leeway=60).wait_ready() for _ in range(2))
    issued = int(time.time())
    bad, old, fresh = (mint("ann", jti=jti, iat=iat) for jti, iat in
                       (("t-1", issued + 30), ("t-2", issued - 60), ("t-3", issued + 30)))
    kept = connect(two, token=fresh, room=room)
    revoke(one, '{"jti":"t-1"}')
    revoke(one, '{"user":"ann"}')
    eventually(lambda: len(revocations(two)) == 2, what="the other node knows")
    for node in (one, two):
        for token in (bad, old, mint("ann", iat=None)):
            session = connect(node, token=token, wait=False)
            error = session.expect("error")
            assert (error["code"], error["reason"]) == ("unauthenticated", "revoked")
            assert session.closed() == REVOKED
    # A session that shows one keeps the token that it has.
    kept.send({"type": "auth", "token": bad})
    assert kept.expect("error")["reason"] == "revoked"
    kept.publish("still here", room)
    revoke(one, '{"jti":"t-3"}')
    assert kept.closed() == REVOKED


def test_nobody_is_let_in_before_it_is_known_what_is_revoked(start, connect):
    redis = start.redis()
    one = start.node(redis=redis, **FLAGS).wait_ready()
    token = mint("ann", jti="t-1")
    revoke(one, '{"jti":"t-1"}')
    redis.signal(signal.SIGSTOP)
    late = start.node(redis=redis, **FLAGS)
    session = connect(late, token=token, wait=False)
    error = session.expect("error")
    assert (error["code"], error["reason"]) == ("unavailable", "unavailable") and session.closed() == 1011
    redis.signal(signal.SIGCONT)
    late.wait_ready(DEADLINE * 2)
    eventually(lambda: len(revocations(late)) == 1, what="it has read what is kept")
    session = connect(late, token=token, wait=False)
    assert session.expect("error")["reason"] == "revoked" and session.closed() == REVOKED
    connect(late, token=mint("bob"))


def test_a_node_that_cannot_read_what_is_revoked_is_not_ready(start, connect):
    redis = start.redis()
    redis.command("SET", "chatnode:notices", "not a set")
    node = start.node(redis=redis, **FLAGS)
    eventually(lambda: "WRONGTYPE" in node.log, what="it says why")
    checks = node.internal("/readyz").json()["checks"]
    assert not node.ready() and (checks["bus"], checks["revocations"]) == ("up", "unknown")
    assert connect(node, token=mint("ann"), wait=False).expect("error")["reason"] == "unavailable"
    redis.command("DEL", "chatnode:notices")
    node.wait_ready()
    connect(node, token=mint("ann"))


def test_redis_that_forgets_is_told_again(start):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    known = revoke(node, '{"user":"ann","ttl_s":1000}')
    redis.restart()  # it keeps nothing
    node.wait_ready(DEADLINE * 2)
    eventually(lambda: redis.command("ZCARD", "chatnode:notices") == 1, what="the node has told it again")
    late = start.node(redis=redis).wait_ready()
    eventually(lambda: revocations(late) == [known], what="a new node knows it")


def test_while_redis_is_away_an_order_fails_and_says_so(start):
    redis = start.redis()
    node = start.node(redis=redis, watchdog=300).wait_ready()
    redis.kill()
    eventually(lambda: not node.ready(), what="the bus is down")
    answer = post(node, "revoke", '{"user":"ann"}')
    assert answer.status == 503 and answer.json()["error"]["retry"] is True
    assert revocations(node) == []


def test_without_redis_a_file_keeps_them(start, tmp_path):
    path = tmp_path / "revocations"
    node = start.node(revocations_file=path)
    known = [revoke(node, f'{{"user":"u{n}","ttl_s":1000}}') for n in range(20)]
    node.kill()
    with open(path, "a", encoding="ascii") as file:
        file.write("torn")
    again = start.node(revocations_file=path)
    assert sorted(map(str, revocations(again))) == sorted(map(str, known))
    again.terminate()
    path.write_text("99999999999999 garbage}\n" * 3)
    third = start.node(revocations_file=path)
    assert revocations(third) == [] and third.metric("chatnode_notices_total", 'result="bad"') == 1


def test_a_file_that_cannot_be_ends_the_start(start):
    node = Node("--revocations-file", "/no/such/folder/x", start=False).spawn()
    assert node.wait() == 78
    assert "revocations-file" in node.log


def test_forged_revocations_are_not_heard(start, connect, room, user):
    redis = start.redis()
    node = start.node("--bus-key", "k" * 32, redis=redis).wait_ready()
    client = connect(node, user=user, room=room)
    notice = f'{{"v":"1","end":"user","subject":"{user}","before":"99999999999","until":"99999999999"}}'
    redis.command("ZADD", "chatnode:notices", "99999999999999", notice)
    redis.command("PUBLISH", "chatnode:notices", notice)
    redis.command("PUBLISH", "chatnode:notices", b"\0\xff~2")
    eventually(lambda: node.metric("chatnode_bus_bad_entries_total", 'reason="unsealed"') >= 1, what="it was counted")
    client.publish("still here", room)
    assert revocations(node) == []
    revoke(node, f'{{"user":"{user}"}}')
    assert client.closed() == REVOKED
