#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the node's work costs, in instructions and system calls: measures, shows and compares, or keeps.

    run.py [SCENARIO...]     shows the figures beside the kept ones, and the counts beside their rules
    run.py --write           measures everything and keeps the figures in figures.json
    --node PATH              another node than build/release/chatnode
"""
import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

import figures  # noqa: E402
import harness  # noqa: E402
import scenarios  # noqa: E402


def measure(names, show):
    found, counts = {}, {}
    for name in names:
        result = scenarios.SCENARIOS[name]()
        found.update(result.figures)
        counts.update(result.counts)
        show(result)
    return found, counts


def shower(kept):
    def show(result):
        for name, value in result.figures.items():
            print(f"{figures.rounded(value):>10}  {name}" + (f" (kept: {kept[name]})" if name in kept else ""), flush=True)
        for name, value in result.counts.items():
            print(f"{value:>10.3f}  {name} (rule: {scenarios.RULES[name][0]:g} to {scenarios.RULES[name][1]:g})", flush=True)
    return show


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help=", ".join(scenarios.SCENARIOS))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--node", default=harness.CHATNODE)
    options = parser.parse_args()
    unknown = set(options.scenario) - set(scenarios.SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}")
    harness.CHATNODE = options.node
    key = figures.key_of(options.node)
    kept = figures.load().get(key, {})
    print(key if kept else f"no figures are kept for {key}")
    found, counts = measure(options.scenario or scenarios.SCENARIOS, shower(kept))
    problems = scenarios.broken_rules(counts)
    if options.write:
        figures.keep(key, {**kept, **found} if options.scenario else found)
        print(f"{figures.FILE}: {len(found)} figures written")
    elif kept:
        problems += figures.compare({name: kept[name] for name in kept if name in found or not options.scenario}, found)
    print(*problems, sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
