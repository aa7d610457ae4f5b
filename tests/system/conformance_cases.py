# SPDX-License-Identifier: MIT
"""What the usual conformance suite for WebSocket servers (Autobahn's, fuzzing client) asks of an echo, case by case under
its numbers: what is sent in which pieces, what must come back, and how the connection must end."""
import dataclasses
import struct

from clients import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame_bytes

CLEAN = 1000  # the suite closes, and is answered
PROTOCOL, PAYLOAD = 1002, 1007
KI, MI = 1 << 10, 1 << 20


@dataclasses.dataclass
class Case:
    """`steps`: bytes to send; a number: wait until so many messages and pongs have come; WAIT: a moment in which nothing
    must come. `expect`: messages as (opcode, payload) and pongs as (PONG, payload), in order.
    `fails`: the code that the server must close with (None: it must not); `also`: fewer messages that are accepted, as not
    strict, when what is wrong came in the same breath. `chop`: bytes sent at a time. `codes`: what a close of ours may be
    answered with."""
    name: str
    steps: list
    expect: list = dataclasses.field(default_factory=list)
    fails: int = None
    also: list = None
    chop: int = 0
    closes: bool = False  # the steps have the suite's own close
    codes: tuple = (CLEAN,)
    fast: bool = False  # must fail at the second WAIT's latest: before the rest of the message is sent


WAIT = None


def frame(opcode, payload=b"", **options):
    return frame_bytes(opcode, payload, **options)


def pieces(opcode, payload, size):
    """The frames of a fragmented message."""
    parts = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(frame_bytes(opcode if at == 0 else CONTINUATION, part, fin=at == len(parts) - 1)
                    for at, part in enumerate(parts))


def close(code=CLEAN, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


def echo(name, opcode, payload, **options):
    return Case(name, [frame(opcode, payload)], [(opcode, payload)], **options)


def framing():
    for group, opcode, fill in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            yield echo(f"{group}.{number}", opcode, fill * size)
        yield echo(f"{group}.8", opcode, fill * 65536, chop=997)
        # Not in the suite: each form of the length, a byte at a time.
        for size in (0, 1, 125, 126, 127, 65535, 65536):
            yield echo(f"{group}.octets-{size}", opcode, fill * size, chop=1)


def pings():
    odd = bytes.fromhex("00fffefdfcfb00ff")
    yield Case("2.1", [frame(PING)], [(PONG, b"")])
    yield Case("2.2", [frame(PING, "Hello, world!")], [(PONG, b"Hello, world!")])
    yield Case("2.3", [frame(PING, odd)], [(PONG, odd)])
    yield Case("2.4", [frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)])
    yield Case("2.5", [frame(PING, b"\xfe" * 126)], fails=PROTOCOL)
    yield Case("2.6", [frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)], chop=1)
    yield Case("2.7", [frame(PONG)])
    yield Case("2.8", [frame(PONG, "unsolicited pong payload")])
    yield Case("2.9", [frame(PONG, "unsolicited pong payload"), frame(PING, "ping payload")], [(PONG, b"ping payload")])
    ten = [b"payload-%d" % i for i in range(10)]
    for name, chop in (("2.10", 0), ("2.11", 1)):
        yield Case(name, [b"".join(frame(PING, text) for text in ten)], [(PONG, text) for text in ten], chop=chop)


def broken_after_text(name, bad, chop=0):
    """A message, what is wrong, a ping: the message comes back, and nothing else."""
    hello = (TEXT, b"Hello, world!")
    steps = [frame(*hello), bad, frame(PING)]
    return Case(name, [b"".join(steps)] if chop == 0 else steps, [hello], fails=PROTOCOL, also=[], chop=chop)


def reserved_bits():
    text = "Hello, world!"
    yield Case("3.1", [frame(TEXT, text, rsv=1)], fails=PROTOCOL)
    yield broken_after_text("3.2", frame(TEXT, text, rsv=2))
    yield broken_after_text("3.3", frame(TEXT, text, rsv=3), chop=1000)
    yield broken_after_text("3.4", frame(TEXT, text, rsv=4), chop=1)
    yield Case("3.5", [frame(BINARY, bytes.fromhex("00fffefdfcfb00ff"), rsv=5)], fails=PROTOCOL)
    yield Case("3.6", [frame(PING, text, rsv=6)], fails=PROTOCOL)
    yield Case("3.7", [frame(CLOSE, b"", rsv=7)], fails=PROTOCOL)


def reserved_opcodes():
    for group, first in (("4.1", 3), ("4.2", 11)):
        yield Case(f"{group}.1", [frame(first)], fails=PROTOCOL)
        yield Case(f"{group}.2", [frame(first + 1, "reserved opcode payload")], fails=PROTOCOL)
        yield broken_after_text(f"{group}.3", frame(first + 2))
        yield broken_after_text(f"{group}.4", frame(first + 3, "reserved opcode payload"))
        yield broken_after_text(f"{group}.5", frame(first + 4, "reserved opcode payload"), chop=1)


