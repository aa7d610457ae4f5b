# SPDX-License-Identifier: MIT
"""The scaling bench: a tiny one is measured, tables are put between their markers, formulas say what they should."""
import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from harness import CHATNODE, ROOT, Redis

sys.path.insert(0, str(ROOT / "tests/bench"))
import capacity  # noqa: E402
import loads  # noqa: E402
import redis_meter  # noqa: E402
import scaling  # noqa: E402
import scaling_document  # noqa: E402
import scaling_figures  # noqa: E402

BUILD = pathlib.Path(CHATNODE).parent
COSTS = capacity.Costs(delivery_us=4, batched_us=0.4, publish_us=10, publish_paced_us=50, receive_us=2, receive_paced_us=20,
                       ping_us=5, redis_publish_us=10, redis_publish_paced_us=40, redis_node_us=1, redis_node_paced_us=6,
                       connection_bytes=4000, redis_entry_bytes=200, redis_id_bytes=150, redis_channel_bytes=200,
                       text_bytes=150)
MACHINE = capacity.Machine()
ABOUT = {"date": "2026-01-02", "chatnode": "1.0", "redis": "7.0", "cpu": "a CPU", "cores": 2, "kernel": "6.1", "runs": 3,
         "text_bytes": 150, "command": "./run bench --scaling"}


def use(connections, messages_per_hour=36, members=10, rooms=1):
    return capacity.Use("a use", connections, messages_per_hour, members, rooms)


# ---- Formulas ----

@pytest.mark.parametrize("nodes, members, expected", [(1, 50, 1), (10, 1, 1), (2, 2, 1.5), (4, 10**6, 4)])
def test_the_nodes_that_a_message_goes_to(nodes, members, expected):
    assert capacity.span(nodes, members) == pytest.approx(expected)


def test_shares_add_up_by_hand():
    # 10,000 connections, 100 messages a second, 1,000 deliveries; on one node.
    shares = capacity.shares_of_node(use(10000), 1, COSTS, MACHINE)
    assert shares["main"] == pytest.approx(100 * (10 + 2) / 1e6)
    assert shares["loops"] == pytest.approx((1000 * 4 + 10000 / 25 * 5) / 1e6 / 4)
    assert shares["network"] == pytest.approx(1000 * (150 + 4 + 66) / 125e6)
    assert shares["connections"] == pytest.approx(0.2)
    redis = capacity.shares_of_redis(use(10000), 1, COSTS, MACHINE)
    assert redis["redis"] == pytest.approx(100 * (10 + 1) / 1e6)
    assert redis["redis network"] == pytest.approx(100 * (150 + 53 + 66) / 1.25e9)


def test_memory_adds_up_by_hand():
    # 1,000 rooms, of which each gets 2,880 messages in eight hours and keeps 1,000.
    assert capacity.redis_bytes(use(10000), 1, COSTS) == pytest.approx(
        1000 * 1000 * 200 + 100 * 300 * 150 + (10000 + 1000) * 200)
    assert capacity.node_bytes(use(10000, rooms=3), 2, COSTS) == pytest.approx(5000 * (4000 + 3810) + 15000 * 848)


@pytest.mark.parametrize("some", [use(1), use(60000), use(10**6), use(10**6, 600, 300), use(10**6, 3600, 3)])
def test_no_node_is_missing_and_none_too_many(some):
    def full(nodes):
        return capacity.pressure(capacity.shares_of_node(some, nodes, COSTS, MACHINE), MACHINE)[0]
    nodes = capacity.nodes_for(some, COSTS, MACHINE)
    assert full(nodes) <= 1 + 1e-9 and (nodes == 1 or full(nodes - 1) > 1)


def test_one_more_cluster_where_one_redis_is_not_enough():
    kind = use(0, 60, 200)
    most = capacity.largest_cluster(kind, COSTS)
    assert capacity.plan(dataclasses.replace(kind, connections=most), COSTS).clusters == 1
    assert capacity.plan(dataclasses.replace(kind, connections=most + 1), COSTS).clusters == 2
    assert capacity.largest_pressure(dataclasses.replace(kind, connections=most), COSTS, MACHINE)[1] == "redis"
    plan = capacity.plan(dataclasses.replace(kind, connections=7 * most), COSTS)
    assert plan.shares["redis"] <= MACHINE.share and 2 < plan.clusters <= 7


