# SPDX-License-Identifier: MIT
"""The JavaScript client, as it is served, against real nodes: broken wires, dead nodes, an emptied Redis."""
import collections
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness import DEADLINE, ROOT, SLOW, eventually, unique
from tokens import FLAGS as TOKEN_FLAGS
from tokens import mint
from wire import Wire

NODEJS = shutil.which("node") or shutil.which("nodejs")
ENVIRONMENT = {**os.environ, "NODE_PATH": "/usr/share/nodejs", "NODE_NO_WARNINGS": "1"}  # where Debian has `ws`
DOCUMENT = ROOT / "docs/sdk.md"
BLOCK = re.compile(r"^```js\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.M | re.S)


def _flags_for_global():
    """What makes this Node.js have a WebSocket of its own: nothing, a flag, or (None) a newer one."""
    assert NODEJS, "Node.js is missing: apt-get install nodejs"
    for flags in ([], ["--experimental-websocket"]):
        done = subprocess.run([NODEJS, *flags, "-p", "typeof WebSocket"], env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=60, check=False)
        if done.stdout.strip() == "function":
            return flags
    return None


FLAGS = {"ws": [], "global": _flags_for_global()}
KINDS = [kind for kind in FLAGS if FLAGS[kind] is not None]


class Sdk:
    """A Node.js process with the client in it (tests/sdk/driver.mjs)."""

    def __init__(self, port, kind="ws", **options):
        self.events, self.answers = collections.deque(), {}
        self._changed, self._tags = threading.Condition(), itertools.count(1)
        argv = [NODEJS, *FLAGS[kind], ROOT / "tests/sdk/driver.mjs", kind, f"ws://127.0.0.1:{port}/ws",
                json.dumps(options)]
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                      env=ENVIRONMENT)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            said = json.loads(line)
            with self._changed:
                if "event" in said:
                    self.events.append((said["event"], said["value"]))
                else:
                    self.answers[said["tag"]] = said
                self._changed.notify_all()

    def start(self, call, *args):
        """Calls a method, or reads a property, of the client; returns what `answer` takes."""
        tag = next(self._tags)
        self.child.stdin.write(json.dumps({"tag": tag, "call": call, "args": args}) + "\n")
        return tag

    def answer(self, tag, deadline=DEADLINE):
        """How the call ended: its value, or the code of its error as {"error": code}."""
        said = self._wait(lambda: self.answers.pop(tag, None), deadline, f"the answer to call {tag}")
        return {"error": said["error"]} if "error" in said else said.get("value")

    def call(self, call, *args):
        return self.answer(self.start(call, *args))

    def expect(self, event, deadline=DEADLINE, **fields):
        """Takes the next event; it must be this one, or, for `state`, lead to it."""
        while True:
            name, value = self.next(f"{event} {fields}", deadline)
            if name == event and all(value.get(key) == fields[key] for key in fields):
                return value
            assert name == "state", f"{name} {value} came before {event} {fields}"

    def next(self, what, deadline=DEADLINE):
        """Takes the next event, whatever it is: (name, value)."""
        return self._wait(lambda: self.events.popleft() if self.events else None, deadline, what)

    def _wait(self, take, deadline, what):
        end = time.monotonic() + deadline
        with self._changed:
            while not (found := take()):
                left = end - time.monotonic()
                assert left > 0, f"not within {deadline:g} s: {what}; there are {list(self.events)} {self.answers}"
                self._changed.wait(left)
            return found

    def close(self):
        """close(): after it the process has nothing to wait for, and ends by itself."""
        self.start("close")
        assert self.child.wait(DEADLINE * 2) == 0

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child.stdin.close()


