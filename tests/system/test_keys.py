# SPDX-License-Identifier: MIT
"""Where a node has its keys from: a JWK set by URL, with servers that are slow, dead or lie; and SIGHUP."""
import json
import pathlib
import signal
import subprocess

import pytest

from backends import Backend, make_certificate
from harness import CHATNODE, SLOW, eventually
from test_config import run
from tokens import SECRET, mint

CHATCTL = pathlib.Path(CHATNODE).parent / "chatctl"


def chatctl(*words):
    done = subprocess.run([str(word) for word in (CHATCTL, "token", *words)], capture_output=True, text=True,
                          timeout=30 * SLOW, check=True)
    return done.stdout.strip()


class Signer:
    """A key pair of an identity provider."""

    def __init__(self, folder, kid, kind="ed25519"):
        self.file, self.kid = folder / f"{kid}.pem", kid
        self.jwk, = json.loads(chatctl("--new-key", kind, "--out", self.file, "--kid", kid))["keys"]

    def mint(self, user="ann"):
        return chatctl("--user", user, "--room", "*=*", "--key", self.file, "--kid", self.kid)


def set_of(*signers):
    return json.dumps({"keys": [signer.jwk for signer in signers]})


@pytest.fixture(name="signer")
def _signer(tmp_path):
    return Signer(tmp_path, "first")


@pytest.fixture(name="backend")
def _backend(start, signer):
    return start.keep(Backend(lambda path, body: (200, set_of(signer))))


def loaded(node, count=1):
    eventually(lambda: node.metric("chatnode_jwks_fetches_total", 'result="ok"') >= count, what="the keys were fetched")


def failed(node, count=1):
    eventually(lambda: node.metric("chatnode_jwks_fetches_total", 'result="failed"') >= count, what="a fetch failed")


def refusal(node, connect, token):
    session = connect(node, token=token, wait=False)
    error = session.expect("error")
    session.closed()
    return error["reason"]


def test_keys_are_fetched_when_it_starts(start, connect, backend, signer):
    node = start.node(auth="token", auth_jwks_url=backend.url())
    loaded(node)
    assert connect(node, token=signer.mint("ann")).user == "ann"
    assert refusal(node, connect, mint("ann")) == "unknown_key"  # a shared secret, of which it has none
    assert node.metric("chatnode_auth_keys") == 1
    path, body, headers = backend.requests[0]
    assert path == "/keys" and body == "" and headers["User-Agent"].startswith("chatnode/")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("kind", ["es256", "rs256"])
def test_keys_of_other_kinds(start, connect, tmp_path, kind):
    other = Signer(tmp_path, kind, kind)
    backend = start.keep(Backend(lambda path, body: (200, set_of(other))))
    node = start.node(auth="token", auth_jwks_url=backend.url())
    loaded(node)
    assert connect(node, token=other.mint("bob")).user == "bob"


def test_a_session_waits_for_keys_that_are_under_way(start, connect, backend, signer, room):
    backend.open.clear()
    # Before the node asks: it waits 4 s for the answer.
    tokens = [signer.mint(f"user{i}") for i in range(10)]
    unknown = chatctl("--user", "eve", "--key", signer.file, "--kid", "other")
    node = start.node(auth="token", auth_jwks_url=backend.url(), auth_secret=SECRET, auth_timeout=30000, loops=1)
    eventually(lambda: backend.waiting == 1, what="the node asks")
    waiting = [connect(node, token=token, wait=False) for token in tokens]
    stranger = connect(node, token=unknown, wait=False)
    # Meanwhile nobody else waits: neither main nor the loop is blocked.
    ann, bob = (connect(node, room=room, token=mint(user)) for user in ("ann", "bob"))
    ann.publish("hello", room)
    assert bob.expect("message", room=room)["content"] == "hello"
    assert node.ready()
    for session in (*waiting, stranger):
        session.refuse("welcome")
    backend.open.set()
    for i, session in enumerate(waiting):
        assert session.expect("welcome")["user"] == f"user{i}"
    assert stranger.expect("error")["reason"] == "unknown_key"
    assert len(backend.requests) == 1


def test_a_dead_server_keeps_nobody_else_out(start, connect, backend, signer):
    url = backend.url()
    backend.stop()
    node = start.node(auth="token", auth_jwks_url=url, auth_secret=SECRET)
    failed(node)
    session = connect(node, token=signer.mint(), wait=False)
    error = session.expect("error")
    assert error["code"] == "unavailable" and error["reason"] == "unavailable" and error["retry"] is True
    assert connect(node, token=mint("ann")).user == "ann"  # by the secret
    failed(node, 2)  # it tries again


