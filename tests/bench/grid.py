# SPDX-License-Identifier: MIT
"""The grid: every row with every server in turn, several times, on the same two cores; each run's result is kept.

The server has core 0, the load generator core 1. In the rows with two nodes the members' node has core 0; the publisher's
node and Redis share core 1 with the generator. Runs that found the cores in the state of the minority are repeated.
"""
import collections
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time

import rows
import servers

FOLDER = servers.ROOT / "build/bench"
CORES = sorted(os.sched_getaffinity(0))  # those that this process may use
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1] if len(CORES) < 2 else CORES[1]
NEAR_NS = 170  # a round trip below is one within a shared cache (about 80), above one across (about 370)
REPEATS = 3  # of one row with one server at most, because of the cores
PATIENCE = 5 * servers.harness.SLOW  # seconds without any progress until a run has failed
QUICK_SECONDS = 1


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- What was measured ----

class Records:
    """The kept runs: build/bench/ROW.SERVER.NUMBER.json, and about.json of the machine and the versions."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, row, server, number):
        return self.folder / f"{row}.{server}.{number}.json"

    def write(self, path, value):
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value, indent=1) + "\n")
        part.rename(path)

    def about(self):
        path = self.folder / "about.json"
        return json.loads(path.read_text()) if path.exists() else None

    def set_about(self, about):
        self.write(self.folder / "about.json", about)

    def all(self):
        """Every kept run of the rows and servers that exist, in the order of the runs."""
        found = []
        for path in self.folder.glob("*.*.*.json"):
            row, server, number = path.name.removesuffix(".json").rsplit(".", 2)
            if row in rows.BY_NAME and server in servers.KINDS:
                found.append({**json.loads(path.read_text()), "row": row, "server": server, "number": int(number)})
        return sorted(found, key=lambda record: (record["row"], record["server"], record["number"]))

    def remove_all(self):
        for path in self.folder.glob("*.json"):
            path.unlink()


def state_of(record):
    """near or far: whether the cores shared a cache; moved: that changed during the run."""
    found = {"near" if ns < NEAR_NS else "far" for ns in record["cores_ns"]}
    return found.pop() if len(found) == 1 else "moved"


def majority_state(records):
    """The state that most runs found."""
    counts = collections.Counter(state for state in map(state_of, records) if state != "moved")
    return counts.most_common(1)[0][0] if counts else "near"


def chosen(records, row, server):
    """Of one cell: the runs that count. Those in the majority's state, or all when there is none."""
    state = majority_state(records)
    cell = [record for record in records if (record["row"], record["server"]) == (row, server)]
    return [record for record in cell if state_of(record) == state] or cell


# ---- One run ----

def distance_ns(build):
    done = servers.output(build / "bench_cores", SERVER_CORE, LOAD_CORE)
    return json.loads(done)["least_ns"]


def spell(options):
    return [str(word) for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]


