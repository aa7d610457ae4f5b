# SPDX-License-Identifier: MIT
"""The cluster of docker-compose.yml, brought up and taken down through Compose as a user would."""
import json
import os
import pathlib
import resource
import subprocess

from clients import Client
from engine import compose_command
from harness import eventually, free_port, http_request

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERRIDE = pathlib.Path(__file__).with_name("override.yml")
NODES = 3
BUILD_SECONDS = 900
UP_SECONDS = 60


def open_files():
    """docker-compose.yml's limit of open files, or our own where that is lower: we may not be able to raise it."""
    return min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


class Cluster:
    """redis, NODES x node and haproxy, under a project's name of its own."""

    def __init__(self, docker_host):
        self.project = f"chatnode-test-{os.getpid()}"
        self.port = free_port()
        self.env = {**os.environ, "PUBLISH": f"127.0.0.1:{self.port}", "NOFILE": str(open_files()),
                    "DOCKER_BUILDKIT": "0"}
        if docker_host:
            self.env["DOCKER_HOST"] = docker_host

    def __enter__(self):
        try:
            self.compose("build", deadline=BUILD_SECONDS)
            self.up()
        except BaseException:
            print(self.logs())
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()
        assert not self.containers("-a"), "containers are left after `down`"

    def run(self, *argv, deadline=120, check=True):
        done = subprocess.run(argv, env=self.env, cwd=ROOT, text=True, timeout=deadline, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-4000:]}"
        return done.stdout

    def compose(self, *words, **options):
        files = ("-f", str(ROOT / "docker-compose.yml"), "-f", str(OVERRIDE))
        return self.run(*compose_command(), "-p", self.project, *files, *words, **options)

    def docker(self, *words, **options):
        return self.run("docker", *words, **options)

    def up(self):
        """`up` until every node takes clients through the balancer."""
        self.compose("up", "-d", "--no-build", "--scale", f"node={NODES}", deadline=UP_SECONDS * 2)
        eventually(lambda: len(self.nodes()) == NODES, UP_SECONDS, "all nodes are healthy")
        eventually(self.all_take_clients, UP_SECONDS, "the balancer sends clients to every node")

    def down(self):
        self.compose("down", "--volumes", "--timeout", "20", check=False)

    def logs(self):
        return self.compose("logs", "--no-color", "--tail", "60", check=False)

    def containers(self, *filters):
        words = ("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.project}", *filters)
        return self.docker(*words).split()

    def of_service(self, service, *filters):
        return self.containers("--filter", f"label=com.docker.compose.service={service}", *filters)

    def nodes(self):
        """The ids of the nodes' containers that are healthy."""
        return self.of_service("node", "--filter", "health=healthy")

    def inspect(self, container):
        return json.loads(self.docker("inspect", container))[0]

    def container_of(self, client):
        """The node a client is on: its name begins with the container's host name, the id's first 12 digits."""
        return next(node for node in self.nodes() if client.welcome["node"].startswith(node[:12]))

    def http(self, path, **options):
        return http_request(self.port, path, **options)

    def all_take_clients(self):
        """Whether as many new clients as there are nodes come to as many nodes, and none is turned away."""
        clients = []
        try:
            for _ in range(NODES):
                clients.append(Client(self.port, room=""))
            return len({client.welcome["node"] for client in clients}) == NODES
        except (OSError, AssertionError, EOFError):
            return False
        except Exception as error:  # websockets' own, when the balancer has no node yet
            if type(error).__module__.startswith("websockets"):
                return False
            raise
        finally:
            for client in clients:
                client.close()