@pytest.fixture(name="sdk")
def _sdk():
    """sdk(port, kind, rooms=...): a client, connected and in its rooms; ended after the test."""
    made = []

    def make(port, kind="ws", **options):
        made.append(Sdk(port, kind, **options))
        made[-1].call("connect")
        for room in options.get("rooms", []):
            made[-1].expect("joined", room=room)
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(name="wire")
def _wire():
    """wire(node): a way to the node that the test can cut."""
    made = []

    def make(node):
        made.append(Wire(node.port))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_socket_talks_and_lets_the_process_end(node, sdk, room, user, kind):
    ann, bob = sdk(node.port, kind, user=user, rooms=[room]), sdk(node.port, kind, rooms=[room])
    ack = ann.call("send", room, {"text": "hello"})
    assert bob.expect("message")["pos"] == ack["pos"]
    bob.call("direct", user, "psst")
    ann.expect("message")
    assert ann.expect("direct")["content"] == "psst"
    assert [entry["content"] for entry in bob.call("history", room)["messages"]] == [{"text": "hello"}]
    assert bob.call("leave", room) is None
    assert bob.call("send", room, "gone") == {"error": "not_joined"}
    for client in (ann, bob):
        client.close()


def test_a_node_that_limits_gets_everything_in_the_end_and_closes_nobody(start, sdk, room, user):
    """More at once than there is room for, messages and rooms alike; flood-limit as it is by default."""
    node = start.node(message_rate=50, message_burst=5, join_rate=40, max_message=4096)
    rooms = [room, *(unique("room") for _ in range(99))]
    ann = sdk(node.port, user=user, rooms=[], window=8)
    joins = [ann.start("join", name) for name in rooms]
    sends = [ann.start("send", room, n) for n in range(100)]
    for tag in joins + sends:
        assert "error" not in ann.answer(tag, DEADLINE * 3)
    entries = ann.call("history", room, {"limit": 100})["messages"]
    assert [entry["content"] for entry in entries] == list(range(100))
    assert node.metric("chatnode_limited_total") > 0
    assert node.metric("chatnode_disconnects_total") == 0
    ann.close()


def test_a_dead_network_does_not_keep_the_process(node, sdk, wire):
    way = wire(node)
    client = sdk(way.port)
    way.is_dead = True
    client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_resumed_when_a_node_crashes(start, connect, sdk, wire, user, kind):
    cluster = start.cluster(2)
    way, rooms = wire(cluster[0]), [unique("room"), unique("room")]
    ann, bob = sdk(way.port, kind, user=user, rooms=rooms), connect(cluster[1])
    for room in rooms:
        bob.send({"type": "join", "room": room})
        bob.expect("joined", room=room)
        bob.publish("before", room)
        ann.expect("message", room=room, content="before")
    bob.expect("ack", id=bob.tell(user, "before"))
    ann.expect("direct", content="before")
    way.target = cluster[1].port
    cluster[0].kill()
    for n in range(3):
        for room in rooms:
            bob.publish(n, room)
        bob.expect("ack", id=bob.tell(user, n))
    sent = [ann.start("send", rooms[0], f"mine {n}") for n in range(3)]
    for tag in sent:
        assert ann.answer(tag)["dup"] is False
    bob.publish("end", rooms[0])
    ann.expect("state", to="connected")
    seen = collections.defaultdict(list)
    while not seen[rooms[0]] or seen[rooms[0]][-1] != "end" or len(seen[rooms[1]]) < 3 or len(seen["inbox"]) < 3:
        name, value = ann.next(f"more than {seen}")
        assert name in ("joined", "message", "direct"), (name, value)
        if name == "joined":
            assert value["recovered"] is True
        else:
            seen[value.get("room", "inbox")].append(value["content"])
    assert [each for each in seen[rooms[0]] if isinstance(each, int)] == [0, 1, 2]
    assert [each for each in seen[rooms[0]] if str(each).startswith("mine")] == ["mine 0", "mine 1", "mine 2"]
    assert (seen[rooms[1]], seen["inbox"]) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("window", [1, 8])
