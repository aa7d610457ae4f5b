# SPDX-License-Identifier: MIT
"""The PROXY protocol: a balancer says before anything else who its client is. Spoken by hand, and by HAProxy."""
import ipaddress
import re
import socket
import struct

import pytest

from clients import RawClient, TEXT, upgrade_request
from harness import DEADLINE, SLOW, Node, eventually, unique
from test_deploy import Balancer

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source="203.0.113.7", family="TCP4", destination="192.0.2.1"):
    return f"PROXY {family} {source} {destination} 4711 8000\r\n".encode()


def v2(source="203.0.113.7", command=1, tlvs=b""):
    packed = ipaddress.ip_address(source).packed
    body = packed + packed + struct.pack(">HH", 4711, 8000) + tlvs
    return V2 + bytes([0x20 | command, 0x11 if len(packed) == 4 else 0x21]) + struct.pack(">H", len(body)) + body


def local():
    return V2 + b"\x20\0\0\0"


@pytest.fixture(name="proxied", scope="module")
def _proxied(start_for_module):
    """A node that wants the header, from loopback."""
    return start_for_module.node(proxy_protocol="on", trusted_proxies="127.0.0.1", log_level="debug",
                                 max_connections_per_address=3, probe=local())


def address_of(node, user):
    """The address that the node's log has for the user's session."""
    found = []

    def look():
        found[:] = re.findall(rf'"session\.opened"[^\n]*"user":"{user}","address":"([^"]*)"', node.log)
        return found

    eventually(look, what="the session is in the log")
    return found[0]


def greet(node, raw, header, user, room="", **headers):
    client = raw(node)
    client.send(header + upgrade_request(f"/ws?user={user}&room={room}", **headers))
    return client


