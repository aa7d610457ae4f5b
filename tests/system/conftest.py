# SPDX-License-Identifier: MIT
"""Fixtures of the system tests. What a fixture starts, it stops, and a node must end with 0 and without a report."""
import os

import pytest

import harness
from clients import Client, RawClient
from harness import Cluster, Node, Redis, stop_all, unique


def pytest_configure():
    if not os.access(harness.CHATNODE, os.X_OK):
        pytest.exit(f"CHATNODE={harness.CHATNODE} cannot be run", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of every running process's log."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for process in harness.running:
            report.sections.append((f"log of {process.name}", process.log[-6000:]))


class Starter:
    """Starts things for one test or one module, and stops them in reverse."""

    def __init__(self):
        self.started = []

    def keep(self, thing):
        self.started.append(thing)
        return thing

    def redis(self, *extra, **options):
        return self.keep(Redis(*extra, **options))

    def node(self, *extra, **options):
        node = self.keep(Node(*extra, start=False, **options))
        return node.start()

    def cluster(self, count, redis=None, **flags):
        return self.keep(Cluster(count, redis or self.redis(), **flags))

    def stop(self):
        things, self.started = self.started[::-1], []
        stop_all(things)


def _starter():
    starter = Starter()
    yield starter
    starter.stop()


start = pytest.fixture(_starter, name="start")
start_for_module = pytest.fixture(_starter, name="start_for_module", scope="module")


@pytest.fixture(name="shared_node", scope="module")
def _shared_node(start_for_module):
    return start_for_module.node()


@pytest.fixture(name="node")
def _node(shared_node):
    """A single node with the default settings, shared by the tests of a module: use names of your own."""
    assert shared_node.alive(), "an earlier test ended the shared node"
    yield shared_node
    assert shared_node.alive(), shared_node.log[-20000:]


@pytest.fixture(name="shared_cluster", scope="module")
def _shared_cluster(start_for_module):
    return start_for_module.cluster(3)


@pytest.fixture(name="cluster")
def _cluster(shared_cluster):
    """Three nodes on one Redis, shared by the tests of a module."""
    yield shared_cluster
    for node in shared_cluster:
        assert node.alive(), node.log[-20000:]


@pytest.fixture(name="connect")
def _connect():
    """connect(node, user=, room=, since=, inbox=): a session that is closed after the test."""
    clients = []

    def connect(node, **options):
        clients.append(Client(getattr(node, "port", node), **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(name="raw")
def _raw():
    """raw(node): a plain socket that is closed after the test."""
    clients = []

    def raw(node, **options):
        clients.append(RawClient(getattr(node, "port", node), **options))
        return clients[-1]

    yield raw
    for client in clients:
        client.sock.close()


@pytest.fixture(name="room")
def _room():
    return unique("room")


@pytest.fixture(name="user")
def _user():
    return unique("user")
