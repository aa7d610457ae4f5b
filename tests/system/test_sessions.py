# SPDX-License-Identifier: MIT
"""One session on one node: what each request answers, and that a wrong one harms nothing."""
import json
import re

import pytest

from clients import upgrade_request
from harness import Node, unique


def test_welcome_says_who_and_where_one_is(node, connect):
    ann = connect(node, user="ann")
    welcome = ann.welcome
    assert welcome["user"] == "ann"
    assert welcome["node"] == node.node_name
    assert welcome["session"]
    assert welcome["durability"] == "memory"
    assert welcome["ping_ms"] > 0
    assert "0.1.0" in welcome["version"]


def test_each_session_has_an_id_of_its_own(node, connect):
    ids = {connect(node, user="ann").welcome["session"] for _ in range(5)}
    assert len(ids) == 5


def test_one_without_a_name_is_a_guest(node, connect):
    names = {connect(node).user for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"guest-[A-Za-z0-9]{4,}", name) for name in names), names


def test_without_room_one_is_in_the_lobby(node, connect):
    assert connect(node).joined["room"] == "lobby"


def test_the_room_of_the_query_is_joined(node, connect, room):
    ann, bob = connect(node, room=room), connect(node, room=room)
    ann.publish("hi", room)
    assert bob.expect("message", room=room)["content"] == "hi"


def test_an_empty_room_in_the_query_joins_none(node, connect):
    ann = connect(node, room="")
    ann.fence()
    ann.refuse("joined")


@pytest.mark.parametrize("query", ["user=a%20b", "user=" + "x" * 65, "user=%C3%A4", "room=a%2Fb",
                                   "room=" + "r" * 65, "since=12", "since=x-y", "since=-1--1", "inbox=1"])
def test_a_bad_value_in_the_query_is_refused_before_the_upgrade(node, raw, query):
    client = raw(node)
    client.send(upgrade_request("/ws?" + query))
    status, _ = client.response_head()
    assert status == 400


def test_a_nul_in_the_query_is_refused_or_hung_up_on(node, raw):
    client = raw(node)
    client.send(upgrade_request("/ws?user=a%00b"))
    assert client.response_head()[0] in (400, None)


def test_the_longest_names_are_accepted(node, connect):
    user, room = "u" * 64, "r" * 64
    ann = connect(node, user=user, room=room)
    ann.publish("hi", room)
    assert ann.expect("message")["from"] == user


def test_a_message_reaches_every_member_with_the_sender_and_a_position(node, connect, room):
    ann, bob = connect(node, user="ann", room=room), connect(node, user="bob", room=room)
    mark = ann.say("hello", room)
    seen = bob.expect("message")
    assert (seen["room"], seen["from"], seen["content"], seen["id"]) == (room, "ann", "hello", mark)
    assert re.fullmatch(r"\d+-\d+", seen["pos"]) and seen["ts"] > 1_600_000_000_000


def test_ones_own_message_comes_back_with_its_id(node, connect, room):
    ann = connect(node, room=room)
    mark = ann.say("hello", room)
    ack, own = ann.expect("ack", id=mark), ann.expect("message", id=mark)
    assert (ack["pos"], ack["ts"], ack["dup"]) == (own["pos"], own["ts"], False)


def test_the_sender_in_the_payload_is_ignored_or_refused_but_never_believed(node, connect, room):
    ann, bob = connect(node, user="ann", room=room), connect(node, room=room)
    ann.send({"type": "message", "room": room, "content": "x", "from": "root", "ts": 1, "pos": "9-9"})
    ann.publish("end", room)
    for frame in bob.collect("message", 1):
        assert frame["from"] == "ann" and frame["ts"] > 1 and frame["pos"] != "9-9"


@pytest.mark.parametrize("content", ["", "ä😀\u2028\u0000\"\\", 0, -1.5, True, None, [], {"a": [1, {"b": None}]},
                                     "x" * 60000])
def test_any_json_value_is_carried_as_it_is(node, connect, room, content):
    ann, bob = connect(node, room=room), connect(node, room=room)
    ann.publish(content, room)
    assert bob.expect("message")["content"] == content


def test_a_message_without_id_gets_no_ack_but_comes_back(node, connect, room):
    ann = connect(node, room=room)
    ann.send({"type": "message", "room": room, "content": "x"})
    assert ann.expect("message")["content"] == "x"
    ann.fence()
    ann.refuse("ack")


