# SPDX-License-Identifier: MIT
"""What the node's work costs is what figures.json says, and its steady path does nothing that it should not."""
import functools

import pytest

import figures
import harness
import scenarios


@functools.lru_cache(None)
def measured(name):
    return scenarios.SCENARIOS[name]()


@pytest.fixture(name="kept", scope="module")
def _kept():
    key = figures.key_of(harness.CHATNODE)
    kept = figures.load().get(key)
    if not kept:
        pytest.skip(f"figures.json has nothing for {key}; {figures.AGAIN}")
    return kept


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_the_counts_are_as_the_rules_say(name):
    assert not scenarios.broken_rules(measured(name).counts)


def test_the_figures_are_those_kept(kept):
    found = {}
    for name in scenarios.SCENARIOS:
        found.update(measured(name).figures)
    assert not figures.compare(kept, found)


def test_every_rule_is_held_against_something():
    assert {count for name in scenarios.SCENARIOS for count in measured(name).counts} == set(scenarios.RULES)
