#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the fuzz targets: each for a while, two at a time. What crashes one is kept among its regressions."""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/fuzz"
FOUND = ROOT / "build/fuzz-corpus"  # what was found on this machine; stays from run to run
MEMORY_MB, HANG_S, JOBS = 2560, 20, 2
# A loop with its thread outlives each input, so what is still held after one is no leak.
OPTIONS = {"edge": ["-detect_leaks=0"]}


def targets():
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))


def kept_of(target):
    """The folders of inputs in the repository."""
    return [folder for folder in (HERE / "corpus" / target, HERE / "regressions" / target) if folder.is_dir()]


def environment():
    return dict(os.environ, ASAN_OPTIONS="detect_leaks=1:" + os.environ.get("ASAN_OPTIONS", ""),
                UBSAN_OPTIONS="print_stacktrace=1", CMOCKA_TEST_ABORT="1")


def last(pattern, text):
    """The groups of the pattern's last match as numbers."""
    found = re.findall(pattern, text)
    return [int(number) for number in found[-1]] if found else [0, 0]


class Run:
    """One run of one target."""

    def __init__(self, program, target, seconds, artifacts):
        self.target, self.program, self.seconds = target, program, seconds
        self.artifacts = artifacts
        self.log = FOUND / f"{target}.log"

    def command(self):
        corpus = FOUND / self.target
        corpus.mkdir(parents=True, exist_ok=True)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        dictionary = HERE / "dictionaries" / f"{self.target}.dict"
        return [self.program, f"-max_total_time={self.seconds}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={HANG_S}",
                "-print_final_stats=1", "-reload=0", *OPTIONS.get(self.target, []), f"-artifact_prefix={self.artifacts}/",
                *([f"-dict={dictionary}"] if dictionary.exists() else []), corpus, *kept_of(self.target)]

    def go(self):
        began = time.monotonic()
        with open(self.log, "wb") as log:
            done = subprocess.run(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                                  env=environment(), timeout=self.seconds + 200)
        text = self.log.read_text(errors="replace")
        self.executions = int((re.findall(r"number_of_executed_units: (\d+)", text) or ["0"])[-1])
        self.coverage, self.features = last(r"cov: (\d+) ft: (\d+)", text)
        self.took = time.monotonic() - began
        self.code = done.returncode
        self.note()
        return self

    def note(self):
        """Adds to what this target has run on this machine so far."""
        path = FOUND / f"{self.target}.json"
        sums = json.loads(path.read_text()) if path.exists() else {"executions": 0, "seconds": 0}
        sums["executions"] += self.executions
        sums["seconds"] += round(self.took)
        sums.update(coverage=self.coverage, features=self.features)
        path.write_text(json.dumps(sums))

    def line(self):
        rate = self.executions / max(self.took, 1)
        return (f"{self.target:8} {self.took:7.0f} s {self.executions:11,} executions {rate:8,.0f}/s"
                f"  edges {self.coverage}, features {self.features}{'' if self.code == 0 else '  FAILED'}")


def fuzz(options, wanted):
    """Runs the targets; 0 when none failed."""
    jobs = min(options.jobs, len(wanted))
    seconds = options.seconds or int(options.hours * 3600 * jobs / len(wanted))
    runs = [Run(options.programs / f"fuzz_{target}", target, seconds, options.artifacts or HERE / "regressions" / target)
            for target in wanted]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for run in pool.map(Run.go, runs):
            print(run.line(), flush=True)
            if run.code:
                failed = 1
                print(run.log.read_text(errors="replace")[-6000:], flush=True)
                print(f"{run.target}: the input is in {run.artifacts}; keep it there under a name that says what it is")
    return failed


def planted(options, wanted):
    """0 when each program with a planted bug fails."""
    missed = 0
    for target in wanted:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as new:
            done = subprocess.run([options.programs / f"planted_{target}", f"-max_total_time={options.seconds}",
                                   f"-artifact_prefix={folder}/", f"-rss_limit_mb={MEMORY_MB}",
                                   f"-dict={HERE / 'dictionaries' / target}.dict", new, HERE / "corpus" / target],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
                                  env=environment(), cwd=folder)
            found = done.returncode != 0 and any(pathlib.Path(folder).iterdir())
        print(f"{target}: the planted bug was {'found' if found else 'NOT found'}")
        missed |= not found
        if not found:
            print(done.stderr[-4000:])
    return int(missed)


