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
    """(value at 0, slope) of the least-squares line; needs two points of different x."""
    slope, intercept = statistics.linear_regression(*zip(*points))
    return intercept, slope


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

    def points(self, prefix, of):
        """(nodes, figure) of the loads over 1 to 5 nodes that were measured."""
        found = [(count, of(f"nodes-{prefix}-{count}")) for count in loads.NODES]
        return [(count, value) for count, value in found if value is not None]


def ping_us(figures):
    """CPU of a ping and its answer: what a node uses more when it pings."""
    shares = [figures.median(name, "result.server.cpu_share") for name in ("costs-pings", "costs-idle")]
    clients = figures.median("costs-pings", "clients")
    if None in shares or not clients:
        return None
    return max(0.0, shares[0] - shares[1]) * 1e6 / (clients * 1000 / loads.PING_MS)


def slope(points):
    """What one more node costs; None where fewer than two were measured."""
    return max(0.0, fit(points)[1]) if len(points) > 1 else None


def costs(figures):
    """The measured costs, or None while one of them was not measured."""
    redis_node = slope(figures.points("spread", figures.redis))
    acked, entry = (figures.redis(name, "memory_bytes_per_publish") for name in ("costs-acked", "costs-plain"))
    redis_acked = figures.redis("costs-acked")
    found = {
        "delivery_us": figures.delivery("members-1000-1-chatnode"),
        "batched_us": figures.delivery("members-1000-16-chatnode"),
        "publish_us": figures.message("costs-acked"),
        "receive_us": slope(figures.points("spread", figures.message)),
        "ping_us": ping_us(figures),
        "redis_publish_us": None if None in (redis_acked, redis_node) else max(0.0, redis_acked - redis_node),
        "redis_node_us": redis_node,
        "connection_bytes": figures.median("costs-idle", "result.server.rss_bytes_per_connection"),
        "redis_entry_bytes": entry,
        "redis_id_bytes": None if None in (acked, entry) else max(0.0, acked - entry),
        "redis_channel_bytes": figures.median("costs-idle", "redis.subscription.memory_bytes_per_channel"),
        "text_bytes": figures.median("members-1000-1-chatnode", "result.text_bytes"),
    }
    return None if None in found.values() else capacity.Costs(**found)
