# SPDX-License-Identifier: MIT
"""A node that is told to stop: it says so, serves on until the balancer has seen it, and then sends everybody away."""
import http.client
import json
import re
import signal
import threading
import time

import pytest

from clients import Client
from harness import DEADLINE, SLOW, HAProxy, eventually, unique

FOR_EVER = 600000


def not_ready(node):
    answer = eventually(lambda: (lambda a: a if a.status == 503 else None)(node.internal("/readyz")),
                        what="/readyz says 503")
    assert "draining" in answer.text
    return True


def test_during_the_delay_the_node_is_not_ready_but_serves_old_and_new(start, connect, room):
    node = start.node(drain_delay=FOR_EVER)
    ann = connect(node, room=room)
    node.signal(signal.SIGTERM)
    assert not_ready(node)
    bob = connect(node, room=room)
    ann.publish("from the old one", room)
    bob.publish("from the new one", room)
    for session in (ann, bob):
        assert [f["content"] for f in session.collect("message", 2)] == ["from the old one", "from the new one"]
        session.refuse("reconnect")
    assert node.get("/healthz").status == 200 and node.get("/").status == 200
    node.terminate()
    assert [ann.closed(), bob.closed()] == [1012, 1012]


def test_after_the_delay_connections_are_refused_and_everybody_is_told(start, connect, raw):
    node = start.node(drain_delay=300, drain=FOR_EVER)
    sessions = [connect(node) for _ in range(2)]
    node.signal(signal.SIGTERM)
    for session in sessions:
        session.expect("reconnect", reason="restart")
    with pytest.raises(ConnectionRefusedError):
        raw(node)
    assert not_ready(node)
    node.terminate()


def test_a_connection_from_before_becomes_no_session_after_the_delay(start, connect, raw):
    node = start.node(drain_delay=300, drain=FOR_EVER)
    early, ann = raw(node), connect(node)
    early.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert early.response()[0] == 200
    node.signal(signal.SIGTERM)
    ann.expect("reconnect")
    with pytest.raises(AssertionError, match="503"):
        early.handshake()
    node.terminate()


def test_the_second_signal_ends_the_delay_at_once(start, connect):
    node = start.node(drain_delay=FOR_EVER, drain=FOR_EVER)
    session = connect(node)
    node.signal(signal.SIGTERM)
    assert not_ready(node)
    node.signal(signal.SIGINT)
    assert session.closed() == 1012
    node.finish(0)


@pytest.mark.parametrize("delay", [0, FOR_EVER], ids=["told", "not told"])
def test_the_second_signal_closes_those_that_wait_for_their_turn_or_an_answer_too(start, connect, room, delay):
    redis = start.redis()
    node = start.node(redis=redis, drain_delay=delay, drain=FOR_EVER, publish_deadline=60000).wait_ready()
    sessions = [connect(node, room=room) for _ in range(5)]
    redis.signal(signal.SIGSTOP)
    try:
        for session in sessions[:2]:
            session.say("is under way", room)
            session.fence()
        node.signal(signal.SIGTERM)
        assert not_ready(node)
        for session in sessions if delay == 0 else []:
            session.expect("reconnect")
        node.signal(signal.SIGTERM)
        assert [session.closed() for session in sessions] == [1012] * 5
        node.finish(0)
    finally:
        redis.signal(signal.SIGCONT)


def test_two_hundred_sessions_go_evenly_over_the_window(start, raw):
    count, window = (200, 4000) if SLOW == 1 else (50, 4000)
    node = start.node(drain=window)
    sessions = [raw(node) for _ in range(count)]
    for session in sessions:
        session.open(room="")
    node.signal(signal.SIGTERM)
    times = sorted(session.until("reconnect")["in_ms"] for session in sessions)
    assert times[0] >= 0 and times[-1] < window
    gaps = [b - a for a, b in zip(times, times[1:])]
    # Each loop spreads its own; connections go to the loops in turn.
    assert max(gaps) <= 4 * window / count, gaps
    quarters = [sum(1 for t in times if q * window <= 4 * t < (q + 1) * window) for q in range(4)]
    assert max(quarters) - min(quarters) <= count / 10, quarters
    assert {session.closed_with(DEADLINE * 2) for session in sessions} == {1012}
    node.finish(0)


