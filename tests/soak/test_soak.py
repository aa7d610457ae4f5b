# SPDX-License-Identifier: MIT
"""The soak in short: everything but the latency, which a machine with other work to do cannot judge; and its verdicts at
work."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

import run
from harness import SLOW  # found by `run`

GOOD = {"lost": 0, "duplicates": 0, "disordered": 0, "latency_us": {"p99": 1000}}


def flat(count):
    return [(10 << 20, 100)] * count


@pytest.mark.parametrize("bus", ["memory", "redis"])
def test_hostile_clients_harm_nobody(bus):
    argv = [sys.executable, str(pathlib.Path(run.__file__)), "--minutes", "0.15", "--quiet-minutes", "0.05", "--clients",
            "100", "--json", *(["--redis"] if bus == "redis" else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False,
                          env={**os.environ, "CHATNODE_SLOW": str(SLOW)})
    result = json.loads(done.stdout)
    # A sanitizer keeps what is freed.
    unjudged = ("p99", "memory") if SLOW > 1 else ("p99",)
    judged = {what: good for what, good in result["verdicts"].items() if not what.startswith(unjudged)}
    assert all(judged.values()), (judged, done.stderr[-3000:])
    assert all(deeds["turns"] > 0 for deeds in result["hostile"].values()), result["hostile"]


def test_a_good_run_passes():
    assert all(run.verdicts(GOOD, GOOD, 0, flat(90)).values())


@pytest.mark.parametrize("fault", [{"lost": 1}, {"duplicates": 2}, {"disordered": 1}, {"latency_us": {"p99": 2001}}])
def test_a_bad_run_does_not(fault):
    assert not all(run.verdicts(GOOD, {**GOOD, **fault}, 0, flat(90)).values())


def test_neither_does_one_whose_memory_grows():
    leaky = [((10 << 20) + second * 200_000, 100) for second in range(90)]
    assert not all(run.verdicts(GOOD, GOOD, 0, leaky).values())
