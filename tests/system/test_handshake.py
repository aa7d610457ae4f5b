# SPDX-License-Identifier: MIT
"""The guards of the upgrade: what is not a proper WebSocket handshake never becomes a session, and harms nobody."""
import json
import socket
import struct
import subprocess

import pytest

from clients import CLOSE, TEXT, frame_bytes, upgrade_request
from harness import DEADLINE, Node, eventually, unique


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


def test_a_refusal_says_what_would_have_been_right_and_ends_the_connection(node, raw):
    for data, status, name, value in (
            (upgrade_request(Sec_WebSocket_Version="8"), 426, "sec-websocket-version", "13"),
            (upgrade_request(method="POST"), 405, "allow", "GET")):
        client = raw(node)
        client.send(data + upgrade_request())  # what comes behind it is not a request of its own
        got, headers = client.response_head()
        assert (got, headers[name], headers["connection"], headers["content-length"]) == (status, value, "close", "0")
        assert not client.recv() and not client.buffer


HEAD = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
HUNG_UP = None  # libwebsockets answers nothing itself, and gives us no chance to

# (name, what of the good request is replaced, by what, the statuses that are right). 403 is libwebsockets' own for what
# it cannot read. Where releases of it differ, each is allowed.
TABLE = [
    ("method POST", "GET", "POST", (405,)),
    ("method PUT", "GET", "PUT", (405,)),
    ("method HEAD", "GET", "HEAD", (405,)),
    ("method OPTIONS", "GET", "OPTIONS", (405,)),
    ("method DELETE", "GET", "DELETE", (405,)),
    ("method PATCH", "GET", "PATCH", (405,)),
    ("method TRACE", "GET", "TRACE", (403, HUNG_UP)),
    ("method unknown", "GET", "FOO", (403, HUNG_UP)),
    ("method CONNECT", "GET", "CONNECT", (405, HUNG_UP)),
    ("HTTP/1.0", "HTTP/1.1", "HTTP/1.0", (400,)),
    ("HTTP/2.0", "HTTP/1.1", "HTTP/2.0", (400,)),
    ("HTTP/1.2", "HTTP/1.1", "HTTP/1.2", (400,)),
    ("not HTTP", "HTTP/1.1", "HTTQ/1.1", (400,)),
    ("no HTTP version", " HTTP/1.1", "", (400, HUNG_UP)),
    ("absolute-form", "/ws", "http://127.0.0.1/ws", (400,)),
    ("absolute-form of another host", "/ws", "http://evil.example/ws", (400,)),
    ("asterisk-form", "/ws", "*", (400,)),
    ("path without a slash", "/ws", "ws", (400,)),
    ("path of something else", "/ws", "/wss", (404,)),
    ("path longer", "/ws", "/ws/", (404,)),
    ("path with a parameter", "/ws", "/ws;x", (404,)),
    ("path with a fragment", "/ws", "/ws#x", (404,)),
    ("path with a half escape", "/ws", "/ws%", (403, HUNG_UP)),
    ("path with a wrong escape", "/ws", "/ws%zz", (403, HUNG_UP)),
    ("path with an escaped NUL", "/ws", "/ws%00", (400, 403, 404, HUNG_UP)),
    ("path with a NUL", "/ws", "/ws\0", (400, 403, 404, HUNG_UP)),
    ("query with an escaped control character", "/ws", "/ws?a=%0a", (400,)),
    ("query with a control character", "/ws", "/ws?a=\x01", (400,)),
    ("query with DEL", "/ws", "/ws?a=\x7f", (400,)),
    ("query with an escaped NUL", "/ws", "/ws?a=%00", (400, 403, HUNG_UP, 101)),  # 4.3 leaves it out
    ("query with a name behind an escaped NUL", "/ws", "/ws?user=ann%00bob", (400, 403, HUNG_UP)),
    ("query with a wrong escape", "/ws", "/ws?a=%zz", (403, HUNG_UP)),
    ("query too long", "/ws", "/ws?a=" + "x" * 600, (400,)),
    ("target too long", "/ws", "/ws?" + "x" * 6000, (414, 431, HUNG_UP)),
    ("no Host", "Host: 127.0.0.1\r\n", "", (400,)),
    ("empty Host", "Host: 127.0.0.1", "Host:", (400,)),
    ("two Hosts", "Host: 127.0.0.1", "Host: 127.0.0.1\r\nHost: b", (400,)),
    ("the same Host twice", "Host: 127.0.0.1", "Host: 127.0.0.1\r\nHost: 127.0.0.1", (400,)),
    ("Host with a NUL", "Host: 127.0.0.1", "Host: 127\x000.0.1", (400, 403, HUNG_UP)),
    ("Host with a control character", "Host: 127.0.0.1", "Host: 127\x010.0.1", (400,)),
    ("Host with DEL", "Host: 127.0.0.1", "Host: 127\x7f0.0.1", (400,)),
    ("Upgrade h2c", "Upgrade: websocket", "Upgrade: h2c", (400,)),
    ("Upgrade unknown", "Upgrade: websocket", "Upgrade: foo", (400, 403)),
    ("Upgrade to one of several", "Upgrade: websocket", "Upgrade: h2c, websocket", (400, 403)),
    ("Upgrade empty", "Upgrade: websocket", "Upgrade:", (400, 403, 404)),
    ("Upgrade twice", "Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket", (400,)),
    ("Upgrade twice, differently", "Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c", (400,)),
    ("no Connection", "Connection: Upgrade\r\n", "", (400,)),
    ("Connection without upgrade", "Connection: Upgrade", "Connection: keep-alive", (400,)),
    ("Connection with a word like it", "Connection: Upgrade", "Connection: notupgrade", (400,)),
    ("no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", (400,)),
    ("key too short", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub2==", (400,)),
    ("key too long", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZXgx", (400,)),
    ("key without its end", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", (400,)),
    ("key of 24 other characters", "dGhlIHNhbXBsZSBub25jZQ==", "!" * 22 + "==", (400,)),
    ("key with bits beyond 16 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==", (400,)),
    ("key twice", "Sec-WebSocket-Key: ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: ", (400,)),
    ("no version", "Sec-WebSocket-Version: 13\r\n", "", (426,)),
    ("version empty", "Version: 13", "Version:", (426,)),
    ("version 8", "Version: 13", "Version: 8", (426,)),
    ("version 13 and more", "Version: 13", "Version: 13, 8", (426,)),
    ("version with a zero", "Version: 13", "Version: 013", (426,)),
    ("version twice", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13", (400,)),
    ("Origin twice", "Version: 13", "Version: 13\r\nOrigin: http://127.0.0.1\r\nOrigin: http://127.0.0.1", (400,)),
    ("Origin null", "Version: 13", "Version: 13\r\nOrigin: null", (403,)),
    ("Origin of another host", "Version: 13", "Version: 13\r\nOrigin: http://evil.example", (403,)),
    ("Origin with a path", "Version: 13", "Version: 13\r\nOrigin: http://127.0.0.1/", (403,)),
    ("Origin of another scheme", "Version: 13", "Version: 13\r\nOrigin: https://127.0.0.1", (403,)),
    ("Content-Length", "Version: 13", "Version: 13\r\nContent-Length: 5", (400,)),
    ("Content-Length 0", "Version: 13", "Version: 13\r\nContent-Length: 0", (400,)),
    ("Content-Length twice", "Version: 13", "Version: 13\r\nContent-Length: 5\r\nContent-Length: 5", (400,)),
    ("Transfer-Encoding", "Version: 13", "Version: 13\r\nTransfer-Encoding: chunked", (400,)),
    ("Transfer-Encoding and Content-Length", "Version: 13",
     "Version: 13\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", (400,)),
    ("Authorization twice", "Version: 13", "Version: 13\r\nAuthorization: a\r\nAuthorization: b", (400,)),
    ("a known header with a control character", "Version: 13", "Version: 13\r\nAccept: a\x01b", (400,)),
    ("headers too long", "Version: 13", "Version: 13\r\nX-Pad: " + "x" * 5000, (431, HUNG_UP)),
    ("a header's name too long", "Version: 13", "Version: 13\r\n" + "x" * 5000 + ": y", (400, 431, HUNG_UP)),
    ("a second request line", "Version: 13", "Version: 13\r\nGET /ws HTTP/1.1", (400, HUNG_UP)),
]


@pytest.mark.parametrize("old, new, statuses", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_handshake_table(node, raw, old, new, statuses):
    assert HEAD.count(old) >= 1
    client = raw(node)
    client.send((HEAD.replace(old, new, 1) + "\r\n").encode("latin-1"))
    status, _ = client.response_head()
    assert status in statuses and (status == 101 or b"welcome" not in client.buffer)


def test_the_row_that_all_others_of_the_table_differ_from_is_accepted(node, raw):
    client = raw(node)
    client.send((HEAD + "\r\n").encode())
    assert client.response_head()[0] == 101


# What does no harm, and libwebsockets does not let us see: a line that is folded (RFC 9112 section 5.2) is a header of a
# name that nobody knows, a bare line feed ends a line, and headers that the node does not know may hold anything.
@pytest.mark.parametrize("lines", ["X-Pad: a\r\n b: c", "X-Pad: a\nX-Bad: b", "X-Pad: a\x01b", "X-Pad: a\0b", "Origin : null"],
                         ids=["a folded line", "a bare line feed", "a control character", "a NUL", "a blank before the colon"])
def test_what_is_in_headers_that_nobody_reads_harms_nobody(node, raw, lines):
    client = raw(node)
    client.send((HEAD + lines + "\r\n\r\n").encode("latin-1"))
    assert client.response_head(DEADLINE + 6)[0] in (101, 400, HUNG_UP)


def test_a_folded_origin_is_not_read_as_another(start, raw):
    node = start.node(allowed_origins="https://a.example")
    client = raw(node)
    client.send((HEAD + "Origin: https://evil.example\r\n https://a.example\r\n\r\n").encode())
    assert client.response_head(DEADLINE + 6)[0] in (400, 403, HUNG_UP)


@pytest.mark.parametrize("cut", [0, 1, 10])
def test_frames_sent_with_the_request_are_taken_after_it(node, raw, room, user, cut):
    """Neither lost nor taken before the session has begun."""
    client = raw(node)
    data = upgrade_request(f"/ws?user={user}&room={room}") + b"".join(
        frame_bytes(TEXT, json.dumps({"type": "ping", "id": f"p{n}"})) for n in range(3))
    head = data.index(b"\r\n\r\n") + 4
    client.send(data[:head + cut])
    client.send(data[head + cut:])
    assert client.response_head()[0] == 101
    assert client.until("welcome")["user"] == user
    assert [client.until("pong")["id"] for _ in range(3)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("size, cut", [(10, 1), (300, 0), (3000, 0), (60000, 0)])
def test_many_bytes_sent_with_the_request_are_taken_after_it_or_end_only_their_own_session(node, raw, room, size, cut):
    """RFC 6455 section 4.1 forbids them. libwebsockets 4.1.6 makes its answer where more than some 200 bytes still wait,
    or any that come with the request's last byte alone: the session gets its own answer for a frame."""
    client = raw(node)
    request = upgrade_request(f"/ws?room={room}")
    client.send(request[:len(request) - cut])
    client.send(request[len(request) - cut:] + frame_bytes(TEXT, json.dumps({"type": "ping", "pad": "x" * size})))
    assert client.response_head()[0] == 101
    client.until("welcome")
    while (frame := client.recv_frame()) and frame[0] != CLOSE:
        value = json.loads(frame[1])
        if value["type"] == "pong":
            return
        assert value["type"] == "joined"


def test_frames_sent_with_a_refused_request_are_not_taken(node, raw, connect, room):
    ann = connect(node, room=room)
    client = raw(node)
    client.send(upgrade_request(f"/ws?room={room}", Origin="null") + frame_bytes(TEXT, "from nobody"))
    assert client.response_head()[0] == 403 and not client.recv()
    ann.publish("from ann", room)
    assert ann.expect("message")["content"] == "from ann"


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
    node = start.node(allowed_origins="https://chat.example.org,https://b.example.org:8443,http://[2001:db8::1],app://localhost")
    for origin in ("https://chat.example.org", "https://chat.example.org:443", "HTTPS://Chat.Example.Org",
                   "https://b.example.org:8443", "http://[2001:DB8::1]:80", "app://localhost"):
        raw(node).handshake(Origin=origin)
    for origin in ("http://chat.example.org", "https://chat.example.org.evil.example", "https://example.org",
                   "https://chat.example.org:444", "https://chat.example.org:80", "https://b.example.org", "null",
                   "https://chat.example.org/", "https://chat.example.org,https://b.example.org:8443",
                   "https://user@chat.example.org", "https://x.chat.example.org", "https://chat.example.org.",
                   f"http://127.0.0.1:{node.port}", "x" * 600):
        assert refused(raw(node), upgrade_request(Origin=origin, Host=f"127.0.0.1:{node.port}")) == 403
    assert node.metric("chatnode_refused_total", 'reason="origin"') == 14


def test_where_an_origin_is_required_a_request_without_one_is_refused(start, raw):
    node = start.node("--require-origin", allowed_origins="https://a.example")
    assert refused(raw(node), upgrade_request()) == 403
    raw(node).handshake(Origin="https://a.example")


@pytest.mark.parametrize("value", ["null", "a.example", "https://a.example/", "https://", "https://a.example:x",
                                   "https://*.example", "https://a.example,,https://b.example", "https://u@a.example"])
def test_an_entry_that_can_be_no_origin_is_refused_before_the_node_runs(value):
    done = subprocess.run([Node(start=False).argv[0], "--check-config", "--allowed-origins", value],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 78 and "--allowed-origins" in done.stderr


def test_behind_a_trusted_proxy_the_scheme_is_that_of_the_proxys_client(start, raw):
    node = start.node(trusted_proxies="127.0.0.1")

    def status(origin, host, proto):
        client = raw(node)
        client.send(upgrade_request(Origin=origin, Host=host, X_Forwarded_Proto=proto))
        return client.response_head()[0]

    assert status("https://chat.example", "chat.example", "https") == 101
    assert status("https://chat.example:443", "chat.example", "https") == 101
    assert status("http://chat.example", "chat.example", "https") == 403
    assert status("https://chat.example", "chat.example", "http") == 403
    assert status("http://chat.example", "chat.example:80", "http") == 101


def test_whom_the_node_does_not_trust_it_does_not_believe_about_the_scheme(node, raw):
    assert refused(raw(node), upgrade_request(Origin="https://chat.example", Host="chat.example",
                                              X_Forwarded_Proto="https")) == 403


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
