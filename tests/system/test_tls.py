# SPDX-License-Identifier: MIT
"""TLS on the listeners: who is let in, what is shown, and that nothing of what passes is lost or mixed up."""
import json
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from clients import PING, TEXT, Client, frame_bytes
from harness import CHATNODE, DEADLINE, Redis, eventually, free_port, http_request, unique
from pki import Pki, TlsClient, tls_connect


@pytest.fixture(name="pki", scope="module")
def _pki():
    pki = Pki()
    pki.issue("first")
    pki.issue("second")
    pki.issue("expired", days=-1)
    pki.issue("soon", days=7)
    pki.issue("operator", alt="DNS:operator")
    pki.issue("stranger", by="other", alt="DNS:operator")
    yield pki
    pki.stop()


@pytest.fixture(name="trust", scope="module")
def _trust(pki):
    return pki.client_context()


def public_tls(pki, trust, name="first", **flags):
    """Arguments for a node whose public listener speaks TLS."""
    cert, key = pki.install(name, unique("live"))
    return {"tls": trust, "tls_cert": cert, "tls_key": key, **flags}


@pytest.fixture(name="shared_tls_node", scope="module")
def _shared_tls_node(start_for_module, pki, trust):
    return start_for_module.node(loops=2, **public_tls(pki, trust))


@pytest.fixture(name="node")
def _node(shared_tls_node):
    yield shared_tls_node
    assert shared_tls_node.alive(), shared_tls_node.log[-20000:]


@pytest.fixture(name="secure")
def _secure(trust):
    """secure(node): a raw client over TLS that is closed after the test."""
    clients = []

    def secure(node, context=None, **options):
        clients.append(TlsClient(node.port, context or trust, **options))
        return clients[-1]

    yield secure
    for client in clients:
        client.sock.close()


# ---- Who is let in ----

def versions(pki, least, most):
    context = pki.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = least, most
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(node, pki, version):
    with pytest.raises((ssl.SSLError, ConnectionError)) as refusal:
        tls_connect(node.port, versions(pki, version, version))
    assert "version" in str(refusal.value).lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_versions_work_with_forward_secrecy(node, pki, version, secure, room):
    client = secure(node, versions(pki, version, version))
    client.open(room=room)
    name, protocol, _ = client.sock.cipher()
    assert name.startswith(("ECDHE-", "TLS_")) and ("GCM" in name or "CHACHA20" in name), (name, protocol)
    assert not client.sock.session_reused


def test_the_newest_alone_can_be_asked_for(start, pki, trust):
    node = start.node(tls_min_version="1.3", **public_tls(pki, trust))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls_connect(node.port, versions(pki, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2))
    assert tls_connect(node.port, trust).version() == "TLSv1.3"


def offering(pki, *protocols):
    context = pki.client_context()
    context.set_alpn_protocols(list(protocols))
    return context


def test_http_1_is_chosen_and_http_2_is_not(node, pki):
    assert tls_connect(node.port, offering(pki, "h2", "http/1.1")).selected_alpn_protocol() == "http/1.1"
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        tls_connect(node.port, offering(pki, "h2"))
    assert tls_connect(node.port, pki.client_context()).selected_alpn_protocol() is None


def test_there_is_no_resumption(node, trust):
    first = tls_connect(node.port, trust)
    first.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert first.recv(12) == b"HTTP/1.1 200"
    assert first.session is None or not first.session.has_ticket


def test_plain_text_on_the_port_is_answered_with_nothing(node, raw):
    before = node.metric("chatnode_connections")
    client = raw(node)
    client.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    while client.recv():
        pass
    assert b"HTTP" not in client.buffer  # an alert of TLS, or nothing
    eventually(lambda: node.metric("chatnode_connections") <= before)
    assert node.get("/healthz").status == 200


def test_tls_on_a_plain_port_gets_nowhere(start, trust):
    node = start.node()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls_connect(node.port, trust)


