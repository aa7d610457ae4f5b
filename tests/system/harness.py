# SPDX-License-Identifier: MIT
"""Real processes for the system tests: Redis, nodes, clusters of nodes, HAProxy.

Nothing here sleeps: `eventually` waits for a condition with a deadline. Deadlines are multiplied by the environment's
CHATNODE_SLOW (builds with sanitizers set it). CHATNODE names the program under test.
"""
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHATNODE = os.environ.get("CHATNODE", str(ROOT / "build/release/chatnode"))
SLOW = float(os.environ.pop("CHATNODE_SLOW", "1"))  # not for the children: the node would warn of it
DEADLINE = 10 * SLOW  # seconds until a condition that should hold at once counts as failed
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer")

running = []  # every process of the harness that has not been stopped, for the report of a failure
_numbers = itertools.count(1)


def unique(word):
    """A name that no other test of this run uses."""
    return f"{word}-{os.getpid()}-{next(_numbers)}"


def eventually(condition, deadline=DEADLINE, what=None):
    """Returns the first true value of `condition()`; fails when there was none within `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what or condition}")
        select.select([], [], [], 0.01)


_taken = set()


def free_port():
    """A loopback port below the range that the kernel gives to clients, so that no connection takes it meanwhile."""
    while True:
        port = random.randrange(12000, 32000)
        if port in _taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port


def http_request(port, path, method="GET", headers=None, body=None, deadline=DEADLINE, tls=None, first=b""):
    """One HTTP request on a connection of its own, which begins with `first`; an object with status, headers (lower
    case) and body. `tls` is an ssl.SSLContext, None for a plain connection."""
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=deadline, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=deadline)
    try:
        connection.connect()
        connection.sock.sendall(first)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Answer:
    """An HTTP response that has been read to its end."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


