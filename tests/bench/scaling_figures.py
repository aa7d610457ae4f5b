# SPDX-License-Identifier: MIT
"""What the kept runs of the scaling bench say: medians, straight lines through them, and the costs to calculate with."""
import statistics

import capacity
import grid
import loads


def look_up(value, path):
    """The figure at this path of nested objects, or None."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def fit(points):
    """(value at 0, slope) of the least-squares line, neither below 0; None for both without two points."""
    if len(points) < 2:
        return None, None
    slope, intercept = statistics.linear_regression(*zip(*points))
    return max(0.0, intercept), max(0.0, slope)


def difference(value, other):
    """How much more the first is; None where one is missing."""
    return None if None in (value, other) else value - other


def rate(points):
    """The slope of the least-squares line through 0, not below 0; None without points."""
    weight = sum(x * x for x, _ in points)
    return max(0.0, sum(x * y for x, y in points) / weight) if weight else None


class Figures:
    """Medians over the right runs of a load; those in which the cores were as in most runs, if there are any."""

    def __init__(self, runs):
        state = grid.majority_state(runs)
        self.runs = {}
        for run in runs:
            if "error" not in run["result"]:
                self.runs.setdefault(run["load"], []).append(run)
        for name, found in self.runs.items():
            self.runs[name] = [run for run in found if grid.state_of(run) == state] or found

    def median(self, load, path):
        values = [value for value in (look_up(run, path) for run in self.runs.get(load, [])) if value is not None]
        return statistics.median(values) if values else None

    def delivery(self, load):
        return self.median(load, "result.server.cpu_us_per_delivery")

    def message(self, load):
        return self.median(load, "result.server.cpu_us_per_message")

    def redis(self, load, figure="cpu_us_per_publish"):
        return self.median(load, f"redis.publish.{figure}")

    def excess(self, of):
        """(further nodes, how much dearer): rooms on all nodes compared with rooms on one node each."""
        found = [(count - 1, difference(of(f"nodes-spread-{count}"), of(f"nodes-local-{count}")))
                 for count in loads.NODES[1:]]
        return [(further, more) for further, more in found if more is not None]

    def points(self, of):
        """(nodes, figure) of paced messages to a member on each of 1 to 5 nodes, as far as that was measured."""
        found = [(count, of(f"costs-paced-{count}")) for count in loads.NODES]
        return [(count, value) for count, value in found if value is not None]


def ping_us(figures):
    """CPU of a ping and its answer: what a node uses more when it pings."""
    shares = [figures.median(name, "result.server.cpu_share") for name in ("costs-pings", "costs-idle")]
    clients = figures.median("costs-pings", "clients")
    if None in shares or not clients:
        return None
    return max(0.0, shares[0] - shares[1]) * 1e6 / (clients * 1000 / loads.PING_MS)


def positive(value):
    return None if value is None else max(0.0, value)


def costs(figures):
    """The measured costs, or None while one of them was not measured."""
    publish_paced, node_paced = fit(figures.points(figures.message))
    redis_paced, redis_node_paced = fit(figures.points(figures.redis))
    redis_node = rate(figures.excess(figures.redis))
    entry = figures.median("costs-acked", "redis.entry_bytes")
    found = {
        "delivery_us": figures.delivery("members-10000-1-chatnode"),
        "batched_us": figures.delivery("members-10000-16-chatnode"),
        "publish_us": figures.message("costs-acked"),
        "publish_paced_us": publish_paced,
        "receive_us": rate(figures.excess(figures.message)),
        "receive_paced_us": node_paced,
        "ping_us": ping_us(figures),
        "redis_publish_us": positive(difference(figures.redis("costs-acked"), redis_node)),
        "redis_publish_paced_us": redis_paced,
        "redis_node_us": redis_node,
        "redis_node_paced_us": redis_node_paced,
        "connection_bytes": figures.median("costs-idle", "result.server.rss_bytes_per_connection"),
        "redis_entry_bytes": entry,
        "redis_id_bytes": positive(difference(figures.redis("costs-acked", "memory_bytes_per_publish"), entry)),
        "redis_channel_bytes": figures.median("costs-idle", "redis.subscription.memory_bytes_per_channel"),
        "text_bytes": figures.median("members-10000-1-chatnode", "result.text_bytes"),
    }
    return None if None in found.values() else capacity.Costs(**found)
