# SPDX-License-Identifier: MIT
"""Several nodes on one Redis are one chat."""
import pytest

import flock
from harness import DEADLINE, HAProxy, ROOT, SLOW, eventually, unique


def test_a_message_reaches_the_members_on_every_node(cluster, connect, room):
    sessions = [connect(node, room=room) for node in cluster]
    sessions[0].publish("hello", room)
    seen = [session.expect("message") for session in sessions]
    assert seen[0]["content"] == "hello" and seen[0] == seen[1] == seen[2]


def test_all_nodes_show_the_same_order(cluster, connect, room):
    sessions = [connect(node, room=room) for node in cluster]
    for n in range(60):
        for session in sessions:
            session.say(n, room)
        if n % 20 == 19:
            for session in sessions:
                session.collect("ack", 20)
    orders = [[frame["pos"] for frame in session.collect("message", 180)] for session in sessions]
    assert orders[0] == orders[1] == orders[2]
    assert len(set(orders[0])) == 180


def test_durability_is_named(cluster, connect):
    assert connect(cluster[0]).welcome["durability"] == "memory"
    info = cluster[0].get("/info").json()
    assert (info["bus"], info["durability"], info["evicts"]) == ("redis", "memory", False)
    assert info["promise"]


def test_rooms_do_not_mix(cluster, connect):
    one, two = unique("one"), unique("two")
    ann, bob = connect(cluster[0], room=one), connect(cluster[1], room=two)
    ann.publish("for one", one)
    bob.publish("for two", two)
    assert bob.expect("message")["content"] == "for two"
    ann.publish("end", one)
    bob.fence()
    bob.refuse("message")


def test_a_direct_message_reaches_all_sessions_of_the_user_on_all_nodes(cluster, connect, user):
    bobs = [connect(node, user=user) for node in cluster] + [connect(cluster[0], user=user)]
    ann = connect(cluster[1])
    ann.expect("ack", id=ann.tell(user, "psst"))
    assert {bob.expect("direct")["content"] for bob in bobs} == {"psst"}
    assert len({(bob.welcome["node"], bob.welcome["session"]) for bob in bobs}) == 4


def test_a_direct_message_waits_in_the_inbox_when_there_is_no_session(cluster, connect, user):
    ann = connect(cluster[0])
    for n in range(3):
        ann.expect("ack", id=ann.tell(user, n))
    bob = connect(cluster[2], user=user)
    assert [f["content"] for f in bob.collect("direct", 3)] == [0, 1, 2]


def test_the_senders_other_sessions_get_a_copy_of_a_direct_message(cluster, connect, user):
    ann = unique("ann")
    here, there = connect(cluster[0], user=ann), connect(cluster[1], user=ann)
    bob = connect(cluster[2], user=user)
    here.expect("ack", id=here.tell(user, "psst"))
    copy = there.expect("direct")
    assert (copy["from"], copy["to"], copy["content"]) == (ann, user, "psst")
    assert bob.expect("direct")["content"] == "psst"


def test_the_same_id_on_another_node_is_a_duplicate(cluster, connect, room, user):
    sessions = [connect(node, user=user, room=room) for node in cluster]
    acks = [session.publish("x", room, id="same") for session in sessions]
    assert [ack["dup"] for ack in acks] == [False, True, True]
    assert len({ack["pos"] for ack in acks}) == 1


def test_resuming_on_another_node_gives_exactly_what_was_missed(cluster, connect, room):
    ann, bob = connect(cluster[0], room=room), connect(cluster[1], room=room)
    acks = [ann.publish(n, room) for n in range(5)]
    bob.collect("message", 5)
    bob.abort()
    for n in range(5, 9):
        ann.publish(n, room)
    back = connect(cluster[2], room=room, since=acks[4]["pos"])
    assert back.joined["recovered"] is True
    ann.publish(9, room)
    assert [f["content"] for f in back.collect("message", 5)] == [5, 6, 7, 8, 9]
    back.refuse("gap")


def test_resuming_under_load_has_no_hole_and_no_duplicate(cluster, connect, room):
    ann = connect(cluster[0], room=room)
    seen, since = [], "0-0"
    for turn in range(12):
        for n in range(20):
            ann.say(turn * 20 + n, room)
        bob = connect(cluster[turn % 3], room=room, since=since)
        got = bob.collect("message", 15)
        bob.refuse("gap")
        bob.abort()
        since = got[-1]["pos"]
        seen += [frame["content"] for frame in got]
        ann.collect("ack", 20)
    assert seen == list(range(len(seen)))


def test_history_is_the_same_on_every_node(cluster, connect, room):
    ann = connect(cluster[0], room=room)
    for n in range(10):
        ann.publish(n, room)
    pages = []
    for node in cluster:
        session = connect(node, room=room)
        session.send({"type": "history", "room": room, "id": "h"})
        pages.append(session.expect("history", id="h")["messages"])
    assert pages[0] == pages[1] == pages[2]
    assert [entry["content"] for entry in pages[0]] == list(range(10))


def test_a_node_that_crashes_takes_no_message_with_it(start, connect, room):
    cluster = start.cluster(2)
    ann, bob = connect(cluster[0], room=room), connect(cluster[1], room=room)
    acks = [ann.publish(n, room) for n in range(20)]
    cluster[0].kill()
    ann.closed()
    assert [f["content"] for f in bob.collect("message", 20)] == list(range(20))
    back = connect(cluster[1], user=ann.user, room=room, since=acks[9]["pos"])
    assert [f["content"] for f in back.collect("message", 10)] == list(range(10, 20))
    assert back.publish("again", room, id=acks[19]["id"])["dup"] is True


