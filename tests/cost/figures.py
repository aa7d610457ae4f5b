# SPDX-License-Identifier: MIT
"""The figures that are kept in figures.json, one set for each kind of build, and how found ones are held against them."""
import json
import os
import pathlib
import platform
import re
import subprocess

FILE = pathlib.Path(__file__).with_name("figures.json")
TOLERANCE = 0.05
# The timers of main and of libwebsockets wake their threads together or one by one, as it happens.
TOLERANCES = {"instructions an idle second": 0.25}
AGAIN = "tests/cost/run.py --write keeps the new ones"


def key_of(binary):
    """What the figures depend on besides the code: processor family, compiler, libwebsockets and C library."""
    compiler = re.search(rb"(GCC|clang)(?:: \([^)]*\)| version) (\d+\.\d+)", pathlib.Path(binary).read_bytes())
    assert compiler, f"{binary} does not name its compiler"
    sockets = subprocess.run(["pkg-config", "--modversion", "libwebsockets"], capture_output=True, text=True, check=True)
    library = os.confstr("CS_GNU_LIBC_VERSION")
    return (f"{platform.machine()}, {compiler[1].decode().lower()} {compiler[2].decode()}, "
            f"libwebsockets {sockets.stdout.strip().rstrip('-')}, {library}")


def load(path=FILE):
    return json.loads(path.read_text()) if path.exists() else {}


def keep(key, figures, path=FILE):
    """Writes the figures down under their key; other builds' stay."""
    every = load(path)
    every[key] = {name: rounded(value) for name, value in figures.items()}
    path.write_text(json.dumps(every, indent=2, sort_keys=True) + "\n")


def rounded(value):
    return round(value) if value >= 100 else round(value, 2)


def compare(kept, found):
    """A line for each figure that is more than its tolerance from the kept one, to either side, or missing on one side."""
    problems = [f"{name}: was not measured" for name in kept if name not in found]
    for name, value in found.items():
        if name not in kept:
            problems.append(f"{name}: {rounded(value)}, and none is kept; {AGAIN}")
        elif abs(value / kept[name] - 1) > TOLERANCES.get(name, TOLERANCE):
            problems.append(f"{name}: {rounded(value)} instead of {kept[name]}, {abs(value / kept[name] - 1):.1%} "
                            + (f"more; if that must be, {AGAIN}" if value > kept[name] else f"less: well done; {AGAIN}"))
    return problems
