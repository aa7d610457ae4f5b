# SPDX-License-Identifier: MIT
"""deploy/haproxy.cfg before a backend that repeats what it was asked, and `./run cluster` as a user runs it."""
import http.server
import json
import os
import re
import signal
import threading

import pytest

from clients import Client, RawClient, upgrade_request
from harness import CHATNODE, DEADLINE, ROOT, Process, eventually, free_port, http_request, unique


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the request's headers; 503 for /readyz while the server is not ready."""

    def do_GET(self):
        if self.path == "/readyz" and not self.server.is_ready:
            self.send_error(503)
            return
        body = json.dumps({name.lower(): self.headers.get_all(name) for name in self.headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Port", str(self.server.server_port))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Balancer(Process):
    """HAProxy with the project's file, before these ports on loopback."""

    def __init__(self, *ports):
        self.port, self.health = free_port(), free_port()
        super().__init__("haproxy", [], env={"BALANCER_BIND": f"127.0.0.1:{self.port}",
                                             "BALANCER_HEALTH": f"127.0.0.1:{self.health}"})
        servers = "".join(f"    server n{port} 127.0.0.1:{port}\n" for port in ports)
        text, count = re.subn(r" *# nodes: begin.*?# nodes: end\n", servers,
                              (ROOT / "deploy/haproxy.cfg").read_text(), flags=re.S)
        assert count == 2
        (self.dir / "haproxy.cfg").write_text(text)
        self.argv = ["haproxy", "-db", "-f", str(self.dir / "haproxy.cfg")]

    def health_status(self):
        assert self.alive(), self.log
        try:
            return http_request(self.health, "/healthz").status
        except OSError:
            return None


@pytest.fixture
def echo():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.is_ready = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def balancer(echo, start):
    balancer = start.keep(Balancer(echo.server_port)).spawn()
    eventually(lambda: balancer.health_status() == 200, what="the balancer has its node")
    return balancer


def test_the_balancer_says_who_the_client_is_and_believes_no_client(balancer):
    said = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Forwarded-Proto": "https"}
    seen = http_request(balancer.port, "/", headers=said).json()
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["http"]
    assert "forwarded" not in seen


@pytest.mark.parametrize("value", ["foo", "TLS/1.0", "websocket, foo", "websocket2"])
def test_the_balancer_refuses_other_upgrades(balancer, raw, value):
    client = raw(balancer)
    client.send(upgrade_request(Upgrade=value))
    assert client.response_head()[0] == 400


def test_the_balancer_never_passes_h2c_on(balancer, raw):
    client = raw(balancer)
    client.send(upgrade_request("/", Upgrade="h2c"))
    status, headers = client.response_head()
    if status == 200:  # later releases of HAProxy drop the header itself
        eventually(lambda: len(client.buffer) == int(headers["content-length"]) or client.recv(), what="the body")
        assert "upgrade" not in json.loads(bytes(client.buffer))
    else:
        assert status == 400


def test_the_balancer_is_unhealthy_without_a_node(start):
    balancer = start.keep(Balancer(free_port())).spawn()
    eventually(lambda: balancer.health_status() == 503, what="the balancer has no node")


def test_without_a_ready_node_the_balancer_uses_a_living_one(start, echo):
    echo.is_ready = False
    balancer = start.keep(Balancer(echo.server_port)).spawn()
    eventually(lambda: balancer.health_status() == 200, what="the balancer has a node that lives")
    assert http_request(balancer.port, "/").status == 200


def test_a_node_that_is_not_ready_gets_no_clients_while_another_is(start, echo):
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    other.is_ready = True
    threading.Thread(target=other.serve_forever, daemon=True).start()
    balancer = start.keep(Balancer(echo.server_port, other.server_port)).spawn()
    eventually(lambda: balancer.health_status() == 200, what="the balancer has its nodes")

    def port_reached():
        return http_request(balancer.port, "/").headers["x-port"]

    echo.is_ready = False
    eventually(lambda: {port_reached() for _ in range(6)} == {str(other.server_port)},
               what="only the ready node is asked")
    other.shutdown()
    other.server_close()


@pytest.fixture
def cluster_script(start):
    """`./run cluster 2`; its port, and the process."""
    port = free_port()
    script = start.keep(Process("cluster", ["bash", ROOT / "deploy/cluster.sh", "2"],
                                env={"PUBLISH": f"127.0.0.1:{port}", "CHATNODE": CHATNODE})).spawn()

    def up():
        assert script.alive(), script.log
        return "Ctrl-C ends everything" in script.log

    eventually(up, DEADLINE * 3, "the cluster is up")
    script.port = port
    return script


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def spread(cluster):
    """Two members of one room on two nodes."""
    room = unique("room")

    def two():
        members = [Client(cluster.port, room=room) for _ in range(2)]
        if members[0].welcome["node"] != members[1].welcome["node"]:
            return members
        for member in members:
            member.close()
        return None

    return eventually(two, what="clients come to both nodes"), room


def test_run_cluster_is_one_chat_and_ctrl_c_ends_all_of_it(cluster_script):
    (ann, bob), room = spread(cluster_script)
    ann.publish("hello", room)
    assert bob.expect("message", room=room)["content"] == "hello"
    children = children_of(cluster_script.pid)
    assert len(children) >= 4
    cluster_script.signal(signal.SIGINT)
    assert bob.expect("reconnect") and bob.closed() == 1012
    assert cluster_script.wait(DEADLINE * 3) == 0
    assert all(gone(child) for child in children)


def test_run_cluster_goes_on_when_a_node_is_killed(cluster_script):
    (ann, bob), room = spread(cluster_script)
    pids = dict(re.findall(r"^(node-\d+) .* pid (\d+)$", cluster_script.log, re.M))
    os.kill(int(pids[ann.welcome["node"]]), signal.SIGKILL)
    ann.closed()
    back = Client(cluster_script.port, room=room)
    bob.publish("still here", room)
    assert back.expect("message", room=room)["content"] == "still here"
    assert f"{ann.welcome['node']} has ended" in eventually(lambda: "has ended" in cluster_script.log and cluster_script.log)
    cluster_script.signal(signal.SIGTERM)
    assert cluster_script.wait(DEADLINE * 3) == 0