def fragments():
    one, two = "fragment1", "fragment2"
    both = (TEXT, b"fragment1fragment2")
    first, last = frame(TEXT, one, fin=False), frame(CONTINUATION, two)
    pong = (PONG, b"ping payload")
    ping = frame(PING, "ping payload")
    hello = frame(TEXT, "Hello, world!")
    yield Case("5.1", [frame(PING, one, fin=False) + frame(CONTINUATION, two)], fails=PROTOCOL)
    yield Case("5.2", [frame(PONG, one, fin=False) + frame(CONTINUATION, two)], fails=PROTOCOL)
    for name, chop in (("5.3", 0), ("5.4", 1000), ("5.5", 1)):
        yield Case(name, [first + last] if not chop else [first, last], [both], chop=chop)
    for name, chop in (("5.6", 0), ("5.7", 1000), ("5.8", 1)):
        yield Case(name, [first + ping + last] if not chop else [first, ping, last], [pong, both], chop=chop)
    for start, fin in ((9, True), (12, False)):
        lonely = frame(CONTINUATION, "non-continuation payload", fin=fin)
        for at, chop in enumerate((0, 1000, 1)):
            yield Case(f"5.{start + at}", [lonely + hello] if not chop else [lonely, hello], fails=PROTOCOL, chop=chop)
    yield Case("5.15", [first + last + frame(CONTINUATION, "fragment3", fin=False) + frame(TEXT, "fragment4")], [both],
               fails=PROTOCOL, also=[])
    for name, fin in (("5.16", False), ("5.17", True)):
        yield Case(name, [(frame(CONTINUATION, one, fin=fin) + frame(TEXT, two, fin=False) +
                           frame(CONTINUATION, "fragment3")) * 2], fails=PROTOCOL)
    yield Case("5.18", [first + frame(TEXT, two)], fails=PROTOCOL)
    five = [frame(TEXT, one, fin=False), frame(CONTINUATION, two, fin=False), frame(PING, "pongme 1!"), 1,
            frame(CONTINUATION, "fragment3", fin=False), frame(CONTINUATION, "fragment4", fin=False),
            frame(PING, "pongme 2!"), frame(CONTINUATION, "fragment5")]
    answers = [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"), (TEXT, b"fragment1fragment2fragment3fragment4fragment5")]
    yield Case("5.19", five, answers)
    yield Case("5.20", five, answers, chop=1)


# Markus Kuhn's stress test for decoders, as the suite uses it: (number, hexadecimal, valid).
UTF8 = [
    ("6.5.1", "cebae1bdb9cf83cebcceb5", True), ("6.5.2", "ce", False), ("6.5.3", "ceba", True), ("6.5.4", "cebae1", False),
    ("6.5.5", "cebae1bd", False),
    ("6.6.1", "ce", False), ("6.6.2", "ceba", True), ("6.6.3", "cebae1", False), ("6.6.4", "cebae1bd", False),
    ("6.6.5", "cebae1bdb9", True), ("6.6.6", "cebae1bdb9cf", False), ("6.6.7", "cebae1bdb9cf83", True),
    ("6.6.8", "cebae1bdb9cf83ce", False), ("6.6.9", "cebae1bdb9cf83cebc", True), ("6.6.10", "cebae1bdb9cf83cebcce", False),
    ("6.6.11", "cebae1bdb9cf83cebcceb5", True),
    ("6.7.1", "00", True), ("6.7.2", "c280", True), ("6.7.3", "e0a080", True), ("6.7.4", "f0908080", True),
    ("6.8.1", "f888808080", False), ("6.8.2", "fc8480808080", False),
    ("6.9.1", "7f", True), ("6.9.2", "dfbf", True), ("6.9.3", "efbfbf", True), ("6.9.4", "f48fbfbf", True),
    ("6.10.1", "f7bfbfbf", False), ("6.10.2", "fbbfbfbfbf", False), ("6.10.3", "fdbfbfbfbfbf", False),
    ("6.11.1", "ed9fbf", True), ("6.11.2", "ee8080", True), ("6.11.3", "efbfbd", True), ("6.11.4", "f48fbfbf", True),
    ("6.11.5", "f4908080", False),
    ("6.12.1", "80", False), ("6.12.2", "bf", False), ("6.12.3", "80bf", False), ("6.12.4", "80bf80", False),
    ("6.12.5", "80bf80bf", False), ("6.12.6", "80bf80bf80", False), ("6.12.7", "80bf80bf80bf", False),
    ("6.12.8", bytes(range(0x80, 0xc0)).hex(), False),
    ("6.13.1", b"".join(bytes([c, 0x20]) for c in range(0xc0, 0xe0)).hex(), False),
    ("6.13.2", b"".join(bytes([c, 0x20]) for c in range(0xe0, 0xf0)).hex(), False),
    ("6.13.3", b"".join(bytes([c, 0x20]) for c in range(0xf0, 0xf8)).hex(), False),
    ("6.13.4", "f820f920fa20fb20", False), ("6.13.5", "fc20fd20", False),
    ("6.14.1", "c0", False), ("6.14.2", "e080", False), ("6.14.3", "f08080", False), ("6.14.4", "f8808080", False),
    ("6.14.5", "fc80808080", False), ("6.14.6", "df", False), ("6.14.7", "efbf", False), ("6.14.8", "f7bfbf", False),
    ("6.14.9", "fbbfbfbf", False), ("6.14.10", "fdbfbfbfbf", False),
    ("6.15.1", "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf", False),
    ("6.16.1", "fe", False), ("6.16.2", "ff", False), ("6.16.3", "fefeffff", False),
    ("6.17.1", "c0af", False), ("6.17.2", "e080af", False), ("6.17.3", "f08080af", False), ("6.17.4", "f8808080af", False),
    ("6.17.5", "fc80808080af", False),
    ("6.18.1", "c1bf", False), ("6.18.2", "e09fbf", False), ("6.18.3", "f08fbfbf", False), ("6.18.4", "f887bfbfbf", False),
    ("6.18.5", "fc83bfbfbfbf", False),
    ("6.19.1", "c080", False), ("6.19.2", "e08080", False), ("6.19.3", "f0808080", False), ("6.19.4", "f880808080", False),
    ("6.19.5", "fc8080808080", False),
    ("6.20.1", "eda080", False), ("6.20.2", "edadbf", False), ("6.20.3", "edae80", False), ("6.20.4", "edafbf", False),
    ("6.20.5", "edb080", False), ("6.20.6", "edbe80", False), ("6.20.7", "edbfbf", False),
    ("6.21.1", "eda080edb080", False), ("6.21.2", "eda080edbfbf", False), ("6.21.3", "edadbfedb080", False),
    ("6.21.4", "edadbfedbfbf", False), ("6.21.5", "edae80edb080", False), ("6.21.6", "edae80edbfbf", False),
    ("6.21.7", "edafbfedb080", False), ("6.21.8", "edafbfedbfbf", False),
    ("6.22.1", "efbfbe", True), ("6.22.2", "efbfbf", True),
    *((f"6.22.{3 + 2 * (plane - 1) + low}", chr(plane << 16 | 0xfffe | low).encode().hex(), True)
      for plane in range(1, 17) for low in (0, 1)),
    ("6.23.1", "efbfb9", True), ("6.23.2", "efbfba", True), ("6.23.3", "efbfbb", True), ("6.23.4", "efbfbc", True),
    ("6.23.5", "efbfbd", True), ("6.23.6", "efbfbe", True), ("6.23.7", "efbfbf", True),
]


def utf8():
    yield echo("6.1.1", TEXT, b"")
    yield Case("6.1.2", [frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) +
                         frame(CONTINUATION, b"")], [(TEXT, b"")])
    yield Case("6.1.3", [frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"middle frame payload", fin=False) +
                         frame(CONTINUATION, b"")], [(TEXT, b"middle frame payload")])
    valid = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield echo("6.2.1", TEXT, valid)
    yield Case("6.2.2", [frame(TEXT, valid[:12], fin=False) + frame(CONTINUATION, valid[12:])], [(TEXT, valid)])
    yield Case("6.2.3", [pieces(TEXT, valid, 1)], [(TEXT, valid)])
    yield Case("6.2.4", [pieces(TEXT, "κόσμε".encode(), 1)], [(TEXT, "κόσμε".encode())])
    kuhn = bytes.fromhex("cebae1bdb9cf83cebcceb5eda080656469746564")
    yield Case("6.3.1", [frame(TEXT, kuhn)], fails=PAYLOAD)
    yield Case("6.3.2", [pieces(TEXT, kuhn, 1)], fails=PAYLOAD)
    good, bad, rest = bytes.fromhex("cebae1bdb9cf83cebcceb5"), bytes.fromhex("f4908080"), b"edited"
    yield Case("6.4.1", [frame(TEXT, good, fin=False), WAIT, frame(CONTINUATION, bad, fin=False), WAIT,
                         frame(CONTINUATION, rest)], fails=PAYLOAD, fast=True)
    yield Case("6.4.2", [frame(TEXT, good + b"\xf4", fin=False), WAIT, frame(CONTINUATION, b"\x90", fin=False), WAIT,
                         frame(CONTINUATION, b"\x80\x80" + rest)], fails=PAYLOAD, fast=True)
    whole = frame(TEXT, good + bad + rest)
    head = len(whole) - len(good + bad + rest)
    first, second = head + len(good), head + len(good) + len(bad)
    yield Case("6.4.3", [whole[:first], WAIT, whole[first:second], WAIT, whole[second:]], fails=PAYLOAD, fast=True)
    yield Case("6.4.4", [whole[:first + 1], WAIT, whole[first + 1:first + 2], WAIT, whole[first + 2:]], fails=PAYLOAD, fast=True)
    for name, text, is_valid in UTF8:
        data = bytes.fromhex(text)
        if is_valid:
            yield echo(name, TEXT, data)
            yield echo(name + "-octets", TEXT, data, chop=1)
        else:
            yield Case(name, [frame(TEXT, data)], fails=PAYLOAD)
            yield Case(name + "-octets", [frame(TEXT, data)], fails=PAYLOAD, chop=1)