def test_a_name_leads_to_no_other_listener(start, pki, trust):
    """Neither the name in the handshake nor the one in the request: each listener has one certificate, and rules."""
    node = start.node(internal_tls=pki.client_context("operator"), **public_tls(pki, trust, "second"),
                      **internal_tls(pki, internal_tls_client_ca=pki.path("ca.crt")))
    anyone, operator = pki.client_context(), pki.client_context("operator")
    anyone.check_hostname = operator.check_hostname = False
    for name in ("internal", "public", "default", "i", "elsewhere.example.org"):
        for port, context, wanted, status in ((node.port, anyone, "second", b"404"),
                                              (node.internal_port, operator, "first", b"200")):
            sock = tls_connect(port, context, name=name)
            assert int(sock.getpeercert()["serialNumber"], 16) == pki.serial(wanted)
            sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: %s\r\n\r\n" % name.encode())
            assert sock.recv(12) == b"HTTP/1.1 " + status


def test_a_handshake_that_does_not_go_on_is_ended(node):
    before = node.metric("chatnode_connections")
    silent, slow = (socket.create_connection(("127.0.0.1", node.port)) for _ in range(2))
    slow.sendall(b"\x16\x03\x01\x02\x00\x01")
    eventually(lambda: node.metric("chatnode_connections") >= before + 2)
    for sock in (silent, slow):
        sock.settimeout(DEADLINE * 3)
        assert sock.recv(1) == b""
        sock.close()
    eventually(lambda: node.metric("chatnode_connections") <= before)


# ---- What passes ----

def test_a_chat_over_tls(node, trust, room):
    ann, bob = (Client(node.port, user=unique("u"), room=room, tls=trust) for _ in range(2))
    ack = ann.publish("hello", room)
    assert bob.expect("message", room=room)["pos"] == ack["pos"]
    big = "x" * 60000
    bob.publish(big, room)
    assert ann.expect("message", room=room, **{"from": bob.user})["content"] == big
    for client in (ann, bob):
        client.close()


def text_frame(value):
    return frame_bytes(TEXT, json.dumps(value))


def test_a_request_in_pieces_and_many_in_one_record(node, secure, room):
    client = secure(node)
    client.open(room=room)
    frames = b"".join(text_frame({"type": "ping", "id": f"p{n}"}) for n in range(300))
    client.send(frames)  # a record of 16 KiB, which the node reads in pieces of 1 KiB
    assert [client.until("pong")["id"] for _ in range(300)] == [f"p{n}" for n in range(300)]
    client.drip(text_frame({"type": "ping", "id": "last"}))
    client.until("pong", id="last")


def test_the_page_is_whole_over_tls(node):
    page = node.get("/sdk/chatnode.mjs")
    assert page.status == 200 and len(page.body) == int(page.headers["content-length"]) > 10000


def read_messages(client, last, deadline=DEADLINE * 6):
    """Contents of all messages up to the one with content `last`; whatever is not a whole frame fails."""
    found = []
    while not found or found[-1] != last:
        frame = client.recv_frame(deadline)
        assert frame and frame[0] in (TEXT, PING), frame and (frame[0], frame[1][:50])
        if frame[0] == TEXT:
            value = json.loads(frame[1])
            assert value["type"] in ("message", "joined", "presence"), value
            if value["type"] == "message":
                found.append(value["content"])
    return found


def test_slow_readers_get_every_byte_in_order(start, pki, trust, secure, room):
    """Sockets that are full again and again, so that OpenSSL must repeat its writes; pings go in between."""
    node = start.node(loops=2, ring_frames=4096, ring_bytes=67108864, slow_timeout=60000, ping_interval=50,
                      pong_timeout=60000, **public_tls(pki, trust))
    slow = [secure(node, rcvbuf=4096) for _ in range(4)]
    for client in slow:
        client.open(room=room)
    ann = Client(node.port, user=unique("ann"), room=room, tls=trust)
    sent = []
    for n in range(60):
        for size in (1, 130, 5000, 40000):
            sent.append(f"{n}-{size}-" + chr(97 + n % 26) * size)
            ann.say(sent[-1], room)
        ann.collect("ack", 4)
    assert node.metric("chatnode_lagged_total") > 0
    for client in slow:
        assert read_messages(client, sent[-1]) == sent
    assert ann.collect("message", len(sent))
    ann.close()


