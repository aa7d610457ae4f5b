# SPDX-License-Identifier: MIT
"""RFC 6455 from the outside: frames as they should and should not be."""
import json
import socket
import struct

import pytest

from clients import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_of, frame_bytes, upgrade_request
from harness import DEADLINE, unique

PING_JSON = json.dumps({"type": "ping", "id": "p"})


@pytest.fixture(name="session")
def _session(node, raw):
    client = raw(node)
    client.open(room="")
    return client


@pytest.fixture(name="neighbour", autouse=True)
def _neighbour(node, connect):
    """Whatever a test does to its own connection, another one keeps working."""
    room = unique("neighbour")
    ann = connect(node, room=room)
    yield ann
    ann.publish("still here", room)
    assert ann.expect("message", room=room)["content"] == "still here"


BROKEN = {
    "opcode 3": frame_bytes(3, b"x"), "opcode 7": frame_bytes(7), "opcode 11": frame_bytes(11),
    "opcode 15": frame_bytes(15),
    "RSV1": frame_bytes(TEXT, b"x", rsv=4), "RSV2": frame_bytes(TEXT, b"x", rsv=2),
    "RSV3": frame_bytes(TEXT, b"x", rsv=1), "RSV1 on a ping": frame_bytes(PING, b"x", rsv=4),
    "a fragmented ping": frame_bytes(PING, b"x", fin=False),
    "a fragmented close": frame_bytes(CLOSE, b"", fin=False),
    "a continuation of nothing": frame_bytes(CONTINUATION, b"x"),
    "a final continuation of nothing": frame_bytes(CONTINUATION, b"x", fin=True),
    "a text inside a fragmented text": frame_bytes(TEXT, b"a", fin=False) + frame_bytes(TEXT, b"b"),
    "a binary inside a fragmented text": frame_bytes(TEXT, b"a", fin=False) + frame_bytes(BINARY, b"b"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_frame_closes_with_1002(session, data):
    session.send(data)
    assert session.closed_with() == 1002


def test_a_control_frame_that_is_too_long_ends_the_connection(session):
    session.send_frame(PING, b"x" * 126)
    assert session.closed_with() in (None, 1002)


NOT_UTF8 = [b"\xff", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
            b'{"type":"ping","id":"\xfe"}']


@pytest.mark.parametrize("payload", NOT_UTF8, ids=repr)
def test_text_that_is_not_utf8_closes_with_1007(session, payload):
    session.send_frame(TEXT, payload)
    assert session.closed_with() == 1007


def test_a_code_point_broken_across_fragments_closes_with_1007(session):
    session.send_frame(TEXT, b"\xe2\x82", fin=False)
    session.send_frame(CONTINUATION, b"A")
    assert session.closed_with() == 1007


def test_a_code_point_split_across_fragments_is_whole_again(session):
    text = json.dumps({"type": "join", "room": "x", "id": "j"})
    whole = (text[:-1] + ',"note":"€😀"}').encode()
    for at in range(len(whole)):
        session.send_frame(TEXT if at == 0 else CONTINUATION, whole[at:at + 1], fin=at == len(whole) - 1)
    answer = json.loads(session.until_opcode(TEXT))
    assert answer["type"] in ("joined", "error") and answer["id"] == "j"


def test_fragments_with_pings_between_make_one_message(session):
    session.send_frame(TEXT, PING_JSON[:5], fin=False)
    session.send_frame(PING, b"one")
    session.send_frame(CONTINUATION, PING_JSON[5:10], fin=False)
    session.send_frame(CONTINUATION, b"", fin=False)
    assert session.until_opcode(PONG) == b"one"
    session.send_frame(PONG, b"unasked")
    session.send_frame(CONTINUATION, PING_JSON[10:])
    session.until("pong", id="p")


@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_a_ping_is_answered_with_the_same_payload(session, size):
    session.send_frame(PING, b"x" * size)
    assert session.until_opcode(PONG) == b"x" * size


def test_a_frame_sent_byte_by_byte_is_understood(session):
    session.drip(frame_bytes(TEXT, PING_JSON))
    session.until("pong", id="p")
    session.drip(frame_bytes(TEXT, json.dumps({"type": "ping", "id": "q", "pad": "x" * 200})))
    assert json.loads(session.until_opcode(TEXT))["type"] in ("pong", "error")


def test_a_handshake_sent_byte_by_byte_is_understood(node, raw):
    client = raw(node)
    client.drip(upgrade_request("/ws?room="))
    assert client.response_head()[0] == 101
    client.until("welcome")


def test_many_frames_in_one_segment_are_all_answered_in_order(session):
    session.send(b"".join(frame_bytes(TEXT, json.dumps({"type": "ping", "id": f"n{n}"})) for n in range(300)))
    for n in range(300):
        assert session.until("pong")["id"] == f"n{n}"


def test_frames_sent_right_behind_the_handshake_are_not_lost(node, raw):
    client = raw(node)
    client.send(upgrade_request("/ws?room=") + frame_bytes(TEXT, PING_JSON))
    assert client.response_head()[0] == 101
    client.until("pong", id="p")


@pytest.mark.parametrize("payload", [b"", struct.pack(">H", 1000), struct.pack(">H", 1001) + b"bye",
                                     struct.pack(">H", 3000), struct.pack(">H", 4999) + b"x" * 123])
def test_a_close_frame_is_echoed_and_the_connection_ends(session, payload):
    session.send_frame(CLOSE, payload)
    echo = session.recv_frame()
    while echo and echo[0] != CLOSE:
        echo = session.recv_frame()
    assert echo and close_of(echo) in ((close_of((CLOSE, payload)), 1000) if payload else (1000, 1005))
    assert session.recv_frame() is None


@pytest.mark.parametrize("payload", [b"\x03", struct.pack(">H", 999), struct.pack(">H", 1005),
                                     struct.pack(">H", 1006), struct.pack(">H", 1004), struct.pack(">H", 2999)])
def test_a_close_frame_with_a_code_that_must_not_be_sent_ends_the_connection(session, payload):
    session.send_frame(CLOSE, payload)
    assert session.closed_with() in (None, 1000, 1002, 1005)


def test_nothing_is_answered_after_the_close_frame(session):
    session.send(frame_bytes(CLOSE, struct.pack(">H", 1000)) + frame_bytes(TEXT, PING_JSON))
    frame = session.recv_frame()
    assert frame and frame[0] == CLOSE
    assert session.recv_frame() is None


def test_a_message_too_large_closes_with_1009(session):
    session.send_frame(TEXT, b"x" * 65537)
    assert session.closed_with() == 1009


def test_a_message_too_large_in_fragments_closes_with_1009(session):
    session.send_frame(TEXT, b"x" * 40000, fin=False)
    session.send_frame(CONTINUATION, b"x" * 40000, fin=False)
    assert session.closed_with() == 1009


def test_an_announced_length_of_eight_exabytes_is_refused(session):
    session.send(b"\x81\xff" + struct.pack(">Q", 1 << 63) + b"mask")
    assert session.closed_with() in (None, 1002, 1009)


def test_a_large_announced_length_does_not_cost_memory(node, raw):
    before = node.rss_bytes()
    sessions = [raw(node) for _ in range(20)]
    for session in sessions:
        session.open(room="")
        session.send(b"\x81\xff" + struct.pack(">Q", 1 << 30) + b"mask")
    for session in sessions:
        session.send_frame(TEXT, b"")  # bytes of the payload that was announced
    assert node.rss_bytes() - before < 50 << 20


def test_a_large_message_in_small_segments_is_understood(session):
    session.send_json({"type": "join", "room": "seg"})
    session.until("joined")
    data = frame_bytes(TEXT, json.dumps({"type": "message", "room": "seg", "content": "y" * 60000, "id": "s"}))
    for at in range(0, len(data), 97):
        session.send(data[at:at + 97])
    assert len(session.until("message", id="s")["content"]) == 60000


def test_a_connection_that_breaks_inside_a_frame_harms_nobody(node, raw):
    for cut in (1, 2, 5, 9, 50):
        client = raw(node)
        client.open(room="")
        client.send(frame_bytes(TEXT, b"x" * 300)[:cut])
        client.sock.close()


def test_a_reset_connection_harms_nobody(node, raw):
    for _ in range(10):
        client = raw(node)
        client.open()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()


def test_who_does_not_answer_a_ping_is_closed_with_4000(start, raw, connect):
    node = start.node(ping_interval=200, pong_timeout=300)
    silent, alive = raw(node), connect(node, room="r")
    silent.open(room="")
    assert silent.closed_with(DEADLINE) == 4000
    alive.publish("x", "r")  # this one answered


def test_who_answers_pings_stays(start, raw):
    node = start.node(ping_interval=100, pong_timeout=2000)
    client = raw(node)
    client.open(room="")
    for _ in range(8):
        payload = client.until_opcode(PING)
        assert payload, "a ping must carry a payload to be told apart"
        client.send_frame(PONG, payload)
    client.send_json({"type": "ping", "id": "p"})
    client.until("pong", id="p")
