#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Static analysis of our own code: `run.py TOOL BUILD [FILE...]` with TOOL gcc, clang-tidy or cppcheck, over all sources
under node/ or the given ones. BUILD is a configured build, whose compile_commands.json says how each file is compiled.
Ends with 1 when the tool found anything. What is left out, and why, stands in .clang-tidy and below."""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# GCC loses track of memory that is linked into a list by a member of it, as all our lists are. LeakSanitizer sees real
# leaks in the rings that run with it.
GCC_FLAGS = ["-fanalyzer", "-Wno-analyzer-malloc-leak", "-Werror", "-S", "-o", "/dev/null"]
GCC_DROPS = {"-c", "-MD"}
GCC_DROPS_WITH_VALUE = {"-o", "-MF", "-MT"}

CPPCHECK_FLAGS = ["--enable=warning,performance,portability", "--inline-suppr", "--std=c11", "--quiet", "--error-exitcode=1",
                  "--suppress=missingIncludeSystem", "--template={file}:{line}: {id}: {message}"]


def commands_of(build):
    """Our own sources and how they are compiled: {path: argument list}."""
    entries = json.loads((build / "compile_commands.json").read_text())
    own = ROOT / "node"
    return {entry["file"]: shlex.split(entry["command"]) for entry in entries if own in pathlib.Path(entry["file"]).parents}


def without_output(command):
    """The compiler's arguments less those that write files."""
    kept, words = [], iter(command[1:])
    for word in words:
        if word in GCC_DROPS_WITH_VALUE:
            next(words)
        elif word not in GCC_DROPS:
            kept.append(word)
    return kept


def gcc(_build, _path, command):
    return ["gcc", *without_output(command), *GCC_FLAGS]


def clang_tidy(build, path, _command):
    return ["clang-tidy", "-p", str(build), f"--config-file={ROOT / '.clang-tidy'}", "--quiet", path]


def cppcheck(_build, path, command):
    defined = [word for word in command if word.startswith(("-D", "-I")) and "FORTIFY" not in word]
    return ["cppcheck", *CPPCHECK_FLAGS, *defined, path]


TOOLS = {"gcc": gcc, "clang-tidy": clang_tidy, "cppcheck": cppcheck}


def look(argv):
    """What the tool says of one file; nothing when it is content."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main(argv):
    tool, build, only = TOOLS[argv[0]], pathlib.Path(argv[1]), {str(pathlib.Path(name).resolve()) for name in argv[2:]}
    commands = commands_of(build)
    if missing := only - commands.keys():
        sys.exit(f"not compiled in {build}: {', '.join(sorted(missing))}")
    jobs = [tool(build, path, command) for path, command in sorted(commands.items()) if not only or path in only]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [text for text in pool.map(look, jobs) if text]
    print("\n".join(findings) or f"{argv[0]}: {len(jobs)} files, nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
