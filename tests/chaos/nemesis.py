# SPDX-License-Identifier: MIT
"""The faults: what each does to the world and how it is healed, and the plan that one seed gives.

A plan is made before anything runs, from the seed and the options alone, so the same seed repeats the same faults on
the same targets for the same times. It is a list of steps; a step has one fault, or two that overlap.
"""
import collections
import random
import signal
import socket
import time

TINY_BUFFERS = "pubsub 16384 8192 1"
USUAL_BUFFERS = "pubsub 33554432 8388608 60"

# name: how often, shortest and longest seconds, its group, what it is aimed at. Two faults of one group, and
# two of which one is `alone`, do not overlap.
Kind = collections.namedtuple("Kind", "weight least most group target loses", defaults=(False,))
KINDS = {
    "node_kill": Kind(3, 0.2, 1.5, "node", "node"),  # kill -9, started again
    "node_stop": Kind(2, 0.5, 5.0, "node", "node"),  # SIGSTOP, SIGCONT
    "node_term": Kind(2, 0.0, 0.5, "node", "node"),  # SIGTERM under load, exit code 0, started again
    "redis_kill": Kind(2, 0.1, 1.5, "redis", None),  # kill -9, started again with its data
    "redis_empty": Kind(1, 0.1, 1.0, "redis", None, True),  # kill -9, started again without
    "flushall": Kind(2, 0.0, 0.2, "redis", None, True),
    "flush_burst": Kind(1, 0.0, 0.2, "redis", None, True),  # many FLUSHALL in quick succession
    "promote": Kind(2, 0.3, 2.0, "redis", None, True),  # the replica falls behind, the master dies, it takes over
    "redis_sleep": Kind(2, 2.0, 4.0, "redis", None),  # DEBUG SLEEP
    "redis_stop": Kind(1, 0.5, 4.5, "redis", None),  # SIGSTOP, SIGCONT
    "pause_write": Kind(2, 0.5, 3.0, "redis", None),  # CLIENT PAUSE
    "pause_all": Kind(2, 0.5, 3.0, "redis", None),
    "oom": Kind(2, 0.5, 2.0, "redis", None),  # maxmemory with noeviction
    "script_flush": Kind(2, 0.0, 0.2, "any", None),
    "kill_pubsub": Kind(4, 0.0, 0.2, "any", None),  # CLIENT KILL TYPE
    "kill_normal": Kind(4, 0.0, 0.2, "any", None),
    "small_buffer": Kind(2, 1.0, 2.5, "link", "node"),  # a deaf node, and little output buffer for pub/sub
    "hole_cmd": Kind(2, 1.0, 5.0, "link", "node"),  # half open: node to Redis
    "hole_sub": Kind(2, 1.0, 5.0, "link", "node"),
    "hole_redis": Kind(2, 1.0, 5.0, "link", "node"),
    "stall_cmd": Kind(2, 0.5, 4.0, "link", "node"),  # all of it arrives late
    "stall_sub": Kind(2, 0.5, 4.0, "link", "node"),
    "latency_redis": Kind(2, 0.5, 2.0, "link", "node"),
    "slicer_redis": Kind(2, 0.5, 2.0, "link", "node"),
    "reset_redis": Kind(3, 0.0, 0.2, "link", "node"),
    "down_redis": Kind(2, 0.3, 2.0, "link", "node"),
    "hole_clients": Kind(2, 0.5, 4.0, "door", "node"),
    "stall_clients": Kind(1, 0.5, 3.0, "door", "node"),
    "latency_clients": Kind(1, 0.5, 2.0, "door", "node"),
    "slicer_clients": Kind(1, 0.5, 2.0, "door", "node"),
    "reset_clients": Kind(2, 0.0, 0.2, "door", "node"),
    "stall_readers": Kind(2, 1.0, 3.0, "crowd", "picks"),
    "cut_readers": Kind(2, 0.0, 0.2, "crowd", "picks"),
    "lose_acks": Kind(3, 0.1, 0.5, "crowd", "picks"),
    "same_id": Kind(2, 0.5, 1.5, "crowd", "picks"),
}

Fault = collections.namedtuple("Fault", "kind target seconds")
Step = collections.namedtuple("Step", "faults offset pause")  # the second fault begins `offset` after the first


def clash(one, other):
    """Two faults that may not overlap."""
    first, second = KINDS[one.kind], KINDS[other.kind]
    if first.group == second.group:
        return True
    # What a node acked just before it died cannot be sent again by it: a double fault, of which nothing is promised.
    return {first.group, second.group} == {"redis", "node"}


