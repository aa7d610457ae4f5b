# SPDX-License-Identifier: MIT
"""The delivery contract, held against the history of a run (history.py).

The rules, one verdict each:

  lost          A message was acked, and a reader that was concerned (it had joined before that position, and it saw the
                mark at the end) did not see it, with no gap announced to it between its last position before and its
                first one after; or it is not in the log at the end, although Redis lost no data after it was sent.
  silent_gap    A reader took two positions one after the other, with no gap told between them, and somebody else knows
                an entry between the two whose message the reader never saw. (Acked or not: it was in the log.)
  duplicate     A reader was shown one message under two positions, with no gap told between them; or one log has a
                message twice; or two acks of one message name two positions, and Redis lost no data in between.
  order         A reader's positions do not rise; two readers, or a reader and the log, know different messages under one
                position (a position was used twice); or of two messages that one session sent to one channel once each,
                the later one stands before the earlier.
  phantom       A reader was shown, or a log holds, what nobody sent to that channel, or other bytes than were sent.
  ack_mismatch  An ack names a position that carries another message, or none while the message is elsewhere.
  false_gap     A reader was told a gap, although the entry at its last position is in the log to the end and Redis had lost
                nothing yet: what cries wolf could hide anything.
  stuck         A reader did not get to the end of a channel, although everything was healed and it had time.
  refused       A correct publish got an error that says not to try again.

What may happen: a publish without an ack appears once or never. When Redis loses data (it restarts empty, is emptied, or
a replica without the newest entries is promoted) acked messages may be lost, but each reader concerned is told a gap; and
a message that is sent again after such a loss may be shown twice, with the gap between. A gap excuses only what
was sent before it was told. Entries before the oldest one that a log still holds are out of retention: they need not be
in the log.

A reader's gap must be where its hole is: nothing excuses a hole elsewhere, or one after the gap was told.

A failover is special. What the promoted replica lacked is gone, and a reader whose last position is one that the replica
has cannot see that anything followed it. The project says so (README.md), so such entries are counted as `lost at a
failover`, and are violations only when the check is strict: those, and only those, that were sent or answered between the
cut of the replication and the promotion and stood at the end of their generation.
"""
import bisect
import collections

from history import ACKED, FAILED, NO_CHANNEL, NO_POS, SEQ_BITS, UNKNOWN

VERDICTS = ("lost", "silent_gap", "duplicate", "order", "phantom", "ack_mismatch", "false_gap", "stuck", "refused")
KEPT = 20  # violations of a kind that are described; the others are counted


class Report:
    """Counts and descriptions of violations, and figures of what was looked at."""

    def __init__(self):
        self.counts = collections.Counter({verdict: 0 for verdict in VERDICTS})
        self.details = collections.defaultdict(list)
        self.figures = collections.Counter()

    def add(self, verdict, text):
        assert verdict in VERDICTS
        self.counts[verdict] += 1
        if len(self.details[verdict]) < KEPT:
            self.details[verdict].append(text)

    @property
    def violations(self):
        return sum(self.counts.values())


class Channel:
    """Everything that is known of one channel."""

    def __init__(self, name):
        self.name = name
        self.views = []
        self.rows = []  # of publishes to it
        self.copies = []  # of direct messages whose sender's inbox it is
        self.seen = {}  # position: message, as readers and the log have it
        self.acked = {}  # position: row, as acks have it

    def sightings(self):
        return len(self.seen)


