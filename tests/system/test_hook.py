# SPDX-License-Identifier: MIT
"""auth-url: a backend that decides who comes in, and backends that are slow, dead, or make no sense."""
import json
import time

import pytest

from backends import Backend
from harness import SLOW, eventually
from tokens import FLAGS, SECRET


def grant(user="ann", **more):
    return {"sub": user, "exp": int(time.time()) + 600, "rooms": {"*": "*"}, **more}


@pytest.fixture(name="backend")
def _backend(start):
    """Lets everybody in as whom the token names."""
    return start.keep(Backend(lambda path, body: (200, grant(json.loads(body)["token"]))))


@pytest.fixture(name="asking")
def _asking(start, backend):
    return start.node(auth="token", auth_url=backend.url("/may-come-in"))


def refusal(node, connect, token="ann"):
    session = connect(node, token=token, wait=False)
    error = session.expect("error")
    return error["code"], error["reason"], session.closed()


def test_it_is_told_who_asks_and_says_who_it_is(asking, connect, backend, room):
    ann = connect(asking, user="ann", room=room, token="ann")
    assert ann.user == "ann"
    (path, body, headers), = backend.requests
    assert path == "/may-come-in" and headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"token": "ann", "user": "ann", "room": room, "address": "127.0.0.1",
                                "node": asking.node_name}
    ann.publish("hello", room)
    assert asking.metric("chatnode_hook_total", 'result="granted"') == 1


def test_what_it_grants_counts(asking, connect, backend, room):
    backend.answer = lambda path, body: (200, grant("bob", name="Bob B.", rooms={room: ["join"]}))
    bob = connect(asking, room=room, token="whatever it is")
    assert bob.user == "bob" and bob.welcome["name"] == "Bob B."
    assert bob.expect("error", id=bob.say("hello", room))["code"] == "denied"


@pytest.mark.parametrize("status", [401, 403])
def test_it_says_no(asking, connect, backend, status):
    backend.answer = lambda path, body: (status, {"why": "for reasons of its own"})
    assert refusal(asking, connect) == ("denied", "denied", 4503)
    assert asking.metric("chatnode_hook_total", 'result="denied"') == 1


def test_tokens_signed_with_a_secret_are_for_it_as_well(start, connect, backend):
    backend.answer = lambda path, body: (403, "")
    node = start.node(**FLAGS, auth_url=backend.url())
    assert refusal(node, connect, SECRET)[0] == "denied"
    assert len(backend.requests) == 1


@pytest.mark.parametrize("lie", [
    (500, ""), (302, ""), (204, ""), (200, ""), (200, "yes"), (200, "[]"), (200, {"sub": "ann"}), (200, {"exp": 1}),
    (200, {"sub": "a b", "exp": 99999999999}), (200, {"sub": "ann", "exp": "never"}),
    (200, {"sub": "ann", "exp": 99999999999, "rooms": {"*": ["everything"]}}), (200, " " * 20_000), None],
    ids=lambda lie: "hangs up" if lie is None else f"{lie[0]}-{str(lie[1])[:30].strip()}")
def test_what_makes_no_sense_lets_nobody_in(asking, connect, backend, lie):
    backend.answer = lambda path, body: lie
    code, reason, close_code = refusal(asking, connect)
    if lie == (200, {"sub": "ann"}):
        assert (code, reason) == ("unauthenticated", "expired")
    else:
        assert (code, reason, close_code) == ("unavailable", "unavailable", 1011)
        assert asking.metric("chatnode_hook_total", 'result="failed"') == 1
    assert all(path == "/may-come-in" for path, _, _ in backend.requests)


def test_a_dead_one_lets_nobody_in(asking, connect, backend):
    backend.stop()
    assert refusal(asking, connect) == ("unavailable", "unavailable", 1011)


def test_a_slow_one_holds_up_nobody_else(start, connect, backend, room):
    node = start.node(auth="token", auth_url=backend.url(), auth_url_timeout=1000, auth_timeout=30000, loops=1)
    ann, bob = (connect(node, room=room, token=name) for name in ("ann", "bob"))
    backend.open.clear()
    late = [connect(node, token=f"late{i}", wait=False) for i in range(8)]
    eventually(lambda: backend.waiting == 8, what="they are asked about")
    ann.publish("hello", room)
    assert bob.expect("message", room=room)["content"] == "hello"
    assert node.ready()
    for session in late:
        assert session.expect("error")["code"] == "unavailable"
    backend.open.set()
    assert connect(node, token="intime").user == "intime"


def test_only_so_many_are_asked_about_at_once(start, connect, backend):
    backend.open.clear()
    node = start.node(auth="token", auth_url=backend.url(), auth_url_timeout=20000, auth_timeout=30000)
    crowd = [connect(node, token=f"user{i}", wait=False) for i in range(100)]
    eventually(lambda: backend.waiting == 64, what="as many as may")
    backend.open.set()
    for i, session in enumerate(crowd):
        assert session.expect("welcome", deadline=20 * SLOW)["user"] == f"user{i}"
    assert backend.most_waiting == 64


def test_an_answer_is_kept_as_long_as_it_says(asking, connect, backend):
    backend.answer = lambda path, body: (200, grant(json.loads(body)["token"], cache_s=60))
    assert [connect(asking, token="ann").user for _ in range(5)] == ["ann"] * 5
    assert connect(asking, token="bob").user == "bob"
    assert len(backend.requests) == 2
    assert asking.metric("chatnode_hook_total", 'result="kept"') == 4
    backend.answer = lambda path, body: (200, grant("eve", cache_s=1))
    connect(asking, token="eve")
    before = len(backend.requests)
    eventually(lambda: connect(asking, token="eve") and len(backend.requests) > before, what="it is asked again")


def test_without_that_it_is_asked_each_time(asking, connect, backend):
    for _ in range(3):
        connect(asking, token="ann")
    assert len(backend.requests) == 3


def test_a_fresh_token_is_for_it_too(asking, connect, backend):
    ann = connect(asking, token="ann")
    backend.answer = lambda path, body: (403, "")
    ann.send({"type": "auth", "token": "again", "id": "1"})
    assert ann.expect("error", id="1")["code"] == "denied"
    ann.send({"type": "ping", "id": "2"})
    ann.expect("pong", id="2")  # the old one holds
    assert "user" not in json.loads(backend.requests[-1][1])


def test_who_has_gone_is_not_answered(asking, connect, backend):
    backend.open.clear()
    session = connect(asking, token="ann", wait=False)
    eventually(lambda: backend.waiting == 1, what="it is asked")
    session.close()
    eventually(lambda: asking.metric("chatnode_connections") <= 1, what="the connection is gone")
    backend.open.set()
    eventually(lambda: asking.metric("chatnode_hook_total", 'result="granted"') == 1, what="the answer came")
    assert connect(asking, token="bob").user == "bob"


def test_a_node_ends_while_it_asks(asking, connect, backend):
    backend.open.clear()
    connect(asking, token="ann", wait=False)
    eventually(lambda: backend.waiting == 1, what="it is asked")
    asking.terminate()


def test_tokens_are_in_no_log(start, connect, backend):
    node = start.node(auth="token", auth_url=backend.url(), log_level="debug")
    backend.answer = lambda path, body: (200, grant("ann", cache_s=5))
    connect(node, token="mellon")
    connect(node, token="mellon")
    backend.answer = lambda path, body: (500, body)
    refusal(node, connect, "mellon2")
    assert "hook.failed" in node.log and "mellon" not in node.log
