# SPDX-License-Identifier: MIT
"""The guards of the upgrade: what is not a proper WebSocket handshake never becomes a session, and harms nobody."""
import socket
import struct

import pytest

from clients import upgrade_request
from harness import DEADLINE, eventually, unique


@pytest.fixture(name="neighbour", autouse=True)
def _neighbour(node, connect):
    """A healthy session that must not notice anything."""
    room = unique("neighbour")
    ann = connect(node, room=room)
    yield ann
    ann.publish("still here", room)
    assert ann.expect("message", room=room)["content"] == "still here"


def refused(client, data):
    """Sends the bytes; asserts that no session comes of it. The status, None for hanging up."""
    client.send(data)
    status, _ = client.response_head()
    assert status is None or 200 <= status < 600, status
    assert not 200 <= (status or 400) < 300 or b"welcome" not in client.buffer
    assert b"welcome" not in client.buffer
    return status


def test_a_proper_handshake_is_accepted_and_its_key_answered(node, raw):
    client = raw(node)
    client.send(upgrade_request("/ws?room=", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))
    status, headers = client.response_head()
    assert status == 101
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    assert headers["upgrade"].lower() == "websocket"
    assert "sec-websocket-extensions" not in headers


def test_compression_is_not_agreed(node, raw):
    client = raw(node)
    client.send(upgrade_request(extra=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]))
    status, headers = client.response_head()
    assert status == 101 and "sec-websocket-extensions" not in headers


