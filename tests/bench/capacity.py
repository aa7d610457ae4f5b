# SPDX-License-Identifier: MIT
"""How many nodes and what Redis a number of connections takes: formulas over measured costs, and nothing else.

docs/scaling.md has the same formulas in words. A cluster is one Redis and its nodes; rooms can be divided over several.
"""
import dataclasses
import math

# From docs/memory.md.
KERNEL_BYTES = 3810  # of a connection's socket
ROOM_BYTES = 848  # of a room with one member, at its node

PING_S = 25  # ping-interval
HISTORY = 1000  # history-messages
ID_S = 300  # dedupe-ttl
BUSY_HOURS = 8  # of a day, at the rate of the busiest one: what history-ttl keeps
ACCEPT_RATE = 5000  # accept-rate of a node
REDIS_BYTES = 53  # around a text that Redis sends: the protocol's words and the channel's name
WRITE_BYTES = 66  # of a write: headers of TCP with timestamps, IP and Ethernet
FRAME_BYTES = 4  # header of a WebSocket frame of 126 bytes or more
CLUSTERS_MAX = 100000


@dataclasses.dataclass(frozen=True)
class Costs:
    """What was measured; microseconds of CPU and bytes.

    What counts for capacity is the cost when as many come as can. At a low pace fewer go together, so one costs more:
    that is what "paced" is, and what one sees in a system that has nothing much to do.
    """

    delivery_us: float  # to one of 10,000 members, one message a write
    batched_us: float  # the same with 16 messages a write
    publish_us: float  # at the node that takes the message, with its ack and its delivery to the sender
    publish_paced_us: float  # without the delivery
    receive_us: float  # at each node with members, however many
    receive_paced_us: float  # with a delivery to one member
    ping_us: float
    redis_publish_us: float
    redis_publish_paced_us: float
    redis_node_us: float  # for each node with members
    redis_node_paced_us: float
    connection_bytes: float
    redis_entry_bytes: float
    redis_id_bytes: float
    redis_channel_bytes: float
    text_bytes: float


