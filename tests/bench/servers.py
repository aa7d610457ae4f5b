# SPDX-License-Identifier: MIT
"""The servers of the grid: how each is installed, started on one core, spoken to, and which version it is."""
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
import harness  # noqa: E402

SOURCES = ROOT / "tests/bench/peers"
INSTALLED = ROOT / "build/peers"
NODE_FLAGS = ("--accept-rate", 0, "--loops", 1, "--ping-interval", 3600000, "--log-level", "warn")
NCHAN_MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so"


class Unavailable(Exception):
    """Why a server cannot be measured here."""


def output(*argv, cwd=ROOT):
    """What a program prints, both streams; fails when it fails."""
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, cwd=cwd, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Unavailable(f"{argv[0]} ended with {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def find_program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


# ---- Starting ----

def accepts(port):
    harness.socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def upgrades(port):
    """Whether a WebSocket handshake is done: nchan accepts before it has found its Redis."""
    request = (f"GET /ws?room=ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    with harness.socket.create_connection(("127.0.0.1", port), 1) as link:
        link.sendall(request.encode())
        return b" 101 " in link.recv(4096)


class Pinned(harness.Process):
    """A server's process on one core, ready when `ready(port)` says so."""

    def __init__(self, name, argv, core, port, ready=accepts):
        super().__init__(name, ["taskset", "-c", core, *argv])
        self.port, self.ready = port, ready

    def start(self):
        self.spawn()
        harness.eventually(self._is_ready, what=f"{self.name} serves")
        return self

    def _is_ready(self):
        assert self.alive(), f"{self.name} ended:\n{self.log[-4000:]}"
        try:
            return self.ready(self.port)
        except OSError:
            return False

    def pids(self):
        """Its own and those of its workers."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


class PinnedRedis(harness.Redis):
    """Open to everybody: other servers use keys of their own."""

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def __init__(self, core):
        super().__init__(start=False)
        self.argv = ["taskset", "-c", str(core), *self.argv]


class PinnedNode(harness.Node):
    """chatnode, as the harness starts it: ready when it answers, and a member of the cluster when it says so."""

    def __init__(self, build, core, redis):
        harness.CHATNODE = str(build / "chatnode")
        super().__init__(*NODE_FLAGS, redis=redis, start=False)
        self.argv = ["taskset", "-c", str(core), *self.argv]

    def start(self):
        super().start()
        return self.wait_ready()

    def pids(self):
        return [self.pid]


def start_chatnode(build, core, redis):
    return PinnedNode(build, core, redis)


def start_floor(mode):
    def start(build, core, _):
        port = harness.free_port()
        return Pinned(f"floor-{mode}", [build / "bench_floor", port, mode], core, port)
    return start


def start_script(name, *program):
    def start(_, core, redis):
        port = harness.free_port()
        return Pinned(name, [*program, INSTALLED / f"{name}.js", port, *([redis.url] if redis else [])], core, port)
    return start


def start_nchan(_, core, redis):
    port = harness.free_port()
    server = Pinned("nchan", [], core, port, upgrades)
    upstream = f"upstream store {{ nchan_redis_server {redis.url}; }}" if redis else ""
    text = (SOURCES / "nchan.conf").read_text()
    for word, value in (("MODULE", NCHAN_MODULE), ("FOLDER", str(server.dir)), ("PORT", str(port)), ("REDIS", upstream),
                        ("STORE", "nchan_redis_pass store;" if redis else "")):
        text = re.sub(rf"\b{word}\b(?=[^#\n]*$)", value.replace("\\", ""), text, flags=re.M)
    (server.dir / "nginx.conf").write_text(text)
    server.argv += [find_program("nginx"), "-p", server.dir, "-e", server.dir / "error.log", "-c", server.dir / "nginx.conf"]
    server.argv = [str(word) for word in server.argv]
    return server


def start_nats(_, core, __):
    port = harness.free_port()
    server = Pinned("nats", [], core, port)
    config = server.dir / "nats.conf"
    config.write_text((SOURCES / "nats.conf").read_text().replace("PORT", str(port)))
    server.argv += [find_program("nats-server"), "-c", str(config)]
    server.env["GOMAXPROCS"] = "1"
    return server


# ---- Versions, and what has to be there ----

def version_of_package(name):
    path = INSTALLED / "node_modules" / name / "package.json"
    if not path.exists():
        raise Unavailable(f"{name} could not be installed from npm")
    return json.loads(path.read_text())["version"]


def version_of(program, *words):
    """The first number with dots that the program prints."""
    path = find_program(program)
    if not path:
        raise Unavailable(f"{program} is not installed")
    return re.search(r"\d+(?:\.\d+)+", output(path, *words))[0]


def version_of_bun():
    program = INSTALLED / "node_modules/bun/bin/bun.exe"
    if not program.exists():
        raise Unavailable("bun could not be installed from npm")
    return output(program, "--version").strip()


def version_of_nchan():
    if not pathlib.Path(NCHAN_MODULE).exists():
        raise Unavailable("libnginx-mod-nchan is not installed")
    module = output("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan").strip()
    return f"nginx {version_of('nginx', '-v')}, nchan {module}"


def version_of_chatnode(build):
    return re.search(r"\d+(?:\.\d+)+", output(build / "chatnode", "--version"))[0]


def on_node(package):
    return f"{version_of_package(package)} on Node.js {version_of('node', '--version')}"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the servers. `around` is how many bytes its protocol's text has besides the content."""

    title: str
    summary: str
    start: object  # a function of build, core and Redis (None: a single node); the process is not started yet
    version: object  # a function of build
    url: str = "ws://127.0.0.1:{}/ws"
    dialect: str = "plain"
    around: int = 0
    needs: str = ""  # "packages" or "npm", installed on demand


KINDS = {
    "floor": Kind("floor: one send per member", "a bare epoll loop", start_floor("send"), lambda _: ""),
    "floor-batch": Kind("floor: one send per member and turn", "the same, joining all messages of a turn",
                        start_floor("batch"), lambda _: ""),
    "chatnode": Kind("**chatnode**", "one loop; history, positions and resume are on", start_chatnode,
                     version_of_chatnode, dialect="chatnode"),
    "bun": Kind("Bun", "its own publish and subscribe", start_script("bun", INSTALLED / "node_modules/bun/bin/bun.exe"),
                lambda _: version_of_bun(), needs="npm"),
    "nchan": Kind("nginx + nchan", "one worker", start_nchan, lambda _: version_of_nchan(), needs="packages"),
    "ws": Kind("ws", "on Node.js, with bufferutil", start_script("ws", "node"), lambda _: on_node("ws"), needs="npm"),
    "nats": Kind("nats-server", "its own protocol over TCP, one thread of Go", start_nats,
                 lambda _: version_of("nats-server", "--version"), url="tcp://127.0.0.1:{}", dialect="nats",
                 needs="packages"),
    "socketio": Kind("Socket.IO", "on Node.js, with bufferutil; over WebSocket only", start_script("socketio", "node"),
                     lambda _: on_node("socket.io"), url="ws://127.0.0.1:{}/socket.io/", dialect="socketio",
                     around=len('42["m",""]'), needs="npm"),
}


# ---- Installing ----

def install_packages(section):
    """From Debian, by deploy/packages.txt; what cannot be installed shows when its version is asked for."""
    subprocess.run(["bash", "-c", f". deploy/common.sh; need {section}"], cwd=ROOT, check=False, stdout=sys.stderr)


def install_npm():
    """Into build/peers, at the versions of tests/bench/peers/package-lock.json."""
    if not find_program("npm"):
        install_packages("npm")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    lock = "package-lock.json"
    done = INSTALLED / "node_modules/.done"  # which lock file was installed to the end
    for path in (*SOURCES.glob("*.js"), SOURCES / "package.json", SOURCES / lock):
        shutil.copy(path, INSTALLED)
    if done.exists() and done.read_bytes() == (SOURCES / lock).read_bytes():
        return
    print("installing Bun, ws and Socket.IO from npm into build/peers", file=sys.stderr, flush=True)
    try:
        output("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=INSTALLED)
        output("node", "node_modules/bun/install.js", cwd=INSTALLED)  # puts Bun's program in its place
        shutil.copy(SOURCES / lock, done)
    except (Unavailable, OSError) as why:
        print(why, file=sys.stderr, flush=True)


def prepare(names, build):
    """Installs what these servers need; their versions by name, and why each that is missing is left out."""
    needs = {KINDS[name].needs for name in names}
    if "packages" in needs:
        install_packages("peers")
    if "npm" in needs:
        install_npm()
    versions, missing = {}, {}
    for name in names:
        try:
            versions[name] = KINDS[name].version(build)
        except Unavailable as why:
            missing[name] = str(why)
    return versions, missing
