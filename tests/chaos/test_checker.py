# SPDX-License-Identifier: MIT
"""The checker finds each kind of violation in histories made by hand, and finds nothing in good ones."""
import pytest

from checker import VERDICTS, check
from history import History, View


class Story:
    """Builds a history: one room, readers r1 and r2, messages 1, 2, 3... at 100-0, 100-1, ..."""

    def __init__(self):
        self.history = History()
        self.clock = 0.0
        self.views = {}

    def now(self):
        self.clock += 1
        return self.clock

    def pos(self, gen, seq):
        return self.history.gens.key(gen, seq)

    def reader(self, name, start=(90, 0), channel="room"):
        view = self.views[name] = View(name, channel)
        view.start = self.pos(*start)
        view.join(self.now(), False, None)
        view.complete = True
        self.history.views.append(view)
        return self

    def send(self, msg, at=None, channel="room", session=1, attempts=1, dup=0, copy=None):
        """`at`: the ack's position, None for a publish that was never answered."""
        rows = self.history.publishes
        row = rows.add(msg, channel, session, self.now(), copy)
        rows.attempts[row] = attempts
        if at:
            rows.ack(row, self.pos(*at), dup, self.now())
        return row

    def sends(self, *seqs, gen=100):
        for seq in seqs:
            self.send(seq + 1, (gen, seq))
        return self

    def sees(self, name, *places, gen=100):
        """Each place is a seq, ("gap",), or (gen, seq, msg)."""
        for place in places:
            if place == "gap":
                self.views[name].gap(self.now())
            elif isinstance(place, tuple):
                self.views[name].take(self.pos(*place[:2]), place[2])
            else:
                self.views[name].take(self.pos(gen, place), place + 1)
        return self

    def log(self, *places, channel="room"):
        self.history.logs[channel] = [(self.pos(gen, seq), msg) for gen, seq, msg in places]
        return self

    def loss(self, kind="flushall", since=None):
        self.history.losses.append((since or self.now(), self.now(), kind))
        return self

    def found(self, strict=True):
        report = check(self.history, strict)
        return {verdict: count for verdict, count in report.counts.items() if count}


@pytest.fixture(name="story")
def _story():
    return Story().reader("r1").reader("r2")


def test_a_clean_run_has_no_violation(story):
    story.sends(0, 1, 2, 3).sees("r1", 0, 1, 2, 3).sees("r2", 0, 1, 2, 3)
    story.log(*[(100, seq, seq + 1) for seq in range(4)])
    assert story.found() == {}


def test_an_acked_message_that_one_reader_misses_is_lost_and_a_silent_gap(story):
    story.sends(0, 1, 2).sees("r1", 0, 1, 2).sees("r2", 0, 2)
    assert story.found() == {"lost": 1, "silent_gap": 1}


def test_an_acked_message_that_nobody_ever_saw_is_lost_for_each(story):
    story.sends(0, 1, 2).sees("r1", 0, 2).sees("r2", 0, 2)
    assert story.found() == {"lost": 2}


def test_an_ack_past_the_end_of_what_anybody_saw_is_lost(story):
    story.sends(0, 1, 2).sees("r1", 0, 1).sees("r2", 0, 1)
    assert story.found() == {"lost": 2}


def test_a_gap_told_where_the_hole_is_excuses_it(story):
    story.sends(0, 1, 2).sees("r1", 0, 1, 2).sees("r2", 0, "gap", 2)
    assert story.found() == {}


def test_a_gap_elsewhere_excuses_nothing(story):
    story.sends(0, 1, 2).sees("r1", 0, 1, 2).sees("r2", "gap", 0, 2, "gap")
    assert story.found() == {"lost": 1, "silent_gap": 1}


def test_a_gap_that_was_told_before_the_message_was_sent_excuses_nothing(story):
    story.sends(0).sees("r1", 0).sees("r2", 0, "gap").sends(1, 2).sees("r1", 1, 2).sees("r2", 2)
    assert story.found() == {"lost": 1, "silent_gap": 1}


def test_a_message_missing_in_the_log_is_lost_unless_redis_lost_data_after_it(story):
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0, 1).log((100, 0, 1))
    assert story.found() == {"lost": 1}


def test_what_was_sent_before_a_loss_need_not_be_in_the_log(story):
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0, 1).loss().send(3, (200, 0))
    story.sees("r1", "gap", (200, 0, 3)).sees("r2", "gap", (200, 0, 3)).log((200, 0, 3))
    assert story.found() == {}


def test_what_was_trimmed_need_not_be_in_the_log(story):
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0, 1).log((100, 1, 2))
    assert story.found() == {}


def test_a_hole_that_is_not_acked_is_a_silent_gap_only(story):
    story.sends(0).send(2)
    story.sends(2).sees("r1", 0, (100, 1, 2), 2).sees("r2", 0, 2)
    assert story.found() == {"silent_gap": 1}


def test_a_hole_at_the_change_of_generations_is_a_silent_gap(story):
    """A replica without the newest entry is promoted: the reader that had it not goes on as if nothing had been."""
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0).loss().send(3, (200, 0))
    story.sees("r1", "gap", (200, 0, 3)).sees("r2", (200, 0, 3))
    assert story.found() == {"lost": 1, "silent_gap": 1}