def make_plan(seed, nodes, names, count):
    """`count` faults of these kinds; in the first rounds each kind comes once, then by weight."""
    chance = random.Random(f"{seed} plan")
    names = sorted(names)
    first = chance.sample(names, len(names))
    steps, made = [], 0

    def draw():
        kind = first.pop() if first else chance.choices(names, [KINDS[name].weight for name in names])[0]
        row = KINDS[kind]
        target = chance.randrange(nodes) if row.target == "node" else \
            tuple(chance.randrange(1000) for _ in range(chance.randint(1, 4))) if row.target == "picks" else None
        return Fault(kind, target, round(chance.uniform(row.least, row.most), 2))

    while made < count:
        faults = [draw()]
        if made + 1 < count and chance.random() < 0.3:
            other = draw()
            if clash(faults[0], other):
                steps.append(Step((other,), 0.0, round(chance.uniform(0.3, 1.2), 2)))
                made += 1
            else:
                faults.append(other)
        offset = round(chance.uniform(0, faults[0].seconds), 2)
        steps.append(Step(tuple(faults), offset, round(chance.uniform(0.3, 1.6), 2)))
        made += len(faults)
    return steps


class Nemesis:
    """Carries a plan out on a world (run.py): its nodes, its Redis servers, its proxy, its crowd."""

    def __init__(self, world, say):
        self.world, self.say = world, say
        self.done = []  # (kind, begin, heal) of each fault
        self.losses = []  # (begin, end, kind)
        self.state = {}

    def run(self, plan, until):
        """Runs the plan; stops early when `until()` says so. Returns the number of faults."""
        for step in plan:
            if until():
                break
            self._step(step)
            self.world.watch(step.pause)
        return len(self.done)

    def _step(self, step):
        world, begun = self.world, []
        for index, fault in enumerate(step.faults):
            if index:
                world.watch(step.offset)
            begun.append((self._begin(fault), fault))
        # Heals in the order of their ends.
        for begin, fault in sorted(begun, key=lambda item: item[0] + item[1].seconds):
            world.watch(max(begin + fault.seconds - time.monotonic(), 0))
            self._heal(begin, fault)

    def _begin(self, fault):
        begin = time.monotonic()
        getattr(self, "begin_" + fault.kind)(fault)
        return begin

    def _heal(self, begin, fault):
        heal = getattr(self, "heal_" + fault.kind, None)
        if heal:
            heal(fault)
        end = time.monotonic()
        self.done.append((fault.kind, begin, end))
        if KINDS[fault.kind].loses:
            self.losses.append((begin, end, fault.kind))
        target = f" {fault.target}" if fault.target is not None else ""
        self.say(f"{len(self.done):5d} {begin - self.world.began:8.2f} s  {fault.kind}{target}, "
                 f"{end - begin:.2f} s")

    # ---- Nodes ----

    def begin_node_kill(self, fault):
        self.world.nodes[fault.target].kill()

    def heal_node_kill(self, fault):
        self.world.nodes[fault.target].start()

    def begin_node_stop(self, fault):
        self.world.nodes[fault.target].signal(signal.SIGSTOP)

    def heal_node_stop(self, fault):
        self.world.nodes[fault.target].signal(signal.SIGCONT)

    def begin_node_term(self, fault):
        self.world.leaving.add(self.world.nodes[fault.target])
        self.world.nodes[fault.target].signal(signal.SIGTERM)

    def heal_node_term(self, fault):
        node = self.world.nodes[fault.target]
        node.finish()
        self.world.leaving.discard(node)
        node.start()

    # ---- Redis ----

    def begin_redis_kill(self, fault):
        self.world.master.kill()

    def heal_redis_kill(self, fault):
        self.world.master.start()

    def begin_redis_empty(self, fault):
        self.world.master.kill()
        self.world.master.clear()

    heal_redis_empty = heal_redis_kill

    def begin_flushall(self, fault):
        self.world.master.command("FLUSHALL")

    def begin_flush_burst(self, fault):
        """Generations must differ however quickly they follow one another."""
        flush = b"*1\r\n$8\r\nFLUSHALL\r\n"
        with socket.create_connection(("127.0.0.1", self.world.master.port), timeout=10) as link:
            for _ in range(40):
                link.sendall(flush)
                link.recv(64)

    def begin_promote(self, fault):
        """The replica hears nothing more; after `seconds` the master dies and the replica takes over as it is."""
        self.world.cut_replication()

    def heal_promote(self, fault):
        self.world.promote()

    def begin_redis_sleep(self, fault):
        link = socket.create_connection(("127.0.0.1", self.world.master.port), timeout=20)
        link.sendall(f"DEBUG SLEEP {fault.seconds}\r\n".encode())
        self.state["sleep"] = link

    def heal_redis_sleep(self, fault):
        link = self.state.pop("sleep")
        answer = link.recv(200)
        link.close()
        assert answer.startswith(b"+OK"), answer

    def begin_redis_stop(self, fault):
        self.world.master.signal(signal.SIGSTOP)

    def heal_redis_stop(self, fault):
        self.world.master.signal(signal.SIGCONT)

    def begin_pause_write(self, fault):
        self.world.master.command("CLIENT", "PAUSE", int(fault.seconds * 1000), "WRITE")

    def begin_pause_all(self, fault):
        self.world.master.command("CLIENT", "PAUSE", int(fault.seconds * 1000), "ALL")

    def begin_oom(self, fault):
        self.world.master.command("CONFIG", "SET", "maxmemory", "100000", "maxmemory-policy", "noeviction")

    def heal_oom(self, fault):
        self.world.master.command("CONFIG", "SET", "maxmemory", "0")

    def begin_script_flush(self, fault):
        self.world.patiently("SCRIPT", "FLUSH")

    def begin_kill_pubsub(self, fault):
        self.world.patiently("CLIENT", "KILL", "TYPE", "pubsub")

    def begin_kill_normal(self, fault):
        self.world.patiently("CLIENT", "KILL", "TYPE", "normal")

    # ---- The nodes' connections to Redis ----

    def _link(self, fault, mode, only=None, **options):
        self.world.proxy.set(f"redis-{fault.target}", mode, only, **options)

    def _pass_link(self, fault):
        self._link(fault, "pass")

    def begin_small_buffer(self, fault):
        self.world.patiently("CONFIG", "SET", "client-output-buffer-limit", TINY_BUFFERS)
        self._link(fault, "stall", "sub")

    def heal_small_buffer(self, fault):
        self.world.patiently("CONFIG", "SET", "client-output-buffer-limit", USUAL_BUFFERS)
        self._pass_link(fault)

    def begin_hole_cmd(self, fault):
        self._link(fault, "hole", "cmd")

    def begin_hole_sub(self, fault):
        self._link(fault, "hole", "sub")

    def begin_hole_redis(self, fault):
        self._link(fault, "hole")

    def begin_stall_cmd(self, fault):
        self._link(fault, "stall", "cmd")

    def begin_stall_sub(self, fault):
        self._link(fault, "stall", "sub")

    def begin_latency_redis(self, fault):
        self._link(fault, "latency", ms=100, jitter=90)

    def begin_slicer_redis(self, fault):
        self._link(fault, "slicer", size=40)

    def begin_down_redis(self, fault):
        self._link(fault, "down")

    def begin_reset_redis(self, fault):
        self.world.proxy.reset(f"redis-{fault.target}")

    heal_hole_cmd = heal_hole_sub = heal_hole_redis = heal_stall_cmd = heal_stall_sub = _pass_link
    heal_latency_redis = heal_slicer_redis = heal_down_redis = _pass_link

    # ---- The clients' connections to nodes ----

    def _door(self, fault, mode, **options):
        self.world.proxy.set(f"node-{fault.target}", mode, **options)

    def _pass_door(self, fault):
        self._door(fault, "pass")

    def begin_hole_clients(self, fault):
        self._door(fault, "hole")

    def begin_stall_clients(self, fault):
        self._door(fault, "stall")

    def begin_latency_clients(self, fault):
        self._door(fault, "latency", ms=100, jitter=90)

    def begin_slicer_clients(self, fault):
        self._door(fault, "slicer", size=60)

    def begin_reset_clients(self, fault):
        self.world.proxy.reset(f"node-{fault.target}")

    heal_hole_clients = heal_stall_clients = heal_latency_clients = heal_slicer_clients = _pass_door

    # ---- Clients ----

    def begin_stall_readers(self, fault):
        self.world.crowd.stall(fault.target, fault.seconds)

    def begin_cut_readers(self, fault):
        self.world.crowd.cut(fault.target)

    def begin_lose_acks(self, fault):
        self.world.crowd.lose_acks(fault.target)

    def begin_same_id(self, fault):
        self.world.crowd.same_id(fault.seconds)
