# SPDX-License-Identifier: MIT
"""What is measured: fixed pieces of work in closed loop, each on a node of its own under callgrind.

A figure is the difference between two pieces of work, so that the requests that mark a piece and everything else that is
done once cancel out. A count is how often something happens for each receiver or message. Counts are held against RULES,
figures against figures.json (figures.py).
"""
import contextlib
import http.client
import json
import struct
import time

from callgrind import ProfiledNode
from clients import CLOSE, PING, PONG, TEXT, RawClient, frame_bytes
from harness import DEADLINE, SLOW, eventually

CONTENT = "x" * 60
WARM_UP = 320  # messages: the rings and the log have their full size then
WINDOW = 16    # messages that a client sends at once in the scenarios of batches
REPEATS = 5
IDLE_S = 4

SENDS = r"send|sendto|sendmsg|sendmmsg|write|writev"
WATCHED = {  # what is given back counts as well
    "allocations": r"malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|strn?dup",
    "locks": r"_*pthread_(?:mutex|rwlock|spin)_\w*lock|sem_\w+|pthread_cond_\w+",
    "copies": r"(?:__)?mem(?:cpy|pcpy|move)\w*",
}
# Waking a thread, and waiting: whether a publish's letters come in one turn of the loop or in two is as it happens.
WAKING = r"write|read|epoll_p?wait2?"
# The least and the most of each count. A little more than whole numbers, since which thread is woken first, and how
# often for how many letters, differs from run to run.
RULES = {
    "writes a delivery": (0.95, 1.05),
    "other system calls a delivery": (-0.05, 0.05),
    "allocations a delivery": (-0.05, 0.05),
    "locks a delivery": (-0.05, 0.05),
    "copies a delivery": (-0.05, 0.05),
    "writes a member and flush": (1, 1),
    "messages a flush": (2, WINDOW),
    "writes a member and paced flush": (1, 1),
    "messages a paced flush": (2, WINDOW),
    "wake-ups a reading of a mailbox": (0.1, 1.05),
    "wakings and waits a publish": (1, 12),
    "epoll_ctl a publish": (-0.05, 0.05),
    "locks a publish": (2, 20),  # of the mailboxes, on the way there and back
    "instructions an idle session and tick": (-0.2, 0.2),
}


class Result:
    """What one scenario found: {figure: number} and {count: number}."""

    def __init__(self, figures, counts=None):
        self.figures, self.counts = figures, counts or {}


def broken_rules(counts):
    """A line for each count that is not as RULES say."""
    return [f"{name}: {value:.4g}, not {RULES[name][0]:g} to {RULES[name][1]:g}" for name, value in counts.items()
            if not RULES[name][0] <= value <= RULES[name][1]]


# ---- Clients ----

class Session:
    """A client that does one thing and waits until the node has done it."""

    def __init__(self, node, user, room=""):
        self.client = RawClient(node.port)
        self.client.open(user=user, room=room)
        self.room, self.said = room, 0

    def say(self, count, acked=False):
        """Publishes `count` messages in one segment. Without an id they get no ack."""
        self.client.send(b"".join(frame_bytes(TEXT, self._message(acked)) for _ in range(count)))

    def _message(self, acked):
        self.said += 1
        more = {"id": f"m-{self.said:08}"} if acked else {}
        return json.dumps({"type": "message", "room": self.room, "content": CONTENT, **more})

    def hear(self, messages, acks=0):
        """Reads so many messages and acks, in any order."""
        left = {b'"type":"message"': messages, b'"type":"ack"': acks}
        while any(left.values()):
            opcode, payload = self.client.recv_frame()
            kind = next((kind for kind, count in left.items() if count and kind in payload), None)
            assert opcode == TEXT and kind, (opcode, payload)
            left[kind] -= 1

    def ask(self, kind, answer, **fields):
        self.client.send_json({"type": kind, **fields})
        return self.client.until(answer)

    def close(self):
        """Says goodbye and waits until the node has hung up."""
        self.client.send_frame(CLOSE, struct.pack(">H", 1000))
        self.client.closed_with()
        self.client.sock.close()


def crowd(node, count, room, first=0):
    return [Session(node, f"user-{number}", room) for number in range(first, first + count)]


