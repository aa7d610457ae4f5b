# SPDX-License-Identifier: MIT
"""A node under callgrind, and the profile of what it did between two moments.

Callgrind counts each instruction and each call of the node, all threads together, so its figures do not depend on how
busy or how fast the machine is. It writes a profile and begins anew whenever the node enters MARK, the function that
answers operators; so a request to /healthz before and one after some work give the profile of that work. Nothing has to
be attached to the node, and no right to trace is needed.
"""
import collections
import contextlib
import http.client
import pathlib
import re
import signal

import harness
from harness import DEADLINE, Node, eventually

MARK = "cn_admin_answer"
# The C library chooses its copying and searching by the processor. Valgrind shows every program nearly the same
# processor; without these features it is the same choice on all that it may run on.
PLAIN_CPU = "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-BMI2,-RTM,-SSSE3,-SSE4_1,-SSE4_2,-AVX_Fast_Unaligned_Load"
# No system calls but under valgrind, which hides the page through which the kernel tells the time.
CLOCKS = re.compile(r"clock_gettime|time_syscall|time|__gettimeofday_syscall|gettimeofday")


class Profile:
    """Counts of one stretch: instructions; calls of each function, and the instructions within them; system calls by the
    function that made them. The last are right in sum; when threads change during one, it may be put down to what the other
    thread was doing."""

    def __init__(self, instructions=0, calls=None, within=None, kernel=None):
        self.instructions = instructions
        self.calls, self.within, self.kernel = (collections.Counter(counts or {}) for counts in (calls, within, kernel))

    def __sub__(self, other):
        rest = Profile(self.instructions - other.instructions, self.calls, self.within, self.kernel)
        rest.calls.subtract(other.calls)
        rest.within.subtract(other.within)
        rest.kernel.subtract(other.kernel)
        return rest

    def called(self, pattern):
        """How often functions were called whose whole name fits the pattern."""
        return _sum_of(self.calls, pattern)

    def system_calls(self, pattern=r".*"):
        """System calls made by functions whose whole name fits the pattern; without those that only tell the time."""
        return _sum_of({name: count for name, count in self.kernel.items() if not CLOCKS.fullmatch(name)}, pattern)


def _sum_of(counts, pattern):
    fits = re.compile(pattern)
    return sum(count for name, count in counts.items() if fits.fullmatch(name))


def plain_name(name):
    """A function's name without the version of its symbol and the level of recursion."""
    return re.sub(r"(?:@.*|'\d+)$", "", name)


def read_profile(lines):
    """The Profile in callgrind's format (the valgrind manual, "Callgrind Format Specification")."""
    profile, names, columns, function, callee, is_call = Profile(), {}, [], None, None, False

    def name_of(text):
        number, name = re.fullmatch(r"\((\d+)\)(?: (.*))?", text).groups()
        return names.setdefault(number, plain_name(name or ""))

    for line in lines:
        key, equals, value = line.strip().partition("=")
        if line.startswith("events:"):
            columns = line.split()[1:]
        elif equals and key in ("fn", "cfn"):
            name = name_of(value)
            function, callee = (name, callee) if key == "fn" else (function, name)
        elif equals and key == "calls":
            profile.calls[callee] += int(value.split()[0])
            is_call = True  # the next line is the cost of the callee, which it has itself
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            costs = dict(zip(columns, map(int, line.split()[1:])))
            if is_call:
                profile.within[callee] += costs.get("Ir", 0)
                is_call = False
                continue
            profile.instructions += costs.get("Ir", 0)
            if costs.get("sysCount"):
                profile.kernel[function] += costs["sysCount"]
    return profile


class ProfiledNode(Node):
    """A node on the in-process bus with one loop, under callgrind."""

    def __init__(self, binary=None, env=None, **flags):
        steady = {"loops": 1, "accept_rate": 0, "flush_max": 0, "history_messages": 200, "log_level": "error",
                  "ping_interval": 3600000}
        super().__init__(start=False, env={"GLIBC_TUNABLES": PLAIN_CPU, **(env or {})}, **{**steady, **flags})
        self.profiles = self.dir / "profile"
        self.argv[:1] = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={self.profiles}",
                         f"--dump-before={MARK}", "--collect-systime=yes", "--dump-line=no",
                         str(binary or harness.CHATNODE)]
        self.operator = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=DEADLINE)

    def mark(self):
        """Ends a stretch and begins the next; returns the file of the one that ended."""
        self.operator.request("GET", "/healthz")
        assert self.operator.getresponse().read()
        files = list(self.dir.glob("profile.*"))
        assert files, f"no profile: does the node still have {MARK}?"
        return max(files, key=lambda path: int(path.suffix[1:]))

    def profile(self, work, *arguments):
        """The Profile of `work(*arguments)`, and of the request that ends it."""
        self.mark()
        work(*arguments)
        with self.mark().open() as lines:
            profile = read_profile(lines)
        assert profile.instructions and profile.calls, "callgrind has written nothing"
        return profile

    @contextlib.contextmanager
    def halted(self):
        """The node stands still meanwhile, so that it finds all at once what is sent to it."""
        self.signal(signal.SIGSTOP)
        try:
            eventually(lambda: " T " in pathlib.Path(f"/proc/{self.pid}/stat").read_text(), what="the node stands still")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def stop(self):
        self.operator.close()
        super().stop()