def test_where_logs_fill_the_memory_before_the_core_is_busy():
    kind = use(0, 10, 20, 50)
    most = dataclasses.replace(kind, connections=capacity.largest_cluster(kind, COSTS))
    assert capacity.largest_pressure(most, COSTS, MACHINE)[1] == "redis memory"
    assert capacity.redis_bytes(most, capacity.nodes_for(most, COSTS, MACHINE), COSTS) <= 32 * 2**30


def test_a_plan_that_no_number_of_clusters_fulfils():
    with pytest.raises(ValueError):
        capacity.plan(use(10), dataclasses.replace(COSTS, redis_publish_us=1e12))


def test_a_round_of_redis():
    busy = 100 * (10 + capacity.span(10, 10)) / 1e6
    assert capacity.round_ms(use(10000), 10, COSTS, MACHINE) == pytest.approx(10 * (40 - 10 + 6 - 1) / 1e3 / (1 - busy))
    assert capacity.round_ms(use(10**9), 10, COSTS, MACHINE) == float("inf")


def test_a_giant_room():
    room = capacity.giant_room(10**6, 50, COSTS)
    assert room.last_ms == pytest.approx(5000 * 4 / 1e3)
    assert room.alone_per_second == pytest.approx(25) and room.batched_per_second == pytest.approx(250)
    assert room.redis_us == pytest.approx(40 + 50 * 6)


# ---- What runs say ----

def test_what_a_publish_costs_redis():
    def sample(publishes, cpu, channels=0):
        return {"publishes": publishes, "cpu_us": cpu, "memory_bytes": 1000 + 100 * publishes, "output_bytes": 7 * publishes,
                "channels": channels}
    samples = [sample(0, 500), sample(0, 900, 10), sample(10, 1000), sample(30, 1400), sample(30, 9000)]
    assert redis_meter.usage(samples) == {"publishes": 20, "cpu_us_per_publish": 20, "memory_bytes_per_publish": 100,
                                          "output_bytes_per_publish": 7}
    assert redis_meter.usage(samples[:3]) is None
    assert redis_meter.subscriptions(samples) == {"channels": 10, "memory_bytes_per_channel": 0}
    assert redis_meter.subscriptions([sample(0, 0)]) is None


def test_straight_lines():
    assert scaling_figures.fit([(1, 5), (2, 7), (3, 9)]) == pytest.approx((3, 2))
    assert scaling_figures.fit([(1, 5)]) == (None, None)
    assert scaling_figures.rate([(1, 2), (2, 4)]) == pytest.approx(2)
    assert scaling_figures.rate([(1, -2)]) == 0 and scaling_figures.rate([]) is None


def kept(load, cpu, number=0, cores=(80, 80), **result):
    found = {"server": {"cpu_us_per_delivery": cpu, "cpu_us_per_message": 10 * cpu}, **result}
    return {"load": load, "part": load.split("-")[0], "number": number, "clients": 10, "cores_ns": list(cores),
            "result": found, "redis": None}


def test_medians_leave_out_failed_runs_and_other_states_of_the_cores():
    runs = [kept("loops-1", 1.0), kept("loops-1", 2.0, 1), kept("loops-1", 9.0, 2, error="lost"),
            kept("loops-1", 8.0, 3, (400, 400)), kept("loops-2", 7.0, cores=(400, 400))]
    figures = scaling_figures.Figures(runs)
    assert figures.delivery("loops-1") == 1.5 and figures.delivery("loops-2") == 7.0 and figures.delivery("loops-3") is None
    assert scaling_figures.costs(figures) is None


# ---- The document ----

def document_of(*names):
    return "".join(f"Before {name}.\n<!-- begin: scaling {name} -->\nold\n<!-- end: scaling {name} -->\nAfter.\n"
                   for name in names)