H2C = ["HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]


@pytest.mark.parametrize("path", ["/", "/ws", "/healthz"])
def test_an_upgrade_to_h2c_is_not_answered_with_101(node, raw, path):
    data = upgrade_request(path, Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", extra=H2C,
                           drop=("Sec-WebSocket-Key", "Sec-WebSocket-Version"))
    assert refused(raw(node), data) != 101


@pytest.mark.parametrize("value", ["h2c", "raw", "foo", "websocket2", "TLS/1.0", "h2c, websocket", "x" * 300, ""])
def test_an_upgrade_to_something_else_is_not_answered_with_101(node, raw, value):
    assert refused(raw(node), upgrade_request(Upgrade=value)) != 101


def test_an_unknown_upgrade_on_a_connection_in_use_harms_nobody(node, raw):
    for _ in range(5):
        client = raw(node)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = client.response_head()
        assert status == 200
        while len(client.buffer) < int(headers.get("content-length", 0)):
            assert client.recv()
        client.buffer.clear()
        try:
            client.send(upgrade_request("/healthz", Upgrade="nothing-we-know"))
            assert client.response_head()[0] != 101
        except (BrokenPipeError, ConnectionResetError):
            pass  # hung up, as it may


@pytest.mark.parametrize("preface", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01",
                                     b"\x00" * 64, b"GARBAGE\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_other_protocols_are_turned_away(node, raw, preface):
    client = raw(node)
    client.send(preface)
    status, _ = client.response_head(DEADLINE + 6)
    assert status is None or status >= 400


@pytest.mark.parametrize("target", ["example.org:443", "127.0.0.1:22", "/ws"])
def test_connect_is_refused(node, raw, target):
    client = raw(node)
    client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    status, _ = client.response_head(DEADLINE + 6)
    assert status is None or status >= 400


def test_connect_with_an_upgrade_is_refused(node, raw):
    assert refused(raw(node), upgrade_request(method="CONNECT")) != 101


@pytest.mark.parametrize("version", ["8", "7", "0", "12", "14", "130", "x", ""])
def test_another_version_is_refused(node, raw, version):
    assert refused(raw(node), upgrade_request(Sec_WebSocket_Version=version)) != 101


def test_a_missing_version_is_refused(node, raw):
    assert refused(raw(node), upgrade_request(drop=("Sec-WebSocket-Version",))) != 101


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"])
def test_another_method_is_refused(node, raw, method):
    assert refused(raw(node), upgrade_request(method=method)) != 101


def test_a_post_with_a_body_is_refused(node, raw):
    assert refused(raw(node), upgrade_request(method="POST", extra=["Content-Length: 5"], body=b"hello")) != 101


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_get_with_a_body_is_refused(node, raw, header):
    assert refused(raw(node), upgrade_request(extra=[header], body=b"hello")) != 101


@pytest.mark.parametrize("key", ["c2hvcnQ=", "", "x", "dGhlIHNhbXBsZSBub25jZQ", "A" * 25, "A" * 3000])
def test_a_key_of_another_length_is_refused(node, raw, key):
    assert refused(raw(node), upgrade_request(Sec_WebSocket_Key=key)) != 101


def test_a_missing_key_is_refused(node, raw):
    assert refused(raw(node), upgrade_request(drop=("Sec-WebSocket-Key",))) != 101


@pytest.mark.parametrize("origin", ["http://evil.example", "https://evil.example", "null", "http://127.0.0.1.evil.example",
                                    "http://127.0.0.1:81"])
def test_a_page_of_another_origin_gets_403(node, raw, origin):
    client = raw(node)
    assert refused(client, upgrade_request(Origin=origin, Host=f"127.0.0.1:{node.port}")) == 403


def test_a_page_of_the_same_host_is_accepted(node, raw):
    host = f"127.0.0.1:{node.port}"
    raw(node).handshake(Origin=f"http://{host}", Host=host)


def test_a_program_without_origin_is_accepted(node, raw):
    raw(node).handshake()


def test_origins_can_be_allowed(start, raw):
    node = start.node(allowed_origins="https://chat.example.org,https://b.example.org")
    for origin in ("https://chat.example.org", "https://b.example.org"):
        raw(node).handshake(Origin=origin)
    for origin in ("http://chat.example.org", "https://chat.example.org.evil.example", "https://example.org",
                   "https://chat.example.org:444"):
        assert refused(raw(node), upgrade_request(Origin=origin)) == 403


def test_any_origin_can_be_allowed(start, raw):
    raw(start.node(allowed_origins="*")).handshake(Origin="http://anything.example")


@pytest.mark.parametrize("path", ["/", "/wsx", "/ws/", "/healthz", "/info", "/nothing", "/WS"])
def test_only_ws_is_upgraded(node, raw, path):
    assert refused(raw(node), upgrade_request(path)) != 101


def test_a_header_block_that_is_too_long_is_refused(node, raw):
    client = raw(node)
    try:
        client.send(upgrade_request(extra=[f"X-Pad-{n}: {'x' * 1000}" for n in range(64)]))
        status, _ = client.response_head()
    except (BrokenPipeError, ConnectionResetError):
        status = None
    assert status is None or status >= 400


def test_a_request_line_that_is_too_long_is_refused(node, raw):
    client = raw(node)
    try:
        client.send(upgrade_request("/ws?user=" + "x" * 20000))
        status, _ = client.response_head()
    except (BrokenPipeError, ConnectionResetError):
        status = None
    assert status is None or status >= 400


@pytest.mark.parametrize("start_of_it", [b"", b"GET /ws HT", upgrade_request()[:60], upgrade_request()[:-2]],
                         ids=["nothing", "half a line", "half a header", "all but the last line"])
def test_who_does_not_finish_the_request_is_closed(node, raw, start_of_it):
    client = raw(node)
    client.send(start_of_it)
    status, _ = client.response_head(DEADLINE + 20)
    assert status is None or status >= 400


def test_who_sends_the_request_too_slowly_is_closed(node, raw):
    client = raw(node)
    data = upgrade_request()
    try:
        for at in range(len(data)):
            client.send(data[at:at + 1])
            client.sock.settimeout(0.5)
            try:
                if not client.sock.recv(4096):
                    return
            except socket.timeout:
                continue
    except (BrokenPipeError, ConnectionResetError):
        return
    raise AssertionError("half a minute for a request was accepted")


@pytest.mark.parametrize("line", ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Upgrade: h2c", "Host: b",
                                  "Sec-WebSocket-Version: 8"])
def test_a_repeated_header_harms_nobody(node, raw, line):
    client = raw(node)
    client.send(upgrade_request(extra=[line]))
    client.response_head(DEADLINE + 6)


def test_two_requests_in_one_segment_are_not_mixed_up(node, raw):
    client = raw(node)
    client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + upgrade_request("/ws?room="))
    status, _ = client.response_head()
    assert status == 200


def test_a_flood_of_half_open_requests_does_not_block_others(node, raw, connect):
    sleepers = [raw(node) for _ in range(300)]
    for sleeper in sleepers:
        sleeper.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    connect(node).publish("through")


@pytest.mark.parametrize("query", ["&user={}", "a=1&&user={}", "a=1&user={}&", "a&user={}"])
def test_empty_and_unknown_arguments_do_not_hide_the_others(node, raw, user, query):
    client = raw(node).handshake("/ws?" + query.format(user))
    assert client.until("welcome")["user"] == user


def test_an_argument_that_is_too_long_is_refused_not_dropped(node, raw, user):
    assert refused(raw(node), upgrade_request(f"/ws?a={'x' * 600}&user={user}")) == 400


def test_clients_that_vanish_during_the_handshake_leave_nothing(start):
    node = start.node()  # its end tells of leaks, in a build that looks for them
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", node.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request = upgrade_request()
            client.sendall(request[:-2])
            client.sendall(request[-2:])  # the node is awake by now, and answers while we reset
    eventually(lambda: node.metric("chatnode_connections") == 1, what="only the one that asks is left")
    assert node.metric("chatnode_sessions") == 0