def test_a_reader_that_takes_nothing_is_closed(start, pki, trust, secure, room):
    node = start.node(slow_timeout=500, **public_tls(pki, trust))
    slow = secure(node, rcvbuf=4096)
    slow.open(room=room)
    ann = Client(node.port, user=unique("ann"), room=room, tls=trust)
    for _ in range(60):
        ann.publish("x" * 40000, room)
    eventually(lambda: node.metric("chatnode_disconnects_total", 'reason="slow"') == 1)
    ann.close()


@pytest.mark.parametrize("end", ["half", "reset", "close_notify"])
def test_who_goes_without_a_word_is_let_go(node, secure, room, end):
    client = secure(node)
    client.open(room=room)
    eventually(lambda: node.metric("chatnode_sessions") >= 1)
    if end == "half":
        client.end_writing()
    elif end == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.sock.close()
    else:
        client.sock.settimeout(DEADLINE)
        try:
            client.sock.unwrap()
        except (ssl.SSLError, OSError):
            pass  # the node closes without waiting
    eventually(lambda: node.metric("chatnode_sessions") == 0)


def test_close_codes_pass_over_tls(node, secure, room):
    big = secure(node)
    big.open(room=room)
    big.send_frame(TEXT, "x" * 70000)
    assert big.closed_with() == 1009
    bad = secure(node)
    bad.open(room=room)
    bad.send_frame(TEXT, b"\xff\xfe")
    assert bad.closed_with() == 1007
    rude = secure(node)
    rude.open(room=room)
    rude.send_frame(3, b"")
    assert rude.closed_with() == 1002


def test_a_drain_says_goodbye_over_tls(start, pki, trust, secure, room):
    node = start.node(drain=200, **public_tls(pki, trust))
    clients = [secure(node) for _ in range(5)]
    for client in clients:
        client.open(room=room)
    node.signal(signal.SIGTERM)
    assert [client.closed_with() for client in clients] == [1012] * 5
    node.finish()


# ---- New certificates ----

def shown(node, trust):
    return int(tls_connect(node.port, trust).getpeercert()["serialNumber"], 16)


def replace(pki, node, name):
    """Puts other files where the node reads its own, and tells it."""
    place = next(word for word in node.argv if word.endswith(".crt"))
    pki.install(name, place.rsplit("/", 1)[1][:-4])
    seen = node.log.count('"config.reload"')
    node.signal(signal.SIGHUP)
    eventually(lambda: node.log.count('"config.reload"') > seen)


def test_a_new_certificate_is_shown_and_nobody_is_dropped(start, pki, trust, room):
    node = start.node(loops=2, **public_tls(pki, trust))
    clients = [Client(node.port, user=unique("u"), room=room, tls=trust) for _ in range(10)]
    stop, acked, failures = threading.Event(), [], []

    def chatter():
        try:
            while not stop.is_set():
                acked.append(clients[0].publish(f"m{len(acked)}", room))
        except AssertionError as error:
            failures.append(error)

    thread = threading.Thread(target=chatter)
    thread.start()
    before = shown(node, trust)
    for name in ("second", "first", "second"):
        replace(pki, node, name)
        eventually(lambda wanted=pki.serial(name): all(shown(node, trust) == wanted for _ in range(6)))  # each loop's
    stop.set()
    thread.join(DEADLINE)
    assert before == pki.serial("first") and not failures and len(acked) > 5
    for client in clients:
        assert len(client.collect("message", len(acked), room=room)) == len(acked)
        assert not client.ended
        client.close()
    assert node.log.count('"tls.renewed"') == 3


@pytest.mark.parametrize("files", ["expired", "mixed", "none"])
def test_a_bad_file_changes_nothing(start, pki, trust, files):
    cert, key = pki.install("first", unique("live"))
    node = start.node("--config", _empty_config(pki), tls=trust, tls_cert=cert, tls_key=key)
    if files == "mixed":
        cert.write_bytes(pki.path("second.crt").read_bytes())
    elif files == "none":
        cert.unlink()
    else:
        pki.install("expired", cert.stem)
    node.signal(signal.SIGHUP)
    eventually(lambda: "nothing was changed" in node.log)
    words = {"expired": "the certificate has expired", "mixed": "does not belong", "none": "No such file"}[files]
    assert words in node.log and '"tls.invalid"' in node.log
    assert shown(node, trust) == pki.serial("first")
    replace(pki, node, "second")
    eventually(lambda: shown(node, trust) == pki.serial("second"))