def closing():
    hello = (TEXT, b"Hello World!")
    yield Case("7.1.1", [frame(*hello), 1, close()], [hello], closes=True)
    yield Case("7.1.2", [close() + close()], closes=True)
    yield Case("7.1.3", [close() + frame(PING)], closes=True)
    yield Case("7.1.4", [close() + frame(*hello)], closes=True)
    yield Case("7.1.5", [frame(TEXT, "fragment1", fin=False) + close() + frame(CONTINUATION, "fragment2")], closes=True)
    yield Case("7.1.6", [frame(TEXT, b"BAsd7&jh23" * 26214) + frame(*hello) + close() + frame(PING)],
               [(TEXT, b"BAsd7&jh23" * 26214), hello], closes=True, also=[])
    yield Case("7.3.1", [frame(CLOSE)], closes=True, codes=(1000, 1005))
    yield Case("7.3.2", [frame(CLOSE, b"a")], fails=PROTOCOL)
    yield Case("7.3.3", [close()], closes=True)
    yield Case("7.3.4", [close(1000, b"Hello World!")], closes=True)
    yield Case("7.3.5", [close(1000, b"*" * 123)], closes=True)
    yield Case("7.3.6", [close(1000, b"*" * 124)], fails=PROTOCOL)
    yield Case("7.5.1", [close(1000, bytes.fromhex("cebae1bdb9cf83cebcceb5eda080656469746564"))], fails=PAYLOAD)
    for at, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield Case(f"7.7.{at}", [close(code)], closes=True, codes=(code, 1000))
    for at, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{at}", [close(code)], fails=PROTOCOL)
    # The suite only notes what happens to these.
    yield Case("7.13.1", [close(5000)], fails=PROTOCOL)
    yield Case("7.13.2", [frame(CLOSE, struct.pack(">I", 65536))], fails=PROTOCOL)