def failover(story):
    """The replica is cut off after the first of three messages; r1 has all, r2 has what the replica has."""
    story.sends(0)
    cut = story.now()
    story.sends(1, 2).sees("r1", 0, 1, 2).sees("r2", 0).loss("promote", cut).send(4, (200, 0))
    story.sees("r1", "gap", (200, 0, 4)).sees("r2", (200, 0, 4))


def test_what_a_promoted_replica_lacked_is_a_violation_when_the_check_is_strict(story):
    failover(story)
    assert story.found() == {"lost": 2, "silent_gap": 2}


def test_what_a_promoted_replica_lacked_is_only_counted_otherwise(story):
    failover(story)
    assert story.found(strict=False) == {}


def test_a_failover_excuses_nothing_that_was_answered_before_the_replica_was_cut_off(story):
    story.sends(0, 1)
    cut = story.now()
    story.sees("r1", 0, 1).sees("r2", 0).loss("promote", cut).send(4, (200, 0))
    story.sees("r1", "gap", (200, 0, 4)).sees("r2", (200, 0, 4))
    assert story.found(strict=False) == {"lost": 1, "silent_gap": 1}


def test_a_failover_excuses_no_hole_within_a_generation(story):
    story.sends(0)
    cut = story.now()
    story.sends(1, 2).sees("r1", 0, 1, 2).sees("r2", 0, 2).loss("promote", cut)
    assert story.found(strict=False) == {"lost": 1, "silent_gap": 1}


def test_a_failover_excuses_a_copy_only_in_its_time(story):
    story.reader("me", channel="in:me").reader("you", channel="in:you")
    story.send(1, (100, 0), channel="in:you", copy="in:me")
    cut = story.now()
    story.send(2, (100, 1), channel="in:you", copy="in:me")
    story.loss("promote", cut).sees("you", (100, 0, 1), (100, 1, 2)).send(3, (100, 0), channel="in:me")
    story.sees("me", (100, 0, 3))
    assert story.found(strict=False) == {"lost": 1}


def test_a_message_that_came_at_another_position_is_not_missed(story):
    """Sent again after the loss by whoever had taken it."""
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0).loss().send(3, (200, 1))
    story.sees("r1", "gap", (200, 0, 2), (200, 1, 3)).sees("r2", (200, 0, 2), (200, 1, 3))
    assert story.found() == {}


def test_a_publish_without_an_answer_may_appear_once_or_never(story):
    story.send(1), story.send(2)
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1))
    assert story.found() == {}


def test_the_same_message_twice_is_a_duplicate(story):
    story.send(1, (100, 0))
    story.sees("r1", (100, 0, 1), (100, 1, 1)).sees("r2", (100, 0, 1), (100, 1, 1))
    assert story.found() == {"duplicate": 2}


def test_the_same_message_twice_with_a_gap_between_is_excused(story):
    story.send(1, (100, 0))
    story.loss()
    story.sees("r1", (100, 0, 1), "gap", (200, 0, 1)).sees("r2", (100, 0, 1), "gap", (200, 0, 1))
    assert story.found() == {}


def test_a_gap_before_both_does_not_excuse_a_duplicate(story):
    story.send(1, (100, 0))
    story.sees("r1", "gap", (100, 0, 1), (100, 1, 1), "gap").sees("r2", (100, 0, 1), "gap", (100, 1, 1))
    assert story.found() == {"duplicate": 1}


def test_a_message_twice_in_the_log_is_a_duplicate(story):
    story.send(1, (100, 0))
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1)).log((100, 0, 1), (100, 1, 1))
    story.history.views.clear()
    assert story.found() == {"duplicate": 1}


def test_two_acks_at_two_positions_are_a_duplicate(story):
    row = story.send(1, (100, 0))
    story.history.publishes.ack(row, story.pos(100, 1), 0, story.now())
    story.history.publishes.ack(row, story.pos(100, 0), 1, story.now())
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1))
    assert story.found() == {"duplicate": 1}


def test_two_acks_at_two_positions_with_a_loss_between_are_excused(story):
    row = story.send(1, (100, 0))
    story.loss()
    story.history.publishes.ack(row, story.pos(200, 0), 0, story.now())
    story.sees("r1", (100, 0, 1), "gap", (200, 0, 1)).sees("r2", (100, 0, 1), "gap", (200, 0, 1))
    assert story.found() == {}


def test_positions_that_do_not_rise_are_out_of_order(story):
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 1, 0)
    assert story.found() == {"order": 1}


def test_readers_that_disagree_are_out_of_order(story):
    story.send(1), story.send(2)
    story.sees("r1", (100, 0, 1), (100, 1, 2)).sees("r2", (100, 0, 2), (100, 1, 1))
    assert story.found() == {"order": 2}


def test_a_position_used_again_is_out_of_order_even_if_the_reader_dropped_it(story):
    story.send(1, (100, 0)), story.send(2)
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1))
    known = story.views["r1"].known
    known[0].append(story.pos(100, 0)), known[1].append(2)
    assert story.found() == {"order": 1}


