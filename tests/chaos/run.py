#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Chaos: nodes, Redis and clients under load, while everything that can break is broken by turns; then the delivery
contract is checked against what every client sent and saw. The seed is printed first and repeats a run's faults.
"""
import argparse
import bisect
import collections
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import harness  # noqa: E402
from checker import VERDICTS, check  # noqa: E402
from crowd import Handle  # noqa: E402
from harness import SLOW, Node, Redis, RedisError, eventually, stop_all  # noqa: E402
from history import ACKED, History  # noqa: E402
from nemesis import KINDS, USUAL_BUFFERS, Nemesis, make_plan  # noqa: E402
from proxy import Proxy  # noqa: E402

SETTLE_S = 60 * SLOW  # everything is healed: so long until all is acked, and seen by all
PER_FAULT_S = 2.4  # about: how many faults a time brings
HISTORY_MESSAGES = 20000
RSS_MAX = 400 << 20


class Store(Redis):
    """A redis-server that keeps what it was told even when it is killed, and can be made to forget it."""

    def __init__(self):
        super().__init__("--appendonly", "yes", "--appendfsync", "everysec", "--enable-debug-command", "yes",
                         "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period",
                         "1", "--client-output-buffer-limit", *USUAL_BUFFERS.split(), start=False)

    def clear(self):
        """Removes what it has on disk."""
        shutil.rmtree(self.dir / "appendonlydir", ignore_errors=True)
        (self.dir / "dump.rdb").unlink(missing_ok=True)


class World:
    """Everything that runs."""

    def __init__(self, options, say):
        self.options, self.say, self.began = options, say, time.monotonic()
        self.proxy = Proxy(options.seed)
        self.nodes, self.stores, self.crowd = [], [], None
        self.leaving = set()  # nodes that were told to end
        self.open_before = 0  # descriptors of a node without clients

    def start(self):
        self.stores = [Store().start(), Store().start()]
        self.master, self.replica = self.stores
        self.repl_port = self.proxy.open("replication", self.master.port)
        self.replica.command("REPLICAOF", "127.0.0.1", self.repl_port)
        eventually(lambda: self.replica.info("replication").get("master_link_status", "").strip() == "up",
                   what="the replica has its master")
        ports = []
        for index in range(self.options.nodes):
            port = self.proxy.open(f"redis-{index}", self.master.port, rb"chatnode:[^:]+:(cmd|sub)")
            node = Node(name=f"chaos-{index}", redis=f"redis://127.0.0.1:{port}/0", start=False,
                        history_messages=self.options.history, drain=500, log_level="info", loops=2)
            self.nodes.append(node)
            node.start()
            ports += [node.port, self.proxy.open(f"node-{index}", node.port)]
        for node in self.nodes:
            node.wait_ready()
        self.open_before = max(fds(node) for node in self.nodes)
        self.crowd = Handle(seed=self.options.seed, ports=ports, rooms=[f"room{n}" for n in range(self.options.rooms)],
                            users=[f"u{n}" for n in range(max(self.options.readers // 2, 1))],
                            readers=self.options.readers, publishers=self.options.publishers)
        eventually(self.crowd.seed, what="each channel has an entry")
        self.crowd.read()
        eventually(self.crowd.ready, what="all clients are in their rooms")
        self.crowd.publish(self.options.rate)

    # ---- While it runs ----

    def watch(self, seconds):
        """Lets time pass; a process that ended by itself is a failure."""
        end = time.monotonic() + seconds
        while True:
            for process in self.nodes + self.stores:
                if process in harness.running and process not in self.leaving and not process.alive():
                    raise AssertionError(f"{process.name} ended with {process.child.returncode}:\n{process.log[-6000:]}")
            left = end - time.monotonic()
            if left <= 0:
                return
            select.select([], [], [], min(left, 0.5))

    def patiently(self, *words):
        """A command to the master, which may be stopped, paused or dead meanwhile: then nothing happens."""
        try:
            self.master.command(*words)
        except (OSError, RedisError) as error:
            self.say(f"      {words[0]} {words[1]}: {error}")

    # ---- The two Redis servers ----

    def in_step(self):
        """Whether the replica has what the master has."""
        mine, theirs = self.master.info("replication"), self.replica.info("replication")
        return theirs.get("master_link_status", "").strip() == "up" and \
            int(mine["master_repl_offset"]) - int(theirs.get("slave_repl_offset", 0)) < 100000

    def cut_replication(self):
        eventually(self.in_step, what="the replica is in step")
        self.proxy.set("replication", "hole")

    def promote(self):
        """The master dies, and the replica takes over with what it has; the old master begins anew as its replica."""
        self.master.kill()
        for index in range(len(self.nodes)):
            self.proxy.upstream(f"redis-{index}", self.replica.port)
        self.replica.command("REPLICAOF", "NO", "ONE")
        self.master, self.replica = self.replica, self.master
        for index in range(len(self.nodes)):
            self.proxy.reset(f"redis-{index}")
        self.replica.clear()
        self.replica.start()
        self.proxy.upstream("replication", self.master.port)
        self.proxy.set("replication", "pass")
        self.replica.command("REPLICAOF", "127.0.0.1", self.repl_port)

    # ---- The end ----

    def settle(self):
        """Waits until everything that was published has its answer and every reader has seen the last messages."""
        crowd = self.crowd
        for node in self.nodes:
            node.wait_ready(self.options.settle)
        crowd.end()
        self._until(lambda: crowd.stats()["waiting"] == 0, "every publish has its answer")
        self._until(crowd.mark, "the last message of each channel can be sent")
        self._until(lambda: crowd.stats()["waiting"] == 0, "the last messages are acked")
        self._until(lambda: not crowd.stats()["behind"], "every reader has seen the last messages")

    def _until(self, condition, what):
        begin = time.monotonic()
        for patience in (3, self.options.settle):
            try:
                eventually(condition, patience, what)
                break
            except AssertionError as error:
                self.say(f"      {error}")
                for text in self.crowd.behind()[:8]:
                    self.say(f"      behind: {text}")
        if time.monotonic() - begin > 3:
            self.say(f"      after {time.monotonic() - begin:.1f} s: {what}")

    def logs(self, history):
        """Each channel's log, as Redis has it."""
        for name in history.publishes.channels:
            key = f"chatnode:{{u:{name[3:]}}}log" if name.startswith("in:") else f"chatnode:{{r:{name}}}log"
            log = history.logs[name] = []
            for place, (_, text) in self.master.command("XRANGE", key, "-", "+"):
                number = NUMBER.search(text)
                log.append((history.gens.key(*place.split(b"-")), int(number[1]) if number else 0))

    def leftovers(self):
        """What is not as it was before the clients came: open descriptors, memory."""
        problems, before = [], self.open_before
        for node in self.nodes:
            try:
                eventually(lambda node=node: fds(node) <= before + 4, what="the descriptors are closed")
            except AssertionError:
                problems.append(f"{node.name} has {fds(node)} open descriptors, {before} at the start")
            if node.rss_bytes() > RSS_MAX and SLOW == 1:
                problems.append(f"{node.name} has {node.rss_bytes() >> 20} MiB of memory")
        return problems

    def keep(self, folder):
        """Copies the logs."""
        for process in (one for one in self.nodes + self.stores if one.log_path.exists()):
            shutil.copy(process.log_path, folder / f"{process.name}-{process.pid}.log")

    def stop(self):
        """Stops everything; a node must end with 0 and without a sanitizer's report."""
        if self.crowd:
            self.crowd.stop()
        try:
            stop_all(self.nodes + self.stores)
        finally:
            self.proxy.stop()


