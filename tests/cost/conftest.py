# SPDX-License-Identifier: MIT
"""The cost ring's modules, and those of the system ring that it builds on, can be imported."""
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "system")]