def talk(members, messages, window):
    """The first member publishes, `window` messages at a time; all members get them before it goes on."""
    for _ in range(messages // window):
        members[0].say(window)
        for member in members:
            member.hear(window)


def report(session, messages, window):
    """Publishes to its own room, `window` messages at a time, and waits for them and their acks."""
    for _ in range(messages // window):
        session.say(window, acked=True)
        session.hear(window, window)


@contextlib.contextmanager
def running(binary, env, **flags):
    node = ProfiledNode(binary, env, **flags)
    try:
        yield node.start()
    finally:
        node.stop()


def growth(node, work, small, large):
    """The Profile of work(*large) less that of work(*small)."""
    shorter = node.profile(work, *small)
    return node.profile(work, *large) - shorter


def least(node, work, *arguments):
    """The Profile of the cheapest of REPEATS runs of the work: now and then a thread wakes once more than it had to, which
    only adds."""
    nothing = node.profile(lambda: None)
    runs = [node.profile(work, *arguments) for _ in range(REPEATS)]
    return min(runs, key=lambda profile: profile.instructions) - nothing


# ---- Scenarios ----

def fanout(binary=None, env=None, few=300, messages=100):
    """To rooms of `few` and of twice as many members, one message in flight."""
    with running(binary, env) as node:
        small, large = crowd(node, few, "small"), crowd(node, few * 2, "large")
        for room in (small, large):
            talk(room, WARM_UP, WINDOW)
        more = growth(node, talk, (small, messages, 1), (large, messages, 1))
    deliveries = few * messages
    counts = {f"{what} a delivery": more.called(pattern) / deliveries for what, pattern in WATCHED.items()}
    writes = more.system_calls(SENDS)
    counts["writes a delivery"] = writes / deliveries
    counts["other system calls a delivery"] = (more.system_calls() - writes) / deliveries
    return Result({"instructions a delivery": more.instructions / deliveries}, counts)


def flushed(node, rooms, messages):
    """[(Profile, flushes)] of talks to the rooms, WINDOW messages at once."""
    nothing, found = node.profile(lambda: None), []
    for room in rooms:
        before = node.metric("chatnode_flushes_total")
        profile = node.profile(talk, room, messages, WINDOW) - nothing
        found.append((profile, node.metric("chatnode_flushes_total") - before))
    return found


def writes_a_flush(rooms, found):
    """Writes for each member and flush."""
    return (sum(profile.called("send") for profile, _ in found)
            / sum(flushes * len(room) for room, (_, flushes) in zip(rooms, found)))


def batches(binary=None, env=None, few=300, messages=640):
    """The same with WINDOW messages at once, which reach the members in fewer writes."""
    with running(binary, env) as node:
        rooms = crowd(node, few, "small"), crowd(node, few * 2, "large")
        for room in rooms:
            talk(room, WARM_UP, WINDOW)
        found = flushed(node, rooms, messages)
    profiles = [profile for profile, _ in found]
    # Of the loop's turns only: parsing what was published costs ten times as much, and would drown them.
    turns = [profile.within["cn_loop_turn"] for profile in profiles]
    writes = [profile.called("send") for profile in profiles]
    wakes = sum(profile.called("write") for profile in profiles)
    return Result({"instructions a write of a batch": (turns[1] - turns[0]) / (writes[1] - writes[0])}, {
        "writes a member and flush": writes_a_flush(rooms, found),
        "messages a flush": messages * len(rooms) / sum(flushes for _, flushes in found),
        "wake-ups a reading of a mailbox": wakes / sum(profile.called("cn_mailbox_take_all") for profile in profiles)})


def paced(binary=None, env=None, members=300, messages=320):
    """The same once more with flushes paced as they are for users. When they happen goes by the clock; what a flush is does
    not."""
    with running(binary, env, flush_max=10) as node:
        rooms = [crowd(node, members, "paced")]
        talk(rooms[0], WARM_UP, WINDOW)
        found = flushed(node, rooms, messages)
    return Result({}, {"writes a member and paced flush": writes_a_flush(rooms, found),
                       "messages a paced flush": messages / found[0][1]})


def fanin(binary=None, env=None, messages=100):
    """One session publishes to a room of its own: one message in flight, then WINDOW."""
    with running(binary, env) as node:
        alone = Session(node, "alone", "alone")
        report(alone, WARM_UP, WINDOW)
        single = least(node, report, alone, messages, 1)
        batch = least(node, report, alone, messages * WINDOW // 4, WINDOW)
    wakings = single.system_calls(WAKING)
    return Result({"instructions a publish": single.instructions / messages,
                   "system calls a publish": (single.system_calls() - wakings) / messages,
                   "allocations a publish": single.called(WATCHED["allocations"]) / messages,
                   f"instructions a publish, {WINDOW} at once": batch.instructions / (messages * WINDOW // 4)},
                  {"wakings and waits a publish": wakings / messages,
                   "epoll_ctl a publish": single.system_calls("epoll_ctl") / messages,
                   "locks a publish": single.called(WATCHED["locks"]) / messages})


def api(binary=None, env=None, messages=100):
    """Publishes over the HTTP API, on one connection, to a room without members."""
    body = json.dumps({"room": "nobody", "from": "bot", "content": CONTENT})

    def publish(caller, count):
        for _ in range(count):
            caller.request("POST", "/api/v1/publish", body, {"content-type": "application/json"})
            answer = caller.getresponse()
            assert answer.status == 200 and answer.read()

    with running(binary, env) as node:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.internal_port, timeout=DEADLINE)) as caller:
            publish(caller, WARM_UP)
            found = least(node, publish, caller, messages)
    return Result({"instructions a publish over HTTP": found.instructions / messages})


def rooms(binary=None, env=None, times=100):
    """A session joins a room that has a member, and leaves it; then one that has none."""
    def come_and_go(session, room, count):
        for _ in range(count):
            session.ask("join", "joined", room=room)
            session.ask("leave", "left", room=room)

    found = {}
    with running(binary, env) as node:
        keeper, guest = Session(node, "keeper", "open"), Session(node, "guest")
        for room in ("open", "empty"):
            come_and_go(guest, room, times)
            found[room] = least(node, come_and_go, guest, room, times).instructions / times
        keeper.close()
    return Result({"instructions a join and leave": found["open"],
                   "instructions a join and leave of an empty room": found["empty"]})


def connections(binary=None, env=None, times=40):
    """A client connects, joins inbox and room, says goodbye and is gone."""
    def come_and_go(node, count):
        for _ in range(count):
            Session(node, "guest", "open").close()

    with running(binary, env) as node:
        keeper = Session(node, "keeper", "open")
        come_and_go(node, times)
        found = least(node, come_and_go, node, times)
        keeper.close()
    return Result({"instructions a connect and disconnect": found.instructions / times})


def answer_pings(node, members, rounds):
    """Waits until each member has got a ping; then all answer at once."""
    for _ in range(rounds):
        pinged = [member.client.recv_frame() for member in members]
        with node.halted():
            for member, (opcode, payload) in zip(members, pinged):
                assert opcode == PING
                member.client.send_frame(PONG, payload)


def pings(binary=None, env=None, members=500):
    """Sessions that say nothing are pinged, and answer."""
    with running(binary, env, ping_interval=200, pong_timeout=int(60000 * SLOW)) as node:
        silent = crowd(node, members, "silent")
        answer_pings(node, silent, 2)
        more = growth(node, answer_pings, (node, silent, 2), (node, silent, 8))
    return Result({"instructions a ping and pong": more.instructions / (members * 6)})


def listen(node, seconds):
    """Lets the time pass; says so when the node ends meanwhile."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end or not node.alive(), seconds + DEADLINE)
    assert node.alive(), node.log


def idle(binary=None, env=None, few=300):
    """Sessions that do nothing, with pings off, and twice as many. A loop ticks once a second."""
    ticks, seconds = [], []
    with running(binary, env) as node:
        sessions = []
        for _ in range(2):
            sessions += crowd(node, few, "idle", first=len(sessions))
            work = node.profile(listen, node, IDLE_S) - node.profile(lambda: None)
            ticks.append(work.within["cn_loop_tick"] / work.called("cn_loop_tick"))
            seconds.append(work.instructions / work.called("cn_loop_tick"))
    return Result({"instructions an idle second": sum(seconds) / len(seconds), "instructions a tick": ticks[1]},
                  {"instructions an idle session and tick": (ticks[1] - ticks[0]) / few})


SCENARIOS = {scenario.__name__: scenario for scenario in
             (fanout, batches, paced, fanin, api, rooms, connections, pings, idle)}