def test_what_was_stored_when_the_wire_broke_is_not_stored_again(node, connect, sdk, wire, room, window):
    way = wire(node)
    ann, bob = sdk(way.port, rooms=[room], window=window), connect(node, room=room)
    assert ann.call("send", room, "before")["dup"] is False
    way.is_deaf = True
    sent = [ann.start("send", room, n) for n in range(4)]
    bob.expect("message", content="before")
    seen = bob.collect("message", window if window < 4 else 4)  # stored; nobody hears the acks
    way.cut()
    dups = [ann.answer(tag)["dup"] for tag in sent]
    assert dups == [n < len(seen) for n in range(4)]
    seen += bob.collect("message", 4 - len(seen))
    bob.publish("end", room)
    assert bob.expect("message")["content"] == "end"  # and no other one
    assert [frame["content"] for frame in seen] == [0, 1, 2, 3]
    assert [entry["content"] for entry in ann.call("history", room)["messages"]] == ["before", 0, 1, 2, 3, "end"]


def test_a_wire_that_breaks_again_and_again(cluster, connect, sdk, wire, room):
    """Each time on another node; requests, acks and messages get lost on the way, wherever the cut happens to hit."""
    ways = [wire(node) for node in cluster]
    way, bob = ways[0], connect(cluster[1], room=room)
    ann, cat = sdk(way.port, rooms=[room], random=0.02), sdk(ways[1].port, rooms=[room], random=0.02)
    sent, seen = [], []
    for turn in range(8):
        sent += [ann.start("send", room, turn * 10 + n) for n in range(10)]
        seen += bob.collect("message", 5 if turn else 2)
        for index, each in enumerate(ways):
            each.target = cluster[(turn + index) % 3].port
            each.cut()
    answers = [ann.answer(tag) for tag in sent]
    seen += bob.collect("message", 80 - len(seen))
    bob.publish("end", room)
    expected = list(range(80)) + ["end"]
    assert [frame["content"] for frame in seen + bob.collect("message", 1)] == expected
    assert [answer["pos"] for answer in answers] == [frame["pos"] for frame in seen]
    for client in (ann, cat):
        came = []
        while came[-1:] != ["end"]:
            name, value = client.next(came)
            assert name != "gap"
            came += [value["content"]] if name == "message" else []
        assert came == expected


def test_the_order_is_kept_while_the_bus_is_away(start, connect, sdk, room):
    redis = start.redis()
    cluster = start.cluster(2, redis, publish_deadline=200)
    ann, bob = sdk(cluster[0].port, rooms=[room], random=0.2), connect(cluster[1], room=room)
    ann.call("send", room, "before")
    redis.signal(signal.SIGSTOP)
    try:
        sent = [ann.start("send", room, n) for n in range(5)]
        eventually(lambda: cluster[0].metric("chatnode_publishes_failed_total") >= 2,
                   what="it was refused and sent again")
    finally:
        redis.signal(signal.SIGCONT)
    for tag in sent:
        assert "error" not in ann.answer(tag)
    bob.publish("end", room)
    assert [frame["content"] for frame in bob.collect("message", 7)] == ["before", 0, 1, 2, 3, 4, "end"]


def test_an_emptied_redis_is_a_gap(start, connect, sdk, wire, room, user):
    cluster = start.cluster(2)
    way, bob = wire(cluster[0]), connect(cluster[1], room=room)
    ann = sdk(way.port, user=user, rooms=[room])
    bob.publish("before", room)
    bob.expect("ack", id=bob.tell(user, "before"))
    for event in ("message", "direct"):
        ann.expect(event, content="before")
    cluster[0].kill()
    cluster.redis.command("FLUSHALL")
    bob.publish("after", room)
    bob.expect("ack", id=bob.tell(user, "after"))
    cluster[0].start()
    told = []
    while not {"message", "direct"} <= {name for name, _ in told}:
        told.append(ann.next(told, DEADLINE * 2))
    room_told = [name for name, value in told if value.get("room") == room]
    inbox_told = [name for name, value in told if value.get("inbox") or name == "direct"]
    assert room_told == ["joined", "gap", "message"]
    assert inbox_told == ["gap", "direct"]
    assert [value["content"] for name, value in told if name in ("message", "direct")] == ["after", "after"]