def test_tables_are_put_between_their_markers_and_nowhere_else():
    text = document_of("machine", "members", "rooms", "nodes", "loops", "plans")
    runs = [kept("members-1000-1-chatnode", 4.2), kept("members-1000-1-floor", 4.0)]
    once = scaling_document.fill(text, {"about": ABOUT, "runs": runs})
    assert "| 1,000 | 1 | 4.200 | 4.000 | 1.05 | 1.00 | 1.00 | - |" in once
    assert "Before members." in once and once.count("After.") == 6
    assert once.count("old") == 1, "not all costs are known: this table stays"
    assert scaling_document.fill(once, {"about": ABOUT, "runs": runs}) == once


def test_a_document_without_a_place_is_refused():
    with pytest.raises(SystemExit, match="rooms"):
        scaling_document.fill(document_of("machine", "members", "nodes", "loops"), {"about": ABOUT, "runs": []})


def test_the_page_has_a_place_for_every_table():
    text = (ROOT / "docs/scaling.md").read_text()
    document = scaling_document
    calculated = (document.costs_table, document.plans_table, document.largest_table, document.giant_table)
    made = [table(COSTS) for table in calculated]
    assert all(len(table) > 3 for table in made)
    names = {match[2] for match in scaling_document.MARKER.finditer(text)}
    assert names == {"machine", "members", "rooms", "nodes", "loops", "costs", "plans", "largest", "giant"}


# ---- Measuring ----

def test_rooms_that_stay_on_one_node_and_rooms_that_do_not():
    spread = next(load for load in loads.ALL if load.name == "nodes-spread-2")
    local = next(load for load in loads.ALL if load.name == "nodes-local-2")
    assert spread.urls(["a", "b"]) == ["a", "b"] and local.urls(["a", "b"]) == ["a"] * 10 + ["b"] * 10


def run(*words):
    return subprocess.run([sys.executable, str(ROOT / "tests/bench/scaling.py"), "--build", str(BUILD), "--quick",
                           *map(str, words)], capture_output=True, text=True, timeout=500, check=False)


def test_a_tiny_run(tmp_path, monkeypatch):
    """Each kind of load against real nodes, a real Redis and the floor, and the page of it; then only what is missing."""
    chosen = {"members-100-1-chatnode", "members-100-1-floor", "members-100-16-floor-batch", "rooms-10-16", "nodes-large-2",
              "nodes-local-2", "loops-2-1", "costs-paced-2", "costs-acked", "costs-pings"}
    monkeypatch.setattr(loads, "ALL", tuple(load for load in loads.ALL if load.name in chosen))
    page, results = tmp_path / "scaling.md", tmp_path / "scaling.json"
    page.write_text((ROOT / "docs/scaling.md").read_text())
    words = ["--build", BUILD, "--quick", "--results", results, "--output", page]
    assert scaling.main([str(word) for word in words]) == 0
    runs = {run["load"]: run for run in json.loads(results.read_text())["runs"]}
    assert set(runs) == chosen
    assert all(run["result"]["complete"] for run in runs.values())
    acked = runs["costs-acked"]["redis"]
    assert acked["publish"]["cpu_us_per_publish"] > 0 and acked["entry_bytes"] > 0
    assert 1 <= runs["rooms-10-16"]["messages_a_write"] <= 17 and runs["members-100-1-floor"]["messages_a_write"] is None
    assert runs["costs-pings"]["redis"]["subscription"]["channels"] > 0
    assert "| 100 | 1 | " in page.read_text()
    before = results.read_text()
    assert scaling.main([str(word) for word in (*words, "--document")]) == 0 and results.read_text() == before
    missing = runs.pop("loops-2-1")
    results.write_text(json.dumps({"about": None, "runs": list(runs.values())}))
    assert scaling.main([str(word) for word in (*words, "--continue")]) == 0
    again = {run["load"]: run for run in json.loads(results.read_text())["runs"]}
    assert {name: again[name] for name in runs} == runs and again["loops-2-1"]["result"] != missing["result"]


def test_wrong_words(tmp_path):
    done = run("--parts", "nonsense", "--output", tmp_path / "x.md")
    assert done.returncode == 1 and "there are members, rooms, nodes, loops, costs" in done.stderr
    done = run()
    assert done.returncode == 2 and "--output" in done.stderr


def test_a_meter_of_a_redis_that_goes_away_says_so():
    redis = Redis()
    try:
        with pytest.raises((OSError, KeyError)):
            with redis_meter.RedisMeter(redis):
                redis.kill()
    finally:
        redis.stop()
