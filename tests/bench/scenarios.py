# SPDX-License-Identifier: MIT
"""The scenarios of the bench: clients that come back (jitter, nodekill, avalanche), that come while others go (churn),
storing (fanin, redisrestart), and clients that do not read (stalled).

Each starts its own Redis and nodes, prints one line of JSON and one for people, and returns whether all was right:
nothing lost, nothing twice, everything in order, everybody back. The goals are said, but are no pass or fail: they are
meant for a machine that does nothing else.
"""
import json
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402
import stalled as stalled_readers  # noqa: E402
from clients import TEXT, RawClient  # noqa: E402

QUIET = ("--log-level", "warn")
PATIENCE = 290  # seconds for one scenario; the programs themselves give up sooner when nothing moves
# With everysec a killed Redis may lose what it had acked. The nodes store that again, and it is shown twice.
AOF = ("--appendonly", "yes", "--appendfsync", "always")


class Given:
    """The scenario's sizes: the default of each, unless the command line says otherwise."""

    def __init__(self, options, **defaults):
        for name, default in defaults.items():
            value = getattr(options, name)
            setattr(self, name, default if value is None else value)
        self.build, self.extra = options.build, [f"--{flag}" for flag in options.node_flag]


class Stage:
    """Redis and nodes, ended when the scenario is over."""

    def __init__(self, given, nodes, redis_flags=(), node_flags=()):
        harness.CHATNODE = str(given.build / "chatnode")
        self.redis = harness.Redis(*redis_flags, start=False)
        self.nodes = [harness.Node(*QUIET, *node_flags, *given.extra, name=f"bench{number}", redis=self.redis, start=False)
                      for number in range(nodes)]

    def __enter__(self):
        try:
            self.redis.start()
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        harness.stop_all([*self.nodes, self.redis])

    @property
    def urls(self):
        return [word for node in self.nodes for word in ("--url", f"ws://127.0.0.1:{node.port}/ws")]


def start(program, given, *words):
    argv = [given.build / program, *words]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, text=True)


def chatctl(scenario, given, stage, *words):
    """What `chatctl bench` found; its options are those of the scenario here, unless they have another name there."""
    return result_of(start("chatctl", given, "bench", scenario, *stage.urls, "--json", *words))


def result_of(child):
    """What the program found; it exits with 1 when something was wrong, and says nothing when it could not work."""
    try:
        out, _ = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    if child.returncode not in (0, 1) or not out.strip():
        raise SystemExit(f"{child.args[0]} ended with {child.returncode}")
    return json.loads(out)


def report(name, result, text, goal, met):
    """Both lines; true when the run was right."""
    result = {**result, "scenario": name, "goal": goal, "goal_met": bool(met)}
    print(json.dumps(result), flush=True)
    verdict = "complete" if result["complete"] else "NOT COMPLETE"
    print(f"{name}: {verdict}; {text}; goal {goal}: {'met' if met else 'missed'}", flush=True)
    return result["complete"]


def storm(name, given, stage, *words):
    rate = given.messages * given.rooms / given.seconds
    return chatctl(name, given, stage, "--clients", given.clients, "--rooms", given.rooms, "--rate", rate,
                   "--seconds", given.seconds, "--payload", given.content, *words)


def spell(times, *keys):
    return ", ".join(f"{key} {times[key]:,.0f} ms" for key in keys)


def losses(result):
    return (f"{result['deliveries']:,} deliveries, {result['lost']} lost, {result['duplicates']} twice, "
            f"{result['disordered']} out of order, {result['came_back']:,} of {result['lost_connections']:,} returns, "
            f"{result['refused_handshakes']:,} times 503, {result['failed_attempts']:,} failed attempts")


def jitter(options):
    """Every client is cut again and again, is away for a while and resumes."""
    given = Given(options, clients=2000, rooms=20, messages=120, seconds=60, content=32, cut=15000, offline=2000, nodes=2)
    with Stage(given, given.nodes) as stage:
        result = storm("jitter", given, stage, "--cut", given.cut, "--offline", given.offline)
    return report("jitter", result, f"replay {spell(result['replay_ms'], 'p50', 'p99', 'max')}; {losses(result)}",
                  "replay p99 < 500 ms", result["replay_ms"]["p99"] < 500)


def nodekill(options):
    """One of the nodes is killed; its clients resume on the others."""
    given = Given(options, clients=5000, rooms=20, messages=30, seconds=30, content=32, nodes=3)
    with Stage(given, given.nodes) as stage:
        victim = stage.nodes[-1]
        result = storm("avalanche", given, stage, "--kill-pid", victim.pid)
        victim.kill()
    return report("nodekill", result, f"back after {spell(result['back_ms'], 'p50', 'p99', 'max')}; {losses(result)}",
                  "back p99 < 2 s", result["back_ms"]["p99"] < 2000)


