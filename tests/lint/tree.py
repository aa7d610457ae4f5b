# SPDX-License-Identifier: MIT
"""What the lints share: walking the tree, and reading C without its comments and strings."""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = {".git", "build", "node_modules", "__pycache__", ".pytest_cache"}


def files(root, folders, suffixes):
    """The files below the folders with one of the suffixes, in a fixed order."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in suffixes and not SKIPPED & set(path.relative_to(root).parts):
                found.append(path)
    return found


def c_files(root):
    """The program's own C: sources and headers."""
    return files(root, ["include", "node"], {".c", ".h"})


_BLANKED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare(text):
    """The text with comments, strings and characters blanked; every line keeps its number and width."""
    return _BLANKED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


class Function:
    """One function's definition: name, first and last line (from 1), whether static, and its lines."""

    def __init__(self, path, name, first, last, static, lines):
        self.path, self.name, self.first, self.last, self.static, self.lines = path, name, first, last, static, lines

    @property
    def length(self):
        return self.last - self.first + 1


_NAME = re.compile(r"(\w+)\s*\(")
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)", re.S)


def functions(path):
    """The functions of a file in the Linux brace style: the body's braces stand in column 0, alone at the start."""
    lines = bare(path.read_text()).split("\n")
    found, opened = [], None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            opened = number
        elif line.startswith("}") and opened is not None:
            first = opened - 1
            while first > 0 and lines[first - 1].strip() and lines[first - 1][0] not in "}#{" \
                    and not lines[first - 1].rstrip().endswith((";", "}")):
                first -= 1
            signature = _ATTRIBUTE.sub("", " ".join(lines[first:opened]))
            name = _NAME.search(signature)
            if name:
                found.append(Function(path, name[1], first + 1, number + 1, bool(re.search(r"\bstatic\b", signature)),
                                      lines[first:number + 1]))
            opened = None
    return found


def report(check, *arguments):
    """Runs `check(root, ...)`, prints what it found and ends the program with 0 or 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    for name, help_text in arguments:
        parser.add_argument(f"--{name}", default=None, help=help_text)
    given = vars(parser.parse_args())
    problems = check(given.pop("root"), **given)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s)")
    sys.exit(1 if problems else 0)
