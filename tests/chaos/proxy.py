# SPDX-License-Identifier: MIT
"""A TCP proxy that does to connections what networks do, in a process of its own and switched at run time.

Modes of a door (one listening port with one upstream):
  pass      bytes go through at once
  latency   each piece is delayed by `ms`, give or take `jitter` ms; the order stays
  slicer    bytes go in pieces of 1 to `size` bytes, each a segment of its own
  hole      connections stay, and new ones are accepted, but every byte is swallowed: half open. What lost bytes
            cannot go on: it is reset when the mode changes
  stall     nothing is read any more, so nothing is lost: all of it arrives late, when the mode changes
  down      the port refuses, and open connections are reset
`reset` is no mode: it resets what is open, and then goes on as before.

A mode may concern only some connections: those with a label. A connection's label is what `label`, a regular
expression with one group, finds in the first bytes from the client (a node names its connections to Redis).
"""
import collections
import multiprocessing
import random
import re
import select
import signal
import socket
import struct
import time

CHUNK = 1 << 16
QUEUE_MAX = 1 << 20  # bytes that wait in one direction; beyond it the sender has to wait
LABEL_BYTES = 2048  # a label must come within so many bytes
MODES = ("pass", "latency", "slicer", "hole", "stall", "down")


def reset(sock):
    """Closes with RST instead of FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


class Side:
    """One of a flow's two sockets: what it still has to write, and what the loop watches it for."""

    def __init__(self, flow, sock, connected):
        self.flow, self.sock, self.connected = flow, sock, connected
        self.queue = collections.deque()  # (due, bytes) to be written here
        self.queued = 0
        self.full = self.ended = self.finished = False
        self.watched = None
        self.other = None

    def put(self, data, due=0.0):
        self.queue.append((due, data))
        self.queued += len(data)

    def mask(self, mode):
        mask = 0
        if self.connected and not self.ended and mode != "stall" and self.other.queued < QUEUE_MAX:
            mask |= select.EPOLLIN
        if self.full or not self.connected:
            mask |= select.EPOLLOUT
        return mask


class Flow:
    """One connection through a door."""

    def __init__(self, door, client):
        self.door, self.label, self.head, self.lossy = door, None, b"", False
        self.client = Side(self, client, True)
        self.upstream = None

    def sides(self):
        return [side for side in (self.client, self.upstream) if side]

    @property
    def mode(self):
        door = self.door
        return door.mode if door.only is None or door.only == self.label else "pass"

    def read_label(self, data):
        if self.label is None and self.door.label and len(self.head) < LABEL_BYTES:
            self.head += data
            found = self.door.label.search(self.head)
            self.label = found[1].decode() if found else None


class Door:
    """A listening port, its upstream, and the mode of its flows."""

    def __init__(self, name, upstream, label):
        self.name, self.upstream = name, upstream
        self.label = re.compile(label) if label else None
        self.mode, self.only, self.options = "pass", None, {}
        self.flows = set()
        self.writes = 0
        self.listener = None
        self.port = 0

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(256)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]


