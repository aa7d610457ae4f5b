#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures how the cost of a message grows with members, rooms, nodes and loops, and writes the tables of docs/scaling.md.

One node has core 0 and the load generator core 1. Several nodes share core 0, Redis and the generator core 1. Two loops
have both cores.
"""
import argparse
import contextlib
import json
import pathlib
import signal
import sys

import capacity
import grid
import loads
import redis_meter
import scaling_document
import servers

RESULTS = grid.FOLDER / "scaling.json"
DOCUMENT = servers.ROOT / "docs/scaling.md"
FLAGS = {"accept_rate": 0, "ping_interval": 3600000, "max_connections": 19000, "log_level": "warn"}


class Store:
    """The kept runs, in one file: {"about": the machine, "runs": [a run, ...]}."""

    def __init__(self, path):
        self.path = path
        self.kept = json.loads(path.read_text()) if path.exists() else {"about": None, "runs": []}

    def forget(self, parts):
        """Drops the runs of these parts, which are measured anew."""
        self.kept["runs"] = [run for run in self.kept["runs"] if run["part"] not in parts]

    def add(self, run):
        self.kept["runs"].append(run)
        self.write()

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.kept, indent=1) + "\n")
        part.rename(self.path)

    def has(self, load, number):
        return any((run["load"], run["number"]) == (load.name, number) for run in self.kept["runs"])


# ---- One run ----

def make_node(load, build, redis):
    """A node that is not started yet, on core 0, or with several loops on both."""
    servers.harness.CHATNODE = str(build / "chatnode")
    node = servers.harness.Node(redis=redis, start=False, **{**FLAGS, "loops": load.loops, **load.flags})
    cores = f"{grid.SERVER_CORE},{grid.LOAD_CORE}" if load.loops > 1 else str(grid.SERVER_CORE)
    node.argv = ["taskset", "-c", cores, *node.argv]
    return node


def start_nodes(load, build, redis, stack):
    for _ in range(load.nodes):
        node = make_node(load, build, redis)
        stack.callback(node.stop)
        node.start()
        node.wait_ready()
        yield node


def start_servers(load, build, redis, stack):
    """The running servers of this load."""
    if load.server == "chatnode":
        return list(start_nodes(load, build, redis, stack))
    floor = servers.KINDS[load.server].start(build, grid.SERVER_CORE, None)
    stack.callback(floor.stop)
    return [floor.start()]


def arguments(load, running, text_bytes):
    """What the generator is told. Every server delivers as many bytes; the floor sends what it gets."""
    dialect, payload = ("chatnode", loads.CONTENT_BYTES) if load.server == "chatnode" else ("plain", text_bytes)
    words = [load.scenario, "--dialect", dialect, *grid.spell(load.options)]
    if load.scenario != "idle":
        words += ["--payload", str(payload)]
    urls = [f"ws://127.0.0.1:{server.port}/ws" for server in running]
    for url in load.urls(urls):
        words += ["--url", url]
    if load.publish_first:
        words += ["--publish-url", urls[0]]
    for server in running:
        words += ["--pid", str(server.pid)]
    return words


def messages_a_write(nodes, text_bytes):
    """How many messages went to a member in one write, in the mean, over a whole run."""
    metrics = [node.metrics() for node in nodes]
    writes, written = (sum(found[f"chatnode_{name}_total"] for found in metrics) for name in ("writes", "written_bytes"))
    return written / writes / (text_bytes + capacity.FRAME_BYTES) if writes and text_bytes else None


def measure(load, build, text_bytes):
    """Starts the servers of a load, runs it, ends them; what came out of the generator and of Redis."""
    with contextlib.ExitStack() as stack:
        redis = None
        if load.redis:
            redis = servers.PinnedRedis(grid.LOAD_CORE)
            stack.callback(redis.stop)
            redis.start()
        running = start_servers(load, build, redis, stack)
        meter = stack.enter_context(redis_meter.RedisMeter(redis)) if redis else None
        result = grid.generate(build, arguments(load, running, text_bytes), load.seconds())
        batch = messages_a_write(running, result.get("text_bytes")) if load.server == "chatnode" else None
    return {"result": result, "redis": meter.result() if meter else None, "messages_a_write": batch}


class Walk:
    """The way through all loads, several times, each run kept at once."""

    def __init__(self, given, store):
        self.given, self.store = given, store
        self.loads = [load.smaller() if given.quick else load for load in loads.ALL if load.part in given.parts]
        self.text_bytes = None

    def calibrate(self):
        """How long a text is that a node delivers."""
        load = loads.Load("calibration", "", "fanout", {"clients": 2, "seconds": 0.3, "warmup": 0, "in_flight": 1})
        result = measure(load, self.given.build, 0)["result"]
        if "error" in result:
            raise SystemExit(f"a node cannot be measured: {result['error']}")
        return round(result["text_bytes"])

    def todo(self):
        return [(load, number) for number in range(self.given.runs) for load in self.loads
                if not self.store.has(load, number)]

    def describe(self):
        command = ["./run bench --scaling", *self.given.words]
        return {**grid.describe_machine(), "text_bytes": self.text_bytes, "runs": self.given.runs,
                "command": " ".join(command), "chatnode": servers.version_of_chatnode(self.given.build)}

    def keep(self, load, number):
        cores = [grid.distance_ns(self.given.build)]
        found = measure(load, self.given.build, self.text_bytes)
        cores.append(grid.distance_ns(self.given.build))
        self.store.add({"load": load.name, "part": load.part, "number": number, "clients": load.options["clients"],
                        "rooms": load.options.get("rooms", 1), "nodes": load.nodes, "cores_ns": cores, **found})
        return found["result"]

    def run(self):
        """Everything that is not kept yet; how many runs failed."""
        self.text_bytes = self.calibrate()
        self.store.kept["about"] = self.describe()
        todo, failed = self.todo(), 0
        minutes = sum(load.seconds() for load, _ in todo) / 60
        grid.say(f"{len(todo)} runs, about {minutes:.0f} minutes; results are kept in {self.store.path}")
        for done, (load, number) in enumerate(todo, 1):
            result = self.keep(load, number)
            failed += "error" in result
            cpu = grid.rows.METRICS["cpu"]
            figure = result.get("error") or f"{cpu.write(cpu.of(result))} {cpu.title}"
            grid.say(f"[{done}/{len(todo)}] {load.name:27} run {number + 1}: {figure}")
        self.store.write()
        return failed


# ---- The command ----

def parse(words):
    parser = argparse.ArgumentParser(prog="./run bench --scaling", description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=servers.ROOT / "build/release")
    parser.add_argument("--runs", type=int, default=None, help="of every load (3; with --quick 1)")
    parser.add_argument("--parts", default="", metavar="NAME,...", help=f"only these: {', '.join(loads.PARTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny loads: to try it out, not to compare")
    parser.add_argument("--continue", action="store_true", dest="resume", help="only the runs that are not kept yet")
    parser.add_argument("--document", action="store_true", help="measure nothing: write the tables from the kept runs")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="where runs are kept")
    parser.add_argument("--output", type=pathlib.Path, default=DOCUMENT, help="the document whose tables are written")
    given = parser.parse_args(words)
    given.runs = given.runs or (1 if given.quick else 3)
    given.words = [f"--parts {given.parts}"] * bool(given.parts) + ["--quick"] * given.quick
    given.words += [f"--runs {given.runs}"] if given.runs != (1 if given.quick else 3) else []
    given.parts = grid.choose(given.parts, loads.PARTS, "part")
    if given.quick and given.output == DOCUMENT:
        parser.error("--quick measures nothing worth keeping: name another document with --output")
    return given


def main(words=None):
    """Measures, unless told otherwise, and writes the document; the exit code: 1 when a run failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    given = parse(words)
    store = Store(given.results)
    failed = 0
    if not given.document:
        if not given.resume:
            store.forget(given.parts)
        failed = Walk(given, store).run()
    if not store.kept["runs"]:
        raise SystemExit(f"no runs are kept in {given.results}")
    given.output.write_text(scaling_document.fill(given.output.read_text(), store.kept))
    print(given.output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