@pytest.mark.parametrize("text", ["hello", "", "[1,2]", "42", "null", "\"quoted\"", "  hi {", "ä😀", "ws://x"])
def test_plain_text_goes_to_the_lobby_as_it_is(node, connect, text):
    ann, bob = connect(node), connect(node)
    ann.send(text)
    assert bob.expect("message", room="lobby", **{"from": ann.user})["content"] == text


def test_a_message_without_room_goes_to_the_lobby(node, connect):
    ann = connect(node)
    mark = ann.say("x")
    assert ann.expect("message", id=mark)["room"] == "lobby"


def test_join_and_leave(node, connect, room):
    ann, bob = connect(node, room=room), connect(node)
    bob.send({"type": "join", "room": room, "id": "j1"})
    joined = bob.expect("joined", id="j1")
    assert joined["room"] == room
    first = ann.publish("one", room)
    assert bob.expect("message", room=room)["content"] == "one"
    bob.send({"type": "leave", "room": room, "id": "l1"})
    assert bob.expect("left", id="l1")["room"] == room
    ann.publish("two", room)
    bob.fence()
    bob.refuse("message", room=room)
    bob.send({"type": "join", "room": room, "id": "j2"})
    assert bob.expect("joined", id="j2")["pos"] != first["pos"]


def test_joining_twice_answers_twice_and_delivers_once(node, connect, room):
    ann = connect(node, room=room)
    ann.send({"type": "join", "room": room, "id": "again"})
    ann.expect("joined", id="again")
    ann.publish("x", room)
    ann.publish("end", room)
    assert [f["content"] for f in ann.collect("message", 2)] == ["x", "end"]


def test_who_joins_without_since_gets_no_history(node, connect, room):
    ann = connect(node, room=room)
    ann.publish("before", room)
    bob = connect(node, room=room)
    ann.publish("after", room)
    assert bob.expect("message")["content"] == "after"


def test_publishing_needs_membership(node, connect, room):
    ann = connect(node)
    mark = ann.say("x", room)
    error = ann.expect("error", id=mark)
    assert (error["code"], error["retry"]) == ("not_joined", False)


def test_leaving_a_room_one_is_not_in_is_an_error(node, connect, room):
    ann = connect(node)
    ann.send({"type": "leave", "room": room, "id": "x"})
    assert ann.expect("error", id="x")["code"] == "not_joined"


def test_a_direct_message_reaches_all_sessions_of_the_user(node, connect, user):
    ann, first, second = connect(node, user=unique("ann")), connect(node, user=user), connect(node, user=user)
    mark = ann.tell(user, "psst")
    assert ann.expect("ack", id=mark)["dup"] is False
    for session in (first, second):
        seen = session.expect("direct")
        assert (seen["from"], seen["to"], seen["content"]) == (ann.user, user, "psst")


def test_a_direct_message_waits_for_a_user_without_session(node, connect, user):
    ann = connect(node)
    acks = [ann.expect("ack", id=ann.tell(user, n)) for n in range(3)]
    late = connect(node, user=user)
    assert [f["content"] for f in late.collect("direct", 3)] == [0, 1, 2]
    again = connect(node, user=user, inbox=late.inbox["pos"])
    again.fence()
    again.refuse("direct")
    assert len(acks) == 3


def test_a_direct_message_to_oneself_comes_once(node, connect, user):
    ann = connect(node, user=user)
    ann.expect("ack", id=ann.tell(user, "note"))
    ann.expect("ack", id=ann.tell(user, "end"))
    assert [f["content"] for f in ann.collect("direct", 2)] == ["note", "end"]


def test_ping_is_answered_with_its_id(node, connect):
    ann = connect(node)
    ann.send({"type": "ping", "id": "p1"})
    ann.expect("pong", id="p1")
    ann.send({"type": "ping"})
    assert "id" not in ann.expect("pong")


