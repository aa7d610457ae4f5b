# SPDX-License-Identifier: MIT
"""Reading callgrind's profiles, and comparing figures, shown on examples made by hand."""
import callgrind
import figures
import scenarios

# Two functions: `work` (10 instructions) calls `send` three times (6 instructions each, one system call), then itself.
PROFILE = """\
version: 1
events: Ir sysCount sysTime
ob=(1) /usr/bin/node
fl=(1) work.c
fn=(1) work
0 10
cob=(2) /lib/libc.so
cfi=(2) send.c
cfn=(2) send@@GLIBC_2.2.5
calls=3 0
0 18 3 5
cfn=(3) work'2
calls=1 0
0 4

ob=(2)
fn=(2)
0 18 3 5

fn=(4) clock_gettime
0 7 2

totals: 35 5 5
""".splitlines()


def test_a_profile_is_read():
    profile = callgrind.read_profile(PROFILE)
    assert profile.instructions == 35
    assert profile.calls == {"send": 3, "work": 1}
    assert profile.within == {"send": 18, "work": 4}
    assert profile.kernel == {"send": 3, "clock_gettime": 2}


def test_system_calls_that_only_tell_the_time_do_not_count():
    profile = callgrind.read_profile(PROFILE)
    assert profile.system_calls() == 3 and profile.system_calls("write") == 0


def test_names_are_matched_whole():
    profile = callgrind.Profile(calls={"free": 2, "cn_feed_free": 5, "malloc": 1})
    assert profile.called(scenarios.WATCHED["allocations"]) == 3


def test_profiles_are_subtracted():
    rest = callgrind.Profile(9, {"a": 3}, {"a": 7}, {"b": 2}) - callgrind.Profile(4, {"a": 1}, {"a": 2}, {"b": 3})
    assert (rest.instructions, rest.calls["a"], rest.within["a"], rest.kernel["b"]) == (5, 2, 5, -1)


def test_a_figure_within_its_tolerance_is_the_same():
    assert figures.compare({"a": 1000}, {"a": 1049}) == [] == figures.compare({"a": 1000}, {"a": 951})


def test_more_is_a_problem_and_less_has_to_be_written_down():
    assert "5.1% more" in figures.compare({"a": 1000}, {"a": 1051})[0]
    assert "5.1% less" in figures.compare({"a": 1000}, {"a": 949})[0]


def test_missing_figures_are_told():
    assert figures.compare({"a": 1}, {}) == ["a: was not measured"]
    assert "none is kept" in figures.compare({}, {"a": 1})[0]


def test_figures_of_other_builds_stay(tmp_path):
    path = tmp_path / "figures.json"
    figures.keep("one", {"a": 1234.5}, path)
    figures.keep("two", {"a": 5.678}, path)
    assert figures.load(path) == {"one": {"a": 1234}, "two": {"a": 5.68}}


def test_rules_hold_at_both_ends():
    assert scenarios.broken_rules({"messages a flush": 2}) == []
    assert scenarios.broken_rules({"messages a flush": 1.9}) == ["messages a flush: 1.9, not 2 to 16"]
