# SPDX-License-Identifier: MIT
"""What is shipped is hardened: the binary itself, and the systemd unit around it, which forbids what a node does not need
and nothing that it does need."""
import os
import platform
import re
import signal
import subprocess

import pytest

from harness import CHATNODE, ROOT, Node, eventually

UNIT = ROOT / "deploy/chatnode.service"
EXPOSURE_MAX = 15  # tenths, as systemd-analyze takes it

shipped = pytest.mark.uninstrumented  # a build with sanitizers is not shipped, and has a runtime of its own


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", name="headers")
def _headers():
    return output("readelf", "-hldW", CHATNODE)


@pytest.fixture(scope="module", name="symbols")
def _symbols():
    return output("readelf", "--dyn-syms", "-W", CHATNODE)


@shipped
def test_the_binary_is_position_independent(headers):
    assert re.search(r"Type:\s+DYN", headers)
    assert re.search(r"FLAGS_1.*\bPIE\b", headers)


@shipped
def test_what_the_linker_wrote_is_read_only_before_main(headers):
    assert "GNU_RELRO" in headers
    assert re.search(r"\(FLAGS\).*BIND_NOW|FLAGS_1.*\bNOW\b", headers)


@shipped
def test_no_page_of_it_can_be_written_and_run(headers):
    stack = re.search(r"GNU_STACK.*", headers).group()
    assert " RW " in stack
    assert not re.search(r"LOAD.*\bRWE\b", headers)


@shipped
def test_it_takes_libraries_from_the_system_only(headers):
    assert "RPATH" not in headers and "RUNPATH" not in headers


@shipped
def test_stacks_and_buffers_are_guarded(symbols):
    assert "__stack_chk_fail" in symbols
    checked = set(re.findall(r"\b(__\w+_chk)\b", symbols))
    assert {"__snprintf_chk", "__memcpy_chk"} & checked, checked


@shipped
@pytest.mark.skipif(platform.machine() != "x86_64", reason="endbr64 is of x86-64")
def test_what_may_be_jumped_to_is_marked():
    # Each function that a pointer may reach. The system's own start code has no marks, so the whole file says none.
    code = output("objdump", "-d", "--no-show-raw-insn", "--section=.text", CHATNODE)
    assert code.count("endbr64") > 500


# ---- The unit ----

def test_the_unit_exposes_little():
    answer = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                             f"--threshold={EXPOSURE_MAX}", str(UNIT)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr


def test_a_careless_unit_would_be_noticed(tmp_path):
    careless = tmp_path / "careless.service"
    careless.write_text(re.sub(r"(?m)^(Capability|SystemCall|Restrict|Protect).*\n", "", UNIT.read_text()))
    answer = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                             f"--threshold={EXPOSURE_MAX}", str(careless)], capture_output=True, check=False)
    assert answer.returncode != 0


def calls_of(group, seen=()):
    """The system calls of one of systemd's groups, with the groups in it."""
    calls = set()
    for line in output("systemd-analyze", "syscall-filter", "--no-pager", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@") and word not in seen:
            calls |= calls_of(word, (*seen, word))
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed_calls():
    """What the unit's SystemCallFilter lines leave."""
    allowed = set()
    for line in re.findall(r"(?m)^SystemCallFilter=(.*)$", UNIT.read_text()):
        words = line.lstrip("~").split()
        named = set().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


class Traced(Node):
    """A node whose system calls are counted, by a tracer that is nobody's parent: signals go to the node."""

    def __init__(self, *extra, **options):
        super().__init__(*extra, start=False, **options)
        self.report = self.dir / "calls"
        self.argv = ["strace", "-D", "-f", "-c", "-o", str(self.report), *self.argv]

    def calls(self):
        eventually(lambda: self.report.exists() and "total" in self.report.read_text(), what="the tracer's report")
        return set(re.findall(r"(?m)\b([a-z]\w+)$", self.report.read_text())) - {"syscall", "total"}


@shipped
def test_the_unit_allows_all_that_a_node_does(start, connect, tmp_path):
    redis = start.redis()
    log = tmp_path / "node.log"
    node = start.keep(Traced("--log-file", log, redis=redis)).start().wait_ready()
    ann = connect(node, room="tea")
    ann.publish("hi", "tea")
    redis.restart()
    eventually(lambda: "bus.up" in log.read_text(), what="the node is back at the bus")
    ann.publish("again", "tea")
    node.signal(signal.SIGHUP)
    os.rename(log, tmp_path / "old.log")
    node.signal(signal.SIGUSR1)
    eventually(log.exists, what="the log was opened again")
    ann.send({"type": "history", "room": "tea", "limit": 5})
    ann.expect("history")
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    used = node.calls()
    assert {"bind", "listen", "epoll_ctl", "sendto"} & used
    assert used <= allowed_calls(), used - allowed_calls()


def test_its_filter_forbids_something():
    assert allowed_calls().isdisjoint({"ptrace", "mount", "kexec_load", "init_module", "reboot", "sched_setaffinity"})
