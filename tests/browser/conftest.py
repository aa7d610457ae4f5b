# SPDX-License-Identifier: MIT
"""Fixtures of the browser tests: a real Chromium, and windows of it that show the chat page of a node."""
import os
import pathlib
import sys
import tempfile

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import harness  # noqa: E402
from clients import Client  # noqa: E402
from harness import Cluster, Node, Redis, stop_all, unique  # noqa: E402
from pages import Page  # noqa: E402
from pki import Pki  # noqa: E402

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--ignore-certificate-errors",  # of authorities that a test has made
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
         "--disable-backgrounding-occluded-windows", "--window-size=1200,800"]


def pytest_configure():
    assert os.access(harness.CHATNODE, os.X_OK), f"CHATNODE={harness.CHATNODE} cannot be run"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the windows and the nodes have to say."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for page in item.funcargs.get("open_page", lambda: None).__dict__.get("pages", []):
        report.sections.append((f"window of {page.user}", page.describe()))
    for process in harness.running:
        report.sections.append((f"log of {process.name}", process.log[-4000:]))


@pytest.fixture(name="chromium", scope="session")
def _chromium():
    with tempfile.TemporaryDirectory(prefix="chatnode-chromium-", ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        driver.set_page_load_timeout(harness.DEADLINE * 3)
        yield driver
        driver.quit()


@pytest.fixture(name="cluster", scope="module")
def _cluster():
    """Two nodes on one Redis."""
    started = []
    try:
        started.append(Redis())
        started.append(Cluster(2, started[0]))
        yield started[1]
    finally:
        stop_all(started[::-1])


@pytest.fixture(name="tls_node")
def _tls_node():
    """A single node whose public listener speaks TLS."""
    pki, started = Pki(), []
    try:
        cert, key = pki.issue("node")
        started.append(Node(tls=pki.client_context(), tls_cert=cert, tls_key=key))
        yield started[0]
    finally:
        stop_all(started)
        pki.stop()


@pytest.fixture(name="open_page")
def _open_page(chromium):
    """open_page(node, user=, room=, ...): a new window with the node's page; closed after the test.

    No window may have complained by then, but of connections that the test itself broke (`page.may_lose`).
    """
    home = chromium.current_window_handle

    def open_page(node, **query):
        page = Page(chromium, node.port, query, "https" if node.tls else "http")
        open_page.pages.append(page)
        return page.open()

    open_page.pages = []
    chromium.get_log("browser")
    yield open_page
    try:
        for page in open_page.pages:
            page.assert_quiet()
    finally:
        for page in open_page.pages:
            page.close()  # also after a failure, so that the next test starts with one window
        chromium.switch_to.window(home)


@pytest.fixture(name="connect")
def _connect():
    """connect(node, user=, room=): a session without a browser; closed after the test."""
    clients = []

    def connect(node, **options):
        clients.append(Client(node.port, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(name="room")
def _room():
    return unique("room")


@pytest.fixture(name="ann")
def _ann():
    return unique("ann")


@pytest.fixture(name="bob")
def _bob():
    return unique("bob")