class Checker:
    """One check of one history; `check()` returns the report."""

    def __init__(self, history, strict):
        self.history, self.report, self.strict = history, Report(), strict
        self.rows = history.publishes
        self.text = history.gens.text

    def check(self):
        self.history.sort_gens()
        self._figures()
        channels = self._channels()
        for name in sorted(channels):
            self._channel(channels[name])
            channels[name] = None
        self._acks_agree()
        return self.report

    def _figures(self):
        figures, rows = self.report.figures, self.rows
        figures["published"] = len(rows)
        figures["acked"] = sum(1 for outcome in rows.outcome if outcome == ACKED)
        figures["unknown"] = sum(1 for outcome in rows.outcome if outcome == UNKNOWN)
        figures["sent again"] = sum(1 for attempts in rows.attempts if attempts > 1)
        figures["acked as dup"] = sum(rows.dup)
        for view in self.history.views:
            figures["delivered"] += len(view.at)
            figures["known dropped"] += len(view.known[0])
            figures["gaps announced"] += len(view.gaps)
            figures["resumed exactly"] += sum(1 for join in view.joins if join[2])
        for row, outcome in enumerate(rows.outcome):
            if outcome == FAILED:
                self.report.add("refused", self._row(row))

    def _channels(self):
        channels = {}

        def channel(name):
            if name not in channels:
                channels[name] = Channel(name)
            return channels[name]

        for view in self.history.views:
            channel(view.channel).views.append(view)
        for name in self.history.logs:
            channel(name)
        rows = self.rows
        targets = [channel(name) for name in rows.channels]
        for row, (to, copy) in enumerate(zip(rows.channel, rows.copy)):
            targets[to].rows.append(row)
            if copy != NO_CHANNEL and copy != to:
                targets[copy].copies.append(row)
        return channels

    # ---- One channel ----

    def _channel(self, channel):
        log = self.history.logs.get(channel.name)
        for view in channel.views:
            self._same_positions(channel, zip(view.at, view.msg), view.name)
            self._same_positions(channel, zip(*view.known), f"{view.name}, dropping what it knew")
        if log is not None:
            self._same_positions(channel, log, "the log")
            self._log_is_clean(channel, log)
        self._ack_positions(channel)
        sent = {self.rows.msg[row]: row for rows in (channel.rows, channel.copies) for row in rows}
        for view in channel.views:
            self._view(channel, view, sent)
            self._gaps(view, {pos for pos, _ in log or ()})
        if log is not None:
            self._log_is_whole(channel, log, sent)
        self._publishers_order(channel)

    def _same_positions(self, channel, pairs, who):
        seen = channel.seen
        for pos, msg in pairs:
            if seen.setdefault(pos, msg) != msg:
                self.report.add("order", f"{channel.name} {self.text(pos)} is {seen[pos]} for one, {msg} for {who}")

    def _log_is_clean(self, channel, log):
        where, before = {}, -1
        for pos, msg in log:
            if pos <= before:
                self.report.add("order", f"{channel.name}: the log has {self.text(pos)} after {self.text(before)}")
            before = pos
            if where.setdefault(msg, pos) != pos:
                self.report.add("duplicate", f"{channel.name}: {msg} is in the log at {self.text(where[msg])} and "
                                             f"{self.text(pos)}")

    def _ack_positions(self, channel):
        rows, where = self.rows, {msg: pos for pos, msg in channel.seen.items()}
        for row in channel.rows:
            if rows.outcome[row] != ACKED:
                continue
            pos, msg = rows.pos[row], rows.msg[row]
            if channel.seen.get(pos, msg) != msg:
                self.report.add("ack_mismatch", f"{self._row(row)}, but that position carries {channel.seen[pos]}")
            elif pos not in channel.seen and where.get(msg, pos) != pos and not self._lost_since(row):
                self.report.add("ack_mismatch", f"{self._row(row)}, but it is at {self.text(where[msg])}")
            elif channel.acked.setdefault(pos, row) != row:
                self.report.add("ack_mismatch", f"{self._row(row)}; the same as {self._row(channel.acked[pos])}")

    def _lost_since(self, row):
        """Whether Redis lost data after the message was first sent: it may be stored twice then."""
        return any(end >= self.rows.first[row] for _, end, _ in self.history.losses)

    # ---- One reader of one channel ----

    def _view(self, channel, view, sent):
        if not view.complete:
            self.report.add("stuck", f"{view.name} is at {self.text(view.at[-1] if view.at else NO_POS)}")
        for pos, text in view.odd:
            self.report.add("phantom", f"{view.name} {self.text(pos)}: {text}")
        before = -1
        for pos in view.at:
            if pos <= before:
                self.report.add("order", f"{view.name} got {self.text(pos)} after {self.text(before)}")
            before = pos
        gaps = sorted(view.gaps)
        mine = self._messages_of(view, sent, gaps)
        self._holes(channel, view, sent, mine, gaps)

    def _gaps(self, view, kept):
        first_loss = min((begin for begin, _, _ in self.history.losses), default=float("inf"))
        for index, when, _ in view.gaps:
            before = view.at[index - 1] if index else view.start
            if before in kept and when < first_loss:
                self.report.add("false_gap", f"{view.name} at {self.text(before)}, {when:.3f}")
            elif before in kept:
                self.report.figures["gaps without need after a loss"] += 1

    def _messages_of(self, view, sent, gaps):
        """The reader's messages with the index of the last sighting; each was sent, and none came twice without a gap."""
        mine, places = {}, [gap[0] for gap in gaps]
        for index, msg in enumerate(view.msg):
            if msg not in sent:
                self.report.add("phantom", f"{view.name} {self.text(view.at[index])}: nobody sent {msg} there")
            if msg in mine:
                between = bisect.bisect_right(places, index) - bisect.bisect_right(places, mine[msg])
                if between > 0:
                    self.report.figures["shown again after a gap"] += 1
                else:
                    self.report.add("duplicate", f"{view.name} was shown {msg} at {self.text(view.at[mine[msg]])} and "
                                                 f"{self.text(view.at[index])}")
            mine[msg] = index
        return mine

    def _holes(self, channel, view, sent, mine, gaps):
        """What others know of the channel and this reader does not, unless a gap covers it."""
        if view.start is None:
            return
        taken = sorted(view.at)
        last = taken[-1] if taken and view.complete else -1
        if last < 0:
            return  # it is stuck, and said so
        has = set(taken)
        for pos, msg in channel.seen.items():
            if view.start < pos < last and pos not in has and msg not in mine:
                self._hole(view, taken, gaps, pos, sent.get(msg), seen=True)
        for pos, row in channel.acked.items():
            if pos > view.start and pos not in has and pos not in channel.seen and self.rows.msg[row] not in mine:
                self._hole(view, taken, gaps, pos, row, seen=False)
        for row in channel.copies:
            # No ack names the place of a copy: no gap since it was sent, and it must have come.
            if self.rows.outcome[row] == ACKED and self.rows.msg[row] not in mine and \
                    not any(when >= self.rows.first[row] for _, when, _ in gaps) and not self._at_failover(row):
                self.report.add("lost", f"{view.name} never saw its copy of {self._row(row)}")

    def _hole(self, view, taken, gaps, pos, row, seen):
        index = bisect.bisect_left(taken, pos)
        told = [when for at, when, _ in gaps if at == index]
        if told and (row is None or max(told) >= self.rows.first[row]):
            self.report.figures["missed with a gap"] += 1
            return
        ends_here = index == len(taken) or taken[index] >> SEQ_BITS > pos >> SEQ_BITS
        if row is not None and ends_here and self._at_failover(row):
            self.report.figures["lost at a failover"] += 1
            return
        where = f"{view.name} misses {self.text(pos)} between {self.text(taken[index - 1] if index else NO_POS)} and " \
                f"{self.text(taken[index] if index < len(taken) else NO_POS)}, and no gap was told there"
        if seen:
            self.report.add("silent_gap", where)
        if row is not None and self.rows.outcome[row] == ACKED:
            self.report.add("lost", f"{self._row(row)}; {where}")

    def _at_failover(self, row):
        """Whether the message may have been stored where the promoted replica did not see it."""
        first, ended = self.rows.first[row], self.rows.ended[row] or float("inf")
        return not self.strict and any(kind == "promote" and first <= end and ended >= begin
                                       for begin, end, kind in self.history.losses)

    # ---- The log at the end ----

    def _log_is_whole(self, channel, log, sent):
        for pos, msg in log:
            if msg not in sent:
                self.report.add("phantom", f"{channel.name}: nobody sent {msg}, which is in the log at {self.text(pos)}")
        if not log:
            return
        safe = max((end for _, end, _ in self.history.losses), default=-1.0)
        inside, oldest, rows = {msg for _, msg in log}, log[0][0], self.rows
        for row in channel.rows:
            if rows.outcome[row] == ACKED and rows.first[row] > safe and rows.pos[row] >= oldest:
                self.report.figures["checked in the log"] += 1
                if rows.msg[row] not in inside:
                    self.report.add("lost", f"{self._row(row)}; it is not in the log, and Redis lost nothing since")

    # ---- Publishers ----

    def _publishers_order(self, channel):
        rows, newest = self.rows, {}
        for row in channel.rows:
            if rows.attempts[row] != 1 or rows.outcome[row] != ACKED or rows.dup[row]:
                continue
            session = rows.session[row]
            before = newest.get(session)
            if before is not None:
                self.report.figures["pairs in order"] += 1
                if rows.pos[row] < rows.pos[before]:
                    self.report.add("order", f"{self._row(row)}; sent after {self._row(before)}")
            newest[session] = row

    def _acks_agree(self):
        rows = self.rows
        for row, pos, when in rows.acks:
            if any(begin <= when and end >= rows.first[row] for begin, end, _ in self.history.losses):
                self.report.figures["stored again after a loss"] += 1
            else:
                self.report.add("duplicate", f"{self._row(row)}; acked again at {self.text(pos)}")

    def _row(self, row):
        rows = self.rows
        state = {UNKNOWN: "unanswered", FAILED: "refused"}.get(rows.outcome[row]) or f"acked at {self.text(rows.pos[row])}"
        return f"{rows.msg[row]} to {rows.channels[rows.channel[row]]}, {state}, first sent at {rows.first[row]:.3f}, " \
               f"{rows.attempts[row]} times"


def check(history, strict=False):
    """The report on a history, which is changed to its sorted form. `strict`: without the two exceptions above."""
    return Checker(history, strict).check()