def avalanche(options):
    """All clients are cut at once and come at once to one node that has none of their rooms."""
    given = Given(options, clients=5000, rooms=20, messages=30, seconds=30, content=32, nodes=2)
    with Stage(given, given.nodes) as stage:
        result = storm("avalanche", given, stage)
    return report("avalanche", result,
                  f"all in and level after {result['back_ms']['max']:,.0f} ms ({spell(result['back_ms'], 'p50', 'p99')}); "
                  f"{losses(result)}", "all back < 10 s", result["back_ms"]["max"] < 10000)


def churn(options):
    """All members of a room are cut at once while newcomers come and go."""
    given = Given(options, clients=10000, newcomers=500, messages=20, seconds=10, content=32, nodes=1)
    with Stage(given, given.nodes) as stage:
        result = chatctl("churn", given, stage, "--clients", given.clients, "--newcomers", given.newcomers, "--rate",
                         given.messages / given.seconds, "--seconds", given.seconds, "--payload", given.content)
    during = result["open_during_ms"] or {"count": 0, "p50": 0, "p99": 0}
    return report("churn", result,
                  f"{result['arrivals']:,} arrivals, {during['count']:,} while {given.clients:,} connections closed within "
                  f"{result['closed_ms']:,.0f} ms; these waited {spell(during, 'p50', 'p99')} for the answer, the longest "
                  f"{result['longest_ms']:,.0f} ms and {result['longest_joined_ms']:,.0f} ms to join; {losses(result)}",
                  "the longest wait < 100 ms", result["longest_ms"] < 100)