def test_a_log_with_another_message_at_a_position_is_out_of_order(story):
    story.send(1, (100, 0)), story.send(2)
    story.loss()
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1)).log((100, 0, 2))
    assert story.found() == {"order": 1}


def test_a_publishers_later_message_before_its_earlier_one_is_out_of_order(story):
    story.send(1, (100, 1)), story.send(2, (100, 0))
    story.sees("r1", (100, 0, 2), (100, 1, 1)).sees("r2", (100, 0, 2), (100, 1, 1))
    assert story.found() == {"order": 1}


@pytest.mark.parametrize("change", [{"attempts": 2}, {"session": 2}, {"dup": 1}])
def test_only_messages_sent_once_in_one_session_have_an_order(story, change):
    story.send(1, (100, 1), **change), story.send(2, (100, 0))
    story.sees("r1", (100, 0, 2), (100, 1, 1)).sees("r2", (100, 0, 2), (100, 1, 1))
    assert story.found() == {}


def test_what_nobody_sent_is_a_phantom(story):
    story.sends(0).sees("r1", 0, (100, 1, 77)).sees("r2", 0, (100, 1, 77))
    assert story.found() == {"phantom": 2}


def test_what_was_sent_elsewhere_is_a_phantom(story):
    story.send(1, (100, 0), channel="other")
    story.sees("r1", (100, 0, 1)).sees("r2", (100, 0, 1))
    assert story.found() == {"phantom": 2}


def test_other_bytes_than_were_sent_are_a_phantom(story):
    story.sends(0).sees("r1", 0).sees("r2", 0)
    story.views["r1"].odd.append((story.pos(100, 0), "not what was sent"))
    assert story.found() == {"phantom": 1}


def test_a_phantom_in_the_log_is_one(story):
    story.sends(0).sees("r1", 0).sees("r2", 0).log((100, 0, 1), (100, 1, 77))
    assert story.found()["phantom"] == 1


def test_an_ack_with_the_position_of_another_message_is_a_mismatch(story):
    story.send(1, (100, 0)), story.send(2, (100, 0), session=2)
    story.sees("r1", (100, 0, 1), (100, 1, 2)).sees("r2", (100, 0, 1), (100, 1, 2))
    assert story.found() == {"ack_mismatch": 1}


def test_an_ack_with_a_position_that_is_none_is_a_mismatch(story):
    story.sends(0).send(2, (105, 0))
    story.sees("r1", 0, 1).sees("r2", 0, 1)
    assert story.found() == {"ack_mismatch": 1}


def test_two_acks_with_one_position_that_nobody_saw_are_a_mismatch(story):
    story.history.views.clear()
    story.send(1, (100, 0)), story.send(2, (100, 0), session=2)
    assert story.found() == {"ack_mismatch": 1}


def test_a_reader_that_does_not_get_to_the_end_is_stuck(story):
    story.sends(0, 1).sees("r1", 0, 1).sees("r2", 0)
    story.views["r2"].complete = False
    assert story.found() == {"stuck": 1}


def test_an_error_for_good_is_refused(story):
    story.history.publishes.fail(story.send(1), story.now())
    assert story.found() == {"refused": 1}


def test_a_gap_without_any_loss_is_false(story):
    story.sends(0, 1).sees("r1", 0, "gap", 1).sees("r2", 0, 1).log((100, 0, 1), (100, 1, 2))
    assert story.found() == {"false_gap": 1}


def test_a_gap_after_a_loss_or_from_a_place_that_was_trimmed_is_not_false(story):
    story.sends(0, 1, 2).sees("r1", 0, "gap", 1).sees("r2", 0, 1).loss().log((100, 1, 2), (100, 2, 3))
    story.sees("r1", "gap", 2).sees("r2", 2)
    assert story.found() == {}


def test_a_reader_is_not_concerned_by_what_was_before_its_start(story):
    story.sends(0, 1, 2).reader("late", start=(100, 1)).sees("r1", 0, 1, 2).sees("r2", 0, 1, 2).sees("late", 2)
    assert story.found() == {}


def test_a_lost_copy_of_a_direct_message_is_lost(story):
    story.reader("me", channel="in:me").reader("you", channel="in:you")
    story.send(1, (100, 0), channel="in:you", copy="in:me"), story.send(2, (100, 1), channel="in:you", copy="in:me")
    story.sees("you", (100, 0, 1), (100, 1, 2)).sees("me", (100, 0, 2))
    assert story.found() == {"lost": 1}


def test_generations_met_in_another_order_are_sorted(story):
    story.pos(300, 0)
    story.send(1, (200, 0)), story.send(2, (300, 0))
    for name in ("r1", "r2"):
        story.sees(name, (200, 0, 1), (300, 0, 2))
    story.log((200, 0, 1), (300, 0, 2))
    assert story.found() == {}


def test_every_verdict_can_be_found():
    """Each verdict stands in one of the tests above as a finding."""
    text = open(__file__, encoding="utf-8").read()
    assert all(f'"{verdict}": ' in text or f'["{verdict}"]' in text for verdict in VERDICTS)
