# SPDX-License-Identifier: MIT
"""Fixtures of the compose ring: one engine and one cluster for all its tests."""
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

from cluster import Cluster  # noqa: E402
from engine import NoEngine, engine  # noqa: E402

CACHE = pathlib.Path(os.environ.get("CHATNODE_CACHE", ROOT / "build/cache"))


@pytest.fixture(scope="session")
def docker_host():
    try:
        with engine(CACHE) as host:
            yield host
    except NoEngine as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def whole_cluster(docker_host):
    cluster = Cluster(docker_host)
    try:
        cluster.__enter__()
    except AssertionError as why:  # once, not once for each test
        pytest.exit(f"the cluster does not come up: {why}", returncode=1)
    yield cluster
    cluster.__exit__()


@pytest.fixture
def cluster(whole_cluster):
    """Three nodes, all of them up, whatever the test before has done to one."""
    whole_cluster.up()
    return whole_cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of every container's log."""
    outcome = yield
    report = outcome.get_result()
    cluster = getattr(item, "funcargs", {}).get("whole_cluster")
    if report.failed and cluster:
        report.sections.append(("logs of the containers", cluster.logs()))
