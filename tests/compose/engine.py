# SPDX-License-Identifier: MIT
"""A Docker engine for the tests: the one that answers here, or one of our own on a private socket."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import images
from harness import eventually

START_SECONDS = 60
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class NoEngine(Exception):
    """Nothing here can run containers; the text says why."""


def end_with_parent():
    """Runs in the child: the kernel sends it SIGTERM when this process ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def answers(host):
    """Whether a Docker engine answers at `host`; None is the client's default."""
    env = dict(os.environ, DOCKER_HOST=host) if host else None
    probe = subprocess.run(["docker", "version"], env=env, capture_output=True, timeout=30)
    return probe.returncode == 0


def compose_command():
    """Compose as Docker's plugin, or as the older program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def forward_policy():
    """What the kernel's packet filter does with forwarded packets that no rule knows: ACCEPT or DROP, or None."""
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True).stdout
    return rules.splitlines()[0].split()[-1] if rules.startswith("-P FORWARD") else None


class PrivateEngine:
    """A dockerd of our own. Images and layers stay in `cache`; all else goes with it."""

    def __init__(self, cache):
        self.data = cache / "docker"
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="chatnode-docker-"))
        self.host = f"unix://{self.run}/docker.sock"
        self.process = None
        self.forward_policy = forward_policy()

    def command(self, extra):
        return ["dockerd", "--host", self.host, "--data-root", str(self.data), "--exec-root", str(self.run / "exec"),
                "--pidfile", str(self.run / "pid"), "--bridge", "none", *extra]

    def log(self):
        return (self.run / "log").read_text(errors="replace")

    def try_start(self, extra):
        with open(self.run / "log", "w") as log:
            # A group of its own: a Ctrl-C at the terminal must not end it before its containers.
            self.process = subprocess.Popen(
                self.command(extra), stdout=log, stderr=log, start_new_session=True,
                preexec_fn=end_with_parent
            )
        eventually(
            lambda: self.process.poll() is not None or answers(self.host), START_SECONDS, "dockerd answers"
        )
        return self.process.poll() is None

    def start(self):
        self.data.mkdir(parents=True, exist_ok=True)
        # Where the kernel has no packet filter to offer, published ports still work by a proxy.
        if not self.try_start([]) and not self.try_start(["--iptables=false"]):
            raise NoEngine("dockerd does not start here:\n" + self.log()[-3000:])

    def stop(self):
        """dockerd ends its own containerd when it is asked to end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        # What it leaves behind: a stricter packet filter, and its view of this machine's network, mounted.
        if self.forward_policy:
            subprocess.run(["iptables", "-P", "FORWARD", self.forward_policy], capture_output=True)
        subprocess.run(["umount", str(self.run / "exec/netns/default")], capture_output=True)
        shutil.rmtree(self.run)


def require_tools():
    for tool in ("docker", compose_command()[0]):
        if not shutil.which(tool):
            raise NoEngine(f"{tool} is not installed")


@contextlib.contextmanager
def engine(cache):
    """Gives the DOCKER_HOST of an engine that has every image the tests start from."""
    require_tools()
    given = os.environ.get("DOCKER_HOST")
    if answers(given) and images.all_there_or_pulled(given):
        yield given
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise NoEngine("no Docker engine answers with the images, and starting one takes root and dockerd")
    own = PrivateEngine(cache)
    try:
        own.start()
        if not images.all_there_or_pulled(own.host):
            images.make(own.host, cache)
        yield own.host
    finally:
        own.stop()