WRONG = [
    ('{"type":"message",', "bad_json"),
    ('{"type":"ping"} x', "bad_json"),
    ('{"type":"ping","type":"ping"}', "bad_json"),
    ('{"type":"ping","id":"\\ud800"}', "bad_json"),
    ('{"a":' * 17 + "1" + "}" * 17, "bad_json bad_request"),
    ("{}", "bad_request"),
    ('{"type":7}', "bad_request"),
    ('{"type":"fly"}', "unknown_type"),
    ('{"type":"welcome"}', "unknown_type"),
    ('{"type":"message"}', "bad_request"),
    ('{"type":"message","content":"x","room":7}', "bad_request bad_name"),
    ('{"type":"message","content":"x","room":""}', "bad_name"),
    ('{"type":"message","content":"x","room":"a b"}', "bad_name"),
    ('{"type":"message","content":"x","id":""}', "bad_id"),
    ('{"type":"message","content":"x","id":"a b"}', "bad_id"),
    ('{"type":"message","content":"x","id":7}', "bad_id bad_request"),
    ('{"type":"direct","content":"x"}', "bad_request"),
    ('{"type":"direct","to":"bob"}', "bad_request"),
    ('{"type":"direct","to":"../x","content":"x"}', "bad_name"),
    ('{"type":"join"}', "bad_request"),
    ('{"type":"join","room":"x","since":"1"}', "bad_position"),
    ('{"type":"join","room":"x","since":1}', "bad_position bad_request"),
    ('{"type":"history","room":"lobby","limit":0}', "bad_request"),
    ('{"type":"history","room":"lobby","limit":201}', "bad_request"),
    ('{"type":"history","room":"lobby","before":"x"}', "bad_position"),
]


@pytest.mark.parametrize("text,codes", WRONG, ids=[text[:60] for text, _ in WRONG])
def test_a_wrong_frame_gets_an_error_with_its_code_and_the_session_lives(node, connect, text, codes):
    ann = connect(node)
    ann.send(text)
    error = ann.expect("error")
    assert error["code"] in codes.split() and error["retry"] is False and error["message"]
    ann.fence()


def test_an_error_names_the_request_it_answers(node, connect):
    ann = connect(node)
    ann.send({"type": "fly", "id": "f1"})
    assert ann.expect("error")["id"] == "f1"


def test_a_binary_frame_gets_an_error_and_the_session_lives(node, connect):
    ann = connect(node)
    ann.send(b'{"type":"ping"}')
    assert ann.expect("error")["code"] == "binary"
    ann.refuse("pong")
    ann.fence()


def test_the_same_id_again_is_the_same_message(node, connect, room):
    ann = connect(node, user=unique("ann"), room=room)
    first, again = ann.publish("x", room, id="k1"), ann.publish("y", room, id="k1")
    assert (again["dup"], again["pos"], again["ts"]) == (True, first["pos"], first["ts"])
    ann.publish("end", room)
    assert [f["content"] for f in ann.collect("message", 2)] == ["x", "end"]


def test_another_user_or_room_may_use_the_same_id(node, connect, room):
    other = unique("room")
    ann, bob = connect(node, user=unique("ann"), room=room), connect(node, user=unique("bob"), room=room)
    ann.send({"type": "join", "room": other})
    ann.expect("joined", room=other)
    assert [ann.publish("x", room, id="k")["dup"], bob.publish("x", room, id="k")["dup"],
            ann.publish("x", other, id="k")["dup"]] == [False, False, False]


def test_the_same_id_from_another_session_of_the_user_is_a_duplicate(node, connect, room, user):
    first, second = connect(node, user=user, room=room), connect(node, user=user, room=room)
    assert first.publish("x", room, id="k")["dup"] is False
    assert second.publish("x", room, id="k")["dup"] is True


def test_a_session_may_be_in_128_rooms(node, connect):
    ann, rooms = connect(node, room=""), [unique("r") for _ in range(129)]
    for room in rooms[:128]:
        ann.send({"type": "join", "room": room})
        ann.expect("joined", room=room)
    ann.send({"type": "join", "room": rooms[128], "id": "one-too-many"})
    assert ann.expect("error", id="one-too-many")["code"] == "too_many_rooms"
    ann.send({"type": "leave", "room": rooms[0]})
    ann.expect("left")
    ann.send({"type": "join", "room": rooms[128]})
    ann.expect("joined", room=rooms[128])
    ann.publish("x", rooms[128])


def test_a_message_of_64_kib_passes_and_a_larger_one_closes_with_1009(node, connect, room):
    ann, bob = connect(node, room=room), connect(node, room=room)
    frame = {"type": "message", "room": room, "content": "", "id": "big"}
    frame["content"] = "x" * (65536 - len(json.dumps(frame)))
    ann.send(frame)
    assert len(bob.expect("message")["content"]) == len(frame["content"])
    frame["content"] += "x"
    ann.send(frame)
    assert ann.closed() == 1009
    bob.fence()


