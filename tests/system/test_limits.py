# SPDX-License-Identifier: MIT
"""Every bound says so when it is reached."""
import json
import signal
import socket
import time

import pytest

from clients import BINARY, CLOSE, PING, TEXT, close_of, frame_bytes, upgrade_request
from harness import DEADLINE, SLOW, eventually, unique


def test_connections_beyond_the_limit_are_refused_and_welcome_again_later(start, connect, raw):
    node = start.node(max_connections=5)
    sessions = [connect(node) for _ in range(5)]
    extra = raw(node)
    try:
        extra.send(upgrade_request())
        status, _ = extra.response_head()
    except (ConnectionResetError, BrokenPipeError):
        status = None
    assert status in (None, 503)
    sessions[0].publish("still works")
    sessions[0].close()

    def in_again():
        try:
            connect(node, deadline=DEADLINE)
        except Exception:
            return False
        return True

    eventually(in_again, what="a place is free again")


def test_one_user_may_have_many_sessions_and_all_get_a_direct_message(start, connect, raw, user):
    node = start.node(loops=2)
    count = 200 if SLOW == 1 else 50
    sessions = [raw(node) for _ in range(count)]
    for session in sessions:
        session.open(user=user, room="")
    ann = connect(node)
    ann.expect("ack", id=ann.tell(user, "all of you"))
    for session in sessions:
        assert session.until("direct")["content"] == "all of you"


def test_publishes_beyond_the_window_are_refused_with_a_retryable_error(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, max_in_flight=8, publish_deadline=int(2000 * SLOW)).wait_ready()
    ann = connect(node, room=room)
    redis.signal(signal.SIGSTOP)
    try:
        marks = [ann.say(n, room) for n in range(12)]
        refused = ann.collect("error", 4, code="overloaded")
        assert {error["id"] for error in refused} == set(marks[8:]) and all(error["retry"] for error in refused)
    finally:
        redis.signal(signal.SIGCONT)
    ann.collect("ack", 8)
    ann.publish("again", room, id=marks[8])


def test_a_flood_of_wrong_frames_ends_with_4500_or_is_answered_throughout(node, raw):
    client = raw(node)
    client.open(room="")
    answered = 0
    try:
        for _ in range(2000):
            client.send_frame(TEXT, "{}")
    except (BrokenPipeError, ConnectionResetError):
        pass
    while answered < 2000:
        frame = client.recv_frame()
        if frame is None:
            return
        if frame[0] == 8:
            assert int.from_bytes(frame[1][:2], "big") in (4500, 4001)
            return
        answered += json.loads(frame[1])["type"] == "error"


def test_a_thousand_sessions_come_and_go(start, raw):
    node = start.node()
    for _ in range(5 if SLOW == 1 else 1):
        clients = [raw(node) for _ in range(200)]
        for client in clients:
            client.send(upgrade_request())
        for client in clients:
            assert client.response_head()[0] == 101
        eventually(lambda: node.metric("chatnode_sessions") == 200, what="all are in")
        for client in clients:
            client.sock.close()
        eventually(lambda: node.metric("chatnode_sessions") == 0, DEADLINE * 2, "all are gone")


def test_many_rooms_with_one_member_each(start, connect):
    node = start.node()
    sessions = [connect(node, room=unique("solo")) for _ in range(50)]
    for session in sessions:
        session.publish("echo", session.joined["room"])
        assert session.expect("message")["content"] == "echo"


@pytest.mark.parametrize("limit", [64, 1000])
def test_the_message_limit_is_configurable(start, raw, limit):
    node = start.node(max_message=limit)
    client = raw(node)
    client.open()
    client.send(frame_bytes(TEXT, "x" * limit))
    client.until("message")
    client.send(frame_bytes(TEXT, "x" * (limit + 1)))
    assert client.closed_with() == 1009


def test_memory_is_given_back_when_sessions_leave(start, raw):
    node = start.node(loops=1)

    def round_of(count):
        clients = [raw(node) for _ in range(count)]
        for client in clients:
            client.open(room=unique("room"))
        for client in clients:
            client.sock.close()
        eventually(lambda: node.metric("chatnode_sessions") == 0, DEADLINE * 2)
        return node.rss_bytes()

    first = round_of(150)
    later = [round_of(150) for _ in range(4)][-1]
    assert later < first + (6 << 20) * SLOW, (first, later)


def test_as_many_connections_as_configured_fit_beside_many_loops(start, raw):
    node = start.node(loops=64, max_connections=150)
    clients = [raw(node) for _ in range(149)]
    for client in clients:
        client.send(upgrade_request())
    for client in clients:
        assert client.response_head()[0] == 101
    eventually(lambda: node.metric("chatnode_sessions") == 149)


