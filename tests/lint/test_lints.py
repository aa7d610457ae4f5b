# SPDX-License-Identifier: MIT
"""Each lint is shown a clean small tree, and then the same tree with one planted fault, which it must find."""
import shutil
import stat
import subprocess

import pytest

import docs
import floors
import format as format_lint
import names
import size
from tree import ROOT, functions

SPDX = "// SPDX-License-Identifier: MIT\n"
HASH_H = SPDX + """// A table of things.
#ifndef CHATNODE_HASH_H
#define CHATNODE_HASH_H

#include "chatnode/err.h"

// Puts one in.
CN_MUSTCHECK enum cn_err cn_hash_put(int thing);
int cn_hash_count(void);

#endif
"""
HASH_C = SPDX + """// Keeps things.
#include "chatnode/hash.h"

#include <stdlib.h>

static int count(int thing)
{
    if (thing)
        return 1;
    return 2;
}

enum cn_err cn_hash_put(int thing)
{
    return count(thing) ? CN_OK : CN_NOMEM;
}

int cn_hash_count(void)
{
    return 1;
}
"""
ERR_H = SPDX + """// The results.
#ifndef CHATNODE_ERR_H
#define CHATNODE_ERR_H

// The text.
const char *cn_err_str(enum cn_err err);

#endif
"""
ERR_C = SPDX + """// The texts.
#include "chatnode/err.h"

const char *cn_err_str(enum cn_err err)
{
    return err ? "bad" : "good";
}
"""
BUS_H = SPDX + """// The seam.
#ifndef CHATNODE_BUS_H
#define CHATNODE_BUS_H

// Sends.
void cn_bus_send(void);

#endif
"""
BUS_C = SPDX + """// Sends things.
#include "chatnode/bus.h"

void cn_bus_send(void)
{
}
"""


@pytest.fixture(name="tree")
def _tree(tmp_path):
    """A tree without faults; `put` replaces or adds a file."""

    class Tree:
        root = tmp_path

        def put(self, name, text):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return path

    tree = Tree()
    for name, text in {"include/chatnode/hash.h": HASH_H, "node/base/hash.c": HASH_C, "include/chatnode/err.h": ERR_H,
                       "node/base/err.c": ERR_C, "include/chatnode/bus.h": BUS_H, "node/bus/bus.c": BUS_C,
                       "tests/unit/test_hash.c": SPDX + "// Tests of hash.\nint main(void)\n{\n    return 0;\n}\n",
                       "docs/flow.md": "# Flow\n\n`cn_hash_put` -> `cn_bus_send`, see [there](#flow).\n"}.items():
        tree.put(name, text)
    shutil.copy(ROOT / ".clang-format", tmp_path / ".clang-format")
    return tree


LINTS = [floors.check, size.check, names.check, docs.check, format_lint.check]


@pytest.mark.parametrize("check", LINTS, ids=["floors", "size", "names", "docs", "format"])
def test_a_clean_tree_has_no_problem(tree, check):
    assert check(tree.root) == []


def finds(check, tree, words, **options):
    """Asserts that exactly the planted fault is found."""
    problems = check(tree.root, **options)
    assert problems and all(words in problem for problem in problems), problems


def source(body="", includes=""):
    return SPDX + f"// Has a fault.\n#include <stddef.h>\n{includes}\n{body}"


@pytest.mark.parametrize("path,include", [
    ("node/base/x.c", '#include "chatnode/bus.h"'),
    ("node/edge/x.c", '#include "chatnode/bus.h"'),
    ("node/wire/x.c", "#include <libwebsockets.h>"),
    ("node/hub/x.c", "#include <jansson.h>"),
    ("node/hub/x.c", "#include <hiredis/hiredis.h>"),
    ("node/hub/x.c", "#include <sys/socket.h>"),
    ("node/hub/x.c", "#include <openssl/ssl.h>"),
    ("node/x.c", "#include <event2/event.h>"),
    ("node/tools/x.c", '#include "chatnode/bus.h"'),
    ("node/base/x.c", '#include "../bus/bus_private.h"'),
    ("node/cellar/x.c", ""),
])
def test_floors_finds_an_arrow_that_points_up(tree, path, include):
    tree.put(path, source(includes=include))
    finds(floors.check, tree, path)