def cpu_us(pid, task="*"):
    """Processor time of all threads of a process, or of one."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob(f"{task}/schedstat")) / 1e3


class Usage:
    """What Redis and the nodes use from here on, in us of processor time."""

    def __init__(self, stage):
        self.stage = stage
        self.before, self.began = self.read(), time.monotonic()

    def read(self):
        nodes = self.stage.nodes
        return [cpu_us(self.stage.redis.pid), sum(cpu_us(node.pid) for node in nodes),
                *(cpu_us(node.pid, node.pid) for node in nodes)]

    def since(self):
        """Of Redis, of all threads of all nodes, of the busiest main thread; and the time that passed."""
        redis, nodes, *mains = [now - before for now, before in zip(self.read(), self.before)]
        return redis, nodes, max(mains), (time.monotonic() - self.began) * 1e6


def ingest(given, stage):
    return start("chatctl", given, "bench", "fanin", *stage.urls, "--json", "--clients", given.sessions, "--in-flight",
                 given.window, "--seconds", given.seconds, "--warmup", 0, "--payload", given.content)


def find_limit(result):
    """What was busy all the time; else the machine, or nothing."""
    shares = {"redis-server": result["redis_busy"], "a node's main thread": result["main_busy"],
              "the load program": result["load_busy"]}
    name, busiest = max(shares.items(), key=lambda item: item[1])
    if busiest > 0.9:
        return name
    used = result["redis_busy"] + result["nodes_busy"] + result["load_busy"]
    return f"the machine's processors ({used:.1f} in use; {name} had the largest part, {busiest:.0%} of one)"


def per(us, count):
    return round(us / count, 2) if count else 0


def fanin(options):
    """Many sessions store as fast as the window allows, each in its own room."""
    given = Given(options, sessions=64, window=32, seconds=10, content=48, nodes=2)
    with Stage(given, given.nodes) as stage:
        usage = Usage(stage)
        result = result_of(ingest(given, stage))
        redis, nodes, main, passed = usage.since()
    stored = result["messages"]
    per_redis, per_main = (1e6 * stored / us if us else 0 for us in (redis, main * given.nodes))
    result |= {"publishes_per_redis_cpu_second": round(per_redis), "publishes_per_main_cpu_second": round(per_main),
               "redis_us_per_publish": per(redis, stored), "node_us_per_publish": per(nodes, stored),
               "redis_busy": round(redis / passed, 3), "main_busy": round(main / passed, 3),
               "nodes_busy": round(nodes / passed, 3), "load_busy": result["generator"]["cpu_share"]}
    result["limit"] = find_limit(result)
    return report("fanin", result,
                  f"{result['messages_per_second']:,.0f} acks/s, {spell_us(result['ack_us'], 'p50', 'p99')}; a second of "
                  f"Redis' CPU stores {per_redis:,.0f}, one of a node's main thread {per_main:,.0f}; "
                  f"{result['redis_us_per_publish']} us of Redis and {result['node_us_per_publish']} us of node a publish; "
                  f"limit: {result['limit']}; {wrongs(result)}", ">= 50,000/s of one Redis core", per_redis >= 50000)


def spell_us(times, *keys):
    return ", ".join(f"{key} {times[key] / 1e3:,.1f} ms" for key in keys)


def wrongs(result):
    return f"{result['lost']} lost, {result['duplicates']} twice, {result['disordered']} out of order"


def restart(redis):
    """Kills Redis and starts it with its data; when it answered PONG for the first time."""
    redis.kill()
    redis.spawn()

    def answers():
        try:
            return redis.command("PING") == b"PONG"
        except (OSError, harness.RedisError):
            return False  # not there yet, or loading
    harness.eventually(answers, 60)
    return time.monotonic()


def is_stored(client):
    """Whether the node acks a message now, rather than answering with an error."""
    client.send_json({"type": "direct", "to": "nobody", "id": harness.unique("first"), "content": "are you back?"})
    while True:
        frame = client.recv_frame()
        assert frame, "the node ended the connection"
        kind = json.loads(frame[1])["type"] if frame[0] == TEXT else None
        if kind in ("ack", "error"):
            return kind == "ack"


def first_ack(node):
    """Asks again and again until a message is stored; when that was."""
    with RawClient(node.port) as client:
        client.open(room="")
        harness.eventually(lambda: is_stored(client), 60)
        return time.monotonic()


def redisrestart(options):
    """Redis is killed and started again with its data while sessions store."""
    given = Given(options, sessions=64, window=8, seconds=12, content=48, nodes=2)
    with Stage(given, given.nodes, AOF) as stage:
        child = ingest(given, stage)
        try:
            harness.eventually(lambda: child.poll() is not None or stage.nodes[0].metric("chatnode_publishes_total") > 0)
            try:
                child.wait(given.seconds / 3)
            except subprocess.TimeoutExpired:
                pass
            killed = time.monotonic()
            pong = restart(stage.redis)
            first = first_ack(stage.nodes[0])
        finally:
            result = result_of(child)
    result |= {"redis_away_ms": round((pong - killed) * 1e3, 1), "first_ack_after_pong_ms": round((first - pong) * 1e3, 1)}
    after_ms = result["first_ack_after_pong_ms"]
    return report("redisrestart", result,
                  f"first ack {after_ms:,.0f} ms after Redis answers again (it was away for {result['redis_away_ms']:,.0f} ms); "
                  f"{result['messages']:,} stored, {result['retries']:,} sent again, {wrongs(result)}",
                  "first ack < 2 s", after_ms < 2000)


def stalled(options):
    """Many members of a busy room do not read at all; the others must not notice, nor the node's memory grow."""
    given = Given(options, clients=1000, rooms=1, messages=100, seconds=15, content=1000)
    flags = ("--slow-timeout", 3600000, "--ping-interval", 3600000, "--publish-deadline", 30000, "--replay", 0)
    with Stage(given, 1, node_flags=flags) as stage:
        result = stalled_readers.measure(stage.nodes[0], given.clients, 100, given.messages, given.seconds, given.content)
    early, late = result["rss_mib"][1], result["rss_mib"][-1]
    ratio = result["among_stalled_ms"]["p99"] / result["alone_ms"]["p99"]
    result["p99_ratio"] = round(ratio, 2)
    return report("stalled", result,
                  f"{result['lagging']:,} of {result['stalled']:,} stalled; p99 {result['alone_ms']['p99']} ms without them, "
                  f"{result['among_stalled_ms']['p99']} ms with them ({ratio:.2f}); the node's memory "
                  f"{' > '.join(str(value) for value in result['rss_mib'])} MiB, {result['rss_kib_a_stalled']} KiB a stalled "
                  f"one", "memory grows < 10 % over twice as many messages, p99 ratio < 1.5",
                  late < 1.1 * early and ratio < 1.5)


ALL = {scenario.__name__: scenario for scenario in (jitter, nodekill, avalanche, churn, fanin, redisrestart, stalled)}


def add_arguments(parser):
    group = parser.add_argument_group("scenarios")
    group.add_argument("--scenario", choices=[*ALL, "all"], help="one of these instead of the comparison with the floor")
    for name in ("clients", "newcomers", "rooms", "messages", "seconds", "cut", "offline", "nodes", "sessions", "window", "content"):
        group.add_argument(f"--{name}", type=int, help="another size than the scenario's own")
    group.add_argument("--node-flag", action="append", default=[], metavar="NAME=VALUE", help="a setting of the nodes")


def run(options):
    """The exit code: 1 when one of the scenarios was not complete."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    chosen = ALL if options.scenario == "all" else {options.scenario: ALL[options.scenario]}
    return 0 if all([scenario(options) for scenario in chosen.values()]) else 1
