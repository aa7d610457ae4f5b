# SPDX-License-Identifier: MIT
"""docker-compose.yml for real: the image is built, three nodes run behind the balancer, and nodes die."""
import pathlib
import subprocess

import pytest

from clients import Client, RawClient, upgrade_request
from harness import eventually, unique

FEW = 5


@pytest.fixture
def connect(cluster):
    clients = []

    def connect(**options):
        clients.append(Client(cluster.port, **options))
        return clients[-1]

    yield connect
    for client in clients:
        if not client.ended:
            client.close()


@pytest.fixture
def room():
    return unique("room")


@pytest.fixture
def one_on_each(cluster, connect, room):
    """Three members of one room, each on a node of its own."""
    members = [connect(user=unique("user"), room=room) for _ in range(3)]
    assert len({member.welcome["node"] for member in members}) == 3
    return members


def contents(messages):
    return [message["content"] for message in messages]


def test_the_page_comes_through_the_balancer(cluster):
    answer = cluster.http("/")
    assert answer.status == 200 and "text/html" in answer.headers["content-type"]


def test_members_on_three_nodes_see_one_order(one_on_each, room):
    for turn in range(FEW):
        for number, member in enumerate(one_on_each):
            member.say(f"{number}.{turn}", room)
    seen = [[(message["pos"], message["content"]) for message in member.collect("message", 3 * FEW, room=room)]
            for member in one_on_each]
    assert seen[0] == seen[1] == seen[2]
    assert len({pos for pos, _ in seen[0]}) == 3 * FEW


def test_a_direct_message_crosses_nodes(one_on_each):
    ann, bob, _ = one_on_each
    ann.tell(bob.user, "psst")
    assert bob.expect("direct")["content"] == "psst"


def resume(connect, lost, room, last):
    """The same user again, from the last position it saw; on another node than before."""
    back = connect(user=lost.user, room=room, since=last["pos"])
    assert back.welcome["node"] != lost.welcome["node"]
    assert back.joined["recovered"] is True
    return back


def test_clients_of_a_killed_node_resume_on_another_without_a_loss(cluster, connect, one_on_each, room):
    lost, ann, bob = one_on_each
    ann.say("before", room)
    last = [member.expect("message", room=room) for member in one_on_each][0]
    cluster.docker("kill", cluster.container_of(lost))
    lost.closed()
    missed = [f"missed {number}" for number in range(FEW)]
    for content in missed:
        ann.publish(content, room)
    back = resume(connect, lost, room, last)
    ann.publish("after", room)
    assert contents(back.collect("message", FEW + 1, room=room)) == [*missed, "after"]
    assert contents(bob.collect("message", FEW + 1, room=room)) == [*missed, "after"]
    back.refuse("message", room=room)


def test_a_stopped_node_sends_its_clients_away_and_ends_with_0(cluster, connect, one_on_each, room):
    leaving, ann, _ = one_on_each
    ann.say("before", room)
    last = leaving.expect("message", room=room)
    container = cluster.container_of(leaving)
    stopping = subprocess.Popen(["docker", "stop", "-t", "20", container], env=cluster.env)
    assert leaving.expect("reconnect")["in_ms"] >= 0
    assert leaving.closed() == 1012
    back = resume(connect, leaving, room, last)
    ann.publish("after", room)
    assert back.expect("message", room=room)["content"] == "after"
    assert stopping.wait(30) == 0
    assert cluster.inspect(container)["State"]["ExitCode"] == 0


def test_no_tunnel_but_for_websocket(cluster):
    """h2c: HAProxy up to 2.8 passes the header on and our rule answers 400; later ones drop it, and the node says 404."""
    for value, answers in (("h2c", (400, 404)), ("foo", (400,)), ("websocket, foo", (400,))):
        with RawClient(cluster.port) as raw:
            raw.send(upgrade_request(Upgrade=value))
            assert raw.response_head()[0] in answers, value


def test_the_image_runs_as_nobody_in_particular(cluster):
    for node in cluster.nodes():
        state = cluster.inspect(node)
        assert state["Config"]["User"] == "10001:10001"
        assert state["HostConfig"]["ReadonlyRootfs"] is True
        assert state["HostConfig"]["CapDrop"] == ["ALL"]
        assert not state["HostConfig"]["PortBindings"]
        top = cluster.docker("top", node, "-eo", "pid,uid,args").splitlines()[1:]
        assert len(top) == 1 and top[0].split()[1] == "10001" and top[0].split()[2] == "chatnode", top


def status_of(pid):
    """The lines of /proc/PID/status that say what a process may do."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_a_node_in_its_container_may_do_nothing_special(cluster):
    """As the kernel sees it, not as the file says it: no capability, no way to get one, Docker's own filter of calls."""
    for node in cluster.nodes():
        status = status_of(cluster.inspect(node)["State"]["Pid"])
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[which], 16) == 0, (which, status[which])
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2", "no filter"
        wrote = subprocess.run(["docker", "exec", node, "sh", "-c", "echo x > /usr/local/bin/x"], env=cluster.env,
                               capture_output=True, check=False)
        assert wrote.returncode != 0


def test_every_service_has_a_health_check_that_passes(cluster):
    for service in ("redis", "node", "haproxy"):
        for container in cluster.of_service(service):
            eventually(lambda: cluster.inspect(container)["State"]["Health"]["Status"] == "healthy", 30, service)


def test_the_health_check_of_the_image_can_fail(cluster):
    words = ("exec", cluster.nodes()[0], "chatnode", "--healthcheck")
    cluster.docker(*words)
    wrong = ("exec", "-e", "CHATNODE_INTERNAL_LISTEN=127.0.0.1:9001", *words[1:])
    assert subprocess.run(["docker", *wrong], env=cluster.env, capture_output=True).returncode == 1
