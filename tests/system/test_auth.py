# SPDX-License-Identifier: MIT
"""Tokens: each way to show one, each reason why it is not believed, what it allows, and its end."""
import time

import pytest

from clients import upgrade_request
from harness import SLOW, eventually, unique
from test_config import run
from tokens import FLAGS, SECRET, mint

SHORT_S = 3  # the life of a token that is to expire in a test


@pytest.fixture(name="shared_node", scope="module")
def _shared_node(start_for_module):
    return start_for_module.node(**FLAGS, auth_leeway=0)


def refused(node, connect, token):
    """Shows the token; the error and the close code."""
    session = connect(node, token=token, wait=False)
    error = session.expect("error")
    assert error["code"] == "unauthenticated" and error["retry"] is False
    return error["reason"], session.closed()


# ---- Ways to show one ----


def test_the_first_message_may_bring_it(node, connect, room):
    ann = connect(node, room=room, token=mint("ann", name="Ann Lee"))
    assert ann.user == "ann" and ann.welcome["name"] == "Ann Lee"
    assert 0 < ann.welcome["expires_in_ms"] <= 600_000
    assert abs(ann.welcome["exp"] - time.time() - 600) < 60
    ann.publish("hi", room)
    assert ann.expect("message")["from"] == "ann"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_header_may_bring_it(node, connect, scheme):
    assert connect(node, headers={"Authorization": f"{scheme} {mint('bob')}"}).user == "bob"


@pytest.mark.parametrize("padding", [0, 1500])
def test_a_subprotocol_may_bring_it_and_is_not_echoed(node, raw, padding):
    token = mint("eve", padding="x" * padding)
    for offers in (f"chatnode.v1, bearer.{token}", f"bearer.{token},chatnode.v1"):
        client = raw(node)
        client.send(upgrade_request("/ws?room=", Sec_WebSocket_Protocol=offers))
        status, headers = client.response_head()
        assert status == 101 and headers["sec-websocket-protocol"] == "chatnode.v1"
        assert client.until("welcome")["user"] == "eve"


def test_the_lines_of_that_header_are_one_list(node, raw):
    client = raw(node)
    client.send(upgrade_request("/ws?room=", Sec_WebSocket_Protocol="chatnode.v1",
                                extra=[f"Sec-WebSocket-Protocol: bearer.{mint('eve')}"]))
    assert client.response_head()[1]["sec-websocket-protocol"] == "chatnode.v1"
    assert client.until("welcome")["user"] == "eve"


@pytest.mark.parametrize("offers", ["bearer.TOKEN", "chat", "chatnode.v2, bearer.TOKEN", "bearer.chatnode.v1"])
def test_offers_without_our_subprotocol_are_refused(node, raw, offers):
    client = raw(node)
    client.send(upgrade_request("/ws?room=", Sec_WebSocket_Protocol=offers.replace("TOKEN", mint())))
    assert client.response_head()[0] == 400  # a browser would not take another than it has offered


def test_the_header_comes_before_the_subprotocol(node, connect):
    session = connect(node, headers={"Authorization": f"Bearer {mint('first')}"},
                      subprotocols=["chatnode.v1", f"bearer.{mint('second')}"])
    assert session.user == "first" and session.ws.subprotocol == "chatnode.v1"


def test_the_query_may_bring_it_only_where_it_is_allowed(start, node, raw):
    path = f"/ws?room=&token={mint('zoe', padding='x' * 900)}"
    client = raw(node).handshake(path)
    client.send_json({"type": "ping"})
    assert client.until("error")["code"] == "unauthenticated"
    node = start.node("--auth-query", **FLAGS)
    assert raw(node).handshake(path).until("welcome")["user"] == "zoe"


def test_a_user_in_the_query_must_be_the_tokens(node, connect):
    assert connect(node, user="ann", token=mint("ann")).user == "ann"
    session = connect(node, user="ann", token=mint("bob"), wait=False)
    session.expect("error", code="other_user")
    assert session.closed() == 4500


