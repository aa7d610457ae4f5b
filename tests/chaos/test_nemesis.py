# SPDX-License-Identifier: MIT
"""Plans: repeatable, complete, within their bounds."""
import pytest

from nemesis import KINDS, Nemesis, clash, make_plan


def faults(plan):
    return [fault for step in plan for fault in step.faults]


def test_a_seed_repeats_its_plan_and_another_seed_does_not():
    assert make_plan(5, 3, KINDS, 200) == make_plan(5, 3, KINDS, 200)
    assert make_plan(5, 3, KINDS, 200) != make_plan(6, 3, KINDS, 200)


def test_the_order_in_which_kinds_are_named_does_not_matter():
    assert make_plan(5, 3, list(KINDS), 50) == make_plan(5, 3, list(KINDS)[::-1], 50)


@pytest.mark.parametrize("seed", range(20))
def test_each_kind_comes_once_before_any_comes_twice(seed):
    found = faults(make_plan(seed, 3, KINDS, len(KINDS)))
    assert sorted(fault.kind for fault in found) == sorted(KINDS)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_keeps_its_bounds(seed):
    plan = make_plan(seed, 3, KINDS, 300)
    found = faults(plan)
    assert len(found) == 300
    for fault in found:
        row = KINDS[fault.kind]
        assert row.least <= fault.seconds <= row.most
        assert row.target != "node" or fault.target in range(3)
    pairs = [step.faults for step in plan if len(step.faults) == 2]
    assert len(pairs) > 20
    assert not any(clash(*pair) for pair in pairs)


def test_a_plan_of_few_kinds_has_only_these():
    assert {fault.kind for fault in faults(make_plan(1, 3, ["oom", "flushall"], 30))} == {"oom", "flushall"}


def test_redis_and_nodes_do_not_fail_at_once():
    plan = make_plan(1, 3, KINDS, 3000)
    for step in plan:
        groups = {KINDS[fault.kind].group for fault in step.faults}
        assert not groups >= {"redis", "node"}


def test_each_kind_can_be_begun():
    assert all(hasattr(Nemesis, "begin_" + kind) for kind in KINDS)
    heals = {name[5:] for name in dir(Nemesis) if name.startswith("heal_")}
    assert heals <= set(KINDS)