class Engine:
    """The loop: doors, flows, and the pipe with orders."""

    def __init__(self, pipe, seed):
        self.pipe, self.random = pipe, random.Random(seed)
        self.epoll = select.epoll()
        self.epoll.register(pipe.fileno(), select.EPOLLIN)
        self.doors, self.by_fd, self.due = {}, {}, set()
        self.running = True

    def run(self):
        while self.running:
            for fd, event in self.epoll.poll(self._patience()):
                if fd == self.pipe.fileno():
                    self._obey()
                elif fd in self.by_fd:
                    self._serve(self.by_fd[fd], event)
            self._flush_due()

    def _patience(self):
        if not self.due:
            return -1
        first = min(side.queue[0][0] for side in self.due)
        return max(first - time.monotonic(), 0)

    # ---- Orders ----

    def _obey(self):
        try:
            order, *words = self.pipe.recv()
        except EOFError:
            self.running = False
            return
        try:
            answer = getattr(self, "order_" + order)(*words)
        except (OSError, KeyError, ValueError) as error:
            answer = error
        self.pipe.send(answer)

    def order_open(self, name, upstream, label):
        door = Door(name, upstream, label)
        door.listen()
        self.doors[name] = door
        self._watch_door(door)
        return door.port

    def order_set(self, name, mode, only, options):
        if mode not in MODES:
            raise ValueError(mode)
        door = self.doors[name]
        before = {flow: flow.mode for flow in door.flows}
        was_down = door.mode == "down"
        door.mode, door.only, door.options = mode, only, options
        if mode == "down":
            self._shut(door)
        elif was_down:
            door.listen()
            self._watch_door(door)
        for flow, old in before.items():
            if flow in door.flows and flow.mode != old:
                self._change(flow, old)

    def order_upstream(self, name, port):
        self.doors[name].upstream = port

    def order_reset(self, name, only):
        flows = [flow for flow in self.doors[name].flows if only in (None, flow.label)]
        for flow in flows:
            self._end(flow)
        return len(flows)

    def order_flows(self, name):
        return [flow.label for flow in self.doors[name].flows]

    def order_writes(self, name):
        return self.doors[name].writes

    def order_stop(self):
        self.running = False

    def _shut(self, door):
        if door.listener:
            del self.by_fd[door.listener.fileno()]
            door.listener.close()
            door.listener = None
        for flow in list(door.flows):
            self._end(flow)

    def _change(self, flow, old):
        """The flow's mode is another one now."""
        if flow.lossy and old == "hole":
            self._end(flow)
            return
        if flow.upstream is None and flow.mode != "hole":
            self._connect(flow)
        for side in flow.sides():
            side.queue = collections.deque((0.0, data) for _, data in side.queue)
        self._settle(flow)

    # ---- Sockets ----

    def _watch_door(self, door):
        self.by_fd[door.listener.fileno()] = door
        self.epoll.register(door.listener.fileno(), select.EPOLLIN)

    def _watch(self, side):
        """Tells epoll what matters now. One that only reports its end is taken out, else it would spin."""
        mask = side.mask(side.flow.mode)
        if mask == side.watched:
            return
        if side.watched is None:
            self.epoll.register(side.sock.fileno(), mask)
        else:
            self.epoll.modify(side.sock.fileno(), mask)
        side.watched = mask

    def _accept(self, door):
        while door.listener:
            try:
                sock, _ = door.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flow = Flow(door, sock)
            door.flows.add(flow)
            self.by_fd[sock.fileno()] = flow.client
            flow.client.other = Side(flow, None, False)  # a place to queue in until there is an upstream
            if flow.mode == "hole":
                flow.lossy = True
                self._watch(flow.client)
            else:
                self._connect(flow)

    def _connect(self, flow):
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        small = flow.door.options.get("rcvbuf")
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
        sock.connect_ex(("127.0.0.1", flow.door.upstream))
        waiting = flow.client.other
        flow.upstream = Side(flow, sock, False)
        flow.upstream.queue, flow.upstream.queued = waiting.queue, waiting.queued
        flow.upstream.other, flow.client.other = flow.client, flow.upstream
        self.by_fd[sock.fileno()] = flow.upstream
        self._watch(flow.client)
        self._watch(flow.upstream)

    def _serve(self, thing, event):
        if isinstance(thing, Door):
            self._accept(thing)
            return
        flow = thing.flow
        if event & (select.EPOLLERR | select.EPOLLHUP) and not event & select.EPOLLIN:
            self._broken(thing)
            return
        if event & select.EPOLLOUT:
            if not thing.connected:
                if thing.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._end(flow)
                    return
                thing.connected = True
            thing.full = False
            self._flush(thing)
        if event & select.EPOLLIN and flow in flow.door.flows:
            self._read(thing)
        if flow in flow.door.flows:
            self._settle(flow)

    def _broken(self, side):
        """Reset by its peer. In a hole nobody gets to know of it until the mode changes."""
        flow = side.flow
        if flow.mode == "hole":
            self._forget(side)
            flow.lossy = True
        elif flow.mode == "stall" and not side.connected:
            self._end(flow)
        elif flow.mode == "stall":
            self._forget(side)
            side.ended = True
        else:
            self._end(flow)

    def _forget(self, side):
        if side.sock and side.sock.fileno() >= 0:
            if side.watched is not None:
                self.epoll.unregister(side.sock.fileno())
            self.by_fd.pop(side.sock.fileno(), None)
            side.sock.close()
        side.finished = side.ended = True

    def _end(self, flow):
        """Resets both ends."""
        flow.door.flows.discard(flow)
        for side in flow.sides():
            self.due.discard(side)
            if side.sock.fileno() >= 0:
                self.by_fd.pop(side.sock.fileno(), None)
                reset(side.sock)

    # ---- Bytes ----

    def _read(self, side):
        flow, mode = side.flow, side.flow.mode
        if mode == "stall":
            return
        try:
            data = side.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._broken(side)
            return
        if not data:
            side.ended = True
            flow.lossy = flow.lossy or mode == "hole"
            return
        if side is flow.client:
            flow.read_label(data)
            mode = flow.mode
        if mode == "hole":
            flow.lossy = True
            return
        self._pass_on(side.other, data, mode, flow.door.options)

    def _pass_on(self, to, data, mode, options):
        if mode == "latency":
            wish = options["ms"] + self.random.uniform(-1, 1) * options.get("jitter", 0)
            due = time.monotonic() + max(wish, 0) / 1000
            to.put(data, max(due, to.queue[-1][0] if to.queue else 0))
        elif mode == "slicer":
            at = 0
            while at < len(data):
                piece = self.random.randint(1, options["size"])
                to.put(data[at:at + piece])
                at += piece
        else:
            to.put(data)
        self._flush(to)

    def _flush(self, side):
        """Writes what is due; of sliced bytes one piece in a turn."""
        if side.sock is None or not side.connected or side.full or side.finished:
            return
        mode, now = side.flow.mode, 0.0
        while side.queue and not side.full:
            due, data = side.queue[0]
            if due and due > (now or (now := time.monotonic())):
                break
            if mode == "pass" and len(side.queue) > 1:
                data = b"".join(piece for _, piece in side.queue)
                side.queue.clear()
                side.queue.append((0.0, data))
            if not self._write(side, data) or mode == "slicer":
                break
        if side.queue and not side.full and side.flow in side.flow.door.flows:
            self.due.add(side)
        else:
            self.due.discard(side)

    def _write(self, side, data):
        try:
            done = side.sock.send(data)
        except BlockingIOError:
            side.full = True
            return False
        except OSError:
            self._end(side.flow)
            return False
        side.flow.door.writes += 1
        side.queue.popleft()
        side.queued -= done
        if done < len(data):
            side.queue.appendleft((0.0, data[done:]))
            side.full = True
        return True

    def _flush_due(self):
        now = time.monotonic()
        for side in list(self.due):
            if side.queue and side.queue[0][0] <= now:
                self._flush(side)
                if side.flow in side.flow.door.flows:
                    self._settle(side.flow)

    def _settle(self, flow):
        """Passes an end on once everything before it was written, and updates what is watched."""
        if flow.mode not in ("hole", "stall"):
            for side in flow.sides():
                if side.ended and side.other.sock and not side.other.queue and not side.other.finished:
                    side.other.finished = True
                    try:
                        side.other.sock.shutdown(socket.SHUT_WR)
                    except OSError:
                        self._end(flow)
                        return
            if len(flow.sides()) == 2 and all(side.ended and side.finished for side in flow.sides()):
                self._end(flow)
                return
        for side in flow.sides():
            if side.sock.fileno() >= 0 and side.sock.fileno() in self.by_fd:
                self._watch(side)


def _main(pipe, seed):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it ends it
    engine = Engine(pipe, seed)
    engine.run()


class Proxy:
    """The handle of the proxy's process. Each call returns when the order was carried out."""

    def __init__(self, seed=0):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(theirs, seed), daemon=True)
        self.process.start()
        theirs.close()

    def _order(self, *words):
        self.pipe.send(words)
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def open(self, name, upstream, label=None):
        """Opens a door to the upstream's port; returns the door's own port."""
        return self._order("open", name, upstream, label)

    def set(self, name, mode, only=None, **options):
        return self._order("set", name, mode, only, options)

    def upstream(self, name, port):
        """Where new connections go."""
        return self._order("upstream", name, port)

    def reset(self, name, only=None):
        """Resets the open connections; how many there were."""
        return self._order("reset", name, only)

    def flows(self, name):
        """The labels of the open connections, None for one without."""
        return self._order("flows", name)

    def writes(self, name):
        """How many pieces were passed on, both ways."""
        return self._order("writes", name)

    def stop(self):
        try:
            self._order("stop")
        except (OSError, EOFError):
            pass
        self.pipe.close()
        self.process.join(5)