def generate(build, arguments, seconds):
    """Runs the load generator; its result, or {"error": why}."""
    argv = ["taskset", "-c", str(LOAD_CORE), str(build / "bench_peers"), *arguments, "--patience", str(PATIENCE), "--json"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        out, err = child.communicate(timeout=seconds * 3 + 60)
    except subprocess.TimeoutExpired:
        return {"error": "did not end"}
    finally:
        child.kill()
        child.wait()
    if child.returncode == 0:
        return json.loads(out)
    if not out.strip():
        return {"error": err.strip()[-300:] or f"the generator ended with {child.returncode}"}
    result = json.loads(out)
    return {**result, "error": f"not complete: {result['lost']:,} lost, {result['duplicates']:,} doubled, "
                               f"{result['disordered']:,} out of order; limited by {result['limited_by']}"}


class Grid:
    """The walk over rows, servers and runs."""

    def __init__(self, given, chosen_rows, names):
        self.build, self.runs, self.given = given.build, given.runs, given
        self.rows, self.names = chosen_rows, names
        self.records = Records(given.results)
        self.text_bytes = None
        self.done, self.total = 0, 0

    def options_of(self, row):
        """The row's options, made smaller by --quick, --clients and --seconds."""
        options = dict(row.options)
        if self.given.quick:
            options["seconds"] = min(options["seconds"], QUICK_SECONDS)
        for name in ("clients", "seconds"):
            if getattr(self.given, name) is not None:
                options[name] = min(options[name], getattr(self.given, name))
        if "rooms" in options:
            options["rooms"] = max(1, min(options["rooms"], options["clients"] // 10))
        return options

    def seconds(self, row):
        """How long one run takes, about: starting, connecting, warming up, measuring, the distance of the cores."""
        options = self.options_of(row)
        return (2 if row.cluster else 1) + options["clients"] / 4000 + options.get("warmup", 0) + options["seconds"]

    def arguments(self, row, server, nodes):
        """What the generator is told, for servers that run; the last node is the members'."""
        kind = servers.KINDS[server]
        options = self.options_of(row)
        options["url"] = kind.url.format(nodes[-1].port)
        if row.cluster:
            options["publish_url"] = kind.url.format(nodes[0].port)
        if row.scenario != "idle":
            content = rows.CONTENT_BYTES if server == "chatnode" else self.text_bytes - kind.around
            options["payload"] = content
        words = [row.scenario, "--dialect", kind.dialect, *spell(options)]
        for pid in nodes[-1].pids():
            words += ["--pid", str(pid)]
        return words

    @contextlib.contextmanager
    def started(self, row, server):
        """The servers of one run: one node, or Redis and two nodes."""
        kind, running = servers.KINDS[server], []
        try:
            redis = None
            if row.cluster:
                redis = servers.PinnedRedis(LOAD_CORE)
                running.append(redis.start())
            cores = (LOAD_CORE, SERVER_CORE) if row.cluster else (SERVER_CORE,)
            for core in cores:
                running.append(kind.start(self.build, core, redis))
                running[-1].start()
            yield [process for process in running if process is not redis]
        finally:
            servers.harness.stop_all(reversed(running))

    def measure(self, row, server):
        """One run: its result, and the distance of the cores before and after."""
        before = distance_ns(self.build)
        began = time.time()
        try:
            with self.started(row, server) as nodes:
                arguments = self.arguments(row, server, nodes)
                result = generate(self.build, arguments, self.seconds(row))
        except AssertionError as why:
            arguments, result = [], {"error": str(why)[:300]}
        return {"at": datetime.datetime.fromtimestamp(began).isoformat(timespec="seconds"), "arguments": arguments,
                "cores_ns": [before, distance_ns(self.build)], "result": result}

    def keep(self, row, server, number):
        """Measures and keeps one run, and says what came out."""
        record = self.measure(row, server)
        self.records.write(self.records.path(row.name, server, number), record)
        self.done += 1
        result = record["result"]
        cpu = rows.METRICS["cpu"]
        figure = result.get("error") or (f"{cpu.write(cpu.of(result))} {cpu.title}" if row.scenario != "idle" else "done")
        say(f"[{self.done}/{self.total}] {row.name:13} {server:11} run {number + 1}: {figure} (cores {state_of(record)})")

    def todo(self):
        """(row, server, number) of the runs that are not kept yet, in the order of measuring."""
        found = []
        for row in self.rows:
            for number in range(self.runs):
                for server in row.servers:
                    if server in self.names and not self.records.path(row.name, server, number).exists():
                        found.append((row, server, number))
        return found

    def cells(self):
        return [(row, server) for row in self.rows for server in row.servers if server in self.names]

    def calibrate(self):
        """How long a text is that chatnode delivers: all servers deliver as many bytes."""
        row = rows.Row("calibration", "", "fanout", {"clients": 2, "messages": 100, "warmup": 0, "in_flight": 1})
        with self.started(row, "chatnode") as nodes:
            words = [row.scenario, "--dialect", "chatnode", *spell(row.options), "--payload", str(rows.CONTENT_BYTES),
                     "--url", servers.KINDS["chatnode"].url.format(nodes[0].port)]
            result = generate(self.build, words, 5)
        if "error" in result:
            raise SystemExit(f"chatnode cannot be measured: {result['error']}")
        return round(result["text_bytes"])

    def repeat(self):
        """Measures again what the cores' state spoiled, a bounded number of times."""
        for row, server in self.cells():
            for extra in range(REPEATS):
                records = self.records.all()
                good = [record for record in chosen(records, row.name, server)
                        if state_of(record) == majority_state(records)]
                if len(good) >= self.runs:
                    break
                say(f"{row.name} with {server}: again, since the cores were not as in most runs")
                self.total += 1
                numbers = [record["number"] for record in records
                           if (record["row"], record["server"]) == (row.name, server)]
                self.keep(row, server, max(numbers, default=-1) + 1)

    def set_about(self, versions, missing):
        """What the document says of the runs; what is known already holds when they are continued."""
        known = self.records.about() if self.given.resume else None
        if known is None:
            self.records.remove_all()
            known = {**describe_machine(), "versions": {}, "runs": self.runs, "text_bytes": self.calibrate(),
                     "content_bytes": rows.CONTENT_BYTES, "command": " ".join(["./run bench", *self.given.words]),
                     "quick": bool(self.given.quick or self.given.clients or self.given.seconds)}
        self.text_bytes = known["text_bytes"]
        self.records.set_about({**known, "versions": {**known["versions"], **versions}, "missing": missing})

    def run(self, versions, missing):
        """Everything that is not kept yet."""
        self.set_about(versions, missing)
        todo = self.todo()
        self.total = len(todo)
        minutes = sum(self.seconds(row) for row, _, _ in todo) / 60
        say(f"{len(todo)} runs, about {minutes:.0f} min; results are kept in {self.records.folder}")
        for row, server, number in todo:
            self.keep(row, server, number)
        if not self.given.quick:
            self.repeat()


# ---- The machine ----

def describe_machine():
    """What the figures depend on."""
    cpu = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    system = re.search(r'PRETTY_NAME="(.+)"', pathlib.Path("/etc/os-release").read_text())
    return {"date": datetime.date.today().isoformat(), "kernel": platform.release(), "cpu": cpu[1] if cpu else platform.machine(),
            "cores": os.cpu_count(), "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
            "system": system[1] if system else platform.system(),
            "redis": servers.version_of("redis-server", "--version")}


def choose(words, known, what):
    """The known names among the words, in the known order; all when there are none."""
    wanted = [word for word in (words or "").split(",") if word]
    unknown = [word for word in wanted if word not in known]
    if unknown:
        raise SystemExit(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if not wanted or name in wanted]


def run(given):
    """Measures what the command line chose; the records."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    chosen_rows = [rows.BY_NAME[name] for name in choose(given.rows, rows.BY_NAME, "row")]
    names = choose(given.peers, servers.KINDS, "server")
    if "chatnode" not in names:
        names.append("chatnode")  # what all others are compared with
    if len(CORES) < 2:
        raise SystemExit("this takes two cores: one for the server, one for the load")
    versions, missing = servers.prepare(names, given.build)
    for name, why in missing.items():
        say(f"without {name}: {why}")
    grid = Grid(given, chosen_rows, [name for name in names if name not in missing])
    grid.run(versions, missing)
    return grid.records
