# SPDX-License-Identifier: MIT
"""Format: every C file is as clang-format would write it (.clang-format in the root)."""
import re
import shutil
import subprocess

from tree import files, report


def check(root):
    program = shutil.which("clang-format")
    if not program:
        return ["clang-format is missing: apt-get install clang-format"]
    sources = files(root, [name for name in ("include", "node", "tests") if (root / name).is_dir()], {".c", ".h"})
    if not sources:
        return ["no C file found"]
    done = subprocess.run([program, "--style=file", "--dry-run", "-Werror", *sources], capture_output=True, text=True,
                          check=False, cwd=root)
    wrong = sorted(set(re.findall(r"^(.+?):\d+:\d+: error", done.stderr, re.M)))
    if done.returncode and not wrong:
        return [done.stderr.strip()]
    return [f"{path}: not as clang-format writes it" for path in wrong]


if __name__ == "__main__":
    report(check)
