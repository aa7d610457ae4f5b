#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The soak: `chatctl bench` with well-behaved clients beside hostile ones (hostile.py), compared with a quiet run before.
Nothing may be lost, doubled or out of order, the 99th percentile of the latency may be at most FACTOR times that of the
quiet run, memory must not grow, and the node must work as ever afterwards. Ends with 1 when something of this is not so."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

from harness import Node, Redis, eventually, stop_all  # noqa: E402
from hostile import Gang  # noqa: E402

FACTOR = 2
GROWTH_BYTES = 4 << 20  # of the node's memory from the second third of the hostile run to the last
SAMPLE_S = 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="of the hostile run (default: %(default)s)")
    parser.add_argument("--quiet-minutes", type=float, default=2, help="of the quiet run before it (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=500, help="well-behaved ones (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=10, help="messages a second to all of them (default: %(default)s)")
    parser.add_argument("--redis", action="store_true", help="with the bus in Redis, instead of in the process")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser.parse_args()


def program(name):
    return str(pathlib.Path(os.environ.get("CHATNODE", ROOT / "build/release/chatnode")).parent / name)


class Watch(threading.Thread):
    """The node's memory and descriptors, each second."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.stopped, self.samples = node, threading.Event(), []

    def run(self):
        while not self.stopped.wait(SAMPLE_S):
            self.samples.append((self.node.rss_bytes(), len(os.listdir(f"/proc/{self.node.pid}/fd"))))

    def end(self):
        self.stopped.set()
        self.join()
        return self.samples


def load(node, given, seconds):
    """One run of the well-behaved clients; chatctl's report."""
    argv = [program("chatctl"), "bench", "fanout", "--url", f"ws://127.0.0.1:{node.port}/ws", "--clients", given.clients,
            "--rate", given.rate, "--seconds", seconds, "--acks", "--json", "--pid", node.pid]
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def grown(samples):
    """How much more memory the last third of a run took than the one before it, by medians."""
    third = max(len(samples) // 3, 1)
    rss = [sample[0] for sample in samples]
    return statistics.median(rss[-third:]) - statistics.median(rss[-2 * third:-third] or rss[:third])


def verdicts(quiet, hostile, code, samples):
    """What had to be so, and whether it was."""
    return {
        "all arrived once and in order": code == 0 and not any(hostile[key] for key in ("lost", "duplicates", "disordered")),
        f"p99 at most {FACTOR} times that of the quiet run":
            hostile["latency_us"]["p99"] <= FACTOR * quiet["latency_us"]["p99"],
        "memory does not grow": grown(samples) <= GROWTH_BYTES,
    }


def soak(node, given):
    code, quiet = load(node, given, given.quiet_minutes * 60)
    assert code == 0, quiet
    before = len(os.listdir(f"/proc/{node.pid}/fd"))
    gang, watch = Gang(node.port, "lobby"), Watch(node)
    watch.start()
    code, hostile = load(node, given, given.minutes * 60)
    samples, deeds = watch.end(), gang.dismiss()
    found = verdicts(quiet, hostile, code, samples)
    assert node.alive(), node.log[-5000:]
    eventually(lambda: len(os.listdir(f"/proc/{node.pid}/fd")) <= before, 60, "their descriptors are given back")
    after, last = load(node, given, 5)
    found["works as ever afterwards"] = after == 0
    rss = [sample[0] for sample in samples]
    return {"seconds": given.minutes * 60, "messages": hostile["messages"], "deliveries": hostile["deliveries"],
            "p99_us": {"quiet": quiet["latency_us"]["p99"], "hostile": hostile["latency_us"]["p99"],
                       "afterwards": last["latency_us"]["p99"]},
            "rss_mib": {"least": min(rss) / 2**20, "most": max(rss) / 2**20, "growth": grown(samples) / 2**20},
            "most_descriptors": max(sample[1] for sample in samples), "hostile": deeds, "verdicts": found}


def main():
    given = arguments()
    things = [Redis()] if given.redis else []
    try:
        node = Node(redis=things[0] if things else None, loops=1)
        things.insert(0, node)
        result = soak(node.wait_ready(), given)
    finally:
        stop_all(things)
    if given.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:18} {value}")
    return 0 if all(result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