def _empty_config(pki):
    path = pki.path(unique("config") + ".conf")
    path.write_text("")
    return path


def test_a_reload_names_what_it_applied_and_what_it_cannot(start, pki, trust):
    cert, key = pki.install("first", unique("live"))
    config = pki.path(unique("config") + ".conf")
    config.write_text(f"tls-cert = {cert}\ntls-key = {key}\nmax-rooms = 5\n")
    node = start.node("--config", config, tls=trust)
    other_cert, other_key = pki.install("second", unique("live"))
    config.write_text(f"tls-cert = {other_cert}\ntls-key = {other_key}\nmax-rooms = 6\nredis-url = redis://:secret@h\n")

    def reloaded():
        lines = [json.loads(line) for line in node.log.splitlines() if '"config.reload"' in line]
        return lines and lines[-1]

    node.signal(signal.SIGHUP)
    line = eventually(reloaded)
    assert line["applied"] == "tls-cert, tls-key"
    assert sorted(line["needs_restart"].split(", ")) == ["max-rooms", "redis-url"]
    assert "secret" not in node.log
    eventually(lambda: shown(node, trust) == pki.serial("second"))
    config.write_text("")
    node.signal(signal.SIGHUP)
    eventually(lambda: '"tls.restart"' in node.log)
    assert shown(node, trust) == pki.serial("second")


def test_the_end_of_a_certificate_is_told(start, pki, trust):
    node = start.node(**public_tls(pki, trust, "first"))
    name = "chatnode_tls_certificate_expiry_timestamp_seconds"
    end = ssl.cert_time_to_seconds(tls_connect(node.port, trust).getpeercert()["notAfter"])
    assert node.metric(name, 'listener="public"') == end
    assert node.metric(name, 'listener="internal"') == 0
    assert '"tls.expiry"' not in node.log
    replace(pki, node, "soon")
    eventually(lambda: '"tls.expiry"' in node.log)
    assert node.metric(name, 'listener="public"') < end
    line = next(json.loads(line) for line in node.log.splitlines() if '"tls.expiry"' in line)
    assert line["level"] == "warn" and line["days"] == 6


def test_handshakes_are_counted(start, pki, trust):
    node = start.node(**public_tls(pki, trust))
    name = "chatnode_tls_handshakes_total"
    begun, done = node.metric(name, "begun"), node.metric(name, "done")
    tls_connect(node.port, trust)
    with pytest.raises(ssl.SSLError):
        tls_connect(node.port, pki.client_context(authority="other"))
    with pytest.raises(ssl.SSLError):
        tls_connect(node.port, offering(pki, "h2"))
    eventually(lambda: node.metric(name, "begun") == begun + 3)
    assert node.metric(name, "done") <= done + 2


# ---- The internal listener ----

def internal_tls(pki, **flags):
    return {"internal_tls_cert": pki.path("first.crt"), "internal_tls_key": pki.path("first.key"), **flags}


def test_operators_show_certificates_on_every_loop(start, pki, trust):
    operator = pki.client_context("operator")
    node = start.node(loops=2, internal_tls=operator,
                      **internal_tls(pki, internal_tls_client_ca=pki.path("ca.crt")),
                      **public_tls(pki, trust))
    for _ in range(8):  # the loops take turns
        assert node.internal("/readyz").status == 200
        for context in (trust, pki.client_context("stranger")):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                http_request(node.internal_port, "/readyz", tls=context)
        assert node.get("/healthz").status == 200  # clients of the public one show nothing


def test_the_check_of_operators_begins_and_ends_with_a_reload(start, pki, trust):
    config = pki.path(unique("config") + ".conf")
    plain = "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in internal_tls(pki).items())
    config.write_text(plain)
    node = start.node("--config", config, internal_tls=pki.client_context("operator"), loops=2)

    def is_let_in():
        try:
            return http_request(node.internal_port, "/healthz", tls=trust).status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    assert is_let_in()
    config.write_text(plain + f"internal-tls-client-ca = {pki.path('ca.crt')}\n")
    node.signal(signal.SIGHUP)
    eventually(lambda: not any(is_let_in() for _ in range(4)))
    assert node.internal("/healthz").status == 200
    config.write_text(plain)
    node.signal(signal.SIGHUP)
    eventually(lambda: all(is_let_in() for _ in range(4)))


