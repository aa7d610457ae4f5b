# SPDX-License-Identifier: MIT
"""What the tests of this ring share: the processes of the system tests."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