def test_a_drained_node_is_left_when_it_says_so(start, connect, sdk, wire, room):
    """The back-off of this client is always 20 s: only the server's hint brings it back in time."""
    redis = start.redis()
    old, new = start.node(redis=redis, drain=1000).wait_ready(), start.node(redis=redis).wait_ready()
    way, bob = wire(old), connect(new, room=room)
    ann = sdk(way.port, rooms=[room], random=40)
    way.target = new.port
    old.signal(signal.SIGTERM)
    lost = ann.expect("state", to="reconnecting")
    assert lost["code"] == 1012 and lost["retryInMs"] <= 1000
    assert ann.expect("joined", room=room)["recovered"] is True
    assert ann.call("node") == new.node_name
    bob.publish("after", room)
    ann.expect("message", content="after")
    old.finish()


def test_positions_of_an_earlier_process(node, connect, sdk, room, user):
    bob = connect(node, room=room)
    ann = sdk(node.port, user=user, rooms=[room])
    bob.publish("seen", room)
    ann.expect("message", content="seen")
    positions = ann.call("positions")
    ann.close()
    bob.publish("missed", room)
    bob.expect("ack", id=bob.tell(user, "missed too"))
    again = Sdk(node.port, user=user, rooms=[room], positions=positions)
    try:
        again.call("connect")
        told = {}
        while not {"joined", "message", "direct"} <= set(told):
            name, value = again.next(told)
            told.setdefault(name, value)
        assert told["joined"]["recovered"] is True and "gap" not in told
        assert (told["message"]["content"], told["direct"]["content"]) == ("missed", "missed too")
    finally:
        again.stop()


# ---- docs/sdk.md ----

EXAMPLES = BLOCK.findall(DOCUMENT.read_text())


def test_the_document_has_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("code, output", EXAMPLES, ids=[f"{i + 1}" for i in range(len(EXAMPLES))])
def test_the_example_runs(node, tmp_path, code, output):
    """Each is a program of its own; the text that follows it is what it prints."""
    shutil.copy(ROOT / "node/web/sdk/chatnode.mjs", tmp_path)
    (tmp_path / "shim.cjs").write_text('globalThis.WebSocket ??= require("ws");\n')
    program = tmp_path / "example.mjs"
    assert "ws://localhost:8000/ws" in code
    program.write_text(code.replace("localhost:8000", f"127.0.0.1:{node.port}"))
    done = subprocess.run([NODEJS, "-r", tmp_path / "shim.cjs", program], env=ENVIRONMENT, cwd=tmp_path,
                          capture_output=True, text=True, timeout=DEADLINE * 3, check=False)
    assert (done.returncode, done.stdout) == (0, output or done.stdout), done.stderr
    assert done.stderr == ""


# ---- Tokens ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_token_is_shown_before_the_old_one_expires(start, sdk, connect, room, kind):
    node = start.node(**TOKEN_FLAGS, auth_leeway=0)
    life = 3 * SLOW
    ann = sdk(node.port, kind, rooms=[room], tokens=[mint("ann", life), mint("ann")])
    witness = connect(node, token=mint("witness", life))
    assert witness.closed() == 4501  # the first token is over
    assert ann.call("send", room, "still here")["dup"] is False
    assert ann.call("state") == "connected"


def test_closed_for_the_expiry_it_comes_back_with_another_token(start, sdk, connect, room):
    node = start.node(**TOKEN_FLAGS, auth_leeway=0, auth_warning=0)
    ann = sdk(node.port, rooms=[room], random=0, tokens=[mint("ann", 2 * SLOW), mint("ann")])
    ann.expect("state", to="reconnecting", code=4501)
    bob = connect(node, room=room, token=mint("bob"))
    bob.publish("missed or not", room)
    ann.expect("joined", room=room, recovered=True)
    ann.expect("message", content="missed or not")
    assert ann.call("user") == "ann"


def test_not_let_in_it_stops(start, sdk):
    node = start.node(**TOKEN_FLAGS)
    ann = Sdk(node.port, tokens=[mint("ann", secret="x" * 40)])
    try:
        assert ann.call("connect") == {"error": "closed"}
        ann.expect("error")
        ann.expect("state", to="closed", code=4500)
    finally:
        ann.stop()