def test_the_api_takes_a_body_over_tls(start, pki, trust, room):
    operator = pki.client_context("operator")
    node = start.node(internal_tls=operator, **internal_tls(pki, internal_tls_client_ca=pki.path("ca.crt")))
    member = Client(node.port, user=unique("u"), room=room)
    content = "y" * 50000
    body = json.dumps({"room": room, "from": "robot", "content": content, "id": unique("i")})
    answer = node.internal("/api/v1/publish", method="POST", body=body, headers={"content-type": "application/json"})
    assert answer.status == 200, answer.text
    assert member.expect("message", room=room)["content"] == content
    member.close()


# ---- The program ----

def run(*words):
    argv = [str(word) for word in (CHATNODE, *words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False)


@pytest.mark.parametrize("flags,words", [
    (("--tls-cert", "first.crt"), "a certificate needs its key"),
    (("--tls-key", "first.key"), "a certificate needs its key"),
    (("--tls-cert", "none.crt", "--tls-key", "first.key"), "No such file"),
    (("--tls-cert", "first.crt", "--tls-key", "second.key"), "does not belong"),
    (("--tls-cert", "expired.crt", "--tls-key", "expired.key"), "has expired"),
    (("--internal-tls-client-ca", "ca.crt"), "need internal-tls-cert too"),
])
@pytest.mark.parametrize("action", [["--check-config"], ["--listen", "127.0.0.1:0", "--internal-listen", ""]])
def test_bad_settings_are_refused_at_once(pki, flags, words, action):
    done = run(*action, *[pki.path(word) if "." in word else word for word in flags])
    assert done.returncode == 78
    assert words in done.stderr


def test_the_health_check_speaks_tls(start, pki, trust):
    for flags in ({}, internal_tls(pki), internal_tls(pki, internal_tls_client_ca=pki.path("ca.crt"))):
        node = start.node(internal_tls=pki.client_context("operator") if flags else None, **flags, **public_tls(pki, trust))
        done = run(*node.argv[1:], "--healthcheck")
        assert (done.returncode, done.stdout) == (0, "healthy\n")
        node.kill()
        assert run(*node.argv[1:], "--healthcheck").returncode == 1


def test_what_it_speaks_is_told(node, start):
    assert node.get("/info").json()["tls"] is True
    assert start.node().get("/info").json()["tls"] is False
    line = next(json.loads(line) for line in node.log.splitlines() if '"node.ready"' in line)
    assert line["url_scheme"] == "wss"


def test_a_full_node_sends_no_plain_text_to_who_speaks_tls(start, pki, trust, secure):
    node = start.node(max_connections=1, **public_tls(pki, trust))
    eventually(lambda: node.metric("chatnode_connections") <= 1)
    held = secure(node)
    with socket.create_connection(("127.0.0.1", node.port)) as other:
        other.settimeout(DEADLINE)
        assert other.recv(100) == b""
    assert held.sock.version()
    assert node.metric("chatnode_refused_total", 'reason="limit"') >= 1


# ---- Redis ----

def test_a_cluster_over_tls_to_redis(start, pki, connect, room):
    pki.issue("redis", alt="IP:127.0.0.1")
    port = free_port()
    start.keep(Redis("--tls-port", port, "--tls-cert-file", pki.path("redis.crt"), "--tls-key-file", pki.path("redis.key"),
                     "--tls-ca-cert-file", pki.path("ca.crt")))
    flags = {"redis": f"rediss://127.0.0.1:{port}", "redis_ca": pki.path("ca.crt"),
             "redis_cert": pki.path("operator.crt"), "redis_key": pki.path("operator.key")}
    one, two = (start.node(**flags).wait_ready() for _ in range(2))
    ann, bob = connect(one, room=room), connect(two, room=room)
    ack = ann.publish("hello", room)
    assert bob.expect("message", room=room)["pos"] == ack["pos"]
    lonely = start.node(redis=flags["redis"], redis_ca=pki.path("other.crt"))
    eventually(lambda: lonely.internal("/readyz").json()["checks"]["bus_cause"] == "tls")
    assert "TLS failed: " in lonely.log
