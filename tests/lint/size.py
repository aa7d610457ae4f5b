# SPDX-License-Identifier: MIT
"""Sizes: functions, nesting, files. Prints the figures, so that one sees where the tree stands."""
import re

from tree import c_files, functions, report

MEDIAN, P90, LONGEST, NESTING = 15, 40, 80, 4
SOURCE_LINES, HEADER_LINES = 600, 250

_CONTROL = re.compile(r"^( *)(?:\} )?(?:if|else|for|while|do|switch)\b")


def nesting(function):
    """The deepest level of a control statement; the first in a function is level 1, `else if` as its `if`."""
    levels = [len(match[1]) // 4 for match in map(_CONTROL.match, function.lines) if match]
    return max(levels, default=0)


def check(root):
    problems, lengths, deepest = [], [], 0
    for path in c_files(root):
        own = path.relative_to(root)
        lines = len(path.read_text().splitlines())
        bound = HEADER_LINES if path.suffix == ".h" else SOURCE_LINES
        if lines > bound:
            problems.append(f"{own}: {lines} lines, more than {bound}")
        for function in functions(path):
            lengths.append(function.length)
            deepest = max(deepest, nesting(function))
            if function.length > LONGEST:
                problems.append(f"{own}:{function.first}: {function.name} has {function.length} lines, more than {LONGEST}")
            if nesting(function) > NESTING:
                problems.append(f"{own}:{function.first}: {function.name} is nested {nesting(function)} deep")
    if not lengths:
        return problems + ["no function found: the lint or the tree is broken"]
    lengths.sort()
    median, p90 = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
    print(f"{len(lengths)} functions: median {median}, p90 {p90}, longest {lengths[-1]}, deepest nesting {deepest}")
    if median > MEDIAN:
        problems.append(f"the median function has {median} lines, more than {MEDIAN}")
    if p90 > P90:
        problems.append(f"90 % of the functions have up to {p90} lines, more than {P90}")
    return problems


if __name__ == "__main__":
    report(check)
