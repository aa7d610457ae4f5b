# SPDX-License-Identifier: MIT
"""The grid of the bench: a tiny one is measured, and the document is made of kept runs as they are."""
import json
import pathlib
import sys

import pytest

from harness import CHATNODE, ROOT, run_bench

sys.path.insert(0, str(ROOT / "tests/bench"))
import document  # noqa: E402
import grid  # noqa: E402
import rows  # noqa: E402
import servers  # noqa: E402

BUILD = pathlib.Path(CHATNODE).parent
ABOUT = {"date": "2026-01-02", "cpu": "a CPU", "cores": 2, "memory_gib": 4.0, "system": "a system", "kernel": "6.1",
         "redis": "7.0", "versions": {"chatnode": "1.0", "bun": "2.0"}, "missing": {"nats": "it is not installed"}, "runs": 3,
         "quick": False, "text_bytes": 140, "content_bytes": 32, "command": "./run bench"}


def record(row, server, number=0, cpu=1.0, cores=(80, 80), error=None, **others):
    """One kept run."""
    result = {"server": {"cpu_us_per_delivery": cpu, "cpu_share": 0.5, "rss_bytes_per_connection": 1000 * cpu},
              "latency_us": {"p50": 1000 * cpu, "p99": 2000 * cpu}, "deliveries_per_second": 1e6 / cpu, **others}
    return {"row": row, "server": server, "number": number, "arguments": ["fanout", "--url", "ws://x", "--clients", "9"],
            "cores_ns": list(cores), "result": {**result, "error": error} if error else result}


