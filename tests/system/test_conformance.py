# SPDX-License-Identifier: MIT
"""The WebSocket itself (RFC 6455), tried at /echo: what the usual conformance suite covers in its sections 1 to 7, 9 and
10. docs/conformance.md has the results in words."""
import subprocess
import time

import pytest

import harness
from clients import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, close_of, frame_bytes, upgrade_request
from conformance_cases import CASES, CLEAN, LATER, MI, PROTOCOL, WAIT, close, frame
from harness import DEADLINE, eventually

QUIET_S = 0.3  # nothing more comes: looked at only where nothing must come

# What libwebsockets does its own way (docs/conformance.md). It hangs up for these, without a close frame:
UNCLEAN = {"2.5", "7.3.6", "7.5.1"}
# It leaves pings unanswered that come while a pong waits to be sent.
ANSWERED_IN_PART = {"2.10", "2.11"}
# A close that comes right behind a long message may cut its echo short; the suite only notes what happens.
MAY_BE_CUT = {"7.1.6"}


class Peer(RawClient):
    """The suite's end of a connection: takes apart what comes into messages, pongs and the close."""

    def __init__(self, port):
        super().__init__(port)
        self.got = []  # whole messages and pongs
        self.close = None  # the code of the server's close frame
        self.ended = False
        self._message = None

    def look(self, deadline):
        """Reads once; False when nothing came in time, or the end."""
        try:
            alive = self.recv(deadline)
        except TimeoutError:
            return False
        except BlockingIOError:
            return False
        self.ended |= not alive
        self._take_frames()
        return alive

    def _take_frames(self):
        data, at = self.buffer, 0
        while len(data) - at >= 2:
            length, start = data[at + 1] & 127, at + 2
            assert not data[at + 1] & 128 and not data[at] & 0x70, data[at:at + 2].hex()
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(data) - start < size:
                    break
                length, start = int.from_bytes(data[start:start + size], "big"), start + size
            if len(data) - start < length:
                break
            self._take(data[at] & 15, bool(data[at] & 128), bytes(data[start:start + length]))
            at = start + length
        del data[:at]

    def _take(self, opcode, fin, payload):
        assert self.close is None, "a frame after the close frame"
        if opcode == CLOSE:
            self.close = close_of((opcode, payload))
        elif opcode == PONG:
            self.got.append((PONG, payload))
        elif opcode == CONTINUATION:
            assert self._message, "a continuation of nothing"
            self._message[1].append(payload)
        else:
            assert opcode in (TEXT, BINARY) and self._message is None, opcode
            self._message = (opcode, [payload])
        if fin and opcode in (TEXT, BINARY, CONTINUATION):
            self.got.append((self._message[0], b"".join(self._message[1])))
            self._message = None

    def until(self, condition, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while not condition() and not self.ended and time.monotonic() < end:
            self.look(max(end - time.monotonic(), 0.01))
        return condition()

    def give(self, data, chop):
        """Sends it, in pieces of `chop` bytes; the server may have hung up."""
        self.sock.settimeout(DEADLINE)
        try:
            for at in range(0, len(data), chop or len(data)):
                self.sock.sendall(data[at:at + (chop or len(data))])
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True


@pytest.fixture(name="echo_node", scope="module")
def _echo_node(start_for_module):
    return start_for_module.node("--conformance-echo")


@pytest.fixture(name="peer")
def _peer(echo_node):
    with Peer(echo_node.port) as peer:
        yield peer.handshake("/echo")
    assert echo_node.alive(), echo_node.log[-20000:]


def play(peer, case):
    """Sends what the case says. True: the server failed the connection between the second WAIT and the rest."""
    waits = 0
    for step in case.steps:
        if isinstance(step, int):
            peer.until(lambda: len(peer.got) >= step)
        elif step is not WAIT:
            if not peer.give(step, case.chop):
                return False
        else:
            waits += 1
            if peer.until(lambda: peer.ended or peer.close, DEADLINE if waits == 2 else QUIET_S):
                return waits == 2
    return False


def grade(peer, case):
    """"strict", "not strict", or what is wrong."""
    early = play(peer, case)
    if case.fails is None:
        peer.until(lambda: len(peer.got) >= len(case.expect) or (case.also is not None and peer.got == case.also),
                   QUIET_S if case.name in ANSWERED_IN_PART else DEADLINE)
        if not case.closes:
            peer.give(close(), 0)
    peer.until(lambda: peer.close is not None)
    ended = peer.until(lambda: peer.ended) if case.fails is None else peer.close is not None or peer.ended
    strict = peer.got == case.expect
    if not strict and peer.got != case.also:
        return f"got {str(peer.got)[:300]}"
    if case.fails is None:
        return ("strict" if strict else "not strict") if peer.close in case.codes and ended else f"closed with {peer.close}"
    if peer.close not in (case.fails, None):
        return f"closed with {peer.close}"
    if case.fast and not early:
        return "not strict"
    return "strict" if strict and peer.close == case.fails else "not strict"


def is_part(some, whole):
    """The same items in the same order, some left out, one at the least."""
    rest = iter(whole)
    return bool(some) and all(item in rest for item in some)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(peer, case):
    found = grade(peer, case)
    if case.name in UNCLEAN:
        assert found == "not strict" and peer.close is None and peer.ended, found
    elif case.name in ANSWERED_IN_PART and found != "strict":
        assert is_part(peer.got, case.expect) and peer.close == CLEAN, found
    elif case.name in MAY_BE_CUT:
        assert found in ("strict", "not strict"), found
    else:
        assert found == "strict", f"{case.name}: {found}"


@pytest.mark.parametrize("case", LATER, ids=[case.name for case in LATER])
def test_codes_registered_after_the_rfc_are_answered_with_1002(peer, case):
    """Good codes, but the library does not know them; the suite does not ask."""
    peer.give(case.steps[0], 0)
    assert peer.until(lambda: peer.ended)
    assert peer.close == PROTOCOL


def test_many_messages_in_one_segment_all_come_back_in_order(peer):
    texts = [b"%d" % number for number in range(5000)]
    peer.give(b"".join(frame(TEXT, text) for text in texts), 0)
    assert peer.until(lambda: len(peer.got) == len(texts))
    assert peer.got == [(TEXT, text) for text in texts]


def test_who_does_not_read_is_not_read_from(echo_node, peer):
    """The echo stops reading while its socket is full: the node keeps no more than one message."""
    before = echo_node.rss_bytes()
    peer.sock.settimeout(1)
    data = frame(BINARY, b"x" * MI)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 200 * MI:
            peer.sock.sendall(data)
            sent += len(data)
    assert sent < 100 * MI
    assert echo_node.rss_bytes() - before < 40 * MI


def test_a_message_above_16_mib_is_too_large(peer):
    whole = frame_bytes(BINARY, b"x" * (16 * MI + 1))
    peer.give(whole, 0)
    peer.until(lambda: peer.close is not None)
    assert peer.close in (1009, None) and not peer.got  # a reset may overtake the close frame
    assert peer.until(lambda: peer.ended)


def test_fragments_above_16_mib_are_too_large(peer):
    part = frame_bytes(BINARY, b"x" * MI, fin=False)
    peer.give(part, 0)
    for _ in range(15):
        assert peer.give(frame_bytes(CONTINUATION, b"x" * MI, fin=False), 0)
    peer.give(frame_bytes(CONTINUATION, b"x"), 0)
    peer.until(lambda: peer.close is not None)
    assert peer.close == 1009


def test_sixteen_at_most(echo_node):
    peers = [Peer(echo_node.port).handshake("/echo") for _ in range(16)]
    with Peer(echo_node.port) as late:
        late.send(request())
        assert late.response_head()[0] == 503
    for peer in peers:
        peer.sock.close()
    # Their places are free again once the node has seen that.
    assert eventually(lambda: came_in(echo_node.port))


def request():
    return upgrade_request("/echo")


def came_in(port):
    with Peer(port) as peer:
        peer.send(request())
        return peer.response_head()[0] == 101


def test_there_is_no_echo_unless_it_was_asked_for(start_for_module, raw):
    client = raw(start_for_module.node())
    client.send(request())
    assert client.response_head()[0] == 404


@pytest.mark.parametrize("how", [("--check-config",), ()])
def test_not_together_with_redis(how):
    done = subprocess.run([harness.CHATNODE, "--conformance-echo", "--redis-url", "redis://127.0.0.1:1", *how],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 78
    assert "conformance-echo" in done.stderr and "redis-url" in done.stderr
