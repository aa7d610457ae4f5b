#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures the node against the floor: same machine, same pinning, same load, in turn; prints medians and the ratio.

With --scenario it runs one of scenarios.py instead.

The server is on CPU 0 (for the floor: all of it; for the node: its main thread and its one loop), the load driver on CPU 1.
"""
import argparse
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import scenarios

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENES = [  # name, connections, window, rate, messages
    ("1,000 members, one in flight", 1000, 1, 0, 1000),
    ("1,000 members, 32 in flight", 1000, 32, 0, 5000),
    ("1,000 members, 300 a second", 1000, 1000, 300, 900),
    ("10,000 members, one in flight", 10000, 1, 0, 100),
    ("10,000 members, 32 in flight", 10000, 32, 0, 500),
]
IDLE = (1000, 10000)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process pinned to CPU 0, ended by its pid."""

    def __init__(self, argv, port, ready):
        self.port = port
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(["taskset", "-c", "0", *map(str, argv)], stdout=self.log, stderr=self.log)
        for _ in range(100000):
            if self.child.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"{argv[0]} ended:\n{self.log.read().decode()}")
            try:
                ready(port)
                return
            except (OSError, urllib.error.URLError):
                try:
                    self.child.wait(0.02)
                except subprocess.TimeoutExpired:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(1)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            self.child.wait(10)


def answers_http(port):
    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read()


def accepts(port):
    socket.create_connection(("127.0.0.1", port), 1).close()


def node(build, redis):
    port = free_port()
    argv = [build / "chatnode", "--listen", f"127.0.0.1:{port}", "--internal-listen", "", "--accept-rate", 0, "--loops", 1,
            "--ping-interval", 3600000, "--log-level", "warn"]
    return Server(argv + (["--redis-url", redis] if redis else []), port, answers_http)


def floor(build, entry_bytes):
    port = free_port()
    return Server([build / "bench_floor", port, entry_bytes], port, accepts)


def load(build, server, connections, window, rate, messages):
    """One run of the load driver against a fresh server; its result."""
    argv = ["taskset", "-c", "1", build / "bench_load", "--port", server.port, "--pid", server.child.pid,
            "--connections", connections, "--window", window, "--rate", rate, "--messages", messages]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def median(results, key):
    return statistics.median(result[key] for result in results)


def payload_bytes(frame_bytes):
    return round(frame_bytes - (2 if frame_bytes < 128 else 4))


def measure(build, scene, runs, redis):
    """`runs` runs of node and floor in turn."""
    _, *load_of = scene
    nodes, floors = [], []
    for _ in range(runs):
        with node(build, redis) as server:
            nodes.append(load(build, server, *load_of))
        with floor(build, payload_bytes(nodes[0]["frame_bytes"])) as server:
            floors.append(load(build, server, *load_of))
    return nodes, floors


def print_scene(name, nodes, floors):
    cpu = "server_cpu_us_per_delivery"
    ratio = median(nodes, cpu) / median(floors, cpu)
    print(f"| {name} | {median(nodes, cpu):.3f} | {median(floors, cpu):.3f} | {ratio:.2f} "
          f"| {median(nodes, 'deliveries_per_second') / 1e3:,.0f}k | {median(floors, 'deliveries_per_second') / 1e3:,.0f}k "
          f"| {median(nodes, 'latency_us_p50'):,.0f} / {median(nodes, 'latency_us_p99'):,.0f} "
          f"| {median(floors, 'latency_us_p50'):,.0f} / {median(floors, 'latency_us_p99'):,.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--redis", default="", help="measure a cluster member on this Redis instead of a single node")
    parser.add_argument("--scene", default="", help="only scenes whose name contains this")
    parser.add_argument("--json", action="store_true", help="each run's result too")
    scenarios.add_arguments(parser)
    given = parser.parse_args()
    if given.scenario:
        sys.exit(scenarios.run(given))
    print("| scene | node us/delivery | floor | ratio | node deliveries/s | floor | node p50/p99 us | floor |")
    print("|---|---|---|---|---|---|---|---|")
    for scene in SCENES:
        if given.scene not in scene[0]:
            continue
        nodes, floors = measure(given.build, scene, given.runs, given.redis)
        print_scene(scene[0], nodes, floors)
        if given.json:
            print(json.dumps({"node": nodes, "floor": floors}), file=sys.stderr)
    if given.scene in "idle":
        for connections in IDLE:
            results = []
            for _ in range(given.runs):
                with node(given.build, given.redis) as server:
                    results.append(load(given.build, server, connections, 1, 0, 0))
            print(f"\n{connections:,} idle connections: {median(results, 'rss_bytes_per_connection') / 1024:.2f} KiB each")


if __name__ == "__main__":
    main()
