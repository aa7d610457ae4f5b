# SPDX-License-Identifier: MIT
"""Clients for the system tests: a well-behaved one, and one that holds the socket in its own hands."""
import asyncio
import base64
import collections
import concurrent.futures
import json
import os
import random
import socket
import struct
import threading
import time
import urllib.parse

import websockets

from harness import DEADLINE, unique

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class _Loop:
    """One asyncio loop on a thread of its own, so that the tests are plain functions."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, deadline=DEADLINE):
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(deadline)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise AssertionError("the client's call did not end in time") from None


_loop = _Loop()


def query_of(user=None, room=None, since=None, inbox=None):
    """The request target of a connection. `room` "" joins none, None leaves the default room."""
    fields = {"user": user, "room": room, "since": since, "inbox": inbox}
    query = urllib.parse.urlencode({key: value for key, value in fields.items() if value is not None})
    return "/ws" + ("?" + query if query else "")


class Client:
    """A session. Frames are kept in the order of arrival until an `expect` takes them. A `token` is its first word."""

    def __init__(self, port, user=None, room=None, since=None, inbox=None, wait=True, headers=None,
                 subprotocols=None, token=None, deadline=DEADLINE, tls=None):
        self.frames = collections.deque()
        self.close_code = self.close_reason = None
        self._changed = threading.Condition()
        self.ended = False
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}{query_of(user, room, since, inbox)}"
        options = {"ssl": tls} if tls else {}
        self.ws = _loop.run(self._connect(url, deadline, extra_headers=headers or {}, subprotocols=subprotocols,
                                          **options), deadline)
        asyncio.run_coroutine_threadsafe(self._read(), _loop.loop)
        if token is not None:
            self.send({"type": "auth", "token": token})
        if wait:
            self.welcome = self.expect("welcome", deadline=deadline)
            self.user = self.welcome["user"]
            self.inbox = self.expect("joined", inbox=True, deadline=deadline)
            if room != "":
                self.joined = self.expect("joined", deadline=deadline, **({"room": room} if room else {}))

    @staticmethod
    async def _connect(url, deadline, **options):
        return await websockets.connect(url, ping_interval=None, compression=None, max_size=None, max_queue=None,
                                        open_timeout=deadline, close_timeout=deadline, **options)

    async def _read(self):
        try:
            async for text in self.ws:
                with self._changed:
                    self.frames.append(json.loads(text))
                    self._changed.notify_all()
        except websockets.ConnectionClosed:
            pass
        with self._changed:
            self.ended = True
            self.close_code, self.close_reason = self.ws.close_code, self.ws.close_reason
            self._changed.notify_all()

    def send(self, frame):
        """Sends a dict as JSON, a str as it is, bytes as a binary frame."""
        _loop.run(self.ws.send(json.dumps(frame) if isinstance(frame, dict) else frame))

    def say(self, content, room=None, **more):
        """Publishes to a room under a fresh id (or `id`); returns the id."""
        frame = {"type": "message", "content": content, "id": unique("m"), **more}
        if room is not None:
            frame["room"] = room
        self.send(frame)
        return frame["id"]

    def tell(self, user, content, **more):
        """Sends a directed message under a fresh id; returns the id."""
        frame = {"type": "direct", "to": user, "content": content, "id": unique("d"), **more}
        self.send(frame)
        return frame["id"]

    def publish(self, content, room=None, **more):
        """`say`, and waits for the ack, which it returns."""
        return self.expect("ack", id=self.say(content, room, **more))

    def expect(self, kind, deadline=DEADLINE, **fields):
        """Takes and returns the first frame of this type with these fields, waiting for it."""
        return self.collect(kind, 1, deadline, **fields)[0]

    def collect(self, kind, count, deadline=DEADLINE, **fields):
        """Takes the first `count` frames of this type with these fields, in order."""
        found, end = [], time.monotonic() + deadline
        with self._changed:
            while True:
                self._take(found, count, kind, fields)
                if len(found) == count:
                    return found
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    raise AssertionError(self._complaint(kind, fields, len(found), count))
                self._changed.wait(left)

    def _take(self, found, count, kind, fields):
        kept = collections.deque()
        while self.frames and len(found) < count:
            frame = self.frames.popleft()
            fits = frame.get("type") == kind and all(frame.get(key) == fields[key] for key in fields)
            (found if fits else kept).append(frame)
        self.frames.extendleft(reversed(kept))

    def _complaint(self, kind, fields, got, count):
        state = f"closed with {self.close_code} {self.close_reason!r}" if self.ended else "open"
        seen = [json.dumps(frame)[:200] for frame in list(self.frames)[:20]]
        return f"{got} of {count} {kind!r} {fields} came; the session is {state}; other frames: {seen}"

    def next(self, deadline=DEADLINE):
        """Takes the oldest frame of any kind; None when none came in time or the session has ended."""
        end = time.monotonic() + deadline
        with self._changed:
            while not self.frames and not self.ended and end > time.monotonic():
                self._changed.wait(end - time.monotonic())
            return self.frames.popleft() if self.frames else None

    def fence(self):
        """When this returns, all answers to earlier requests of this session that need no bus have come."""
        mark = unique("p")
        self.send({"type": "ping", "id": mark})
        self.expect("pong", id=mark)

    def refuse(self, kind, **fields):
        """Asserts that no such frame has come by now."""
        with self._changed:
            found = [f for f in self.frames if f.get("type") == kind and all(f.get(k) == fields[k] for k in fields)]
        assert not found, found

    def closed(self, deadline=DEADLINE):
        """Waits for the end of the connection; returns the close code."""
        end = time.monotonic() + deadline
        with self._changed:
            while not self.ended:
                left = end - time.monotonic()
                assert left > 0, "the session is still open"
                self._changed.wait(left)
        return self.close_code

    def close(self):
        """Closes kindly."""
        _loop.run(self.ws.close(), DEADLINE * 2)
        self.closed()

    def abort(self):
        """Cuts the connection without a close frame."""
        _loop.loop.call_soon_threadsafe(self.ws.transport.abort)
        self.closed()


def frame_bytes(opcode, payload=b"", fin=True, rsv=0, masked=True):
    """A client's frame."""
    if isinstance(payload, str):
        payload = payload.encode()
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask_bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    mask = struct.pack(">I", random.getrandbits(32))
    long_mask = int.from_bytes((mask * (len(payload) // 4 + 1))[:len(payload)], "big")
    body = (int.from_bytes(payload, "big") ^ long_mask).to_bytes(len(payload), "big")
    return head + mask + body


def split_frames(data):
    """([(opcode, payload)], rest) of a server's bytes."""
    frames, at = [], 0
    while len(data) - at >= 2:
        length, start = data[at + 1] & 127, at + 2
        assert not data[at + 1] & 128, "a server's frame is masked"
        if length == 126:
            if len(data) - at < 4:
                break
            length, start = struct.unpack_from(">H", data, at + 2)[0], at + 4
        elif length == 127:
            if len(data) - at < 10:
                break
            length, start = struct.unpack_from(">Q", data, at + 2)[0], at + 10
        if len(data) - start < length:
            break
        assert data[at] & 0x70 == 0, f"reserved bits in a server's frame: {data[at]:#x}"
        assert data[at] & 0x80, "a server's frame is fragmented"
        frames.append((data[at] & 15, bytes(data[start:start + length])))
        at = start + length
    return frames, data[at:]


def upgrade_request(path="/ws", method="GET", drop=(), extra=(), body=b"", **replace):
    """The bytes of a handshake. `replace` sets headers by name with _ for -, `drop` leaves some out."""
    headers = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), "Sec-WebSocket-Version": "13"}
    for name, value in replace.items():
        headers[{key.lower(): key for key in headers}.get(name.replace("_", "-").lower(),
                                                            name.replace("_", "-"))] = value
    lines = [f"{method} {path} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers.items() if k not in drop]
    return "\r\n".join(lines + list(extra) + ["", ""]).encode() + body


class RawClient:
    """A plain socket that can misbehave."""

    def __init__(self, port, rcvbuf=None, sock=None):
        self.sock = sock or socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.pending = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_frame(self, opcode, payload=b"", **options):
        self.send(frame_bytes(opcode, payload, **options))

    def send_json(self, frame):
        self.send_frame(TEXT, json.dumps(frame))

    def end_writing(self):
        """Says that nothing more comes; what the server says can still be read."""
        socket.socket.shutdown(self.sock, socket.SHUT_WR)  # an SSLSocket's own would end TLS, too

    def drip(self, data):
        """Sends byte by byte, each in a segment of its own."""
        for at in range(len(data)):
            self.sock.sendall(data[at:at + 1])

    def recv(self, deadline=DEADLINE):
        """Reads once into the buffer; False at the end of the connection."""
        self.sock.settimeout(deadline)
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def response_head(self, deadline=DEADLINE):
        """(status, headers) of the next HTTP response; (None, {}) if the server hangs up instead."""
        end = time.monotonic() + deadline
        while b"\r\n\r\n" not in self.buffer:
            if not self.recv(max(end - time.monotonic(), 0.01)):
                return None, {}
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict((k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:]))
        return int(lines[0].split()[1]), headers

    def response(self, deadline=DEADLINE):
        """(status, headers, body) of the next HTTP response that says its length."""
        status, headers = self.response_head(deadline)
        length = int(headers.get("content-length", 0))
        while len(self.buffer) < length and self.recv(deadline):
            pass
        body, self.buffer = bytes(self.buffer[:length]), self.buffer[length:]
        return status, headers, body

    def handshake(self, path="/ws", **options):
        """Upgrades; asserts that the server agreed."""
        self.send(upgrade_request(path, **options))
        status, headers = self.response_head()
        assert status == 101, (status, headers, bytes(self.buffer[:500]))
        return self

    def open(self, user=None, room=None, since=None, inbox=None):
        """Upgrades and waits for `welcome` and the `joined` of inbox and room, in any order; returns the room's (with
        room "" the inbox's). Other frames are kept."""
        self.handshake(query_of(user, room, since, inbox))
        self.until("welcome")
        kept, found = [], {}
        while "inbox" not in found or (room != "" and "room" not in found):
            frame = self.recv_frame()
            assert frame and frame[0] != CLOSE, frame
            value = json.loads(frame[1]) if frame[0] == TEXT else {}
            if value.get("type") == "joined":
                found["inbox" if value.get("inbox") else "room"] = value
            else:
                kept.append(frame)
        self.pending.extendleft(reversed(kept))
        return found["inbox" if room == "" else "room"]

    def recv_frame(self, deadline=DEADLINE):
        """The next (opcode, payload); None at the end of the connection."""
        end = time.monotonic() + deadline
        while not self.pending:
            frames, self.buffer = split_frames(self.buffer)
            self.pending.extend(frames)
            if not self.pending and not self.recv(max(end - time.monotonic(), 0.01)):
                return None
        return self.pending.popleft()

    def until(self, kind, deadline=DEADLINE, **fields):
        """Reads on to the next text frame of this type with these fields; other frames are dropped."""
        end = time.monotonic() + deadline
        while True:
            frame = self.recv_frame(max(end - time.monotonic(), 0.01))
            assert frame, f"closed before {kind!r}"
            assert frame[0] != CLOSE, f"close {close_of(frame)} before {kind!r}"
            if frame[0] == TEXT:
                value = json.loads(frame[1])
                if value.get("type") == kind and all(value.get(k) == fields[k] for k in fields):
                    return value

    def until_opcode(self, opcode, deadline=DEADLINE):
        """Reads on to the next frame with this opcode; its payload."""
        end = time.monotonic() + deadline
        while True:
            frame = self.recv_frame(max(end - time.monotonic(), 0.01))
            assert frame, f"closed before a frame with opcode {opcode}"
            if frame[0] == opcode:
                return frame[1]

    def closed_with(self, deadline=DEADLINE):
        """Reads to the end; the code of the close frame, or None if there was none."""
        end, code = time.monotonic() + deadline, None
        while True:
            frame = self.recv_frame(max(end - time.monotonic(), 0.01))
            if frame is None:
                return code
            if frame[0] == CLOSE:
                code = close_of(frame)
                try:
                    self.send_frame(CLOSE, frame[1][:2])
                    self.end_writing()
                except OSError:
                    pass  # the server hung up at once, which it may


def close_of(frame):
    """The code of a close frame, 1005 if it carries none (RFC 6455 section 7.1.5)."""
    return struct.unpack(">H", frame[1][:2])[0] if len(frame[1]) >= 2 else 1005