NUMBER = re.compile(rb'"id":"(\d+)"\}$')


def fds(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


# ---- Figures ----


def recoveries(history, faults):
    """Seconds from a heal until in every room the first message sent after it was acked, and every steady reader had it;
    only of heals before which nothing else was begun meanwhile. And how many others there were."""
    rows, rooms = history.publishes, collections.defaultdict(list)
    for row, (channel, outcome) in enumerate(zip(rows.channel, rows.outcome)):
        if outcome == ACKED and not rows.channels[channel].startswith("in:"):
            rooms[rows.channels[channel]].append(row)
    views = collections.defaultdict(list)
    for view in history.views:
        if view.steady and not view.channel.startswith("in:"):
            views[view.channel].append(view)
    found, others = [], 0
    for _, _, heal in faults:
        last = max(arrival(rows, rooms[name], views[name], heal) for name in rooms)
        if last == float("inf") or any(begin < last and end > heal for _, begin, end in faults):
            others += 1
        else:
            found.append(last - heal)
    return sorted(found), others


def arrival(rows, room, views, heal):
    """When the room's first message after `heal` was acked and had reached the views."""
    at = bisect.bisect_left(room, heal, key=rows.first.__getitem__)
    if at == len(room):
        return float("inf")
    last, pos = rows.ended[room[at]], rows.pos[room[at]]
    for view in views:
        index = bisect.bisect_left(view.at, pos)
        batch = bisect.bisect_right(view.times[0], index)
        if batch < len(view.times[0]):
            last = max(last, view.times[1][batch])
    return last


def quantile(values, part):
    return values[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def summary(options, history, report, faults, stats, seconds):
    """Everything about a run, as a plain dict."""
    times, others = recoveries(history, faults)
    kinds = collections.Counter(kind for kind, _, _ in faults)
    return {
        "seed": options.seed, "seconds": round(seconds, 1), "nodes": options.nodes,
        "faults": len(faults), "kinds": dict(sorted(kinds.items())),
        "acked_per_second": round(report.figures["acked"] / seconds), **report.figures,
        "errors": {key[6:]: value for key, value in sorted(stats.items()) if key.startswith("error ")},
        "clients": {key: value for key, value in sorted(stats.items()) if " " in key and not key.startswith("error ")},
        "recovered_s": {"counted": len(times), "overlapped": others, "p50": round(quantile(times, 0.5), 3),
                        "p99": round(quantile(times, 0.99), 3), "max": round(quantile(times, 1), 3)},
        "verdicts": dict(report.counts),
    }


def show(figures, say):
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.items())
        say(f"{key.replace('_', ' '):>26}  {value}")


# ---- The run ----


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a run; without it $CHAOS_SEED, or one is drawn")
    parser.add_argument("--seconds", type=float, help="about how long the faults go on")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--count", type=int, help="how many faults, whatever time it takes")
    parser.add_argument("--faults", help="only these kinds, with commas between; with a - before it: all but these")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2000, help="messages a second, if nothing hinders")
    parser.add_argument("--publishers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=12)
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--history", type=int, default=HISTORY_MESSAGES, help="entries kept of each channel")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    parser.add_argument("--node", metavar="BINARY", help="another program than $CHATNODE")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds until all must be well after the last heal")
    parser.add_argument("--strict", action="store_true", help="without the exceptions that checker.py names")
    parser.add_argument("--keep", action="store_true", help="keeps history and logs also of a good run")
    options = parser.parse_args(argv)
    if options.seed is None:
        options.seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
    seconds = (options.minutes or 0) * 60 + (options.seconds or 0) or 60
    options.until = None if options.count else seconds
    options.count = options.count or max(int(seconds / PER_FAULT_S * 3), 10)
    options.names = chosen(options.faults or "")
    return options


