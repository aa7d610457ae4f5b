# SPDX-License-Identifier: MIT
"""The loads by which it is measured how the cost grows: with members, rooms, nodes and loops; and what else costs."""
import dataclasses

import rows

SIZES = (100, 1000, 3000, 10000, 18000)
FLOORS = {1: "floor", 16: "floor-batch"}  # what a node is compared with, by messages in flight
ROOMS = (1, 10, 100, 1000)
WINDOWS = tuple(FLOORS)
NODES = (1, 2, 3, 4, 5)
LOOPS = (1, 2)
SPREADS = ("large", "spread", "local")
QUICK = {"clients": 60, "seconds": 0.5, "warmup": 0.2}
PACE = 4000  # messages a second
PING_MS = 1000


@dataclasses.dataclass(frozen=True)
class Load:
    """One load of `chatctl bench`. `options` are its options by their names with _ for -."""

    name: str
    part: str  # members, rooms, nodes, loops, costs: the tables it goes into
    scenario: str
    options: dict
    server: str = "chatnode"
    nodes: int = 1
    redis: bool = False
    loops: int = 1
    local: bool = False  # all members of a room are on one node
    publish_first: bool = False  # the publisher is on the first node
    flags: dict = dataclasses.field(default_factory=dict)  # settings of the nodes

    def urls(self, urls):
        """The order in which clients go to the nodes: in turn, or room by room."""
        if not self.local:
            return list(urls)
        return [url for url in urls for _ in range(self.options["clients"] // self.options["rooms"])]

    def seconds(self):
        """How long one run takes, about: servers, connecting, warming up, measuring."""
        timed = self.options.get("warmup", 0) + self.options["seconds"]
        return 1.2 + self.options["clients"] / 4000 + timed + (0.5 * self.nodes if self.redis else 0)

    def smaller(self):
        """The same for trying it out: few clients, half a second."""
        options = {key: min(value, QUICK.get(key, value)) for key, value in self.options.items()}
        rooms = options.get("rooms", 1)
        if rooms > 1:
            options["rooms"] = min(rooms, 12)
        return dataclasses.replace(self, options=options)


def timed(clients, seconds=2.0, **others):
    return {"clients": clients, "seconds": seconds, "warmup": 0.5, **others}


def of_members():
    """One room on one node, beside the floor with as many members."""
    return [Load(f"members-{size}-{window}-{server}", "members", "fanout", timed(size, in_flight=window), server)
            for size in SIZES for window, floor in FLOORS.items() for server in ("chatnode", floor)]


def of_rooms():
    """The same members in more and more rooms."""
    return [Load(f"rooms-{rooms}-{window}", "rooms", "rooms", timed(5000, rooms=rooms, in_flight=window))
            for rooms in ROOMS for window in WINDOWS]


def of_nodes():
    """A large room over several nodes, whose publisher is on the first; small rooms over several nodes, and small rooms on
    one node each. In these the first member of each room publishes, so that they differ only in how many nodes a message
    goes to: publishers are spread over the nodes in both."""
    large = [Load(f"nodes-large-{count}", "nodes", "fanout", timed(2000, in_flight=16), nodes=count, redis=True,
                  publish_first=True)
             for count in NODES]
    small = [Load(f"nodes-{name}-{count}", "nodes", "rooms", timed(1000, rooms=100, in_flight=16), nodes=count, redis=True,
                  local=name == "local") for name in ("spread", "local") for count in NODES]
    return large + small


def of_loops():
    return [Load(f"loops-{loops}-{window}", "loops", "fanout", timed(4000, in_flight=window), loops=loops)
            for window in WINDOWS for loops in LOOPS]


def of_costs():
    """What the fan-out does not show: messages at a pace that leaves time, to nodes with a member each; publishes as
    many as go; a ping; an idle connection."""
    keep = {"history_messages": 1000000}
    paced = [Load(f"costs-paced-{count}", "costs", "rooms", timed(12 * count, rooms=12, rate=PACE), nodes=count, redis=True)
             for count in NODES]
    idle = {"clients": 10000, "seconds": 3}
    return [*paced, Load("costs-acked", "costs", "fanin", timed(64, in_flight=16), redis=True, flags=keep),
            Load("costs-idle", "costs", "idle", idle, redis=True),
            Load("costs-pings", "costs", "idle", idle, redis=True, flags={"ping_interval": PING_MS})]


ALL = (*of_members(), *of_rooms(), *of_nodes(), *of_loops(), *of_costs())
PARTS = tuple(dict.fromkeys(load.part for load in ALL))
CONTENT_BYTES = rows.CONTENT_BYTES