# The sources that each target is about.
ABOUT = {
    "codec": "wire/codec*.c wire/flat_object.c", "config": "wire/config*.c", "edge": "edge/*.c",
    "entry": "wire/codec_entry.c wire/frame.c", "peer": "wire/address.c wire/proxy_header.c wire/origin.c", "redis": "bus/*redis*.c bus/bus.c",
    "reply": "bus/redis_reply.c", "session": "hub/*.c wire/codec*.c bus/bus_memory.c bus/memory_log.c",
    "text": "wire/pos.c wire/name.c bus/redis_url.c bus/redis_keys.c", "token": "wire/token.c wire/token_alg.c wire/token_jwk.c wire/token_keys.c",
}


def lines_of(build, pattern):
    """(lines that ran, lines) of the sources, by gcovr."""
    filters = [f"--filter={re.escape(str(ROOT / 'node'))}/{fnmatch.translate(item)[4:-3]}$" for item in pattern.split()]
    done = subprocess.run(["/usr/bin/gcovr", "--root", ROOT, "--json-summary", *filters, build], capture_output=True,
                          text=True, check=True)
    summary = json.loads(done.stdout)
    return summary["line_covered"], summary["line_total"]


def coverage(options, wanted):
    """Runs each target once over all inputs, built by gcc with counters and without libFuzzer."""
    build = ROOT / "build/fuzz-coverage"
    for target in wanted:
        for counts in build.rglob("*.gcda"):
            counts.unlink()
        found = [FOUND / target] if (FOUND / target).is_dir() else []
        subprocess.run([build / f"fuzz_{target}", *kept_of(target), *found], stdin=subprocess.DEVNULL, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ran, every = lines_of(build, ABOUT[target])
        note = FOUND / f"{target}.json"
        sums = json.loads(note.read_text()) if note.exists() else {"executions": 0, "seconds": 0}
        print(f"| {target} | {ran} of {every} lines, {100 * ran // max(every, 1)} % | {ABOUT[target]} "
              f"| {sums['executions']:,} in {sums['seconds'] / 3600:.2f} h |", flush=True)
    return 0


def merge(options, wanted):
    """Adds what was found to the repository: as few inputs as reach every edge that was reached."""
    for target in wanted:
        found = FOUND / target
        if not found.is_dir():
            continue
        kept = HERE / "corpus" / target
        before = len(list(kept.iterdir()))
        subprocess.run([options.programs / f"fuzz_{target}", "-merge=1", "-use_counters=0", "-max_len=4096",
                        f"-rss_limit_mb={MEMORY_MB}", kept, found], stdin=subprocess.DEVNULL, check=True,
                       env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"{target}: {before} inputs before, {len(list(kept.iterdir()))} now")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/fuzz", help="the folder of the programs")
    parser.add_argument("--target", action="append", choices=targets(), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=int, help="how long each target runs")
    parser.add_argument("--hours", type=float, default=0.25, help="how long all of them run together (0.25)")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many run at a time (2)")
    parser.add_argument("--artifacts", type=pathlib.Path, help="where an input that fails goes")
    parser.add_argument("--planted", action="store_true", help="runs the program with a planted bug, which must be found")
    parser.add_argument("--coverage", action="store_true", help="counts the lines of node/ that the inputs so far reach")
    parser.add_argument("--merge", action="store_true", help="adds to tests/fuzz/corpus what reaches more")
    options = parser.parse_args()
    FOUND.mkdir(parents=True, exist_ok=True)
    wanted = options.target or targets()
    for name in ("planted", "coverage", "merge"):
        if getattr(options, name):
            return globals()[name](options, wanted)
    return fuzz(options, wanted)


if __name__ == "__main__":
    sys.exit(main())
