# SPDX-License-Identifier: MIT
"""Documents: equal to what the program prints, naming only what exists, and with links that lead somewhere."""
import pathlib
import re
import subprocess

from tree import SKIPPED, bare, c_files, report

WITH_NAMES = ["docs/flow.md", "docs/tour.md", "docs/concurrency.md"]
MAPS = ["node/hub/dispatch.c", "node/hub/fanout.c"]
_NAME = re.compile(r"\b((?:cn|cmd|on)_[a-z0-9_]*[a-z0-9])\b(?!\.[ch]\b)(?!_)|\b([a-z][a-z0-9_]*)\(\)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")


def check(root, binary=None):
    problems = links(root) + names(root) + tables(root) + tests(root)
    if binary:
        problems += printed(root, pathlib.Path(binary))
    return problems


def markdown(root):
    return [path for path in sorted(root.rglob("*.md")) if not SKIPPED & set(path.relative_to(root).parts)]


def printed(root, binary):
    """docs/config.md and docs/metrics.md are what the program prints; docs/protocol.md contains what it prints."""
    problems = []
    for what, whole in (("config", True), ("metrics", True), ("protocol", False)):
        done = subprocess.run([binary, "--print-docs", what], capture_output=True, text=True, timeout=60, check=False)
        path = root / f"docs/{what}.md"
        if done.returncode != 0 or not done.stdout:
            problems.append(f"{binary} --print-docs {what} ends with {done.returncode}")
        elif not path.exists():
            problems.append(f"docs/{what}.md is missing")
        elif whole and path.read_text() != done.stdout:
            problems.append(f"docs/{what}.md is not what the program prints: {first_difference(path.read_text(), done.stdout)}")
        elif not whole:
            text = path.read_text()
            problems += [f"docs/{what}.md lacks a table that the program prints, from {block.splitlines()[0]!r}"
                         for block in tables_of(done.stdout) if block not in text]
    return problems


def first_difference(ours, theirs):
    for number, (a, b) in enumerate(zip(ours.splitlines(), theirs.splitlines()), 1):
        if a != b:
            return f"line {number} is {a[:80]!r}, not {b[:80]!r}"
    return "one of them ends earlier"


def tables_of(text):
    """The Markdown tables: runs of lines that begin with a bar."""
    return re.findall(r"(?:^\|.*\n)+", text + "\n", re.M)


def names(root):
    """Each function that the maps and the flow name exists in the code."""
    problems = []
    code = "\n".join(bare(path.read_text()) for path in c_files(root))
    known = set(re.findall(r"\b[a-z_][a-z0-9_]*\b", code))
    for name in WITH_NAMES:
        path = root / name
        if path.exists():
            problems += unknown(name, path.read_text(), known)
    for name in MAPS:
        path = root / name
        if path.exists():
            head = re.match(r"(?://.*\n)+", path.read_text())
            text = head[0] if head else ""
            problems += unknown(name, text, known)
            if len({found[0] or found[1] for found in _NAME.findall(text)}) < 4:
                problems.append(f"{name}: its head draws no map with the names of functions")
    return problems


def unknown(where, text, known):
    found = {match[0] or match[1] for match in _NAME.findall(text)}
    return [f"{where}: {name} does not exist" for name in sorted(found) if name not in known]


def tables(root):
    """Every setting and every metric of the tables in code stands in its document."""
    problems = []
    for table, pattern, document in (
            ("include/chatnode/config_table.h", r'(?:TEXT|NUMBER|FLAG)\(\s*\w+\s*,\s*"([a-z-]+)"', "docs/config.md"),
            ("include/chatnode/metrics_table.h", r'"(chatnode_[a-z0-9_]+)"', "docs/metrics.md"),
            ("node/tools/bench_options.c", r'\{"([a-z-]+)",\s*KIND_', "docs/chatctl.md")):
        path = root / table
        if not path.exists():
            continue
        text = (root / document).read_text() if (root / document).exists() else ""
        keys = re.findall(pattern, re.sub(r"\\\n\s*", "", path.read_text()))
        if not keys:
            problems.append(f"{table}: no row found: the lint or the table is broken")
        problems += [f"{document}: {key} is not documented" for key in dict.fromkeys(keys)
                     if not re.search(rf"(?<!\w)(?<!\w-){re.escape(key)}(?![\w-])", text)]
    return problems


def tests(root):
    """Each test that a document names is there."""
    known = set()
    for path in sorted((root / "tests").rglob("test_*.py")):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.M)) | {path.stem}
    return [f"{path.relative_to(root)}: there is no {name}" for path in markdown(root)
            for name in dict.fromkeys(re.findall(r"`(test_\w+)`", path.read_text())) if name not in known]


def slug(heading):
    """The anchor that a heading gets on the usual hosts."""
    text = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", lambda m: m[1] or "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(root):
    """Relative links lead to files that exist, and to headings that exist."""
    problems = []
    for path in markdown(root):
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
        for match in _LINK.findall(text):
            target = match[0] or match[1]
            if re.match(r"[a-z][a-z0-9+.-]*:", target) or target.startswith("//"):
                continue
            file_part, _, anchor = target.partition("#")
            goal = (path.parent / file_part).resolve() if file_part else path
            if not goal.exists():
                problems.append(f"{path.relative_to(root)}: {target} leads nowhere")
            elif anchor and goal.suffix == ".md":
                headings = re.findall(r"^#+\s+(.*?)\s*#*$", re.sub(r"^```.*?^```", "", goal.read_text(), flags=re.M | re.S), re.M)
                if anchor not in {slug(heading) for heading in headings}:
                    problems.append(f"{path.relative_to(root)}: {target}: there is no such heading")
    return problems


if __name__ == "__main__":
    report(check, ("binary", "the chatnode program; without it the printed tables are not compared"))
