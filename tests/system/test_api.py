# SPDX-License-Identifier: MIT
"""The HTTP API: what is published reaches members on all nodes once, and every refusal says what is wrong."""
import concurrent.futures
import http.client
import json
import signal
import socket

import pytest

from clients import RawClient
from harness import DEADLINE, SLOW, eventually, http_request, unique

PATH = "/api/v1/publish"
JSON = {"Content-Type": "application/json"}


def publish(node, value=None, headers=None, **fields):
    body = json.dumps(fields) if value is None else value
    return node.internal(PATH, method="POST", body=body, headers={**JSON, **(headers or {})})


def request_bytes(body, *more, length=None):
    lines = [f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json",
             f"Content-Length: {len(body) if length is None else length}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


def body_of(**fields):
    return json.dumps(fields).encode()


def assert_error(answer, status, code, retry=False):
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer.text
    error = answer.json()["error"]
    assert (error["code"], error["retry"]) == (code, retry) and error["message"]
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_publish_reaches_the_members_on_every_node(cluster, connect, room):
    ann, bob = connect(cluster[0], room=room), connect(cluster[1], room=room)
    answer = publish(cluster[2], room=room, **{"from": "bot"}, content={"text": "hi"}, id="a1")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    value = answer.json()
    assert value.keys() == {"pos", "ts", "dup", "id"} and (value["dup"], value["id"]) == (False, "a1")
    for session in (ann, bob):
        assert session.expect("message") == {"type": "message", "room": room, "from": "bot", "content": {"text": "hi"},
                                             "id": "a1", "pos": value["pos"], "ts": value["ts"]}


def test_the_same_id_at_two_nodes_at_once_is_one_message(cluster, connect, room):
    ann = connect(cluster[0], room=room)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for n in range(25):
            fields = {"room": room, "from": "bot", "content": n, "id": f"race-{n}"}
            racing = [pool.submit(publish, cluster[k % 3], json.dumps(fields)) for k in range(6)]
            values = [future.result(DEADLINE).json() for future in racing]
            assert len({value["pos"] for value in values}) == 1
            assert sorted(value["dup"] for value in values) == [False] + [True] * 5
    assert [frame["content"] for frame in ann.collect("message", 25)] == list(range(25))
    ann.fence()
    ann.refuse("message")


def test_a_client_and_the_api_share_their_ids(cluster, connect, room, user):
    ann = connect(cluster[0], user=user, room=room)
    ack = ann.publish("once", room, id="shared")
    value = publish(cluster[1], room=room, **{"from": user}, content="once", id="shared").json()
    assert (value["pos"], value["dup"]) == (ack["pos"], True)


def test_a_direct_message_reaches_the_inbox_and_waits_there(cluster, connect, user):
    bot = unique("bot")
    copy = connect(cluster[0], user=bot)
    here = connect(cluster[1], user=user)
    value = publish(cluster[2], to=user, **{"from": bot}, content="psst", id="d1").json()
    frame = here.expect("direct")
    assert (frame["from"], frame["to"], frame["content"], frame["pos"]) == (bot, user, "psst", value["pos"])
    assert copy.expect("direct")["content"] == "psst"
    later = unique("later")
    publish(cluster[0], to=later, **{"from": bot}, content="waits").json()
    assert connect(cluster[1], user=later).expect("direct")["content"] == "waits"


def test_the_header_gives_the_id_and_without_one_each_is_new(node, connect, room):
    ann = connect(node, room=room)
    fields = {"room": room, "from": "bot", "content": "x"}
    first = publish(node, headers={"Idempotency-Key": "key-1"}, **fields).json()
    again = publish(node, headers={"Idempotency-Key": '"key-1"'}, **fields).json()
    assert (first["id"], first["dup"], again["dup"], again["pos"]) == ("key-1", False, True, first["pos"])
    made = [publish(node, **fields).json() for _ in range(2)]
    assert made[0]["id"] != made[1]["id"] and not made[0]["dup"] and not made[1]["dup"]
    frames = ann.collect("message", 3)
    assert frames[0]["id"] == "key-1" and "id" not in frames[1]
    assert_error(publish(node, headers={"Idempotency-Key": "no good"}, **fields), 400, "bad_id")
    assert_error(publish(node, headers={"Idempotency-Key": "x" * 200}, **fields), 400, "bad_id")


@pytest.mark.parametrize("body,code", [
    ("", "bad_json"), ("hello", "bad_json"), ("[]", "bad_json"), ('{"room":', "bad_json"), ("{}", "bad_request"),
    ('{"room":"a","content":1}', "bad_request"), ('{"room":"a","from":"b"}', "bad_request"),
    ('{"from":"b","content":1}', "bad_request"), ('{"room":"a","to":"b","from":"c","content":1}', "bad_request"),
    ('{"room":"a b","from":"c","content":1}', "bad_name"), ('{"room":"a","from":"","content":1}', "bad_name"),
    ('{"room":"a","from":"c","content":1,"id":"a.b"}', "bad_id"),
    ('{"room":"a","from":"c","content":' + "[" * 20 + "]" * 20 + "}", "bad_json"),
])
def test_a_bad_body_is_refused(node, body, code):
    assert_error(publish(node, body), 400, code)


def test_other_paths_methods_and_types_are_refused(node):
    good = json.dumps({"room": "a", "from": "b", "content": 1})
    assert_error(node.internal("/api/v1/nothing", method="POST", body=good, headers=JSON), 404, "not_found")
    for method in ("GET", "PUT", "DELETE"):
        answer = node.internal(PATH, method=method)
        assert_error(answer, 405, "bad_method")
        assert answer.headers["allow"] == "POST"
    head = node.internal(PATH, method="HEAD")
    assert (head.status, head.body) == (405, b"")
    for kind in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert_error(node.internal(PATH, method="POST", body=good.encode(), headers=kind), 415, "bad_type")
    assert node.internal(PATH, method="POST", body=good, headers={"Content-Type": "application/json; charset=utf-8"}).status == 200


def test_the_public_listener_has_no_api(node):
    answer = http_request(node.port, PATH, method="POST", body=body_of(room="a", content=1), headers=JSON)
    assert answer.status == 405
    assert http_request(node.port, PATH).status == 404


def test_pages_are_kept_out_where_no_key_is_asked_for(node):
    assert_error(publish(node, headers={"Origin": "http://127.0.0.1:8000"}, room="a", content=1), 403, "forbidden")


def test_a_body_may_be_as_large_as_a_message_and_no_larger(start, connect, room):
    node = start.node(max_message=2000)
    ann = connect(node, room=room)
    shell = json.dumps({"room": room, "from": "bot", "content": ""})
    fits = json.dumps({"room": room, "from": "bot", "content": "x" * (2000 - len(shell))})
    assert publish(node, fits).status == 200
    assert len(ann.expect("message")["content"]) == 2000 - len(shell)
    with RawClient(node.internal_port) as client:  # what is not too long to read is read
        client.send(request_bytes(fits.encode() + b" "))
        status, headers, body = client.response()
        assert status == 413 and json.loads(body)["error"]["code"] == "too_large"
        assert headers["connection"] == "close" and not client.recv()
    assert publish(node, room=room, **{"from": "bot"}, content="next").status == 200
    with RawClient(node.internal_port) as client:
        client.send(request_bytes(b"{", length=1 << 40))
        status, headers, _ = client.response()
        assert (status, headers["connection"]) == (413, "close") and not client.recv()
    ann.expect("message", content="next")


@pytest.mark.parametrize("lines,status", [([], 411), (["Transfer-Encoding: chunked"], 411),
                                          (["Content-Length: 1x"], 411), (["Content-Length: -1"], 411),
                                          (["Content-Length: 99999999999999999999999"], 411)])
def test_without_a_length_nothing_is_read(node, raw, lines, status):
    client = raw(node.internal_port)
    client.send("\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode())
    found, headers, body = client.response()
    assert (found, headers["connection"]) == (status, "close")
    assert json.loads(body)["error"]["code"] == "no_length"
    assert not client.recv()


def test_a_connection_serves_many_requests(node, room):
    link = http.client.HTTPConnection("127.0.0.1", node.internal_port, timeout=DEADLINE)
    sock, positions = None, []
    for n in range(200):
        if n % 10 == 3:
            link.request("POST", PATH, "{", JSON)
            assert link.getresponse().read() and link.sock is sock
        link.request("POST", PATH, json.dumps({"room": room, "from": "bot", "content": n}), JSON)
        answer = link.getresponse()
        positions.append(json.loads(answer.read())["pos"])
        sock = sock or link.sock
        assert answer.status == 200 and link.sock is sock, "another connection"
    assert len(set(positions)) == 200
    link.close()


def test_a_body_in_pieces_is_put_together(node, connect, room):
    ann = connect(node, room=room)
    with RawClient(node.internal_port) as client:
        client.drip(request_bytes(body_of(room=room, **{"from": "bot"}, content="in pieces")))
        assert client.response()[0] == 200
    assert ann.expect("message")["content"] == "in pieces"


def test_a_body_that_does_not_come_is_not_waited_for(node, raw):
    silent, dripping = raw(node.internal_port), raw(node.internal_port)
    whole = request_bytes(body_of(room="a", **{"from": "b"}, content="x" * 10000))
    for client in (silent, dripping):
        client.send(whole[:200])
    sent = 200

    def both_are_cut():
        nonlocal sent
        try:
            dripping.send(whole[sent:sent + 1])
            sent += 1
        except OSError:
            silent.sock.settimeout(DEADLINE)
            return silent.sock.recv(1) == b""
        return False

    eventually(both_are_cut, DEADLINE * 3, "the connections are cut")
    assert sent < len(whole), "it had time to send all of it"


def test_what_is_sent_ahead_ends_the_connection_after_the_answer(start, raw, room):
    """libwebsockets cannot take it apart; the node must neither spin nor publish nonsense."""
    redis = start.redis()
    node = start.node(redis=redis, loops=1).wait_ready()
    one = request_bytes(body_of(room=room, **{"from": "bot"}, content=1))
    together = raw(node.internal_port)
    together.send(one + one)
    assert together.response()[0] == 200 and not together.recv()
    redis.signal(signal.SIGSTOP)
    try:
        later = raw(node.internal_port)
        later.send(one)
        eventually(lambda: node.metric("chatnode_publishes_total") == 2, what="the publish is under way")
        later.send(one)
        assert node.internal("/healthz").status == 200
    finally:
        redis.signal(signal.SIGCONT)
    assert later.response()[0] == 200 and not later.recv()
    bad = raw(node.internal_port)
    bad.send(request_bytes(b"{") + one)
    assert bad.response()[0] == 400 and not bad.recv()
    assert node.metric("chatnode_publishes_total") == 2
    assert publish(node, room=room, **{"from": "bot"}, content=2).status == 200


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(name="lone", params=[False, True], ids=["open", "locked"])
def _lone(request, start):
    """A node with one loop, without a key or with one that no request shows; must end cleanly."""
    node = start.node("--loops", "1", *(["--api-key", "s3cret-Key"] if request.param else []))
    node.is_locked = request.param
    yield node
    assert node.get("/healthz").status == 200 and node.internal("/healthz").status == 200, "its loop hangs"
    node.signal(signal.SIGTERM)
    node.finish(0)


# What is sent without waiting in between, and the statuses that come back, without a key and with one.
@pytest.mark.parametrize("parts,statuses", [
    ("get post", [200]), ("post get", [200]), ("get get post", [200]), ("post post post", [200]), ("empty post", [400]),
    ("post empty post", [200]), ("broken post", [400]), ("put post", [405]), ("chunked", [411]), ("chunked post", [411]),
    ("twice", [411]), ("twice post", [411]),
])
@pytest.mark.parametrize("way", ["at once", "one by one", "byte by byte"])
def test_no_request_behind_another_hangs_the_loop(lone, raw, way, parts, statuses):
    body = body_of(room="a", **{"from": "b"}, content=1)
    lines = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    kinds = {"get": GET, "post": request_bytes(body), "empty": request_bytes(b""), "broken": request_bytes(b"{"),
             "put": f"PUT {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
             "chunked": lines + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
             "twice": lines + b"Content-Length: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)}
    client = raw(lone.internal_port)
    try:
        pieces = [kinds[word] for word in parts.split()]
        for piece in [b"".join(pieces)] if way == "at once" else pieces:
            (client.drip if way == "byte by byte" else client.send)(piece)
    except (BrokenPipeError, ConnectionResetError):
        assert way != "at once"  # it is answered, and closed, in the midst of what follows
    first = 200 if parts.startswith("get") else 401 if lone.is_locked else statuses[0]
    found = []
    while len(found) < len(pieces) and (status := client.response()[0]) is not None:
        found.append(status)
    # Sent in pieces, a second one may come after the first one's answer; and what comes after the
    # end may reset the connection before the answer was read.
    allowed = [first] if way == "at once" else [None, first]
    assert (found[0] if found else None) in allowed, found
    if way == "at once":
        assert len(found) == 1 and client.response()[0] is None, found


@pytest.mark.parametrize("first", ["get", "empty", "post"])
def test_a_body_that_comes_after_its_head_hangs_no_loop(lone, raw, first):
    body = body_of(room="a", **{"from": "b"}, content=1)
    ahead = {"get": GET, "empty": request_bytes(b""), "post": request_bytes(body)}[first]
    client = raw(lone.internal_port)
    client.send(ahead + request_bytes(body)[:-len(body)])
    status, headers, _ = client.response()
    assert status == {"get": 200, "empty": 401 if lone.is_locked else 400, "post": 401 if lone.is_locked else 200}[first]
    try:
        client.send(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has been closed
    assert headers.get("connection") == "close" and client.response()[0] is None


def test_a_client_that_waits_for_a_go_ahead_hangs_no_loop(lone, raw):
    body = body_of(room="a", **{"from": "b"}, content=1)
    client = raw(lone.internal_port)
    client.send(request_bytes(body, "Expect: 100-continue"))
    assert client.response()[0] == (401 if lone.is_locked else 200)


def test_a_connection_ends_after_whatever_is_no_good_publish(node, raw):
    good = body_of(room="a", **{"from": "b"}, content=1)
    for request, status in ((GET, 200), (GET.replace(b"healthz", b"metrics"), 200), (GET.replace(b"healthz", b"x"), 404),
                            (GET.replace(b"GET", b"HEAD"), 200), (request_bytes(b""), 400),
                            (request_bytes(good, f"Idempotency-Key: {'x' * 200}"), 400),
                            (request_bytes(good).replace(b"/json", b"/xml"), 415)):
        client = raw(node.internal_port)
        client.send(request)
        found, headers = client.response_head()
        assert (found, headers["connection"]) == (status, "close"), request
        while client.recv():
            pass


def test_a_connection_that_is_cut_harms_nobody(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis).wait_ready()
    ann = connect(node, room=room)
    whole = request_bytes(body_of(room=room, **{"from": "bot"}, content="cut"))
    for length in (10, len(whole) - 5):  # in the midst of the head, of the body
        with RawClient(node.internal_port) as client:
            client.send(whole[:length])
    redis.signal(signal.SIGSTOP)
    try:
        before = node.metric("chatnode_publishes_total")
        with RawClient(node.internal_port) as client:
            client.send(whole)
            eventually(lambda: node.metric("chatnode_publishes_total") == before + 1, what="it is under way")
    finally:
        redis.signal(signal.SIGCONT)
    assert ann.expect("message")["content"] == "cut"  # it was asked for; only the answer finds nobody
    assert publish(node, room=room, **{"from": "bot"}, content="after").status == 200
    assert ann.expect("message")["content"] == "after"


def test_without_redis_it_says_try_again_and_the_id_makes_that_safe(start, connect, room):
    redis = start.redis()
    node = start.node(redis=redis, publish_deadline=int(300 * SLOW)).wait_ready()
    ann = connect(node, room=room)
    fields = {"room": room, "from": "bot", "content": "x", "id": "again"}
    redis.signal(signal.SIGSTOP)
    try:
        assert_error(publish(node, **fields), 503, "unavailable", retry=True)
    finally:
        redis.signal(signal.SIGCONT)

    def stored():
        answer = publish(node, **fields)
        return answer.status == 200 and answer.json()

    value = eventually(stored, what="it is stored")
    assert ann.expect("message")["pos"] == value["pos"]
    assert publish(node, **fields).json()["dup"] is True
    ann.fence()
    ann.refuse("message")
    redis.kill()
    assert_error(publish(node, **{**fields, "id": "other"}), 503, "unavailable", retry=True)


def test_only_so_many_wait_at_once(start, raw, room):
    redis = start.redis()
    node = start.node(redis=redis, publish_deadline=int(5000 * SLOW)).wait_ready()
    redis.signal(signal.SIGSTOP)
    try:
        clients = [raw(node.internal_port) for _ in range(40)]
        for n, client in enumerate(clients):
            client.send(request_bytes(body_of(room=room, **{"from": "bot"}, content=n)))
        eventually(lambda: node.metric("chatnode_api_requests_total", 'result="failed"') >= 6, what="some are refused")
    finally:
        redis.signal(signal.SIGCONT)
    answers = [client.response() for client in clients]
    stored = sum(1 for status, _, _ in answers if status == 200)
    refused = [json.loads(body)["error"]["code"] for status, _, body in answers if status == 503]
    assert 32 <= stored <= 34 and refused == ["overloaded"] * (40 - stored)
    assert node.metric("chatnode_api_requests_total", 'result="stored"') == stored


# ---- The key ----

@pytest.fixture(name="locked", scope="module")
def _locked(start_for_module, tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text("s3cret-Key\n")
    return start_for_module.node("--api-key-file", path, "--log-level", "debug")


def test_the_right_key_opens_it(locked):
    for value in ("Bearer s3cret-Key", "bearer s3cret-Key"):
        answer = publish(locked, room="a", **{"from": "b"}, content=1, headers={"Authorization": value, "Origin": "http://x"})
        assert answer.status == 200


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Bearer s3cret-Ke", "Bearer s3cret-Key2", "Bearer S3CRET-KEY",
                                   "Basic s3cret-Key", "s3cret-Key", "Bearer " + "s3cret-Key" * 50])
def test_any_other_does_not(locked, value):
    answer = publish(locked, room="a", **{"from": "b"}, content=1, headers={} if value is None else {"Authorization": value})
    assert_error(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_the_key_nothing_is_told_of_the_api(locked):
    for path, method in (("/api/v1/nothing", "GET"), (PATH, "GET"), ("/api/", "POST")):
        assert_error(locked.internal(path, method=method, body="" if method == "POST" else None), 401, "unauthorized")


def test_the_key_opens_only_the_api_and_is_never_shown(locked):
    assert locked.internal("/readyz").status == 200 and locked.internal("/metrics").status == 200
    for text in (locked.log, locked.internal("/metrics").text, locked.internal("/info").text):
        assert "s3cret" not in text


def test_off_loopback_there_is_no_api_without_a_key(start):
    node = start.node("--internal-listen", "0.0.0.0:0")
    port = int(eventually(lambda: [line for line in node.log.splitlines() if "node.ready" in line], what="it is ready")[0]
               .split('"internal_port":')[1].split(",")[0])
    fields = body_of(room="a", **{"from": "b"}, content=1)
    answer = http_request(port, PATH, method="POST", body=fields, headers=JSON)
    assert_error(answer, 403, "forbidden")
    assert "api-key" in answer.json()["error"]["message"]
    assert http_request(port, "/readyz").status == 200


# ---- The internal listener as a whole ----

@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_get_with_a_body_is_refused_with_an_answer(node, raw, path):
    for port in (node.internal_port, node.port):
        client = raw(port)
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        status, headers, _ = client.response()
        assert (status, headers["connection"]) == (400, "close") and not client.recv()


def test_operators_cannot_take_all_descriptors(start, raw, connect):
    node = start.node()
    held = [raw(node.internal_port) for _ in range(64)]
    for n, client in enumerate(held):  # each has been accepted, and goes on
        client.send(request_bytes(body_of(room="held", **{"from": "bot"}, content=n)))
        assert client.response()[0] == 200
    one_more = raw(node.internal_port)
    try:
        one_more.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        status = one_more.response_head()[0]
    except (BrokenPipeError, ConnectionResetError):
        status = None
    assert status in (None, 503)
    connect(node).publish("clients do not notice")
    for client in held:
        client.sock.shutdown(socket.SHUT_RDWR)

    def in_again():
        try:
            return node.internal("/healthz").status == 200
        except OSError:
            return False

    eventually(in_again, what="there is room again")
    for _ in range(200):  # each is counted out again
        assert node.internal("/healthz").status == 200