def test_floors_finds_a_header_without_a_floor(tree):
    tree.put("include/chatnode/lonely.h", SPDX + "// Alone.\n")
    finds(floors.check, tree, "lonely.h")


def test_floors_finds_an_own_header_that_is_not_first(tree):
    tree.put("node/base/hash.c", HASH_C.replace('#include "chatnode/hash.h"\n\n#include <stdlib.h>',
                                                '#include <stdlib.h>\n\n#include "chatnode/hash.h"'))
    finds(floors.check, tree, "first include")


def test_size_finds_a_long_function(tree):
    tree.put("node/base/x.c", source("static int grow(void)\n{\n" + "    count(1);\n" * 80 + "    return 0;\n}\n"))
    assert "node/base/x.c:5: grow has 84 lines, more than 80" in size.check(tree.root)


def test_size_finds_deep_nesting(tree):
    deep = "".join(f"{' ' * 4 * n}if (a)\n" for n in range(1, 6))
    tree.put("node/base/x.c", source("static void sink(int a)\n{\n" + deep + " " * 24 + "count(1);\n}\n"))
    finds(size.check, tree, "nested 5 deep")


@pytest.mark.parametrize("name,lines", [("node/base/x.c", 601), ("include/chatnode/hash.h", 251)])
def test_size_finds_a_long_file(tree, name, lines):
    tree.put(name, "// x\n" * lines)
    finds(size.check, tree, f"{lines} lines")


def test_size_finds_a_tree_of_long_functions(tree):
    for n in range(30):
        tree.put(f"node/base/x{n}.c", source("static int grow(void)\n{\n" + "    count(1);\n" * 50 + "    return 0;\n}\n"))
    problems = size.check(tree.root)
    assert any("median" in problem for problem in problems) and any("90 %" in problem for problem in problems)


@pytest.mark.parametrize("body,words", [
    ("typedef struct thing thing;\n", "typedef"),
    ("static void cn_do(void)\n{\n}\n", "static: a bare verb"),
    ("static void f(char *a)\n{\n    strcpy(a, a);\n}\n", "strcpy"),
    ("static void f(void)\n{\n    goto end;\nend:\n    return;\n}\n", "exit label"),
    ("static void f(void)\n{\n#ifdef X\n    g();\n#endif\n}\n", "#if inside"),
    ("static void cmd_join(void)\n{\n}\n", "cmd_*.c"),
    ("// see /home/me/notes\n", "somebody's machine"),
    ("// TODO: later\n", "note to oneself"),
    ("// fixes issue 12\n", "tracker"),
])
def test_names_finds_a_fault_in_a_source(tree, body, words):
    tree.put("node/base/x.c", source(body))
    finds(names.check, tree, words)


def test_names_finds_a_global_that_no_header_declares(tree):
    tree.put("node/base/x.c", source("void cn_hidden(void)\n{\n}\n"))
    finds(names.check, tree, "no header declares")


def test_names_finds_a_global_without_prefix(tree):
    tree.put("node/base/x.c", source("void hidden(void)\n{\n}\n"))
    finds(names.check, tree, "begins with cn_")


def test_names_finds_a_strange_verb(tree):
    tree.put("node/base/hash.c", HASH_C + "\nvoid cn_hash_destroy(void)\n{\n}\n")
    tree.put("include/chatnode/hash.h", HASH_H.replace("#endif\n", "// Ends.\nvoid cn_hash_destroy(void);\n\n#endif\n"))
    finds(names.check, tree, "not one of the house's verbs")