def test_history_reads_pages_in_both_directions(node, connect, room):
    ann = connect(node, room=room)
    acks = [ann.publish(n, room) for n in range(7)]

    def page(**query):
        ann.send({"type": "history", "room": room, "id": unique("h"), **query})
        answer = ann.expect("history")
        return [entry["content"] for entry in answer["messages"]], answer["more"]

    assert page() == ([0, 1, 2, 3, 4, 5, 6], False)
    assert page(limit=3) == ([4, 5, 6], True)
    assert page(limit=3, before=acks[4]["pos"]) == ([1, 2, 3], True)
    assert page(limit=3, before=acks[2]["pos"]) == ([0, 1], False)
    assert page(limit=3, after=acks[1]["pos"]) == ([2, 3, 4], True)
    assert page(limit=3, after=acks[4]["pos"]) == ([5, 6], False)
    assert page(after=acks[6]["pos"]) == ([], False)


def test_history_echoes_the_id_and_gives_whole_entries(node, connect, room):
    ann = connect(node, user=unique("ann"), room=room)
    ack = ann.publish("x", room)
    ann.send({"type": "history", "room": room, "id": "h1"})
    answer = ann.expect("history", id="h1")
    assert answer["room"] == room
    entry = answer["messages"][0]
    assert (entry["pos"], entry["ts"], entry["from"], entry["type"]) == (ack["pos"], ack["ts"], ann.user, "message")


def test_history_of_a_room_one_is_not_in_is_refused(node, connect, room):
    ann = connect(node)
    ann.send({"type": "history", "room": room, "id": "h"})
    assert ann.expect("error", id="h")["code"] == "not_joined"


def test_who_comes_back_with_since_gets_exactly_what_was_missed(node, connect, room):
    ann, bob = connect(node, room=room), connect(node, room=room)
    acks = [ann.publish(n, room) for n in range(3)]
    bob.collect("message", 3)
    bob.close()
    ann.publish(3, room), ann.publish(4, room)
    back = connect(node, room=room, since=acks[2]["pos"])
    assert back.joined["recovered"] is True
    ann.publish(5, room)
    assert [f["content"] for f in back.collect("message", 3)] == [3, 4, 5]
    back.refuse("gap")


def test_a_position_that_is_no_longer_in_the_log_gives_a_gap(start, connect, room):
    node = start.node(history_messages=4)
    ann = connect(node, room=room)
    acks = [ann.publish(n, room) for n in range(2000)]
    back = connect(node, room=room, since=acks[0]["pos"])
    gap = back.expect("gap")
    assert gap["room"] == room and (gap.get("reset") or "from" in gap)
    ann.publish("next", room)
    assert back.collect("message", 1, content="next")


def test_a_position_of_another_log_gives_a_gap(node, connect, room):
    connect(node, room=room).publish("x", room)
    back = connect(node, room=room, since="1-5")
    assert back.joined["recovered"] is False
    assert back.expect("gap")["room"] == room


def test_the_zero_position_gives_a_young_room_from_its_first_message(node, connect, room):
    ann = connect(node, room=room)
    assert ann.joined["pos"] == "0-0"
    ann.publish("first", room)
    back = connect(node, room=room, since="0-0")
    assert back.joined["recovered"] is True
    assert back.expect("message")["content"] == "first"


def test_a_full_window_of_publishes_is_stored_in_the_order_of_sending(node, connect, room):
    ann, bob = connect(node, room=room), connect(node, room=room)
    for start_at in range(0, 500, 50):
        for n in range(start_at, start_at + 50):
            ann.say(n, room)
        ann.collect("ack", 50)
    assert [f["content"] for f in bob.collect("message", 500)] == list(range(500))


def test_positions_are_contiguous(node, connect, room):
    ann = connect(node, room=room)
    found = [ann.publish(n, room)["pos"].split("-") for n in range(20)]
    assert len({gen for gen, _ in found}) == 1
    assert [int(seq) for _, seq in found] == list(range(int(found[0][1]), int(found[0][1]) + 20))


def test_the_subprotocol_is_agreed_when_offered(node, connect):
    assert connect(node, subprotocols=["chatnode.v1"]).ws.subprotocol == "chatnode.v1"
    assert connect(node).ws.subprotocol is None


def test_another_default_room_can_be_configured(start, connect):
    node = start.node(default_room="hall")
    assert connect(node).joined["room"] == "hall"


def test_a_clean_end_leaves_nothing_behind(start, connect):
    node: Node = start.node()
    for _ in range(20):
        connect(node).close()
    ann = connect(node)
    ann.publish("still works")
