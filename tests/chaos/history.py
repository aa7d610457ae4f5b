# SPDX-License-Identifier: MIT
"""What happened in a run: what publishers sent and were answered, what readers saw, what Redis had at the end.

Compact, since a long run has millions of lines: columns of numbers, which the checker reads (checker.py).

A message is one number (its `id` on the wire), a channel a text: the room's name, or `in:USER` for an inbox. A position
is one number too: the index of its generation in `gens`, then 40 bits of seq; `key()` makes it, `text()` shows it.
Times are those of the monotonic clock, in seconds; all processes of a run share it.
"""
import array
import pickle

SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
NO_POS = (1 << 64) - 1
NO_CHANNEL = 0xFFFF
BEGINNING = -1  # before any position
UNKNOWN, ACKED, FAILED = 0, 1, 2  # how a publish ended: never answered; acked; an error that says not to try again


class Gens:
    """Generations by index, in the order in which they were met."""

    def __init__(self):
        self.numbers, self.index = [], {}

    def of(self, number):
        """The index of a generation; `number` is an int, or its digits as bytes."""
        found = self.index.get(number)
        if found is None:
            number = int(number)
            found = self.index.get(number)
            if found is None:
                found = len(self.numbers)
                self.numbers.append(number)
                self.index[number] = found
            self.index[b"%d" % number] = found
        return found

    def key(self, gen, seq):
        return self.of(gen) << SEQ_BITS | int(seq)

    def text(self, key):
        return "none" if key == NO_POS else f"{self.numbers[key >> SEQ_BITS]}-{key & SEQ_MASK}"


class Publishes:
    """One row a message, in the order of first sending."""

    COLUMNS = {"msg": "Q", "channel": "H", "copy": "H", "session": "I", "first": "d", "ended": "d", "attempts": "H",
               "outcome": "B", "pos": "Q", "dup": "B"}

    def __init__(self):
        self.channels, self._index = [], {}
        for name, kind in self.COLUMNS.items():
            setattr(self, name, array.array(kind))
        self.acks = []  # (row, pos, time) of every further ack of a message

    def __len__(self):
        return len(self.msg)

    def channel_index(self, name):
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.channels)
            self.channels.append(name)
        return found

    def add(self, msg, channel, session, now, copy=None):
        """A message that is about to be sent; `copy` is the sender's own inbox, for a direct message. Its row."""
        self.msg.append(msg)
        self.channel.append(self.channel_index(channel))
        self.copy.append(NO_CHANNEL if copy is None else self.channel_index(copy))
        self.session.append(session)
        self.first.append(now)
        self.ended.append(0.0)
        self.attempts.append(1)
        self.outcome.append(UNKNOWN)
        self.pos.append(NO_POS)
        self.dup.append(0)
        return len(self.msg) - 1

    def ack(self, row, pos, dup, now):
        if self.outcome[row] == ACKED:
            if pos != self.pos[row]:
                self.acks.append((row, pos, now))
            return
        self.outcome[row], self.pos[row], self.dup[row], self.ended[row] = ACKED, pos, dup, now

    def fail(self, row, now):
        self.outcome[row], self.ended[row] = FAILED, now


class View:
    """What one reader was shown of one channel, over all its connections."""

    def __init__(self, reader, channel, steady=True):
        self.reader, self.channel, self.steady = reader, channel, steady
        self.start = None  # the position at which it began to be concerned
        self.at, self.msg = array.array("Q"), array.array("Q")  # what it took, in order
        self.gaps = []  # (how much it had taken, time, what told it)
        self.joins = []  # (how much it had taken, time, recovered, the position it asked with)
        self.known = array.array("Q"), array.array("Q")  # (pos, msg) that it dropped, since it had that position
        self.odd = []  # (pos, text) that is not what was sent under that id
        self.times = array.array("I"), array.array("d")  # (how much it had taken, when)
        self.complete = False  # it saw the mark at the end

    def take(self, pos, msg):
        self.at.append(pos)
        self.msg.append(msg)

    def gap(self, now, why="gap"):
        self.gaps.append((len(self.at), now, why))

    def join(self, now, recovered, since):
        """`joined` came; an answer of recovered:false to a `since` is a gap that is said aloud."""
        self.joins.append((len(self.at), now, recovered, since))
        if since is not None and not recovered:
            self.gap(now, "joined")

    @property
    def name(self):
        return f"{self.reader} in {self.channel}"


class History:
    """One run. `faults` are [(begin, end, kind)] of all faults, `losses` those in which Redis lost data, `logs` {channel:
    [(pos, msg)]} as they were at the end, `marks` {channel: message} the last message of each channel."""

    def __init__(self):
        self.gens = Gens()
        self.publishes = Publishes()
        self.views, self.faults, self.losses = [], [], []
        self.logs, self.marks, self.counts = {}, {}, {}

    def save(self, path):
        with open(path, "wb") as file:
            pickle.dump(self, file, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def load(path):
        with open(path, "rb") as file:
            return pickle.load(file)

    def sort_gens(self):
        """Makes indices rise with generations, so that positions compare as numbers."""
        gens = self.gens
        order = sorted(range(len(gens.numbers)), key=gens.numbers.__getitem__)
        if order == list(range(len(order))):
            return
        new = {old: rank for rank, old in enumerate(order)}
        gens.numbers = [gens.numbers[old] for old in order]
        gens.index = {number: rank for rank, number in enumerate(gens.numbers)}

        def move(pos):
            return pos if pos in (None, NO_POS, BEGINNING) else new[pos >> SEQ_BITS] << SEQ_BITS | pos & SEQ_MASK

        def moved(column):
            return array.array("Q", map(move, column))

        rows = self.publishes
        rows.pos = moved(rows.pos)
        rows.acks = [(row, move(pos), when) for row, pos, when in rows.acks]
        for view in self.views:
            view.at, view.start = moved(view.at), move(view.start)
            view.known = moved(view.known[0]), view.known[1]
            view.joins = [(at, when, ok, move(since)) for at, when, ok, since in view.joins]
            view.odd = [(move(pos), text) for pos, text in view.odd]
        self.logs = {name: [(move(pos), msg) for pos, msg in log] for name, log in self.logs.items()}