def parse_metrics(text):
    """The samples of a Prometheus exposition: {'name{labels}': number}."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            samples[key] = float(value)
    return samples


class Process:
    """A child with its output in a file. It is ended by its pid, never by name."""

    def __init__(self, name, argv, env=None):
        self.name, self.argv = name, [str(word) for word in argv]
        self.env = {**os.environ, **(env or {})}
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"chatnode-{name}-"))
        self.log_path = self.dir / "log"
        self.child = None

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env)
        running.append(self)
        return self

    @property
    def pid(self):
        return self.child.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, deadline=DEADLINE):
        """Waits for the end; returns the exit code."""
        try:
            code = self.child.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end; its log:\n{self.log[-4000:]}") from None
        if self in running:
            running.remove(self)
        return code

    def kill(self):
        """Ends it at once, as a crash would."""
        if self.alive():
            self.child.kill()
        if self.child:
            self.wait()

    def stop(self):
        """Ends it, kindly first, and removes its files."""
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.child.kill()
        if self.child:
            self.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class RedisError(Exception):
    """An error that Redis answered."""


def users_of_redis():
    """The rules of deploy/redis-users.acl, a list of words for each user."""
    lines = (ROOT / "deploy/redis-users.acl").read_text().splitlines()
    return {line.split()[1]: line.split()[2:] for line in lines if line.startswith("user ")}


class Redis(Process):
    """A private redis-server on a loopback port of its own; keeps nothing on disk. Nodes are the user of
    deploy/redis-users.acl (with `shows_config` it may CONFIG GET as well); the tests themselves may do everything."""

    def __init__(self, *extra, start=True, shows_config=False):
        self.port = free_port()
        super().__init__("redis", [])
        rules = [">node" if word.startswith("#") else word for word in users_of_redis()["chatnode"]]
        self.argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir),
                     "--save", "", "--appendonly", "no", *[str(word) for word in extra],
                     "--user", "chatnode", *rules, *["+config|get"] * shows_config]
        if start:
            self.start()

    @property
    def url(self):
        return f"redis://chatnode:node@127.0.0.1:{self.port}/0"

    def start(self):
        self.spawn()
        eventually(self._answers, what="Redis answers")
        return self

    def restart(self):
        self.kill()
        return self.start()

    def _answers(self):
        assert self.alive(), f"redis-server ended:\n{self.log[-2000:]}"
        try:
            self.command("PING")
        except RedisError:
            return True  # it wants a password
        except OSError:
            return False
        return True

    def command(self, *words):
        """One command on a connection of its own; bytes, int, None or a list of these."""
        return self.commands(words)

    def commands(self, *commands):
        """Commands on one connection; what the last one was answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as link, link.makefile("rb") as stream:
            for words in commands:
                parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
                link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
                reply = _read_reply(stream)
            return reply

    def info(self, section):
        text = self.command("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def clients(self, kind="normal"):
        """The CLIENT LIST lines of this type of connection."""
        return self.command("CLIENT", "LIST", "TYPE", kind).decode().splitlines()


def _read_reply(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("Redis closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"-":
        raise RedisError(rest.decode())
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return None if rest == b"-1" else [_read_reply(stream) for _ in range(int(rest))]
    raise ConnectionError(f"not RESP: {line!r}")


class Node(Process):
    """One chatnode process on free ports. `flags` are further arguments: max_rooms=3 is --max-rooms 3. `tls` and
    `internal_tls` are what a client of that listener believes (ssl.SSLContext), where it speaks TLS. `probe` is what a
    connection must begin with before /healthz is asked; None: only the internal listener can be asked."""

    def __init__(self, *extra, name=None, redis=None, start=True, env=None, tls=None, internal_tls=None, probe=b"",
                 **flags):
        self.tls, self.internal_tls, self.probe = tls, internal_tls, probe
        self.port, self.internal_port = free_port(), free_port()
        self.node_name = name or unique("node")
        super().__init__(self.node_name, [], env={**self.sanitizer_env(), **(env or {})})
        self.argv = [CHATNODE, "--listen", f"127.0.0.1:{self.port}",
                     "--internal-listen", f"127.0.0.1:{self.internal_port}", "--node-name", self.node_name]
        if redis:
            self.argv += ["--redis-url", redis if isinstance(redis, str) else redis.url]
        # Nobody balances before most tests: a node that is told to stop need not wait for one.
        for key, value in {"drain_delay": 0, **flags}.items():
            self.argv += [f"--{key.replace('_', '-')}", str(value)]
        self.argv += [str(word) for word in extra]
        if start:
            self.start()

    @staticmethod
    def sanitizer_env():
        suppressions = ROOT / "tests/support/tsan.supp"
        tsan = f"suppressions={suppressions}:" if suppressions.exists() else ""
        return {"ASAN_OPTIONS": "detect_leaks=1:exitcode=66", "UBSAN_OPTIONS": "print_stacktrace=1",
                "TSAN_OPTIONS": tsan + "exitcode=66"}

    def start(self):
        self.spawn()
        eventually(self._answers, DEADLINE * 2, "the node answers /healthz")
        return self

    def _answers(self):
        assert self.alive(), f"{self.name} ended with {self.child.returncode}:\n{self.log[-4000:]}"
        try:
            ask = self.internal if self.probe is None else self.get
            return ask("/healthz", deadline=DEADLINE).status == 200
        except OSError:
            return False

    def get(self, path, **options):
        """A request to the public listener."""
        return http_request(self.port, path, tls=self.tls, first=self.probe, **options)

    def internal(self, path, **options):
        """A request to the operators' listener."""
        return http_request(self.internal_port, path, tls=self.internal_tls, **options)

    def ready(self):
        return self.internal("/readyz").status == 200

    def wait_ready(self, deadline=DEADLINE):
        eventually(self.ready, deadline, f"{self.name} is ready")
        return self

    def metrics(self):
        return parse_metrics(self.internal("/metrics").text)

    def metric(self, name, labels=""):
        """The sum of the family's samples whose label text contains `labels`."""
        found = [value for key, value in self.metrics().items()
                 if key.split("{")[0] == name and labels in key]
        assert found, f"no sample of {name}{{{labels}}}"
        return sum(found)

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def finish(self, code=0):
        """Asserts the exit code of a node that is ending, and that no sanitizer had anything to say."""
        found = self.wait(DEADLINE * 2)
        assert not SANITIZER_REPORT.search(self.log), f"{self.name}:\n{self.log[-20000:]}"
        assert found == code, f"{self.name} ended with {found}, not {code}:\n{self.log[-4000:]}"

    def terminate(self):
        """SIGTERM twice: end now, with exit code 0 and no sanitizer report."""
        if not self.alive():
            if self.child and self in running:
                self.finish()
            return
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(0.05)
        except subprocess.TimeoutExpired:
            if self.alive():
                self.signal(signal.SIGTERM)
        self.finish()

    def stop(self):
        try:
            self.terminate()
        finally:
            super().stop()


class Cluster:
    """`count` nodes on one Redis."""

    def __init__(self, count, redis, **flags):
        self.redis = redis
        self.nodes = []
        try:
            for index in range(count):
                self.nodes.append(Node(name=unique("abcdefgh"[index]), redis=redis, start=False, **flags))
                self.nodes[-1].start()
            for node in self.nodes:
                node.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __getitem__(self, index):
        return self.nodes[index]

    def __iter__(self):
        return iter(self.nodes)

    def stop(self):
        stop_all(self.nodes)


def weigh_connections(node, clients, *words):
    """Resident bytes that each of so many idle connections cost the node; they are gone afterwards."""
    argv = [pathlib.Path(CHATNODE).parent / "chatctl", "bench", "idle", "--url", f"ws://127.0.0.1:{node.port}/ws",
            "--clients", clients, "--seconds", 0.1, "--pid", node.pid, "--json", *words]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=120 * SLOW, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["server"]["rss_bytes_per_connection"]


def run_bench(*words, deadline):
    """What ./run bench prints on stdout and on stderr, after it has ended with 0."""
    argv = [sys.executable, ROOT / "tests/bench/run.py", "--build", pathlib.Path(CHATNODE).parent, *words]
    child = subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "CHATNODE_SLOW": str(SLOW)})
    try:
        out, err = child.communicate(timeout=deadline * SLOW)
    finally:
        child.terminate()  # it ends what it started
        child.wait()
    assert child.returncode == 0, out + err
    return out, err


def stop_all(processes):
    """Stops each of them, whatever happens with the others; then raises the first failure."""
    failure = None
    for process in processes:
        try:
            process.stop()
        except AssertionError as error:
            failure = failure or error
    if failure:
        raise failure


class HAProxy(Process):
    """The load balancer of deploy/haproxy.cfg, with its servers and ports replaced by ours; `changes` are pieces of its
    text and what to put in their place."""

    def __init__(self, nodes, changes=None):
        self.port = free_port()
        super().__init__("haproxy", [])
        config = self.dir / "haproxy.cfg"
        text = (ROOT / "deploy/haproxy.cfg").read_text()
        for piece, other in (changes or {}).items():
            assert piece in text, piece
            text = text.replace(piece, other)
        config.write_text(derive_haproxy(text, self.port, nodes))
        self.argv = ["haproxy", "-db", "-f", str(config)]
        self.start(config)

    def start(self, config):
        check = subprocess.run(["haproxy", "-c", "-f", config], capture_output=True, text=True, check=False)
        assert check.returncode == 0, check.stdout + check.stderr
        self.spawn()
        eventually(self._answers, what="HAProxy passes /healthz on")

    def _answers(self):
        assert self.alive(), f"haproxy ended:\n{self.log[-2000:]}"
        try:
            return http_request(self.port, "/healthz").status == 200
        except OSError:
            return False


def derive_haproxy(text, port, nodes):
    """The configuration with one public bind, and the servers of each backend replaced by `nodes`."""
    out, bound, filled = [], False, False
    for line in text.splitlines():
        words = line.split()
        if words[:1] in (["frontend"], ["backend"], ["listen"], ["defaults"], ["global"]):
            filled = False
        if words[:1] == ["bind"]:
            line = f"    bind 127.0.0.1:{free_port() if bound else port}"
            bound = True
        if words[:1] in (["server"], ["server-template"]):
            if not filled:
                out += [f"    server {node.node_name} 127.0.0.1:{node.port} check port {node.internal_port} inter 200ms"
                        for node in nodes]
            filled = True
            continue
        if words[:1] in (["user"], ["group"], ["chroot"], ["daemon"], ["stats"], ["nameserver"]):
            continue
        out.append(line)
    assert bound, "deploy/haproxy.cfg has no bind line"
    return "\n".join(out) + "\n"
