# SPDX-License-Identifier: MIT
"""Each tool of run.py at work: it finds what is planted, and nothing where nothing is."""
import pytest

import run

PLANTED = {
    "gcc": "#include <stdlib.h>\nint f(void);\nint f(void)\n{\n    char *p = calloc(4, 1);\n    free(p);\n    return p[0];\n}\n",
    "clang-tidy": "int f(int n);\nint f(int n)\n{\n    int *p = 0;\n    return n > 3 ? *p : 0;\n}\n",
    "cppcheck": "int f(void);\nint f(void)\n{\n    int at[4] = {0};\n    return at[4];\n}\n",
}
CLEAN = "int f(int n);\nint f(int n)\n{\n    return n + 1;\n}\n"


def said_of(tool, text, tmp_path):
    path = tmp_path / "planted.c"
    path.write_text(text)
    command = ["cc", "-std=gnu17", "-O2", "-o", "planted.o", "-c", str(path)]
    (tmp_path / "compile_commands.json").write_text(
        f'[{{"directory": "{tmp_path}", "file": "{path}", "command": "{" ".join(command)}"}}]')
    return run.look(run.TOOLS[tool](tmp_path, str(path), command))


@pytest.mark.parametrize("tool", run.TOOLS)
def test_a_planted_fault_is_found(tool, tmp_path):
    assert "planted.c" in said_of(tool, PLANTED[tool], tmp_path)


@pytest.mark.parametrize("tool", run.TOOLS)
def test_clean_code_is_left_alone(tool, tmp_path):
    assert said_of(tool, CLEAN, tmp_path) == ""
