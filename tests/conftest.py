# SPDX-License-Identifier: MIT
"""For all rings in Python: under CTest (CN_CTEST=1), a run in which something was skipped ends with 77, not with 0."""
import os

SKIPPED = 77
_skipped = []


def pytest_configure(config):
    config.addinivalue_line("markers", "uninstrumented: not for builds with a sanitizer or for coverage, which change what it measures")


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and _skipped and os.environ.get("CN_CTEST"):
        session.exitstatus = SKIPPED
