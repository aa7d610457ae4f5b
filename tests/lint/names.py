# SPDX-License-Identifier: MIT
"""Names, comments and words: what docs/style.md says of them and a program can check."""
import pathlib
import re
import subprocess

from tree import bare, c_files, files, functions, report

# Writable objects that may exist, and why.
MUTABLE = {
    "clock.c": {"fake_us"},  # the tests' hand on the clock
    "hash.c": {"seed"},  # drawn once, before the first thread
    "log.c": {"state"},  # set before threads start, or atomic
    "metrics.c": {"registry", "own_slot"},  # set before threads start; a thread's own
    "thread.c": {"held_locks", "held_count"},  # a thread's own: the ranks that it holds
    "json.c": {"jansson_once", "parsing"},  # once; a thread's own
    "config.c": {"comment"},  # inih takes a char * that it does not write to
}
GENERATED = {"cn_asset_find"}  # its source is made by the build
IN_PLACE = {"lws_hdr_copy"}  # takes the place of the library's own: docs/decisions/0014
BAD_VERBS = ("create", "destroy", "delete", "alloc", "dealloc", "retain", "unref", "rele", "deinit", "cleanup", "terminate")
BANNED_CALLS = ("sprintf", "vsprintf", "strcpy", "strcat", "strncpy", "strncat", "gets", "atoi", "atol", "atof", "strtok",
                "alloca", "assert", "sleep", "usleep", "nanosleep", "system", "popen")