def test_without_a_token_one_is_closed_after_a_while(start, connect):
    node = start.node(**FLAGS, auth_timeout=300)
    session = connect(node, wait=False)
    assert session.closed() == 4500 and not session.frames
    assert session.close_reason == "no valid token was shown in time"
    assert node.metric("chatnode_disconnects_total", 'reason="unauthenticated"') == 1


def test_until_then_it_is_nobody(node, connect, room):
    bob = connect(node, room=room, token=mint("bob"))
    before = node.metric("chatnode_members")
    nobody = connect(node, room=room, wait=False)
    for frame in ({"type": "message", "room": room, "content": 1, "id": "i"}, {"type": "join", "room": room, "id": "i"},
                  {"type": "direct", "to": "bob", "content": 1, "id": "i"}, {"type": "ping", "id": "i"}):
        nobody.send(frame)
        assert nobody.expect("error", id="i")["code"] == "unauthenticated"
    bob.publish("not for nobody", room)
    assert bob.expect("message")["content"] == "not for nobody"
    nobody.refuse("message")
    assert node.metric("chatnode_members") == before
    nobody.send({"type": "auth", "token": mint("now somebody")})
    assert nobody.expect("error")["reason"] == "malformed"  # a blank is not allowed in a name
    assert nobody.closed() == 4500


def test_open_mode_wants_none(start, connect):
    session = connect(start.node(), user="ann", headers={"Authorization": f"Bearer {mint('bob')}"})
    assert session.user == "ann" and "exp" not in session.welcome
    session.send({"type": "auth", "token": mint("bob"), "id": "a1"})
    assert session.expect("error", id="a1")["code"] == "no_tokens"


# ---- Why it is not believed ----


def test_each_fault_is_told_and_counted(start, connect):
    node = start.node(**FLAGS, auth_leeway=0, auth_issuer="us", auth_audience="chat")
    mine = {"iss": "us", "aud": "chat"}
    faults = {
        "malformed": [mint(rooms="all", **mine), "not.a.token", "x", mint(**mine)[:-2] + "==", mint("a b", **mine)],
        "unknown_key": [mint(head={"alg": "ES256"}, **mine)],
        "signature": [mint(secret=SECRET + "!", **mine), mint(**mine)[:-4] + "AAAA"],
        "expired": [mint(seconds=-1, **mine), mint(exp=None, **mine)],
        "early": [mint(nbf=time.time() + 60, **mine), mint(iat=time.time() + 60, **mine)],
        "audience": [mint(iss="us"), mint(iss="us", aud="other")],
        "issuer": [mint(aud="chat"), mint(aud=["chat"], iss="them")],
    }
    for fault, tokens in faults.items():
        for token in tokens:
            assert refused(node, connect, token) == (fault, 4500), token
        assert node.metric("chatnode_auth_total", f'result="{fault}"') == len(tokens)
    assert connect(node, token=mint(**mine)).user == "ann"
    assert node.metric("chatnode_auth_total", 'result="none"') == 1


def test_none_is_no_algorithm(node, connect):
    token = mint(head={"alg": "none"})
    assert refused(node, connect, token)[1] == 4500
    assert refused(node, connect, token.rsplit(".", 1)[0] + ".")[1] == 4500


# ---- Its end ----


def test_the_end_comes_with_a_warning_and_4501(node, connect):
    ann = connect(node, token=mint(seconds=SHORT_S * SLOW))
    assert 0 < ann.expect("expiring")["in_ms"] <= SHORT_S * SLOW * 500
    assert ann.closed() == 4501
    assert time.time() >= ann.welcome["exp"]


def test_a_fresh_token_prevents_it(node, connect, room):
    ann = connect(node, room=room, token=mint(seconds=SHORT_S * SLOW))
    ann.expect("expiring")
    ann.send({"type": "auth", "token": mint(seconds=300), "id": "a1"})
    answer = ann.expect("authenticated", id="a1")
    assert answer["expires_in_ms"] > 200_000 and answer["exp"] > ann.welcome["exp"]
    witness = connect(node, token=mint("witness", seconds=SHORT_S * SLOW))
    assert witness.closed() == 4501  # the first token is over by now
    ann.publish("still here", room)