def chosen(text):
    words = {word for word in text.split(",") if word}
    unknown = {word.removeprefix("-") for word in words} - set(KINDS)
    if unknown:
        sys.exit(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    without = {word[1:] for word in words if word.startswith("-")}
    return sorted((words - {"-" + word for word in without} or set(KINDS)) - without)


def execute(options, say):
    """One run. Returns (figures, problems, report, folder or None)."""
    if options.node:
        harness.CHATNODE = options.node
    plan = make_plan(options.seed, options.nodes, options.names, options.count)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="chatnode-chaos-"))
    world = World(options, say)
    nemesis = Nemesis(world, say)
    problems = []
    try:
        world.start()
        begin = time.monotonic()
        nemesis.run(plan, lambda: options.until and time.monotonic() - begin >= options.until)
        world.settle()
        seconds = time.monotonic() - begin
        stats = world.crowd.stats()
        stats["most memory of a node in MiB"] = max(node.rss_bytes() for node in world.nodes) >> 20
        problems += [f"client: {text}" for text in world.crowd.finish(folder / "history")]
        problems += world.leftovers()
        history = History.load(folder / "history")
        history.faults = [(begin, end, kind) for kind, begin, end in nemesis.done]
        history.losses = nemesis.losses
        world.logs(history)
        history.save(folder / "history")
    except BaseException:
        say(f"kept: {folder}")
        raise
    finally:
        try:
            world.keep(folder)
        finally:
            world.stop()
    report = check(history, options.strict)
    figures = summary(options, history, report, nemesis.done, stats, seconds)
    problems += too_little(options, figures)
    if options.keep or problems or report.violations:
        return figures, problems, report, folder
    shutil.rmtree(folder)
    return figures, problems, report, None


def too_little(options, figures):
    """A run in which nothing happened proves nothing."""
    problems = []
    if figures["faults"] < (options.count if not options.until else 1):
        problems.append(f"only {figures['faults']} of {options.count} faults")
    if figures.get("acked", 0) < 1000 or figures.get("delivered", 0) < figures.get("acked", 0):
        problems.append(f"only {figures.get('acked', 0)} acked and {figures.get('delivered', 0)} delivered")
    return problems


def main(argv=None):
    options = parse(argv)

    def say(text):
        print(text, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    say(f"seed {options.seed}")
    figures, problems, report, folder = execute(options, say)
    show(figures, say)
    for verdict in VERDICTS:
        for text in report.details[verdict][:5]:
            say(f"{verdict}: {text}")
    for text in problems:
        say(f"problem: {text}")
    if folder:
        say(f"kept: {folder}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    say(f"{'FAILED' if problems or report.violations else 'passed'}: repeat with --seed {options.seed}")
    return 1 if problems or report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
