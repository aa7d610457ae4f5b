#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The command ./run bench: the grid of servers and loads, the document that is made of it, one of the scenarios, or
(--scaling, which has options of its own) how the cost grows."""
import argparse
import pathlib
import sys

import document
import grid
import rows
import scaling
import scenarios
import servers


def parse(words):
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=servers.ROOT / "build/release")
    group = parser.add_argument_group("grid")
    group.add_argument("--runs", type=int, default=None, help="of every row with every server (3; with --quick 1)")
    group.add_argument("--rows", "--row", default="", metavar="NAME,...", help=f"only these: {', '.join(rows.BY_NAME)}")
    group.add_argument("--peers", default="", metavar="NAME,...",
                       help=f"only these, besides chatnode: {', '.join(servers.KINDS)}")
    group.add_argument("--quick", action="store_true", help="one short run of each: to try it out, not to compare")
    group.add_argument("--continue", action="store_true", dest="resume", help="only the runs that are not kept yet")
    group.add_argument("--document", action="store_true", help="measure nothing: make the document from the kept runs")
    group.add_argument("--results", type=pathlib.Path, default=None,
                       help="where runs are kept (build/bench for the whole grid, else build/bench/part)")
    group.add_argument("--output", type=pathlib.Path, default=None,
                       help="the document (docs/benchmarks.md for the whole grid, else benchmarks.md with the runs)")
    scenarios.add_arguments(parser)
    given = parser.parse_args(words)
    given.words = [word for name in ("rows", "peers", "clients", "seconds") if getattr(given, name)
                   for word in (f"--{name}", str(getattr(given, name)))] + ["--quick"] * given.quick
    given.runs = given.runs or (1 if given.quick else 3)
    given.words += ["--runs", str(given.runs)] if given.runs != 3 else []
    whole = not (given.rows or given.peers or given.quick or given.clients or given.seconds)
    given.results = given.results or (grid.FOLDER if whole else grid.FOLDER / "part")
    given.output = given.output or (servers.ROOT / "docs/benchmarks.md" if whole else given.results / "benchmarks.md")
    return given


def main():
    words = sys.argv[1:]
    if "--scaling" in words:
        return scaling.main([word for word in words if word != "--scaling"])
    given = parse(words)
    if given.scenario:
        return scenarios.run(given)
    records = grid.Records(given.results) if given.document else grid.run(given)
    about = records.about()
    if about is None:
        raise SystemExit(f"no runs are kept in {given.results}")
    given.output.write_text(document.write(about, records.all()))
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
