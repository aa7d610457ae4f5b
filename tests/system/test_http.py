# SPDX-License-Identifier: MIT
"""What the node serves besides WebSocket, and on which listener."""
import re

import pytest

from clients import RawClient, upgrade_request
from harness import eventually, http_request


def test_the_page_comes_with_a_strict_policy(node):
    page = node.get("/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "unsafe-inline" not in policy and "unsafe-eval" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert b"<script" not in re.sub(rb"<script[^>]*src=", b"", page.body), "an inline script"
    assert not re.search(rb"(src|href)=\"https?://", page.body), "something from another host"


def test_everything_the_page_refers_to_is_served(node):
    page = node.get("/").text
    for path in re.findall(r"(?:src|href)=\"(/[^\"#]*)\"", page):
        assert node.get(path).status == 200, path


def test_the_sdk_is_served_as_a_module(node):
    sdk = node.get("/sdk/chatnode.mjs")
    assert sdk.status == 200 and "javascript" in sdk.headers["content-type"]
    assert b"export" in sdk.body


@pytest.mark.parametrize("path", ["/", "/sdk/chatnode.mjs"])
def test_an_asset_that_is_known_is_not_sent_again(node, path):
    first = node.get(path)
    tag = first.headers["etag"]
    assert re.fullmatch(r'(W/)?"[^"]+"', tag)
    again = node.get(path, headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert node.get(path, headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/info"])
def test_head_gives_the_headers_only(node, path):
    full, head = node.get(path), node.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers.get("content-length", str(len(full.body))) == str(len(full.body)) or path == "/info"


def test_info_says_what_this_is(node):
    info = node.get("/info")
    assert info.status == 200 and "json" in info.headers["content-type"]
    value = info.json()
    assert value["version"] and node.node_name in info.text


def test_healthz_and_readyz(node):
    assert node.get("/healthz").status == 200
    assert node.internal("/readyz").status == 200
    assert node.internal("/healthz").status in (200, 404)


METRIC_LINE = re.compile(r'^[a-z_:][a-z0-9_:]*(\{[a-z_]+="(\\.|[^"\\])*"(,[a-z_]+="(\\.|[^"\\])*")*\})? '
                         r'(-?[0-9.]+(e[+-]?[0-9]+)?|\+Inf|NaN)$')


def test_metrics_are_well_formed(node, connect):
    connect(node).publish("count me")
    answer = node.internal("/metrics")
    assert answer.status == 200 and "version=0.0.4" in answer.headers["content-type"]
    types, seen = {}, set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} has two TYPE lines"
            types[name] = kind
        elif line.startswith("# HELP "):
            assert len(line.split(" ", 3)[3]) > 10, line
        else:
            assert METRIC_LINE.match(line), line
            sample = line.rsplit(" ", 1)[0]
            assert sample not in seen, f"{sample} stands there twice"
            seen.add(sample)
            name = sample.split("{")[0]
            family = next((f for f in (name, re.sub(r"_(bucket|sum|count)$", "", name)) if f in types), None)
            assert family and name.startswith("chatnode_"), line
            if types[family] == "counter":
                assert name.endswith("_total"), name


def test_histograms_add_up(node):
    samples = node.metrics()
    buckets = {}
    for key, value in samples.items():
        match = re.fullmatch(r'(\w+)_bucket\{(.*?,)?le="([^"]+)"\}', key)
        if match:
            buckets.setdefault((match[1], match[2] or ""), []).append((float(match[3].replace("+Inf", "inf")), value))
    assert buckets
    for (family, labels), found in buckets.items():
        values = [value for _, value in sorted(found)]
        assert values == sorted(values), family
        count = f"{family}_count" + (f"{{{labels.rstrip(',')}}}" if labels else "")
        assert values[-1] == samples[count], family


def test_metrics_count_sessions_and_messages(start, connect):
    node = start.node()
    ann, bob = connect(node), connect(node)
    ann.publish("one"), bob.publish("two")
    assert node.metric("chatnode_sessions") == 2
    bob.close()
    eventually(lambda: node.metric("chatnode_sessions") == 1, what="one session is left")


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/admin/", "/api/v1/sessions", "/openapi.yaml"])
@pytest.mark.parametrize("host", ["127.0.0.1", "internal", "public", "default", "localhost:9000", "internal:9000"])
def test_internal_paths_are_not_on_the_public_listener_whatever_the_host_header_says(node, path, host):
    assert node.get(path, headers={"Host": host}).status == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "internal", "public", "default", "example.org"])
