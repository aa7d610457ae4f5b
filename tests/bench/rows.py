# SPDX-License-Identifier: MIT
"""The rows of the grid: what is measured of which servers; and the goals, each a bound for a figure or for a ratio."""
import dataclasses
import statistics

MEMBERS = ("floor", "floor-batch", "chatnode", "bun", "nchan", "ws", "nats", "socketio")
CLUSTERS = ("chatnode", "bun", "nchan", "socketio")
CONTENT_BYTES = 40  # of a message at chatnode, which delivers it with position, room, sender and time


@dataclasses.dataclass(frozen=True)
class Row:
    """One load. `options` are those of `chatctl bench`, by their names with _ for -."""

    name: str
    title: str
    scenario: str
    options: dict
    servers: tuple = MEMBERS
    cluster: bool = False  # publisher on node A, members on node B, one Redis


def load(clients, seconds, **others):
    return {"clients": clients, "seconds": seconds, "warmup": 0.5, **others}


ROWS = (
    Row("alone", "1,000 members, one message at a time", "fanout", load(1000, 3, in_flight=1)),
    Row("burst", "1,000 members, 16 in flight", "fanout", load(1000, 3, in_flight=16)),
    Row("large", "10,000 members, 16 in flight", "fanout", load(10000, 4, in_flight=16)),
    Row("paced", "1,000 members, 10 messages a second", "fanout", load(1000, 8, rate=10)),
    Row("busy", "1,000 members, 300 messages a second", "fanout", load(1000, 4, rate=300)),
    Row("rooms", "100 rooms of 10 members, each with one in flight", "rooms", load(1000, 3, rooms=100, in_flight=1)),
    Row("fanin", "64 publishers, each alone in a room with one in flight", "fanin", load(64, 3, in_flight=1)),
    Row("fanin-burst", "64 publishers, each alone in a room with 16 in flight", "fanin", load(64, 3, in_flight=16)),
    Row("idle", "10,000 idle connections", "idle", {"clients": 10000, "seconds": 1}),
    Row("cluster-alone", "two nodes: 1,000 members, one message at a time", "fanout", load(1000, 3, in_flight=1),
        CLUSTERS, True),
    Row("cluster-burst", "two nodes: 1,000 members, 16 in flight", "fanout", load(1000, 3, in_flight=16), CLUSTERS, True),
    Row("cluster-paced", "two nodes: 1,000 members, 10 messages a second", "fanout", load(1000, 8, rate=10),
        CLUSTERS, True),
)
BY_NAME = {row.name: row for row in ROWS}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a run: where it is in the result, and how it is written."""

    title: str
    path: str
    form: str
    scale: float = 1.0

    def of(self, result):
        """The figure in this result, or None."""
        value = result
        for key in self.path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return None if value is None else value * self.scale

    def median(self, results):
        """Of those that have it; None when there is none."""
        values = [value for value in map(self.of, results) if value is not None]
        return statistics.median(values) if values else None

    def write(self, value):
        return "-" if value is None else format(value, self.form)


METRICS = {
    "cpu": Metric("µs a delivery", "server.cpu_us_per_delivery", ",.3f"),
    "cpu_message": Metric("µs a message", "server.cpu_us_per_message", ",.2f"),
    "share": Metric("% of a core", "server.cpu_share", ",.0f", 100),
    "rate": Metric("deliveries/s", "deliveries_per_second", ",.0f"),
    "p50": Metric("p50 ms", "latency_us.p50", ",.2f", 1e-3),
    "p99": Metric("p99 ms", "latency_us.p99", ",.2f", 1e-3),
    "rss": Metric("bytes a connection", "server.rss_bytes_per_connection", ",.0f"),
}


@dataclasses.dataclass(frozen=True)
class Goal:
    """What chatnode's figure in a row, or its ratio to another server's, is to be: at most, or at least, a bound."""

    text: str
    row: str
    metric: str
    over: str | None  # None: the figure itself
    bound: float
    at_least: bool = False

    def judge(self, medians):
        """(figure or ratio, met); (None, None) when it was not measured. `medians` is a function of row, server, metric."""
        own = medians(self.row, "chatnode", self.metric)
        other = medians(self.row, self.over, self.metric) if self.over else 1
        if own is None or not other:
            return None, None
        value = own / other
        return value, value >= self.bound if self.at_least else value <= self.bound


GOALS = (
    Goal("CPU a delivery, one message at a time", "alone", "cpu", "floor", 1.05),
    Goal("CPU a delivery, 16 in flight", "burst", "cpu", "floor-batch", 1.05),
    Goal("CPU a delivery, 10,000 members", "large", "cpu", "floor-batch", 1.05),
    Goal("CPU a delivery, one message at a time", "alone", "cpu", "bun", 1.0),
    Goal("CPU a delivery, 16 in flight", "burst", "cpu", "bun", 1.0),
    Goal("CPU a delivery, 10,000 members", "large", "cpu", "bun", 1.0),
    Goal("CPU a delivery, 16 in flight", "burst", "cpu", "nchan", 1 / 3),
    Goal("CPU a delivery, 16 in flight", "burst", "cpu", "socketio", 1 / 3),
    Goal("CPU a delivery, 10,000 members", "large", "cpu", "nchan", 1 / 3),
    Goal("CPU a delivery, 10,000 members", "large", "cpu", "socketio", 1 / 3),
    Goal("p50 at 10 messages a second", "paced", "p50", "bun", 1.0),
    Goal("p99 at 10 messages a second", "paced", "p99", "bun", 1.0),
    Goal("CPU at 300 messages a second", "busy", "share", "bun", 0.6),
    Goal("p99 at 300 messages a second", "busy", "p99", "bun", 1.0),
    Goal("resident bytes of an idle connection", "idle", "rss", None, 4096),
    Goal("fan-in with one in flight, µs of CPU a message", "fanin", "cpu_message", None, 6),
    Goal("fan-in with 16 in flight, µs of CPU a message", "fanin-burst", "cpu_message", None, 6),
    Goal("two nodes: CPU a delivery, one message at a time", "cluster-alone", "cpu", "bun", 1.0),
    Goal("two nodes: CPU a delivery, 16 in flight", "cluster-burst", "cpu", "bun", 1.0),
    Goal("two nodes: p50 at 10 messages a second", "cluster-paced", "p50", "bun", 1.0),
    Goal("two nodes: p99 at 10 messages a second", "cluster-paced", "p99", "bun", 1.0),
    Goal("two nodes: deliveries/s, 16 in flight", "cluster-burst", "rate", "socketio", 2, True),
    Goal("two nodes: deliveries/s, 16 in flight", "cluster-burst", "rate", "nchan", 2, True),
)
