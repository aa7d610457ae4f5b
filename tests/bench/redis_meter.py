# SPDX-License-Identifier: MIT
"""What a load costs Redis: asked of Redis itself, again and again while the load runs."""
import threading

INTERVAL_S = 0.1
LOGS = 8


def read_sample(info):
    """The figures of one answer to INFO."""
    publishes = info.get("cmdstat_xadd", "calls=0")
    return {"cpu_us": round(1e6 * (float(info["used_cpu_user"]) + float(info["used_cpu_sys"]))),
            "publishes": int(publishes.split(",")[0].removeprefix("calls=")),
            "memory_bytes": int(info["used_memory"]), "output_bytes": int(info["total_net_output_bytes"]),
            "channels": int(info["pubsub_channels"])}


def usage(samples):
    """What one publish cost, from the first sample that has one to the last that has more; None without two such."""
    grown = [sample for before, sample in zip(samples, samples[1:]) if sample["publishes"] > before["publishes"]]
    if len(grown) < 2:
        return None
    first, last = grown[0], grown[-1]
    publishes = last["publishes"] - first["publishes"]
    each = {f"{name}_per_publish": (last[name] - first[name]) / publishes
            for name in ("cpu_us", "memory_bytes", "output_bytes")}
    return {"publishes": publishes, **each}


def subscriptions(samples):
    """How many channels the nodes were subscribed to at most, and the memory that each took; None when there were none."""
    most = max(samples, key=lambda sample: sample["channels"], default=None)
    channels = most["channels"] - samples[0]["channels"] if most else 0
    if channels <= 0:
        return None
    return {"channels": channels, "memory_bytes_per_channel": (most["memory_bytes"] - samples[0]["memory_bytes"]) / channels}


def entry_bytes(redis):
    """What an entry takes in a log, by Redis' own account of the longest of a few logs; None where there is no log."""
    logs = [(redis.command("XLEN", name), name) for name in redis.command("KEYS", "*log")[:LOGS]]
    if not logs:
        return None
    entries, name = max(logs)
    return redis.command("MEMORY", "USAGE", name, "SAMPLES", 0) / entries


class RedisMeter:
    """Takes samples of a Redis while it is entered."""

    def __init__(self, redis):
        self.redis, self.samples, self.failure, self.entry = redis, [], None, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self.samples.append(self._sample())
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.failure:
            raise self.failure
        self.samples.append(self._sample())
        self.entry = entry_bytes(self.redis)

    def _sample(self):
        return read_sample(self.redis.info("everything"))

    def _watch(self):
        try:
            while not self.ended.wait(INTERVAL_S):
                self.samples.append(self._sample())
        except (OSError, KeyError) as why:
            self.failure = why

    def result(self):
        """Both kinds of figures; each is None where the load did nothing of the kind."""
        return {"publish": usage(self.samples), "subscription": subscriptions(self.samples),
                "entry_bytes": self.entry}