def test_newcomers_need_not_wait_until_all_have_gone_that_go_at_once(start, connect, raw, room):
    count = 3000 if SLOW == 1 else 800
    node = start.node(loops=1, accept_rate=0, log_level="debug")
    ann, crowd = connect(node, room=room), [raw(node) for _ in range(count)]
    for member in crowd:
        member.open(room=room)
    early = raw(node)  # connected, but has not asked yet
    eventually(lambda: node.metric("chatnode_connections") == count + 3)  # and the one that asks for it
    node.signal(signal.SIGSTOP)
    try:
        for member in crowd:
            member.sock.close()
        late = raw(node)
        early.send(upgrade_request(f"/ws?user=early&room={room}"))
        late.send(upgrade_request(f"/ws?user=late&room={room}"))
    finally:
        node.signal(signal.SIGCONT)
    assert early.response_head()[0] == late.response_head()[0] == 101
    eventually(lambda: node.metric("chatnode_sessions") == 3)
    early.sock.close()
    late.sock.close()
    ann.publish("still works", room)
    events = [line for line in node.log.splitlines() if "session.opened" in line or "session.closed" in line]
    gone = [index for index, line in enumerate(events) if "session.closed" in line]
    for user in ("early", "late"):
        came = next(index for index, line in enumerate(events) if "session.opened" in line and user in line)
        before = sum(index < came for index in gone)
        assert before < count / 2, f"{before} of {count} had gone before {user} was served"


def ask_to_upgrade(raw, node, query="", **headers):
    """(status, headers, connection) of a handshake."""
    client = raw(node)
    client.send(upgrade_request("/ws" + query, **headers))
    return *client.response_head(), client


def let_in_after(raw, node, query, seconds):
    """Asks again only when the time has come that the node gave."""
    due = time.monotonic() + seconds

    def tried():
        return time.monotonic() >= due and ask_to_upgrade(raw, node, query)[0] == 101

    eventually(tried, DEADLINE + seconds, "the client is let in after its wait")


@pytest.mark.parametrize("position", ["since=1700000000000-1", "inbox=0-0"])
def test_beyond_the_rate_new_clients_wait_and_resuming_ones_come_first(start, raw, position):
    node = start.node(accept_rate=1)  # two at once: one for anybody, one more for those who resume
    assert ask_to_upgrade(raw, node)[0] == 101
    status, headers, refused = ask_to_upgrade(raw, node)
    assert status == 503 and 1 <= int(headers["retry-after"]) <= 5
    assert headers["connection"] == "close" and not refused.recv(), "the connection is closed after it"
    assert ask_to_upgrade(raw, node, f"?{position}")[0] == 101
    assert ask_to_upgrade(raw, node, f"?{position}")[0] == 503
    assert node.metric("chatnode_refused_total", 'reason="rate"') == 2
    let_in_after(raw, node, "", int(headers["retry-after"]))


def test_a_crowd_is_told_to_come_back_over_time(start, raw):
    node = start.node(accept_rate=10)
    answers = [ask_to_upgrade(raw, node)[:2] for _ in range(120)]
    let_in = sum(1 for status, _ in answers if status == 101)
    waits = [int(headers["retry-after"]) for status, headers in answers if status == 503]
    assert 10 <= let_in < 110 and len(waits) == 120 - let_in
    # Ten a second: a hundred of them take ten seconds, and are told so.
    assert min(waits) <= 3 and len(set(waits)) >= 4 and max(waits) >= len(waits) / 20


def test_bad_handshakes_take_nothing_from_the_rate(start, raw):
    node = start.node(accept_rate=1)
    for _ in range(5):
        assert ask_to_upgrade(raw, node, "?user=%20")[0] == 400
    assert ask_to_upgrade(raw, node)[0] == 101


def test_without_a_rate_everybody_comes_in(start, raw):
    node = start.node(accept_rate=0)
    assert {ask_to_upgrade(raw, node)[0] for _ in range(50)} == {101}


# ---- By address, behind a trusted proxy (with the PROXY protocol: test_proxy_protocol.py) ----