def test_what_waits_for_the_bus_is_answered_before_its_session_goes(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, drain=0, publish_deadline=int(2500 * SLOW)).wait_ready()
    ann = connect(node, room=room)
    redis.signal(signal.SIGSTOP)
    try:
        marks = [ann.say(n, room) for n in range(8)]
        ann.fence()
        node.signal(signal.SIGTERM)
        assert ann.expect("reconnect")["in_ms"] == 0
    finally:
        redis.signal(signal.SIGCONT)
    assert [ack["id"] for ack in ann.collect("ack", 8)] == marks
    assert ann.closed() == 1012
    node.finish(0)


def test_what_the_bus_does_not_answer_gets_its_error_before_its_session_goes(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, drain=0, publish_deadline=300).wait_ready()
    ann = connect(node, room=room)
    redis.signal(signal.SIGSTOP)
    try:
        mark = ann.say("lost?", room)
        ann.fence()
        node.signal(signal.SIGTERM)
        assert ann.expect("error", id=mark)["retry"] is True
        assert ann.closed() == 1012
        node.finish(0)
    finally:
        redis.signal(signal.SIGCONT)


# ---- The HTTP API ----

API = "/api/v1/publish"
JSON = {"Content-Type": "application/json"}


class Publisher(threading.Thread):
    """A program that publishes one after the other, on one connection as long as it lasts, until none is taken."""

    def __init__(self, node, room):
        super().__init__(daemon=True)
        self.port, self.room = node.internal_port, room
        self.answers, self.unanswered, self.failure = {}, set(), None
        self.start()

    def run(self):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            while self.publish(link):
                pass
        except BaseException as error:  # told by the test's own thread
            self.failure = error
        finally:
            link.close()

    def publish(self, link):
        mark = unique("p")
        body = json.dumps({"room": self.room, "from": "bot", "content": mark, "id": mark})
        try:
            link.request("POST", API, body, JSON)
            answer = link.getresponse()
        except ConnectionRefusedError:
            return False
        except ConnectionError:  # nothing of an answer has come
            self.unanswered.add(mark)
            link.close()
            return True
        self.answers[mark] = (answer.status, json.loads(answer.read()))
        return True


def stored_marks(redis):
    """What all logs in Redis hold."""
    logs = [key for key in redis.command("KEYS", "*") if redis.command("TYPE", key) == b"stream"]
    return {mark for log in logs for _, fields in redis.command("XRANGE", log, "-", "+")
            for mark in re.findall(r'"id":"([^"]+)"', b" ".join(fields).decode())}


def test_no_publish_over_http_is_stored_and_not_answered(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, drain_delay=100, drain=300, history_messages=1000000).wait_ready()
    for _ in range(3):
        ann = connect(node)
        publishers = [Publisher(node, room) for _ in range(6)]
        eventually(lambda: all(len(p.answers) > 20 for p in publishers), what="they publish")
        node.signal(signal.SIGTERM)
        assert ann.closed() == 1012
        node.finish(0)
        for publisher in publishers:
            publisher.join(DEADLINE)
            assert publisher.failure is None, publisher.failure
            assert not publisher.is_alive()
        answers = {mark: answer for p in publishers for mark, answer in p.answers.items()}
        good = {mark for mark, (status, _) in answers.items() if status == 200}
        codes = {value["error"]["code"] for mark, (_, value) in answers.items() if mark not in good}
        assert codes == {"draining"}
        stored = stored_marks(redis)
        assert good <= stored and not stored & (answers.keys() - good)
        assert not stored & {mark for p in publishers for mark in p.unanswered}
        node.start()
        node.wait_ready()


def test_what_was_begun_over_http_is_answered_and_what_comes_then_is_not_taken(start, raw, room):
    redis = start.redis()
    node = start.node(redis=redis, drain=0, publish_deadline=60000).wait_ready()
    mark = unique("p")
    body = json.dumps({"room": room, "from": "bot", "content": 1, "id": mark})
    half, whole = raw(node.internal_port), raw(node.internal_port)
    head = f"POST {API} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    redis.signal(signal.SIGSTOP)
    try:
        half.send((head + body[:5]).encode())
        whole.send((head + body).encode())
        eventually(lambda: node.metric("chatnode_publishes_total") == 1, what="it is under way")
        node.signal(signal.SIGTERM)
        eventually(lambda: "drain.closing" in node.log, what="the listener is closed")
        answer = node.internal(API, method="POST", body=body, headers=JSON)
        error = answer.json()["error"]
        assert (answer.status, error["code"], error["retry"]) == (503, "draining", True)
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
        half.send(body[5:].encode())
        status, headers, text = half.response()
        assert (status, headers["connection"], json.loads(text)["error"]["code"]) == (503, "close", "draining")
        assert node.alive()
    finally:
        redis.signal(signal.SIGCONT)
    status, headers, text = whole.response()
    assert (status, headers["connection"], json.loads(text)["id"]) == (200, "close", mark)
    node.finish(0)
    assert stored_marks(redis) == {mark}