def test_it_tries_until_it_has_keys(start, connect, backend, signer):
    good, backend.answer = backend.answer, lambda path, body: (503, "")
    node = start.node(auth="token", auth_jwks_url=backend.url())
    failed(node, 2)
    backend.answer = good
    loaded(node)
    assert connect(node, token=signer.mint("ann")).user == "ann"


def test_keys_change(start, connect, backend, signer, tmp_path):
    second = Signer(tmp_path, "second")
    node = start.node(auth="token", auth_jwks_url=backend.url(), auth_jwks_refresh=1)
    loaded(node)
    first_token = signer.mint("ann")
    assert refusal(node, connect, second.mint()) == "unknown_key"
    backend.answer = lambda path, body: (200, set_of(signer, second))
    eventually(lambda: node.metric("chatnode_auth_keys") == 2, what="both keys")
    assert connect(node, token=second.mint("bob")).user == "bob"
    ann = connect(node, token=first_token)
    backend.answer = lambda path, body: (200, set_of(second))
    eventually(lambda: node.metric("chatnode_auth_keys") == 1, what="the new key alone")
    assert refusal(node, connect, first_token) == "unknown_key"
    ann.publish("who is in stays in")


@pytest.mark.parametrize("lie", [
    (500, ""), (200, ""), (200, "<html>"), (200, "{"), (200, {"keys": []}), (200, {"keys": [{}]}), (302, ""), None,
    (200, " " * 300_000), (404, {"keys": []})], ids=lambda lie: "hangs up" if lie is None else f"{lie[0]}-{str(lie[1])[:12]}")
def test_old_keys_stay_when_the_server_lies(start, connect, backend, signer, lie):
    node = start.node(auth="token", auth_jwks_url=backend.url(), auth_jwks_refresh=1)
    loaded(node)
    backend.answer = lambda path, body: lie
    failed(node, 2)
    assert connect(node, token=signer.mint("ann")).user == "ann"
    assert all(path == "/keys" for path, _, _ in backend.requests)  # no redirect was followed


def test_a_node_ends_while_it_fetches(start, backend):
    backend.open.clear()
    node = start.node(auth="token", auth_jwks_url=backend.url())
    eventually(lambda: backend.waiting == 1, what="the node asks")
    node.terminate()


# ---- TLS ----

def test_a_certificate_must_be_trusted(start, connect, signer, tmp_path):
    certificate = make_certificate(tmp_path, "DNS:localhost")
    backend = start.keep(Backend(lambda path, body: (200, set_of(signer)), certificate))
    node = start.node(auth="token", auth_jwks_url=backend.url(host="localhost"), auth_ca_file=certificate[0])
    loaded(node)
    assert connect(node, token=signer.mint("ann")).user == "ann"
    stranger = start.node(auth="token", auth_jwks_url=backend.url(host="localhost"))
    failed(stranger)
    assert "certificate" in stranger.log
    assert len(backend.requests) == 1


def test_a_certificate_must_have_the_name(start, signer, tmp_path):
    certificate = make_certificate(tmp_path, "DNS:id.example.org")
    backend = start.keep(Backend(lambda path, body: (200, set_of(signer)), certificate))
    node = start.node(auth="token", auth_jwks_url=backend.url(host="localhost"), auth_ca_file=certificate[0])
    failed(node)
    assert "certificate" in node.log and not backend.requests


# ---- Settings ----

@pytest.mark.parametrize("url", ["http://id.example.org/keys", "ftp://127.0.0.1/", "http://127.0.0.1.example.org/",
                                 "https://user:password@localhost/"])
def test_only_some_urls_are_taken(url):
    code, text = run("--auth", "token", "--auth-jwks-url", url, "--listen", "127.0.0.1:0", "--internal-listen", "")
    assert code == 64 or code == 78, text
    assert "auth-jwks-url" in text


def test_sighup_takes_fresh_keys(start, connect, tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET)
    fresh = "another secret of the tests, also long enough"
    node = start.node(auth="token", auth_secret_file=path)
    ann = connect(node, token=mint("ann"))
    path.write_text("too short")
    node.signal(signal.SIGHUP)
    eventually(lambda: "nothing was changed" in node.log or "as before" in node.log, what="it complains")
    assert connect(node, token=mint("bob")).user == "bob"
    path.write_text(fresh)
    node.signal(signal.SIGHUP)
    eventually(lambda: "read again" in node.log, what="it took the fresh one")
    assert connect(node, token=mint("bob", secret=fresh)).user == "bob"
    assert refusal(node, connect, mint("bob")) == "signature"
    ann.publish("who is in stays in")
    assert fresh not in node.log and SECRET not in node.log
