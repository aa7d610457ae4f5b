# SPDX-License-Identifier: MIT
"""The checker at work: nodes with one bug each are found out by a short run, and the healthy node passes the same one.

The bugs are the patches in planted/, each applied to one file of the node by the build: `ack` acks before Redis has
answered, `catchup` reads no log after a subscription was made anew and takes holes as they come, `counter` counts on under
one generation for ever.
"""
import os
import pathlib

import pytest

import harness
import run

PLANTED = pathlib.Path(os.environ.pop("CHATNODE_PLANTED", pathlib.Path(harness.CHATNODE).parent / "planted"))
RUNS = {
    "ack": (["kill_normal", "reset_redis", "hole_cmd"], "lost"),
    "catchup": (["kill_pubsub", "hole_sub"], "silent_gap"),
    "counter": (["flushall", "redis_empty"], "order"),
}


def verdicts(bug, node):
    kinds, _ = RUNS[bug]
    options = run.parse(["--seed", "7", "--count", "6", "--rate", "500", "--faults", ",".join(kinds), "--node", str(node),
                         "--settle", "8"])
    healthy = harness.CHATNODE
    try:
        figures, problems, report, _ = run.execute(options, print)
    finally:
        harness.CHATNODE = healthy
    assert figures["faults"] == 6
    return report.counts, problems


@pytest.mark.parametrize("bug", RUNS)
def test_a_planted_bug_is_found(bug):
    counts, _ = verdicts(bug, PLANTED / f"chatnode-planted-{bug}")
    assert counts[RUNS[bug][1]] > 0, counts


@pytest.mark.parametrize("bug", RUNS)
def test_the_healthy_node_passes_the_same_run(bug):
    counts, problems = verdicts(bug, harness.CHATNODE)
    assert not any(counts.values()) and not problems, (counts, problems)
