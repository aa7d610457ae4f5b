# SPDX-License-Identifier: MIT
"""The guard at work: it finds what the patches in planted/ do to the node.

`copies` gives each receiver a copy of its own, in two writes; `wakes` wakes the reader of a mailbox for every letter.
"""
import os
import pathlib

import figures
import harness
import scenarios

PLANTED = pathlib.Path(os.environ.pop("CHATNODE_PLANTED", pathlib.Path(harness.CHATNODE).parent / "planted"))
FEW = 100  # members: less than the guard takes itself, as these faults are seen from afar


def broken(counts):
    return {line.split(":")[0] for line in scenarios.broken_rules(counts)}


def test_a_copy_and_a_second_write_for_each_receiver_are_found():
    healthy = scenarios.fanout(few=FEW)
    planted = scenarios.fanout(PLANTED / "chatnode-planted-copies", few=FEW)
    assert not broken(healthy.counts)
    assert broken(planted.counts) == {"allocations a delivery", "copies a delivery", "writes a delivery"}
    assert round(planted.counts["writes a delivery"]) == 2
    assert round(planted.counts["allocations a delivery"]) == 2  # malloc and free
    assert figures.compare(healthy.figures, planted.figures), "it costs no more"


def test_a_wake_up_for_every_letter_is_found():
    assert not broken(scenarios.batches(few=FEW).counts)
    planted = scenarios.batches(PLANTED / "chatnode-planted-wakes", few=FEW)
    assert "wake-ups a reading of a mailbox" in broken(planted.counts), planted.counts