def test_anothers_token_and_a_bad_one_change_nothing(node, connect, room):
    ann = connect(node, room=room, token=mint("ann"))
    ann.send({"type": "auth", "token": mint("bob"), "id": "a1"})
    assert ann.expect("error", id="a1")["code"] == "other_user"
    ann.send({"type": "auth", "token": "x", "id": "a2"})
    assert ann.expect("error", id="a2")["reason"] == "malformed"
    ann.publish("still ann", room)
    assert ann.expect("message")["from"] == "ann"


def test_rooms_that_the_fresh_one_forbids_are_left(node, connect):
    keep, drop = unique("keep"), unique("drop")
    ann = connect(node, room=keep, token=mint("ann"))
    ann.send({"type": "join", "room": drop})
    ann.expect("joined", room=drop)
    ann.send({"type": "auth", "token": mint("ann", rooms={keep: "*"})})
    assert ann.expect("left", room=drop)["reason"] == "denied"
    bob = connect(node, room=drop, token=mint("bob"))
    bob.publish("not for ann", drop)
    ann.send({"type": "join", "room": drop, "id": "j1"})
    assert ann.expect("error", id="j1")["code"] == "denied"
    ann.refuse("message")
    ann.publish("still here", keep)


# ---- Rights, on two nodes ----


@pytest.fixture(name="pair", scope="module")
def _pair(start_for_module):
    return start_for_module.cluster(2, **FLAGS, auth_leeway=0)


def test_each_request_needs_its_right(pair, connect):
    team, other = unique("team"), unique("other")
    boss = connect(pair[1], room=team, token=mint("boss"))
    boss.publish("one", team)
    reader = connect(pair[0], room=team, token=mint("reader", direct=None, rooms={team: ["join"]}))

    def denied(**frame):
        reader.send({"id": "d", **frame})
        return reader.expect("error", id="d")["code"] == "denied"

    assert denied(type="message", room=team, content=1)
    assert denied(type="message", content=1)  # the default room
    assert denied(type="join", room=other)
    assert denied(type="join", room="lobby")
    assert denied(type="history", room=team)
    assert denied(type="direct", to="boss", content=1)
    boss.publish("two", team)
    assert reader.expect("message")["content"] == "two"  # across the nodes
    boss.expect("ack", id=boss.tell("reader", "psst"))
    assert reader.expect("direct")["content"] == "psst"  # the own inbox always
    reader.send({"type": "history", "with": "boss", "id": "h"})
    assert [m["content"] for m in reader.expect("history", id="h")["messages"]] == ["psst"]
    reader.send({"type": "leave", "room": team, "id": "l"})
    reader.expect("left", id="l")


def test_the_hellos_room_needs_the_right_too(pair, connect):
    session = connect(pair[0], room="secret", token=mint("spy", rooms={"public": "*"}), wait=False)
    session.expect("welcome")
    session.expect("error", code="denied")
    session.expect("joined", inbox=True)


def test_a_resume_is_checked_anew_on_another_node(pair, connect):
    team = unique("team")
    boss = connect(pair[0], room=team, token=mint("boss"))
    ann = connect(pair[0], room=team, token=mint("ann"))
    boss.publish("one", team)
    pos = ann.expect("message")["pos"]
    ann.close()
    boss.publish("missed", team)
    exact = connect(pair[1], room=team, since=pos, token=mint("ann", rooms={team: ["join", "history"]}))
    assert exact.joined["recovered"] and exact.expect("message")["content"] == "missed"
    plain = connect(pair[1], room=team, since=pos, token=mint("ann", rooms={team: ["join"]}))
    assert not plain.joined["recovered"]
    assert plain.expect("gap", room=team)["reset"]
    boss.publish("now", team)
    assert plain.expect("message")["content"] == "now"
    out = connect(pair[1], room=team, since=pos, token=mint("ann", rooms={}), wait=False)
    out.expect("error", code="denied")
    boss.publish("later", team)
    plain.expect("message")
    out.send({"type": "ping", "id": "p"})
    out.expect("pong", id="p")
    out.refuse("message")