def line_of(text, title, number=0):
    """The cells of the number-th line of a table that begins with this title."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in lines[number].strip("|").split("|")]


def test_medians_and_ratios():
    records = [record("alone", "chatnode", n, cpu) for n, cpu in enumerate((1.0, 9.0, 2.0))]
    records += [record("alone", "bun", n, cpu) for n, cpu in enumerate((3.0, 3.0, 8.0))]
    text = document.write(ABOUT, records)
    assert line_of(text, "**chatnode**")[1] == "2.000" and line_of(text, "Bun")[1] == "3.000"
    assert line_of(text, "**chatnode**", 1)[1] == "1.00" and line_of(text, "Bun", 1)[1] == "1.50"
    assert line_of(text, "**chatnode**", 2)[1:4] == ["3 of 3", "2.000", "1.000 to 9.000"]
    assert "nats-server is left out: it is not installed" in text


@pytest.mark.parametrize("bun, verdict", [(2.0, "met"), (1.0, "**missed**")])
def test_goals_are_judged(bun, verdict):
    text = document.write(ABOUT, [record("burst", "chatnode", cpu=1.5), record("burst", "bun", cpu=bun)])
    cells = line_of(text, "CPU a delivery, 16 in flight", 1)
    assert cells[1:3] == ["ratio to Bun", "at most 1.00"] and cells[4] == verdict
    assert line_of(text, "CPU a delivery, one message at a time")[3:] == ["not measured", "-"]


def test_a_goal_that_is_a_least_value():
    goal = rows.Goal("", "alone", "rate", "bun", 2, at_least=True)
    assert goal.judge(lambda _, server, __: {"chatnode": 30, "bun": 10}[server]) == (3, True)
    assert goal.judge(lambda _, server, __: {"chatnode": 10, "bun": 10}[server]) == (1, False)


def test_a_run_in_which_something_was_lost_does_not_count():
    text = document.write(ABOUT, [record("fanin", "chatnode"), record("fanin", "nchan", error="not complete: 3 lost")])
    assert line_of(text, "nginx + nchan")[5] == "fails"
    assert line_of(text, "nginx + nchan", 2)[-1] == "not complete: 3 lost"


def test_runs_in_the_other_state_of_the_cores_do_not_count():
    records = [record("alone", "chatnode", n, 1.0) for n in range(3)]
    records += [record("alone", "bun", 0, 5.0, cores=(370, 360)), record("alone", "bun", 1, 6.0, cores=(80, 370)),
                record("alone", "bun", 2, 2.0)]
    assert [grid.state_of(run) for run in records[3:]] == ["far", "moved", "near"]
    text = document.write(ABOUT, records)
    assert line_of(text, "Bun")[1] == "2.000"
    assert "Of 6 runs 2 were not" in text


def test_a_cell_without_a_run_in_the_state_is_said():
    records = [record("alone", "chatnode", n) for n in range(2)] + [record("alone", "bun", 0, 5.0, cores=(370, 370))]
    text = document.write(ABOUT, records)
    assert line_of(text, "Bun")[1] == "5.000" and "shown as they were: alone with bun" in text


def test_names_are_checked():
    assert grid.choose("bun,floor", servers.KINDS, "server") == ["floor", "bun"]
    assert grid.choose("", rows.BY_NAME, "row") == list(rows.BY_NAME)
    with pytest.raises(SystemExit, match="no such server: nginx"):
        grid.choose("nginx", servers.KINDS, "server")


def test_a_server_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(servers, "install_packages", lambda section: None)
    monkeypatch.setattr(servers, "find_program", lambda name: None)
    versions, missing = servers.prepare(["floor", "nats"], BUILD)
    assert versions == {"floor": ""} and missing == {"nats": "nats-server is not installed"}


@pytest.mark.parametrize("script, error", [
    ("""echo '{"lost": 3, "duplicates": 0, "disordered": 1, "limited_by": "it"}'; exit 1""",
     "not complete: 3 lost, 0 doubled, 1 out of order; limited by it"),
    ("echo 'no server there' >&2; exit 69", "no server there"),
    ("""echo '{"lost": 0}'""", None),
])
def test_a_run_that_was_not_complete_is_an_error(tmp_path, script, error):
    (tmp_path / "bench_peers").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bench_peers").chmod(0o755)
    assert grid.generate(tmp_path, ["fanout"], 1).get("error") == error


def measure(folder, *words):
    """What ./run bench says on stderr, after it has made the document."""
    out, err = run_bench("--results", folder, *words, deadline=120)
    assert out.strip() == str(folder / "benchmarks.md")
    return err


needs_two_cores = pytest.mark.skipif(len(grid.CORES) < 2, reason="one core for the server, one for the load")


@needs_two_cores
def test_a_tiny_grid(tmp_path):
    tiny = ("--quick", "--peers", "floor,floor-batch", "--rows", "burst,rooms,fanin,idle,cluster-alone", "--clients", 20)
    measure(tmp_path, *tiny)
    runs = {path.name: json.loads(path.read_text())["result"] for path in tmp_path.glob("*.*.0.json")}
    assert len(runs) == 4 * 3 + 1
    for name, result in runs.items():
        assert "error" not in result, (name, result)
        assert name.startswith("idle") or result["deliveries"] > 0
    text = (tmp_path / "benchmarks.md").read_text()
    assert "These runs were shortened" in text
    for title in ("floor: one send per member", "floor: one send per member and turn", "**chatnode**"):
        cells = line_of(text, title)
        assert all(float(cells[column].replace(",", "")) > 0 for column in (2, 4, 5)), cells

    kept = (tmp_path / "burst.floor.0.json").read_text()
    (tmp_path / "burst.chatnode.0.json").unlink()
    assert "1 runs" in measure(tmp_path, *tiny, "--continue")
    assert (tmp_path / "burst.floor.0.json").read_text() == kept and (tmp_path / "burst.chatnode.0.json").exists()


@needs_two_cores
def test_the_same_bytes_for_all(tmp_path):
    measure(tmp_path, "--quick", "--peers", "floor", "--rows", "alone", "--clients", 5)
    bytes_of = {server: json.loads((tmp_path / f"alone.{server}.0.json").read_text())["result"]["text_bytes"]
                for server in ("floor", "chatnode")}
    assert abs(bytes_of["floor"] - bytes_of["chatnode"]) < 4