@pytest.mark.parametrize("old,new,words", [
    ("// Puts one in.\n", "", "has no comment"),
    ("CN_MUSTCHECK enum", "enum", "CN_MUSTCHECK"),
    ("int cn_hash_count(void);\n", "int cn_hash_count(void);\nint cn_hash_sum(void);\n", "never defined"),
    ("int cn_hash_count(void);\n", "int cn_hash_count(void);\nvoid cn_bus_send(void);\n", "is declared in"),
    ("// A table of things.\n", "", "what the file is for"),
    (SPDX, "", "SPDX"),
])
def test_names_finds_a_fault_in_a_header(tree, old, new, words):
    tree.put("include/chatnode/hash.h", HASH_H.replace(old, new))
    problems = names.check(tree.root)
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize("name,text", [
    ("tests/unit/test_x.c", SPDX + "// Waits.\nstatic void f(void)\n{\n    us" + "leep(10);\n}\n"),
    ("tests/system/test_x.py", SPDX.replace("//", "#") + '"""Waits."""\nimport time\ntime.s' + "leep(1)\n"),
    ("tests/browser/x.sh", "sl" + "eep 1\n"),
])
def test_names_finds_a_sleeping_test(tree, name, text):
    tree.put(name, text)
    finds(names.check, tree, "a test sleeps")


@pytest.mark.parametrize("text,words", [
    ("int counter;\n", "counter can be written"),
    ("static int hidden_state = 3;\nint *cn_leak(void);\nint *cn_leak(void)\n{\n    return &hidden_state;\n}\n",
     "hidden_state can be written"),
    ("void hash_open(void);\nvoid hash_open(void)\n{\n}\n", "hash_open does not begin with cn_"),
])
def test_names_finds_a_symbol_in_a_library(tree, text, words):
    build = tree.root / "lib"
    build.mkdir()
    (build / "x.c").write_text(text)
    subprocess.run(["cc", "-c", "x.c", "-o", "x.c.o"], cwd=build, check=True)
    subprocess.run(["ar", "rc", "libcn_x.a", "x.c.o"], cwd=build, check=True)
    assert any(words in problem for problem in names.check(tree.root, build=build))


@pytest.mark.parametrize("name,text,words", [
    ("docs/a.md", "[x](nowhere.md)\n", "leads nowhere"),
    ("docs/a.md", "[x](flow.md#no-such)\n", "no such heading"),
    ("docs/flow.md", "`cn_no_such_function`\n", "cn_no_such_function does not exist"),
    ("docs/flow.md", "then vanish() is called\n", "vanish does not exist"),
    ("node/hub/dispatch.c", SPDX + "// No map.\n", "draws no map"),
    ("node/hub/fanout.c", SPDX + "// cn_hash_put -> cn_bus_send -> cn_err_str -> cn_gone\n", "cn_gone does not exist"),
    ("include/chatnode/config_table.h", 'NUMBER(max_x, "max-x", 1)\n', "max-x is not documented"),
    ("node/tools/bench_options.c", '    {"max-y", KIND_WHOLE, 0},\n', "max-y is not documented"),
    ("include/chatnode/metrics_table.h", 'X(A, "chatnode_a_total")\n', "chatnode_a_total is not documented"),
])
def test_docs_finds_a_fault(tree, name, text, words):
    tree.put(name, text)
    finds(docs.check, tree, words)


PRINTED = "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.parametrize("wrong", [None, "config", "metrics", "protocol", "absent"])
def test_docs_finds_a_table_that_differs_from_the_programs(tree, wrong):
    program = tree.put("chatnode", f"#!/bin/sh\ncat <<'END'\n{PRINTED}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name in ("config", "metrics"):
        tree.put(f"docs/{name}.md", PRINTED)
    tree.put("docs/protocol.md", "Before.\n\n" + PRINTED + "\nAfter.\n")
    if wrong == "absent":
        (tree.root / "docs/config.md").unlink()
    elif wrong:
        tree.put(f"docs/{wrong}.md", PRINTED.replace("| 2 |", "| 3 |"))
    problems = docs.check(tree.root, binary=program)
    assert bool(problems) == bool(wrong), problems


def test_format_finds_a_badly_set_file(tree):
    tree.put("node/base/x.c", source("static  void f( void ) {}\n"))
    finds(format_lint.check, tree, "node/base/x.c")


def test_functions_are_found_with_their_lines(tree):
    found = {f.name: (f.first, f.last, f.static) for f in functions(tree.root / "node/base/hash.c")}
    assert found == {"count": (7, 12, True), "cn_hash_put": (14, 17, False), "cn_hash_count": (19, 22, False)}