def test_nothing_is_given_from_before_the_rules_moment(pair, connect):
    team = unique("team")
    boss = connect(pair[0], room=team, token=mint("boss"))
    old = [boss.publish(f"old {n}", team) for n in range(3)]
    boundary = old[-1]["ts"] // 1000 + 1  # `from` has whole seconds
    eventually(lambda: time.time() >= boundary, what="the next second")
    new = [boss.publish(f"new {n}", team) for n in range(3)]
    rooms = {team: {"rights": ["join", "history"], "from": boundary}}

    ann = connect(pair[1], room=team, since=old[0]["pos"], token=mint("ann", rooms=rooms))
    assert not ann.joined["recovered"] and ann.expect("gap", room=team)["reset"]
    assert [m["content"] for m in ann.collect("message", 3)] == ["new 0", "new 1", "new 2"]
    for arguments in ({}, {"limit": 4}, {"after": old[0]["pos"]}, {"before": new[2]["pos"]}):
        ann.send({"type": "history", "room": team, "id": "h", **arguments})
        page = ann.expect("history", id="h")
        assert page["messages"] and all(m["content"].startswith("new") for m in page["messages"])
        assert not page["more"]
    exact = connect(pair[1], room=team, since=new[0]["pos"], token=mint("ann", rooms=rooms))
    assert exact.joined["recovered"]
    assert [m["content"] for m in exact.collect("message", 2)] == ["new 1", "new 2"]


# ---- Secrets stay secret ----


def test_no_log_has_a_token_in_it(start, connect, raw):
    node = start.node("--auth-query", **FLAGS, auth_leeway=0, log_level="debug")
    shown = [mint(unique("logged")) for _ in range(6)] + [mint(seconds=-5), mint(secret="x" * 40), "hunter2.is.notatoken"]
    connect(node, token=shown[0])
    connect(node, headers={"Authorization": f"Bearer {shown[1]}"})
    connect(node, subprotocols=["chatnode.v1", f"bearer.{shown[2]}"])
    raw(node).handshake(f"/ws?room=&token={shown[3]}").until("welcome")
    renewed = connect(node, token=mint("renewed"))
    renewed.send({"type": "auth", "token": shown[4]})
    renewed.expect("error", code="other_user")
    for path in (f"/?token={shown[5]}", f"/info?token={shown[5]}", f"/nothing?token={shown[5]}", f"/ws?token={shown[5]}"):
        node.get(path)
    client = raw(node)
    client.send(upgrade_request(f"/ws?user=a%20b&token={shown[5]}"))
    assert client.response_head()[0] == 400
    for token in shown[6:]:
        refused(node, connect, token)
    client = raw(node)
    client.send(upgrade_request(Sec_WebSocket_Protocol=f"other, bearer.{shown[5]}"))
    assert client.response_head()[0] == 400
    node.terminate()
    assert "auth.refused" in node.log and "session.opened" in node.log  # it was told of all that
    for token in shown:
        for part in token.split("."):
            assert len(part) < 10 or part == shown[0].split(".")[0] or part not in node.log, "a token is in the log"
    assert shown[0].split(".")[0] not in node.log and SECRET not in node.log


# ---- Settings ----


@pytest.mark.parametrize("flags, complaint", [
    (["--auth", "token"], "auth: token needs a key: auth-secret, auth-keys, auth-jwks-url or auth-url"),
    (["--auth", "tokens"], '--auth: "tokens" is not open or token'),
    (["--auth", "token", "--auth-secret", "short"], "auth-secret: "),
    (["--auth", "token", "--auth-keys", "nonsense"], "auth-keys: "),
    (["--auth-leeway", "61"], "--auth-leeway: "),
    (["--auth-jwks-url", "http://example.org/keys"], "--auth-jwks-url: "),
    (["--auth-url", "http://localhost.example.org/"], "--auth-url: "),
    (["--auth-url", "http://127.0.0.1:80@example.org/"], "--auth-url: "),
])
def test_settings_that_cannot_work_are_refused(flags, complaint):
    code, text = run(*flags, "--check-config")
    assert code == 78 and complaint in text, text
