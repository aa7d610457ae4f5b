# SPDX-License-Identifier: MIT
"""The tables of docs/scaling.md: of what was measured, and of what follows from it. The text around them is left alone."""
import dataclasses
import re
import textwrap

import capacity
import loads
import scaling_figures
from document import lines_of

MARKER = re.compile(r"(<!-- begin: scaling (\w+) -->\n).*?(<!-- end: scaling \2 -->)", re.S)
NONE = "-"
MACHINE = capacity.Machine()
SIZES = (10_000, 1_000_000, 20_000_000)
KINDS = (capacity.Use("team chat", 0, 10, 20, 5), capacity.Use("live event", 0, 60, 200, 1))
GIANT = 1_000_000
GIANT_NODES = (20, 50, 100)
FULL_NAMES = {"redis": "Redis' core", "redis network": "Redis' network", "redis memory": "Redis' memory",
              "main": "a node's main thread", "loops": "a node's loops", "network": "a node's network"}


def number(value, form=",.2f"):
    return NONE if value is None else format(value, form)


def quotient(value, other, form=".2f"):
    return NONE if value is None or not other else format(value / other, form)


def size(value):
    """Bytes for people."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value >= 1 << power:
            return f"{value / (1 << power):,.1f} {unit}"
    return f"{value:,.0f} B"


# ---- What was measured ----

def members_lines(figures, window):
    """One line for each size: node, floor, and each compared with itself at 1,000 members."""
    floor = loads.FLOORS[window]
    at = {server: {members: figures.delivery(f"members-{members}-{window}-{server}") for members in loads.SIZES}
          for server in ("chatnode", floor)}
    for members in loads.SIZES:
        node, bare = at["chatnode"][members], at[floor][members]
        batch = figures.median(f"members-{members}-{window}-chatnode", "messages_a_write")
        yield [f"{members:,}", str(window), number(node, ".3f"), number(bare, ".3f"), quotient(node, bare),
               quotient(node, at["chatnode"][1000]), quotient(bare, at[floor][1000]), number(batch, ".1f")]


def flatness(figures, window):
    """By how much the ratio to the floor changes from 1,000 members to the most."""
    def ratio(members):
        node, bare = (figures.delivery(f"members-{members}-{window}-{name}") for name in ("chatnode", loads.FLOORS[window]))
        return node / bare if node and bare else None
    few, many = ratio(1000), ratio(loads.SIZES[-1])
    return f"{many / few - 1:+.0%}" if few and many else "not measured"


def members_table(figures):
    body = [line for window in loads.FLOORS for line in members_lines(figures, window)]
    return lines_of(["members", "in flight", "chatnode, µs a delivery", "floor", "chatnode to floor",
                     "chatnode to itself at 1,000", "floor to itself at 1,000", "messages a write"], body) + [
        f"The ratio to the floor, from 1,000 to {loads.SIZES[-1]:,} members: {flatness(figures, 1)} with one in flight, "
        f"{flatness(figures, 16)} with 16.", ""]


def rooms_table(figures):
    body = []
    for window in loads.WINDOWS:
        for rooms in loads.ROOMS:
            name = f"rooms-{rooms}-{window}"
            body.append([f"{rooms:,}", f"{5000 // rooms:,}", str(window), number(figures.delivery(name), ".3f"),
                         number(figures.message(name)), number(figures.median(name, "messages_a_write"), ".1f"),
                         number(figures.median(name, "result.deliveries_per_second"), ",.0f")])
    return lines_of(["rooms", "members of each", "in flight in each", "µs a delivery", "µs a message", "messages a write",
                     "deliveries/s"], body)


def nodes_table(figures):
    body = []
    for count in loads.NODES:
        names = [f"nodes-{kind}-{count}" for kind in loads.SPREADS]
        cells = [[number(figures.message(name)), number(figures.redis(name))] for name in names[1:]]
        large = [number(figures.delivery(names[0]), ".3f"), number(figures.redis(names[0]))]
        body.append([str(count), *large, *sum(cells, [])])
    redis = "Redis, µs a message"
    return lines_of(["nodes", "room of 2,000: µs a delivery", redis, "rooms of 10 on all nodes: µs a message", redis,
                     "rooms of 10 on one node each: µs a message", redis], body)


def loops_table(figures):
    body = []
    for window in loads.WINDOWS:
        for loops in loads.LOOPS:
            name = f"loops-{loops}-{window}"
            body.append([str(loops), str(window), number(figures.delivery(name), ".3f"),
                         number(figures.median(name, "messages_a_write"), ".1f"),
                         number(figures.median(name, "result.server.cpu_share")),
                         number(figures.median(name, "result.deliveries_per_second"), ",.0f")])
    return lines_of(["loops", "in flight", "µs a delivery", "messages a write", "cores used", "deliveries/s"], body)


def machine_lines(about):
    text = (f"Measured {about['date']} with chatnode {about['chatnode']} and Redis {about['redis']}: {about['cpu']}, "
            f"{about['cores']} cores, Linux {about['kernel']}; medians of {about['runs']}; "
            f"{about['text_bytes']} bytes of text a delivery. `{about['command']}`.")
    return [*textwrap.wrap(text, 120), ""]


COSTS = (  # how it is called, its unit; its field when as many come as can, and at a pace
    ("node: a delivery to one of 10,000, one message a write", "µs", "delivery_us", ""),
    ("node: a delivery to one of 10,000, 16 in flight", "µs", "batched_us", ""),
    ("node: a publish, with ack and delivery to the sender; paced: without", "µs", "publish_us", "publish_paced_us"),
    ("node: a message that comes from Redis; paced: with a delivery", "µs", "receive_us", "receive_paced_us"),
    ("Redis: a publish", "µs", "redis_publish_us", "redis_publish_paced_us"),
    ("Redis: to each node with members", "µs", "redis_node_us", "redis_node_paced_us"),
    ("node: a ping and its answer", "µs", "ping_us", ""),
    ("node: an idle connection", "bytes", "connection_bytes", ""),
    ("Redis: an entry of a log", "bytes", "redis_entry_bytes", ""),
    ("Redis: an id, for `dedupe-ttl`", "bytes", "redis_id_bytes", ""),
    ("Redis: a channel that a node is subscribed to", "bytes", "redis_channel_bytes", ""),
    ("a delivery's text", "bytes", "text_bytes", ""),
)


def cost(costs, field, unit):
    return f"{getattr(costs, field):,.{2 if unit == 'µs' else 0}f} {unit}" if field else NONE


def costs_table(costs):
    body = [[what, cost(costs, full, unit), cost(costs, paced, unit)] for what, unit, full, paced in COSTS]
    paced, full = ((publish + node) * loads.PACE / 1e6 for publish, node in (
        (costs.redis_publish_paced_us, costs.redis_node_paced_us), (costs.redis_publish_us, costs.redis_node_us)))
    return lines_of(["what", "as many as go", f"{loads.PACE:,} messages a second"], body) + [
        f"With {loads.PACE:,} messages a second to one node Redis uses {paced:.0%} of a core. That is {full:.0%} of what it can do.",
        ""]


# ---- What follows ----

def uses():
    return [dataclasses.replace(kind, connections=connections) for connections in SIZES for kind in KINDS]


def first_full(plan):
    """What is full first when more is said. Places for connections are not: there are enough nodes for them."""
    return FULL_NAMES[capacity.pressure({name: plan.shares[name] for name in FULL_NAMES}, MACHINE)[1]]


def share(name):
    return lambda plan: f"{plan.shares[name]:.0%}"


PLAN_ROWS = (  # a row's head, and its cell of a plan
    ("messages/s", lambda plan: f"{plan.messages:,.0f}"), ("deliveries/s", lambda plan: f"{plan.deliveries:,.0f}"),
    ("clusters, one Redis each", lambda plan: f"{plan.clusters:,}"), ("nodes of a cluster", lambda plan: f"{plan.nodes:,}"),
    ("nodes in all", lambda plan: f"**{plan.clusters * plan.nodes:,}**"),
    ("nodes a message goes to", lambda plan: f"{plan.span:.1f}"),
    ("a node's main thread", share("main")), ("each of its 4 loops", share("loops")),
    ("its network of 1 Gbit/s", share("network")), ("its 50,000 places", share("connections")),
    ("memory of a node, kernel included", lambda plan: size(plan.node_bytes)),
    ("Redis' core", share("redis")), ("its network of 10 Gbit/s", share("redis network")),
    ("its memory of 64 GiB", share("redis memory")), ("the same in bytes", lambda plan: size(plan.redis_bytes)),
    ("a round of it, at most", lambda plan: f"{plan.round_ms:,.1f} ms"),
    ("all back after a cut", lambda plan: f"{plan.return_s:,.1f} s"), ("full first when more is said", first_full),
)


def plans_table(costs):
    plans = [capacity.plan(use, costs, MACHINE) for use in uses()]
    titles = [f"{use.connections:,}: {use.title}" for use in uses()]
    return lines_of(["", *titles], [[head, *map(cell, plans)] for head, cell in PLAN_ROWS])


def largest_table(costs):
    body = []
    for kind in KINDS:
        most = capacity.largest_cluster(kind, costs)
        use = dataclasses.replace(kind, connections=most)
        _, end = capacity.largest_pressure(use, costs, MACHINE)
        body.append([kind.title, f"{most:,}", f"{capacity.nodes_for(use, costs, MACHINE):,}", f"{use.messages:,.0f}",
                     FULL_NAMES[end]])
    return lines_of(["use", "connections that one Redis can serve", "nodes", "messages/s", "what ends there"], body)


def giant_table(costs):
    body = []
    for nodes in GIANT_NODES:
        room = capacity.giant_room(GIANT, nodes, costs)
        body.append([str(nodes), f"{GIANT // nodes:,}", f"{room.last_ms:,.0f} ms", f"{room.alone_per_second:,.1f}",
                     f"{room.batched_per_second:,.0f}", f"{room.network_per_second:,.0f}", f"{room.redis_us:,.0f} µs"])
    return lines_of(["nodes of 4 loops", "members a node", "the last member is written to after",
                     "messages/s at half load, one a write",
                     "the same, 16 a write", "messages/s at half of 1 Gbit/s", "Redis a message"], body)


def tables(kept):
    """The lines of each table by its marker's name; those calculated are absent until all costs were measured."""
    figures = scaling_figures.Figures(kept["runs"])
    found = {"machine": machine_lines(kept["about"]), "members": members_table(figures), "rooms": rooms_table(figures),
             "nodes": nodes_table(figures), "loops": loops_table(figures)}
    costs = scaling_figures.costs(figures)
    if costs is None:
        return found
    return {**found, "costs": costs_table(costs), "plans": plans_table(costs), "largest": largest_table(costs),
            "giant": giant_table(costs)}


def fill(text, kept):
    """The document with its tables made anew. A marker whose table could not be made keeps what is in it."""
    made = tables(kept)

    def replace(match):
        begin, name, end = match.groups()
        return begin + "\n" + "\n".join(made[name]) + "\n" + end if name in made else match[0]
    missing = set(made) - {match[2] for match in MARKER.finditer(text)}
    if missing:
        raise SystemExit(f"the document has no place for {', '.join(sorted(missing))}")
    return MARKER.sub(replace, text)
