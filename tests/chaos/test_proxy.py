# SPDX-License-Identifier: MIT
"""The fault proxy does what it says, so that a fault of the chaos runs is one."""
import socket
import threading
import time

import pytest

from harness import eventually
from proxy import Proxy


class Echo:
    """A server that sends back what it gets, and keeps its connections for the test to look at."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = []  # pieces as they came
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            while data := sock.recv(1 << 16):
                self.got.append(data)
                sock.sendall(data)
        except OSError:
            pass
        sock.close()

    def close(self):
        self.listener.close()


@pytest.fixture(name="echo")
def _echo():
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture(name="proxy")
def _proxy():
    proxy = Proxy()
    yield proxy
    proxy.stop()


@pytest.fixture(name="dial")
def _dial(proxy, echo):
    """dial(): a connection through the door `d`; the first call opens it."""
    socks, port = [], proxy.open("d", echo.port, rb"name:(\w+)\n")

    def dial():
        socks.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        return socks[-1]

    yield dial
    for sock in socks:
        sock.close()


def ask(sock, data):
    sock.sendall(data)
    return read(sock, len(data))


def read(sock, count):
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        assert piece, "closed"
        got += piece
    return got


def is_silent(sock, seconds=0.2):
    sock.settimeout(seconds)
    try:
        return sock.recv(1) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(5)


def test_pass_brings_every_byte_both_ways(dial):
    sock, data = dial(), bytes(range(256)) * 8000
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    assert read(sock, len(data)) == data
    sender.join()


def test_pass_passes_the_end_on(dial):
    sock = dial()
    assert ask(sock, b"bye") == b"bye"
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""


def test_latency_delays_and_keeps_the_order(proxy, dial):
    sock = dial()
    proxy.set("d", "latency", ms=60, jitter=50)
    begin = time.monotonic()
    for number in range(50):
        sock.sendall(b"%04d" % number)
    assert read(sock, 200) == b"".join(b"%04d" % number for number in range(50))
    assert time.monotonic() - begin >= 0.02


def test_slicer_sends_small_pieces(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    proxy.set("d", "slicer", size=3)
    data, before = bytes(range(200)), proxy.writes("d")
    assert ask(sock, data) == data
    assert proxy.writes("d") - before >= 2 * len(data) // 3


def test_what_a_hole_swallowed_is_gone_and_the_connection_with_it(proxy, echo, dial):
    sock = dial()
    assert ask(sock, b"before") == b"before"
    proxy.set("d", "hole")
    sock.sendall(b"lost")
    late = dial()  # accepted, and as silent
    late.sendall(b"lost too")
    assert is_silent(sock) and is_silent(late)
    proxy.set("d", "pass")
    for dead in (sock, late):
        with pytest.raises(ConnectionResetError):
            dead.recv(1)
    assert echo.got == [b"before"]
    assert ask(dial(), b"after") == b"after"


def test_a_hole_hides_that_the_other_end_is_gone(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    proxy.set("d", "hole")
    sock.shutdown(socket.SHUT_WR)
    assert is_silent(sock)
    proxy.set("d", "pass")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_a_stall_delivers_late(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    proxy.set("d", "stall")
    sock.sendall(b"late")
    assert is_silent(sock)
    proxy.set("d", "pass")
    assert read(sock, 4) == b"late"


def test_a_stall_passes_an_end_on_late(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    proxy.set("d", "stall")
    sock.sendall(b"last")
    sock.shutdown(socket.SHUT_WR)
    assert is_silent(sock)
    proxy.set("d", "pass")
    assert read(sock, 4) == b"last" and sock.recv(1) == b""


def test_down_refuses_and_resets(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    proxy.set("d", "down")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial()
    proxy.set("d", "pass")
    assert ask(dial(), b"again") == b"again"


def test_reset_ends_what_is_open_and_no_more(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    assert proxy.reset("d") == 1
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert ask(dial(), b"again") == b"again"


def test_a_mode_for_one_label_leaves_the_others_alone(proxy, dial):
    cmd, sub = dial(), dial()
    ask(cmd, b"name:cmd\n"), ask(sub, b"name:sub\n")
    assert sorted(proxy.flows("d")) == ["cmd", "sub"]
    proxy.set("d", "hole", only="sub")
    sub.sendall(b"lost")
    assert ask(cmd, b"through") == b"through" and is_silent(sub)
    assert proxy.reset("d", only="sub") == 1
    assert proxy.flows("d") == ["cmd"]


def test_the_upstream_can_be_changed(proxy, echo, dial):
    other = Echo()
    ask(dial(), b"to the first")
    proxy.upstream("d", other.port)
    ask(dial(), b"to the other")
    assert (echo.got, other.got) == ([b"to the first"], [b"to the other"])
    other.close()


def test_an_upstream_that_refuses_resets_the_client(proxy, dial):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    proxy.upstream("d", port)
    with pytest.raises(ConnectionResetError):
        dial().recv(1)


def test_a_closed_connection_leaves_nothing_behind(proxy, dial):
    sock = dial()
    ask(sock, b"x")
    sock.close()
    eventually(lambda: not proxy.flows("d"), what="the flow is gone")


def test_an_unknown_mode_is_an_error(proxy, dial):
    dial()
    with pytest.raises(ValueError):
        proxy.set("d", "dance")