def test_one_address_behind_a_proxy_may_have_only_so_many_connections(start, connect, raw):
    node = start.node(trusted_proxies="127.0.0.1", max_connections_per_address=2)
    kept = [ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.7") for _ in range(2)]
    assert [status for status, _, _ in kept] == [101] * 2
    status, headers, refused = ask_to_upgrade(raw, node, X_Forwarded_For="6.6.6.6, 203.0.113.7:4711")
    assert status == 429 and int(headers["retry-after"]) >= 1
    assert headers["connection"] == "close" and not refused.recv(), "the connection is closed after it"
    assert ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.8")[0] == 101, "a neighbour is not concerned"
    for _ in range(5):
        connect(node)  # nor is the proxy itself, nor this machine
    assert node.metric("chatnode_refused_total", 'reason="address"') == 1
    kept[0][2].sock.close()
    eventually(lambda: ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.7")[0] == 101, what="a place is free again")


def test_several_forwarding_headers_are_one_list(start, raw):
    node = start.node(trusted_proxies="127.0.0.1,10.0.0.0/8", max_connections_per_address=1)

    def come(*values):
        client = raw(node)
        client.send(upgrade_request(extra=[f"X-Forwarded-For: {value}" for value in values]))
        return client.response_head()[0]

    assert come("203.0.113.7") == 101
    assert come("203.0.113.8", "203.0.113.7, 10.0.0.1") == 429
    assert come("203.0.113.8", "203.0.113.7", "10.0.0.1, 10.0.0.2") == 429
    assert come("203.0.113.7", "203.0.113.8") == 101


def test_a_very_long_list_of_addresses_hides_nobody(start, raw):
    node = start.node(trusted_proxies="127.0.0.1", max_connections_per_address=1)
    forged = "1.2.3.4, " * 300
    assert ask_to_upgrade(raw, node, X_Forwarded_For=forged + "203.0.113.7")[0] == 101
    assert ask_to_upgrade(raw, node, X_Forwarded_For=forged + "203.0.113.7")[0] == 429


def test_ipv6_clients_are_counted_by_their_network(start, raw):
    node = start.node(trusted_proxies="127.0.0.1", max_connections_per_address=1)
    assert ask_to_upgrade(raw, node, X_Forwarded_For="2001:db8:1:1::1")[0] == 101
    assert ask_to_upgrade(raw, node, X_Forwarded_For="[2001:db8:1:1:ffff::2]:4711")[0] == 429
    assert ask_to_upgrade(raw, node, X_Forwarded_For="2001:db8:1:2::1")[0] == 101


def test_one_address_behind_a_proxy_may_come_only_so_fast(start, raw):
    node = start.node(trusted_proxies="127.0.0.1", accept_rate_per_address=1)
    came = [ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.7")[:2] for _ in range(4)]
    assert [status for status, _ in came][:2] == [101] * 2 and came[3][0] == 429
    assert ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.8")[0] == 101
    due = time.monotonic() + int(came[3][1]["retry-after"])
    eventually(lambda: time.monotonic() >= due and ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.7")[0] == 101,
               DEADLINE * 2, "it is let in after its wait")


def test_without_a_trusted_proxy_nobody_is_believed(start, raw):
    node = start.node(max_connections_per_address=1)
    for _ in range(3):
        assert ask_to_upgrade(raw, node, X_Forwarded_For="203.0.113.7")[0] == 101


# ---- By user ----

def test_one_user_may_have_only_so_many_sessions_on_a_node(start, connect, raw, user):
    node = start.node(max_connections_per_user=2, loops=2)
    first, second = connect(node, user=user, room=""), connect(node, user=user, room="")
    third = raw(node).handshake(f"/ws?user={user}&room=")
    assert third.closed_with() == 4511
    assert node.metric("chatnode_disconnects_total", 'reason="too_many"') == 1
    connect(node, room="")  # a neighbour is not concerned
    first.close()
    eventually(lambda: node.metric("chatnode_sessions") == 2, what="one has gone")
    connect(node, user=user, room="")
    second.fence()


# ---- By session: requests, bytes, joins ----

def flood(client, frames):
    """Sends them all at once; the connection may end meanwhile."""
    try:
        client.send(b"".join(frame_bytes(TEXT, json.dumps(frame)) for frame in frames))
    except (BrokenPipeError, ConnectionResetError):
        pass


def test_requests_beyond_the_rate_are_refused_until_the_time_that_is_said(start, connect, raw, room):
    node = start.node(message_rate=5, message_burst=5)
    ann, bob = raw(node), connect(node, room=room)
    ann.open(room=room)
    flood(ann, [{"type": "message", "room": room, "content": n, "id": f"m{n}"} for n in range(10)])
    refused = [ann.until("error") for _ in range(5)]
    assert {error["code"] for error in refused} == {"rate_limited"} and all(error["retry"] for error in refused)
    assert [error["id"] for error in refused] == [f"m{n}" for n in range(5, 10)]
    assert all(1 <= error["in_ms"] <= 200 for error in refused)
    bob.publish("a neighbour is not concerned", room)
    assert [message["content"] for message in bob.collect("message", 5)] == list(range(5))
    assert node.metric("chatnode_limited_total", 'limit="messages"') == 5

    def taken():
        ann.send_json({"type": "message", "room": room, "content": "again", "id": "m5"})
        while True:
            frame = json.loads(ann.recv_frame()[1])
            if frame["type"] in ("ack", "error"):
                return frame["type"] == "ack"

    eventually(taken, what="the same request is taken later")


def test_bytes_beyond_the_rate_are_refused(start, raw, room):
    node = start.node(byte_rate=1000, max_message=2000)
    client = raw(node)
    client.open(room=room)
    flood(client, [{"type": "message", "room": room, "content": "x" * 1500, "id": f"m{n}"} for n in range(2)])
    error = client.until("error")
    assert (error["id"], error["code"]) == ("m1", "rate_limited") and error["in_ms"] > 100
    client.send_json({"type": "ping", "id": "p"})
    assert client.until("pong")["id"] == "p", "what is small still fits"
    assert node.metric("chatnode_limited_total", 'limit="bytes"') == 1


def test_joins_beyond_the_rate_are_refused(start, raw, connect):
    node = start.node(join_rate=1)
    client, names = raw(node), [unique("room") for _ in range(4)]
    client.open(room="")
    flood(client, [{"type": "join", "room": name, "id": name} for name in names])
    assert client.until("error")["code"] == "rate_limited"
    assert client.until("error")["code"] == "rate_limited"
    client.until("joined")
    client.until("joined")
    connect(node, room=names[3]).publish("a neighbour is not concerned", names[3])
    assert node.metric("chatnode_limited_total", 'limit="joins"') == 2


def test_sessions_of_one_user_share_the_users_rate(start, raw, connect, user):
    node = start.node(user_message_rate=1, message_burst=3, loops=2)
    one, two = raw(node), raw(node)
    for client in (one, two):
        client.open(user=user, room="")
    flood(one, [{"type": "leave", "room": "x", "id": f"a{n}"} for n in range(3)])
    assert [one.until("error")["code"] for _ in range(3)] == ["not_joined"] * 3
    flood(two, [{"type": "leave", "room": "x", "id": "b"}])
    assert two.until("error")["code"] == "rate_limited"
    connect(node).publish("a neighbour is not concerned")
    assert node.metric("chatnode_limited_total", 'limit="user"') == 1


def test_beyond_the_nodes_rate_everybody_is_told_to_try_again(start, raw):
    node = start.node(node_message_rate=1)
    client = raw(node)
    client.open(room="")
    flood(client, [{"type": "leave", "room": "x", "id": f"a{n}"} for n in range(300)])
    codes = [client.until("error")["code"] for _ in range(300)]
    assert codes[:2] == ["not_joined"] * 2 and codes.count("overloaded") >= 290
    assert node.metric("chatnode_limited_total", 'limit="node"') == codes.count("overloaded")


def test_who_does_not_stop_is_closed_with_4510_and_nobody_else(start, raw, connect, room):
    node = start.node(message_rate=10, message_burst=10, flood_limit=50)
    ann, client = connect(node, room=room), raw(node)
    client.open(room=room)
    flood(client, [{"type": "message", "room": room, "content": n, "id": f"m{n}"} for n in range(500)])
    refused = 0
    while (frame := client.recv_frame()) and frame[0] != CLOSE:
        refused += json.loads(frame[1]).get("code") == "rate_limited"
    assert frame and close_of(frame) == 4510
    assert refused == 51
    ann.publish("still here", room)
    assert node.metric("chatnode_disconnects_total", 'reason="flooding"') == 1


def test_who_floods_with_what_is_no_request_is_closed_too(start, raw):
    node = start.node(message_rate=10, flood_limit=20)
    client = raw(node)
    client.open(room="")
    try:
        client.send(b"".join(frame_bytes(TEXT, "{") for _ in range(100)) + b"".join(frame_bytes(BINARY, b"x") for _ in range(100)))
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert client.closed_with() == 4510


def test_without_rates_a_flood_is_served(node, raw):
    client = raw(node)
    client.open(room="")
    flood(client, [{"type": "ping", "id": f"p{n}"} for n in range(5000)])
    assert [client.until("pong")["id"] for _ in range(5000)] == [f"p{n}" for n in range(5000)]


def test_a_flood_of_pings_on_the_wire_delays_nobody_for_long(start, raw, connect, room):
    """libwebsockets answers them itself, and tells nobody; one pong waits at a time, and it reads at most 1 KiB a turn."""
    node = start.node(loops=1)
    ann, client = connect(node, room=room), raw(node)
    client.open(room="")
    burst = b"".join(frame_bytes(PING, b"x") for _ in range(2000))
    client.sock.settimeout(0.2)
    sent = 0
    try:
        while sent < 100:
            client.send(burst)
            sent += 1
            if sent % 10 == 0:
                ann.publish(f"through {sent}", room)
    except (socket.timeout, BrokenPipeError, ConnectionResetError):
        pass  # we do not read the pongs: the socket is full
    for n in range(20):
        ann.publish(f"still {n}", room)