def test_the_internal_listener_answers_whatever_the_host_header_says(node, host):
    assert node.internal("/readyz", headers={"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/ws", "/"])
def test_clients_are_not_served_on_the_internal_listener(node, path):
    with RawClient(node.internal_port) as client:
        client.send(upgrade_request(path))
        assert client.response_head()[0] != 101


@pytest.mark.parametrize("path", ["/nothing", "/sdk", "/sdk/", "/sdk/nothing.mjs", "/index.html.bak", "/.git/config",
                                  "/" + "x" * 500, "/healthz/x"])
def test_unknown_paths_give_404(node, path):
    assert node.get(path).status in (400, 404)


@pytest.mark.parametrize("path", ["//", "/%00", "/./", "/%2f", "/?x=1", "/healthz?x=1"])
def test_an_odd_spelling_gives_nothing_else_than_what_is_served(node, path):
    answer = node.get(path)
    assert answer.status in (400, 404) or answer.body in (node.get("/").body, node.get("/healthz").body)


@pytest.mark.parametrize("path", ["/../etc/passwd", "/sdk/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd",
                                  "/sdk/..%5c..%5cetc/passwd", "//etc/passwd", "/sdk//../../../proc/self/environ"])
def test_no_path_leads_to_a_file_of_the_machine(node, path):
    with RawClient(node.port) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status, _ = client.response_head()
        while client.recv():
            pass
        assert status is None or status in (200, 301, 302, 400, 403, 404)
        assert b"root:" not in client.buffer and b"PATH=" not in client.buffer


def test_a_plain_request_to_ws_is_told_to_upgrade(node):
    assert node.get("/ws").status in (400, 404, 405, 426)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_change_nothing(node, method):
    try:
        assert http_request(node.port, "/", method=method).status >= 400
    except (ConnectionError, OSError):
        pass  # hung up, as it may
    assert node.get("/healthz").status == 200


def test_a_connection_serves_several_requests(node):
    with RawClient(node.port) as client:
        for _ in range(5):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers = client.response_head()
            assert status == 200
            while len(client.buffer) < int(headers["content-length"]):
                assert client.recv()
            client.buffer.clear()


def test_a_head_request_is_followed_by_the_next_one_on_the_same_connection(node):
    with RawClient(node.port) as client:
        client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response_head()[0] == 200
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response_head()[0] == 200


def test_an_answer_without_a_body_is_followed_by_the_next_one_on_the_same_connection(node):
    page = node.get("/")
    with RawClient(node.port) as client:
        client.send(f"GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {page.headers['etag']}\r\n\r\n"
                    "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers = client.response_head()
        assert (status, int(headers["content-length"])) == (304, len(page.body))
        while not client.buffer:
            assert client.recv()
        assert client.buffer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("first", ["GET / HTTP/1.1", "GET /sdk/chatnode.mjs HTTP/1.1"])
def test_requests_sent_ahead_are_answered_in_order(node, first):
    with RawClient(node.port) as client:
        client.send(f"{first}\r\nHost: x\r\n\r\n".encode() * 3 + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        for expected in (200, 200, 200, 404):
            status, headers = client.response_head()
            assert status == expected
            while len(client.buffer) < int(headers["content-length"]):
                assert client.recv()
            del client.buffer[:int(headers["content-length"])]


def test_the_whole_page_arrives_at_a_slow_reader(node, raw):
    size = len(node.get("/sdk/chatnode.mjs").body)
    client = raw(node, rcvbuf=4096)
    client.send(b"GET /sdk/chatnode.mjs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status, headers = client.response_head()
    assert status == 200 and int(headers["content-length"]) == size
    while len(client.buffer) < size:
        assert client.recv()


def test_the_internal_listener_can_be_turned_off(start):
    node = start.node("--internal-listen", "")
    with pytest.raises(OSError):
        node.internal("/readyz")
    assert node.get("/healthz").status == 200