# ---- Behind a balancer ----

class Roamer(threading.Thread):
    """A client as the protocol wants it: publishes under ids, moves when it is told to, sends again what was not
    acked, drops what it has. Any connection that fails is a failure of the test."""

    def __init__(self, port, room):
        super().__init__(daemon=True)
        self.port, self.room, self.name_ = port, room, unique("roamer")
        self.client, self.pos, self.moves = None, "0-0", 0
        self.waiting, self.acked, self.seen, self.failure = {}, {}, {}, None
        self.enough = threading.Event()
        self.connect()
        self.start()

    def connect(self):
        self.client = Client(self.port, user=self.name_, room=self.room, since=self.pos)
        for mark, content in list(self.waiting.items()):
            self.client.say(content, self.room, id=mark)

    def run(self):
        try:
            due = time.monotonic()
            while not self.enough.is_set() or self.waiting:
                if not self.enough.is_set() and time.monotonic() >= due and not self.waiting:
                    due = time.monotonic() + 0.02
                    mark = unique("r")
                    self.waiting[mark] = mark
                    self.client.say(mark, self.room, id=mark)
                self.take(self.client.next(0.01))
        except BaseException as error:  # told by the test's own thread
            self.failure = error

    def take(self, frame):
        if frame is None:
            if self.client.ended:
                self.move()
            return
        kind = frame["type"]
        assert kind != "gap" and (kind != "error" or frame["retry"]), frame
        if kind == "message":
            self.seen[frame["pos"]] = frame["content"]
            self.pos = frame["pos"]
        elif kind == "ack":
            self.acked[frame["id"]] = frame["pos"]
            self.waiting.pop(frame["id"], None)
        elif kind == "error":
            self.client.say(self.waiting[frame["id"]], self.room, id=frame["id"])
        elif kind == "reconnect":
            self.move()

    def move(self):
        old, self.moves = self.client, self.moves + 1
        self.connect()
        if not old.ended:
            old.abort()


def test_a_rolling_restart_behind_the_balancer_loses_nothing_and_refuses_nobody(start, connect, room):
    delay = int(2000 * SLOW)
    cluster = start.cluster(3, drain_delay=delay, drain=1000, history_messages=100000)
    # Without its second attempts: whoever is sent to a node that refuses is refused.
    balancer = start.keep(HAProxy(list(cluster), {"option redispatch 1": "", "retries 3": "retries 0"}))
    roamers = [Roamer(balancer.port, room) for _ in range(6)]
    newcomers = []
    for node in cluster:
        node.signal(signal.SIGTERM)
        while node.alive():  # somebody new comes all the time; none may be turned away
            newcomers.append(Client(balancer.port, room=""))
            newcomers.pop().close()
        node.finish(0)
        node.start()
        node.wait_ready()
    for roamer in roamers:
        roamer.enough.set()
    for roamer in roamers:
        roamer.join(DEADLINE * 2)
        assert roamer.failure is None, roamer.failure
        assert not roamer.is_alive() and not roamer.waiting
    acked = {mark: pos for roamer in roamers for mark, pos in roamer.acked.items()}
    assert len(acked) > 100 and sum(roamer.moves for roamer in roamers) >= 6
    witness = connect(balancer, room=room, since="0-0")
    count = len(acked)
    log = {frame["content"]: frame["pos"] for frame in witness.collect("message", count)}
    assert log == acked
    witness.refuse("message")
    for roamer in roamers:
        last = max(roamer.seen, key=lambda pos: tuple(map(int, pos.split("-"))))
        wanted = {pos: mark for mark, pos in acked.items()
                  if tuple(map(int, pos.split("-"))) <= tuple(map(int, last.split("-")))}
        assert roamer.seen == wanted
        roamer.client.close()