ASLEEP = re.compile(r"(?<![\w.\"'])(?:time\.|asyncio\.)?(?:u|nano)?sleep\s*\(|^\s*sleep\s+[\d.$]", re.M)
ELSEWHERE = [
    (re.compile(r"/(?:home|root|Users|work|workspace|mnt)/[\w.]"), "a path of somebody's machine"),
    (re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"), "a note to oneself"),
    (re.compile(r"\b(?:issue|ticket|PR|pull request)s?\s*#?\d+", re.I), "a number of a tracker"),
    (re.compile(r"(?<![\w&;/\"'#(])#\d{1,5}\b(?![\w;\"'])"), "a number of a tracker"),
]
TEXTS = {".c", ".h", ".py", ".md", ".cmake", ".txt", ".sh", ".mjs", ".js", ".ts", ".html", ".css", ".yml", ".yaml", ".conf",
         ".cfg", ".json"}


def check(root, build=None):
    problems = heads(root) + words(root) + tests_do_not_sleep(root)
    for path in c_files(root):
        problems += [f"{path.relative_to(root)}:{text}" for text in source(path)]
    for path in files(root, ["include"], {".h"}):
        problems += [f"{path.relative_to(root)}:{text}" for text in prototypes(path)]
    problems += declared_once(root)
    if build:
        problems += symbols(root, pathlib.Path(build))
    return problems


def heads(root):
    """SPDX first, then a sentence that says what the file is for."""
    problems = []
    for path in files(root, ["include", "node", "tests"], {".c", ".h", ".py"}):
        lines = [line for line in path.read_text().split("\n") if not line.startswith("#!")]
        mark, quote = ("//", "//") if path.suffix != ".py" else ("#", '"""')
        if lines[0] != f"{mark} SPDX-License-Identifier: MIT":
            problems.append(f"{path.relative_to(root)}:1: the first line is not the SPDX line")
            continue
        comment = []
        for line in lines[1:]:
            if path.suffix == ".py" and comment and comment[-1].endswith('"""') and len("".join(comment)) > 3:
                break
            if path.suffix != ".py" and not line.startswith("//"):
                break
            comment.append(line)
        text = " ".join(line.removeprefix(quote) for line in comment).replace('"""', "").strip()
        if not (comment and comment[0].startswith(quote) and re.match(r"^[\"'`]?[A-Za-z`].*[.:;](\s|$)", text)):
            problems.append(f"{path.relative_to(root)}:2: no sentence that says what the file is for")
    return problems


def words(root):
    """The project speaks of itself only."""
    problems = []
    folders = [name for name in ("include", "node", "tests", "docs", "deploy", ".github") if (root / name).is_dir()]
    top = [path for path in sorted(root.iterdir()) if path.is_file() and path.suffix in TEXTS]
    for path in files(root, folders, TEXTS) + top:
        if path.parent == root / "tests/lint":
            continue
        for number, line in enumerate(path.read_text(errors="replace").split("\n"), 1):
            problems += [f"{path.relative_to(root)}:{number}: {what}: {found[0]}"
                         for pattern, what in ELSEWHERE if (found := pattern.search(line))]
    return problems


def tests_do_not_sleep(root):
    problems = []
    for path in files(root, ["tests"], {".c", ".h", ".py", ".sh", ".mjs", ".js"}):
        text = bare(path.read_text()) if path.suffix in (".c", ".h") else path.read_text()
        problems += [f"{path.relative_to(root)}:{text.count(chr(10), 0, found.start()) + 1}: a test sleeps"
                     for found in ASLEEP.finditer(text)]
    return problems


def source(path):
    """The rules for one C file: names of functions, calls, labels, conditional code."""
    problems, text = [], bare(path.read_text())
    for found in re.finditer(r"\btypedef\s+(?:struct|union)\b", text):
        problems.append(f"{line_of(text, found)}: a typedef of a struct")
    for found in re.finditer(r"\b(" + "|".join(BANNED_CALLS) + r")\s*\(", text):
        before = text[:found.start()].rstrip()
        if not before.endswith((".", "->")):
            problems.append(f"{line_of(text, found)}: {found[1]} is not used here")
    for function in functions(path):
        problems += [f"{function.first}: {text}" for text in of_function(path, function)]
    return problems


def of_function(path, function):
    problems, body = [], "\n".join(function.lines[1:])
    if function.static and path.suffix == ".c" and function.name.startswith("cn_"):
        problems.append(f"{function.name} is static: a bare verb without cn_")
    if not function.static and function.name not in {"main", *IN_PLACE} and \
            not function.name.startswith(("cn_", "cmd_")):
        problems.append(f"{function.name} is global: its name begins with cn_")
    verb = function.name.rsplit("_", 1)[-1]
    if function.name.startswith("cn_") and verb in BAD_VERBS:
        problems.append(f"{function.name}: {verb} is not one of the house's verbs (docs/style.md)")
    if function.name.startswith("cmd_") and not path.name.startswith("cmd_"):
        problems.append(f"{function.name}: handlers stand in cmd_*.c")
    labels = set(re.findall(r"^(\w+):(?!:)", body, re.M)) - {"default"}
    if labels - {"out"}:
        problems.append(f"{function.name}: one exit label at most, and it is `out`, not {', '.join(sorted(labels))}")
    if re.search(r"^\s*#\s*if", body, re.M) and path.suffix == ".c":
        problems.append(f"{function.name}: #if inside a function")
    return problems


_PROTOTYPE = re.compile(r"^(?!static|typedef|struct \w+ \{|enum|#|\}|\s)(?:CN_MUSTCHECK )?[\w ]+[ *](cn_\w+)\(")
_STATUS = re.compile(r"^enum cn_err cn_\w+\(")


def prototypes(path):
    """Each prototype has a comment over it, on its line, or over the block it stands in; results must be looked at."""
    problems, raw = [], path.read_text().split("\n")
    told = False
    inside = 0
    for number, line in enumerate(raw, 1):
        stripped = line.strip()
        if not stripped:
            told = False
        elif stripped.startswith("//"):
            told = True
        elif inside == 0 and (_PROTOTYPE.match(line) or _STATUS.match(line)):
            name = re.search(r"(cn_\w+)\(", line)
            if not told and "//" not in line:
                problems.append(f"{number}: {name[1] if name else line} has no comment")
        if inside == 0 and _STATUS.match(line):
            problems.append(f"{number}: its result must be looked at: CN_MUSTCHECK")
        inside += bare(line).count("{") - bare(line).count("}")
    return problems


def declared_once(root):
    """A function is declared in one header only, and a header's function exists."""
    where = {}
    headers = files(root, ["include"], {".h"}) + files(root, ["node"], {".h"})
    for path in headers:
        inside = 0
        for line in bare(path.read_text()).split("\n"):
            found = re.match(r"^(?!\s|#|\}|static)(?:[\w *()]*?[ *])?((?:cn|cmd)_\w+)\(", line)
            if found and inside == 0 and "static" not in line:
                where.setdefault(found[1], set()).add(path)
            inside += line.count("{") - line.count("}")
    problems = [f"{name} is declared in {', '.join(str(p.relative_to(root)) for p in sorted(paths))}"
                for name, paths in sorted(where.items()) if len(paths) > 1]
    defined = {function.name: path for path in c_files(root) for function in functions(path) if not function.static}
    for name, path in sorted(defined.items()):
        if name.startswith(("cn_", "cmd_")) and name not in where and path.suffix == ".c":
            problems.append(f"{path.relative_to(root)}: {name} is global but no header declares it")
    problems += [f"{sorted(where[name])[0].relative_to(root)}: {name} is declared but never defined"
                 for name in sorted(where) if name not in defined and name not in GENERATED]
    return problems


def symbols(root, build):
    """What the linker sees: global names begin with cn_, and nothing can be written but what the list names."""
    problems, libraries = [], sorted(build.rglob("libcn_*.a"))
    if not libraries:
        return [f"{build}: no libcn_*.a"]
    for library in libraries:
        if "test" in library.name:
            continue
        listing = subprocess.run(["nm", "-A", "-f", "sysv", "--defined-only", library], capture_output=True, text=True,
                                 check=True).stdout
        for line in listing.splitlines():
            if line.count("|") == 6:
                problems += [f"{library.name}({text}" for text in symbol(line)]
    return problems


def symbol(line):
    """What is wrong with one line of nm: library:member:name|value|class|type|size|line|section."""
    place, _, kind, _, _, _, section = (part.strip() for part in line.split("|"))
    _, member, name = place.split(":", 2)
    member = member.removesuffix(".o")
    if name.startswith(("__", ".", "_GLOBAL")):
        return []
    problems = []
    if kind.isupper() and name not in IN_PLACE and not name.startswith(("cn_", "cmd_")):
        problems.append(f"{member}): the global {name} does not begin with cn_")
    writable = section in ("*COM*", ".bss", ".data", ".tbss", ".tdata") or \
        section.startswith((".bss.", ".data.")) and not section.startswith(".data.rel.ro")
    if writable and name.split(".")[0] not in MUTABLE.get(member, set()):
        problems.append(f"{member}): {name} can be written; only what the list in names.py allows may be")
    return problems


def line_of(text, found):
    return text.count("\n", 0, found.start()) + 1


if __name__ == "__main__":
    report(check, ("build", "where the libcn_*.a are; without it only sources are read"))