@dataclasses.dataclass(frozen=True)
class Use:
    """What connections do in the busiest hour."""

    title: str
    connections: int
    messages_per_hour: float  # that one connection sends
    members: int  # of a room, connected at the time
    rooms_per_connection: int

    def divided(self, parts):
        return dataclasses.replace(self, connections=math.ceil(self.connections / parts))

    @property
    def messages(self):
        """A second."""
        return self.connections * self.messages_per_hour / 3600

    @property
    def rooms(self):
        return max(1, self.connections * self.rooms_per_connection // self.members)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a node and Redis may use."""

    loops: int = 4  # threads with a core each, besides main's
    connections: int = 50000  # max-connections
    share: float = 0.5  # of each core, and of the network: the rest is for storms and uneven load
    network_bytes: float = 125e6  # of a node, a second, each way: 1 Gbit/s
    redis_network_bytes: float = 1.25e9  # 10 Gbit/s
    redis_memory_bytes: float = 64 * 2**30  # of which a copy for saving or for a replica may take half


@dataclasses.dataclass(frozen=True)
class Plan:
    """What it takes. Shares are of a core, of the network, or of the places for connections, 1 is all of it."""

    clusters: int
    nodes: int  # of one cluster
    shares: dict  # by what is used, of one node or of Redis
    messages: float  # a second, all clusters
    deliveries: float
    span: float  # to how many nodes a message goes, in the mean
    node_bytes: float
    redis_bytes: float  # of one cluster
    round_ms: float  # of Redis over all its nodes, at most
    return_s: float  # until everybody is back when all connections were cut


def span(nodes, members):
    """On how many of the nodes these members are, in the mean, when the balancer puts each anywhere."""
    return nodes * (1 - (1 - 1 / nodes) ** members)


def shares_of_node(use, nodes, costs, machine):
    """What one of so many nodes uses. Its main thread publishes and receives; its loops deliver and ping."""
    messages = use.messages / nodes
    deliveries = messages * use.members
    received = messages * span(nodes, use.members)
    connections = use.connections / nodes
    sent = deliveries * (costs.text_bytes + FRAME_BYTES + WRITE_BYTES)
    return {"main": (messages * costs.publish_us + received * costs.receive_us) / 1e6,
            "loops": (deliveries * costs.delivery_us + connections / PING_S * costs.ping_us) / 1e6 / machine.loops,
            "network": sent / machine.network_bytes, "connections": connections / machine.connections}


def shares_of_redis(use, nodes, costs, machine):
    spread = span(nodes, use.members)
    cpu = use.messages * (costs.redis_publish_us + spread * costs.redis_node_us) / 1e6
    sent = use.messages * spread * (costs.text_bytes + REDIS_BYTES + WRITE_BYTES)
    return {"redis": cpu, "redis network": sent / machine.redis_network_bytes,
            "redis memory": redis_bytes(use, nodes, costs) / machine.redis_memory_bytes}


def round_ms(use, nodes, costs, machine):
    """Redis serves its nodes in rounds. What a call and a write cost by themselves it pays once a round for each node at
    most; whatever else came meanwhile goes along. So this is how long a round gets, not a bound for the messages."""
    alone = costs.redis_publish_paced_us - costs.redis_publish_us + costs.redis_node_paced_us - costs.redis_node_us
    busy = shares_of_redis(use, nodes, costs, machine)["redis"]
    return nodes * max(0.0, alone) / 1e3 / (1 - busy) if busy < 1 else math.inf


def largest_pressure(use, costs, machine):
    """(how full it is, name) of what is nearest to its bound at Redis, with the nodes that this use takes."""
    return pressure(shares_of_redis(use, nodes_for(use, costs, machine), costs, machine), machine)


def bound(name, machine):
    """How much of it may be used."""
    return 1.0 if name == "connections" else machine.share


def pressure(shares, machine):
    """(how full it is, name) of what is nearest to its bound."""
    return max((share / bound(name, machine), name) for name, share in shares.items())


def nodes_for(use, costs, machine):
    """The fewest nodes of one cluster that are enough."""
    nodes = 1
    while True:
        fullest, _ = pressure(shares_of_node(use, nodes, costs, machine), machine)
        if fullest <= 1 + 1e-9:
            return nodes
        # More nodes share the work, but a message goes to more of them: so this may need another round.
        nodes = max(nodes + 1, math.floor(nodes * fullest))


def redis_bytes(use, nodes, costs):
    """Memory of one cluster's Redis: entries kept, ids remembered, channels that nodes are subscribed to."""
    entries = min(use.rooms * HISTORY, use.messages * 3600 * BUSY_HOURS)
    channels = use.connections + use.rooms * span(nodes, use.members)
    return (entries * costs.redis_entry_bytes + use.messages * ID_S * costs.redis_id_bytes +
            channels * costs.redis_channel_bytes)


def node_bytes(use, nodes, costs):
    memberships = use.connections * use.rooms_per_connection / nodes
    return use.connections / nodes * (costs.connection_bytes + KERNEL_BYTES) + memberships * ROOM_BYTES


def plan(use, costs, machine=Machine()):
    """The fewest clusters whose Redis is within its bounds, each with the fewest nodes that are enough."""
    for clusters in range(1, CLUSTERS_MAX):
        part = use.divided(clusters)
        nodes = nodes_for(part, costs, machine)
        of_redis = shares_of_redis(part, nodes, costs, machine)
        if pressure(of_redis, machine)[0] <= 1:
            return Plan(clusters, nodes, {**shares_of_node(part, nodes, costs, machine), **of_redis}, use.messages,
                        use.messages * use.members, span(nodes, use.members), node_bytes(part, nodes, costs),
                        redis_bytes(part, nodes, costs), round_ms(part, nodes, costs, machine),
                        part.connections / nodes / ACCEPT_RATE)
    raise ValueError(f"{use.title} is too much for {CLUSTERS_MAX} clusters")


def largest_cluster(use, costs, machine=Machine()):
    """The most connections of this kind of use that one Redis can serve."""
    low, high = 1, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        some = dataclasses.replace(use, connections=middle)
        low, high = (middle, high) if largest_pressure(some, costs, machine)[0] <= 1 else (low, middle - 1)
    return low


@dataclasses.dataclass(frozen=True)
class GiantRoom:
    """One room with this many members on so many nodes: what one message does."""

    last_ms: float  # until the last member's write
    alone_per_second: float  # messages at which loops reach their share, each written by itself
    batched_per_second: float  # the same with 16 a write
    network_per_second: float  # messages at which the network reaches its share, 16 a write
    redis_us: float


def giant_room(members, nodes, costs, machine=Machine()):
    each = members / nodes / machine.loops
    bytes_each = costs.text_bytes + FRAME_BYTES + WRITE_BYTES / 16
    return GiantRoom(each * costs.delivery_us / 1e3, machine.share * 1e6 / (each * costs.delivery_us),
                     machine.share * 1e6 / (each * costs.batched_us),
                     machine.share * machine.network_bytes / (members / nodes * bytes_each),
                     costs.redis_publish_paced_us + nodes * costs.redis_node_paced_us)