@pytest.mark.parametrize("header, address", [
    (v1(), "203.0.113.7"), (v1("2001:db8::7", "TCP6", "2001:db8::1"), "2001:db8::7"), (v2("198.51.100.9"), "198.51.100.9"),
    (v2("2001:db8:1::8"), "2001:db8:1::8"), (v2("198.51.100.10", tlvs=b"\x03\0\4abcd\x04\0\0"), "198.51.100.10"),
    (local(), "127.0.0.1"), (v2(command=0), "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (V2 + b"\x21\x31\0\xd8" + b"\0" * 216, "127.0.0.1")],
    ids=["v1", "v1 IPv6", "v2", "v2 IPv6", "v2 with more", "v2 local", "v2 local with addresses", "v1 unknown", "v2 unix"])
def test_the_client_is_who_the_header_says(proxied, raw, user, header, address):
    client = greet(proxied, raw, header, user)
    assert client.response_head()[0] == 101
    assert client.until("welcome")["user"] == user
    assert address_of(proxied, user) == address


@pytest.mark.parametrize("header", [v1("198.51.100.20"), v2("198.51.100.21", tlvs=b"\x03\0\4abcd")], ids=["v1", "v2"])
def test_a_header_may_come_byte_by_byte(proxied, raw, user, header):
    client = raw(proxied)
    client.drip(header)
    client.send(upgrade_request(f"/ws?user={user}&room="))
    assert client.response_head()[0] == 101


@pytest.mark.parametrize("data", [
    upgrade_request(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 x y 1 2\r\n", b"PROXY " + b"x" * 200,
    V2 + b"\x21\x11\xff\xff", V2 + b"\x11\x11\0\0", b"\x16\x03\x01\x02\0"],
    ids=["none", "none, plain HTTP", "v1 without addresses", "v1 without end", "v2 too long", "v2 of version 1", "TLS"])
def test_without_a_good_header_the_connection_is_closed(proxied, raw, data):
    client = raw(proxied)
    client.send(data)
    assert client.response_head() == (None, {})


def test_half_a_header_is_not_waited_for_for_ever_and_blocks_nobody(proxied, raw, user):
    sleepers = [raw(proxied) for _ in range(50)]
    for n, sleeper in enumerate(sleepers):
        sleeper.send(v1()[:n % 30])
    assert greet(proxied, raw, v1("198.51.100.30"), user).response_head()[0] == 101
    for sleeper in sleepers:
        assert not sleeper.recv(DEADLINE + 10 * SLOW), "a sleeper was not closed"


def test_who_goes_away_before_the_header_leaves_nothing(start, raw):
    node = start.node(proxy_protocol="on", trusted_proxies="127.0.0.1", probe=v1())
    for n in range(30):
        client = raw(node)
        client.send(v1()[:n])
        client.sock.close()
    eventually(lambda: node.metric("chatnode_connections") == 1, what="only the one that asks is left")


def test_who_is_no_balancer_is_hung_up_on(start, raw):
    node = start.node(proxy_protocol="on", trusted_proxies="192.0.2.1", probe=None)
    client = raw(node)
    try:
        client.send(v1() + upgrade_request())
        assert client.response_head() == (None, {})
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert node.metric("chatnode_refused_total", 'reason="proxy"') >= 1


def test_a_node_that_nobody_could_connect_to_does_not_start(start):
    node = start.keep(Node(start=False, proxy_protocol="on"))
    node.spawn()
    node.finish(78)
    assert "trusted-proxies" in node.log


@pytest.mark.parametrize("header", [v1("198.51.100.70"), v2("198.51.100.71")], ids=["v1", "v2"])
def test_without_the_setting_a_header_is_not_believed(start, raw, user, header):
    node = start.node(trusted_proxies="127.0.0.1", log_level="debug")
    client = greet(node, raw, header, user)
    if client.response_head(DEADLINE + 6)[0] == 101:  # to libwebsockets it may be a line that nobody knows
        assert address_of(node, user) == "127.0.0.1"


def test_a_header_does_not_make_its_client_a_proxy(proxied, raw, user):
    """The balancer is trusted; who comes through it is not."""
    greet(proxied, raw, v1("198.51.100.40"), user, X_Forwarded_For="6.6.6.6").response_head()
    assert address_of(proxied, user) == "198.51.100.40"


def test_one_address_may_have_only_so_many_connections(proxied, raw):
    source = "198.51.100.50"
    kept = [greet(proxied, raw, v1(source), unique("user")) for _ in range(3)]
    assert [client.response_head()[0] for client in kept] == [101] * 3
    refused = greet(proxied, raw, v1(source), unique("user"))
    status, headers = refused.response_head()
    assert (status, headers.get("retry-after")) in ((429, "10"), (None, None))
    assert greet(proxied, raw, v1("198.51.100.51"), unique("user")).response_head()[0] == 101
    kept[0].sock.close()
    eventually(lambda: greet(proxied, raw, v1(source), unique("user")).response_head()[0] == 101,
               what="a place is free again")


def test_an_ipv6_network_of_64_bits_counts_as_one_address(proxied, raw):
    def come(source):
        return greet(proxied, raw, v2(source), unique("user")).response_head()[0]

    assert [come(f"2001:db8:5:5::{n}") for n in range(3)] == [101] * 3
    assert come("2001:db8:5:5:ffff::1") in (429, None)
    assert come("2001:db8:5:6::1") == 101


def test_connections_of_one_address_may_begin_only_so_fast(start, raw):
    node = start.node(proxy_protocol="on", trusted_proxies="127.0.0.1", accept_rate_per_address=1, probe=local())
    came = [greet(node, raw, v1("198.51.100.60"), unique("user")).response_head() for _ in range(4)]
    assert [status for status, _ in came][:2] == [101] * 2 and came[3][0] in (429, None)
    assert came[3][0] is None or int(came[3][1]["retry-after"]) >= 1
    assert greet(node, raw, v1("198.51.100.61"), unique("user")).response_head()[0] == 101
    assert node.metric("chatnode_refused_total", 'reason="address_rate"') >= 1


# ---- HAProxy itself ----

class ProxyingBalancer(Balancer):
    """The project's file, with the header instead of X-Forwarded-For."""

    def __init__(self, version, *nodes):
        super().__init__(*(node.port for node in nodes))
        path = self.dir / "haproxy.cfg"
        text = path.read_text()
        for node in nodes:
            text = text.replace(f"127.0.0.1:{node.port}\n", f"127.0.0.1:{node.port} port {node.internal_port} {version}\n")
        path.write_text(text)


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_says_who_its_client_is(proxied, start, user, version):
    balancer = start.keep(ProxyingBalancer(version, proxied)).spawn()
    eventually(lambda: balancer.health_status() == 200, what="the balancer has its node")
    with socket.socket() as sock:
        sock.bind(("127.0.0.77", 0))
        client = RawClient(balancer.port, sock=sock)
        client.open(user=user, room="")
        client.send_frame(TEXT, '{"type":"ping","id":"p"}')
        assert client.until("pong")["id"] == "p"
        assert address_of(proxied, user) == "127.0.0.77"