def test_nodes_with_other_prefixes_share_a_redis_without_meeting(start, connect, room):
    redis = start.redis()
    one, two = start.node(redis=redis, redis_prefix="chatnode:one:"), start.node(redis=redis, redis_prefix="chatnode:two:")
    ann, bob = connect(one.wait_ready(), room=room), connect(two.wait_ready(), room=room)
    ann.publish("from one", room)
    bob.publish("from two", room)
    assert bob.expect("message")["content"] == "from two"
    assert ann.expect("message")["content"] == "from one"
    assert all(key.startswith((b"chatnode:one:", b"chatnode:two:")) for key in redis.command("KEYS", "*"))


def test_a_room_without_members_is_not_subscribed_any_more(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)

    def is_subscribed():
        return any(room.encode() in channel for channel in redis.command("PUBSUB", "CHANNELS", "*"))

    assert is_subscribed()
    ann.close()
    eventually(lambda: not is_subscribed(), what="the subscription ends")


def test_a_log_that_expired_is_not_taken_for_one_that_never_had_an_entry(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)
    assert ann.joined["pos"] == "0-0"
    bob = connect(node, room=room)
    ann.close()
    bob.publish("missed", room)
    bob.close()
    eventually(lambda: node.metric("chatnode_sessions") == 0)
    logs = [key for key in redis.command("KEYS", "*") if room.encode() in key and key.endswith(b"log")]
    assert redis.command("DEL", *logs) == 1  # as when its time has come: what is said of it is kept longer
    back = connect(node, room=room, since="0-0")
    assert back.joined["recovered"] is False
    assert back.expect("gap")["room"] == room


def test_what_a_stranger_publishes_in_redis_harms_nobody(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)
    ann.publish("before", room)
    channel = next(name for name in redis.command("PUBSUB", "CHANNELS", "*") if room.encode() in name)
    for payload in (b"", b"hello", b"{}", b'{"pos":"1-1"}', b'{"pos":"99999999999999-0","ts":1,"type":"message"}',
                    b"\xff\x00\x01", b'{"pos":"1-1","ts":1,"type":"message","content":"\x01"}', b"x" * 300000):
        redis.command("PUBLISH", channel, payload)
    ann.publish("after", room)
    assert [f["content"] for f in ann.collect("message", 2)] == ["before", "after"]


@pytest.mark.parametrize("members,publishers,each", [(300, 10, 2000)])
def test_order_and_set_are_equal_at_every_member_of_three_nodes(start, members, publishers, each):
    if SLOW > 1:
        members, each = 60, 300
    cluster = start.cluster(3, ping_interval=600000, max_in_flight=128)
    room = unique("load")
    crowd = [flock.Member(cluster[n % 3], room, keep=n == 0) for n in range(members)]
    writers = [flock.Publisher(cluster[n % 3], room, unique("w"), each, window=32) for n in range(publishers)]
    messages = flock.run_to_the_end(crowd, writers, DEADLINE * 12)
    assert len(messages) == publishers * each
    flock.check(messages, crowd, writers)


@pytest.mark.skipif(not (ROOT / "deploy/haproxy.cfg").exists(), reason="no deploy/haproxy.cfg")
def test_behind_the_load_balancer_the_nodes_are_one_chat(start, connect, room):
    cluster = start.cluster(3)
    balancer = start.keep(HAProxy(list(cluster)))
    sessions = [connect(balancer, room=room) for _ in range(9)]
    assert len({session.welcome["node"] for session in sessions}) == 3
    sessions[0].publish("hello", room)
    assert {session.expect("message")["content"] for session in sessions} == {"hello"}


@pytest.mark.skipif(not (ROOT / "deploy/haproxy.cfg").exists(), reason="no deploy/haproxy.cfg")
def test_the_load_balancer_leaves_a_dead_node_out(start, connect, room):
    cluster = start.cluster(2)
    balancer = start.keep(HAProxy(list(cluster)))
    cluster[0].kill()

    def only_the_other():
        try:
            session = connect(balancer, room=room, deadline=DEADLINE)
        except Exception:  # the balancer has not noticed yet
            return False
        return session.welcome["node"] == cluster[1].node_name

    for _ in range(4):
        eventually(only_the_other, what="the balancer uses the living node")


def test_a_conversation_is_read_from_any_node_among_many_others(cluster, connect, user):
    bob, cid = unique("bob"), unique("cid")
    ann_here, bob_there, cid_there = connect(cluster[0], user=user), connect(cluster[1], user=bob), connect(cluster[2], user=cid)
    wanted = []
    for n in range(6):
        sender, to = (ann_here, bob) if n % 2 else (bob_there, user)
        sender.expect("ack", id=sender.tell(to, f"between {n}"))
        wanted.append(f"between {n}")
        for _ in range(2):  # as many at once as one session may have under way, and no more
            for mark in [cid_there.tell(user, {"from": bob, "to": user}) for _ in range(50)]:
                cid_there.expect("ack", id=mark)
    late = connect(cluster[2], user=user, room="")
    late.send({"type": "history", "with": bob, "limit": 4, "id": "h1"})
    page = late.expect("history", id="h1")
    assert [entry["content"] for entry in page["messages"]] == wanted[2:]
    assert page["with"] == bob and page["more"] and "room" not in page
    late.send({"type": "history", "with": bob, "before": page["next"], "id": "h2"})
    page = late.expect("history", id="h2")
    assert [entry["content"] for entry in page["messages"]] == wanted[:2] and not page["more"]
    assert {(entry["from"], entry["to"]) for entry in page["messages"]} == {(user, bob), (bob, user)}