def registered_codes():
    """Registered after the RFC, and not in the suite's lists."""
    for code in (1012, 1013, 1014):
        yield Case(f"7.x.{code}", [close(code)], closes=True, codes=(code, 1000))


def limits():
    for group, opcode, fill in (("9.1", TEXT, b"BAsd7&jh23"), ("9.2", BINARY, b"\x00\xfe\x23\xfa\xf0\x80\xff\x01\x02\x03")):
        for at, size in enumerate((64 * KI, 256 * KI, MI, 4 * MI, 8 * MI, 16 * MI), 1):
            yield echo(f"{group}.{at}", opcode, (fill * (size // 10 + 1))[:size])
    for group, opcode, fill in (("9.3", TEXT, b"*"), ("9.4", BINARY, b"\xfe")):
        for at, size in enumerate((64, 256, KI, 4 * KI, 16 * KI, 64 * KI, 256 * KI, MI, 4 * MI), 1):
            yield Case(f"{group}.{at}", [pieces(opcode, fill * (4 * MI), size)], [(opcode, fill * (4 * MI))])
    for group, opcode, fill in (("9.5", TEXT, b"*"), ("9.6", BINARY, b"\xfe")):
        for at, size in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield echo(f"{group}.{at}", opcode, fill * MI, chop=size)
    for group, opcode, fill in (("9.7", TEXT, b"*"), ("9.8", BINARY, b"\xfe")):
        for at, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            steps = [step for number in range(1, 1001) for step in (frame(opcode, fill * size), number)]
            yield Case(f"{group}.{at}", steps, [(opcode, fill * size)] * 1000)


def fragmenting_clients():
    yield Case("10.1.1", [pieces(TEXT, b"*" * 65536, 1300)], [(TEXT, b"*" * 65536)])


SECTIONS = (framing, pings, reserved_bits, reserved_opcodes, fragments, utf8, closing, limits, fragmenting_clients)
CASES = [case for section in SECTIONS for case in section()]
LATER = list(registered_codes())
