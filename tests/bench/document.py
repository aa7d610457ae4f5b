# SPDX-License-Identifier: MIT
"""The document: docs/benchmarks.md from the kept runs of the grid."""
import grid
import rows
import servers

# (row, metric, head) of a column.
ONE_NODE = (
    ("alone", "cpu", "1,000, one at a time"), ("burst", "cpu", "1,000, 16 in flight"), ("large", "cpu", "10,000, 16 in flight"),
    ("rooms", "cpu", "100 rooms of 10"), ("fanin", "cpu_message", "fan-in: µs a message"),
    ("fanin-burst", "cpu_message", "fan-in, 16 in flight"),
    ("paced", "p50", "10/s: p50 ms"), ("paced", "p99", "p99 ms"), ("busy", "share", "300/s: % of a core"),
    ("busy", "p99", "p99 ms"), ("idle", "rss", "bytes an idle connection"),
)
TWO_NODES = (
    ("cluster-alone", "cpu", "1,000, one at a time"), ("cluster-burst", "cpu", "1,000, 16 in flight"),
    ("cluster-burst", "rate", "deliveries/s at 16 in flight"), ("cluster-paced", "p50", "10/s: p50 ms"),
    ("cluster-paced", "p99", "p99 ms"),
)
CLUSTER_TITLES = {"bun": "Bun, hand-written publish and subscribe over Redis", "nchan": "nginx + nchan, Redis store",
                  "socketio": "Socket.IO, Redis adapter"}


class Table:
    """The medians of the runs that count, and why a cell has none."""

    def __init__(self, records):
        self.records = records
        self.cells = {}
        for record in records:
            cell = record["row"], record["server"]
            if cell not in self.cells:
                self.cells[cell] = [run["result"] for run in grid.chosen(records, *cell)]

    def right(self, row, server):
        """The results of the runs in which everything arrived."""
        return [result for result in self.cells.get((row, server), []) if "error" not in result]

    def median(self, row, server, metric):
        return rows.METRICS[metric].median(self.right(row, server))

    def spread(self, row, server, metric):
        """(least, greatest) of the runs; None when there is none."""
        values = [value for value in map(rows.METRICS[metric].of, self.right(row, server)) if value is not None]
        return (min(values), max(values)) if values else None

    def errors(self, row, server):
        return [result["error"] for result in self.cells.get((row, server), []) if "error" in result]

    def measured(self, columns):
        """The servers that have a run in one of these columns' rows, in the order of the table of servers."""
        return [server for server in servers.KINDS if any((row, server) in self.cells for row, _, _ in columns)]

    def text(self, row, server, metric):
        value = self.median(row, server, metric)
        if value is None and self.errors(row, server):
            return "fails"
        return rows.METRICS[metric].write(value)


def lines_of(head, body):
    """A table of Markdown."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(line) + " |" for line in body), ""]


def figures(table, columns, titles):
    body = [[titles.get(server, servers.KINDS[server].title),
             *(table.text(row, server, metric) for row, metric, _ in columns)] for server in table.measured(columns)]
    return lines_of(["server", *(head for _, _, head in columns)], body)


def ratio(table, row, server, metric):
    own, other = table.median(row, "chatnode", metric), table.median(row, server, metric)
    return f"{other / own:.2f}" if own and other is not None else "-"


def ratios(table, columns, titles):
    body = [[titles.get(server, servers.KINDS[server].title),
             *(ratio(table, row, server, metric) for row, metric, _ in columns)] for server in table.measured(columns)]
    return lines_of(["server", *(head for _, _, head in columns)], body)


def goals(table):
    body = []
    for goal in rows.GOALS:
        value, met = goal.judge(table.median)
        form = ",.2f" if goal.over else rows.METRICS[goal.metric].form
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:{form}}"
        body.append([goal.text, f"ratio to {servers.KINDS[goal.over].title}" if goal.over else "itself", bound,
                     "not measured" if value is None else format(value, form),
                     "-" if met is None else "met" if met else "**missed**"])
    return lines_of(["chatnode's", "", "goal", "measured", ""], body)


def detail(table, row, server):
    """One line of a row's own table."""
    cells = table.cells[row.name, server]
    right = table.right(row.name, server)
    if not right:
        return [servers.KINDS[server].title, f"0 of {len(cells)}", *["-"] * 7, table.errors(row.name, server)[0]]
    figure = "rss" if row.name == "idle" else "cpu"
    least, greatest = table.spread(row.name, server, figure) or (None, None)
    write = rows.METRICS[figure].write
    load = rows.Metric("", "generator.cpu_share", ",.0f", 100)
    return [servers.KINDS[server].title, f"{len(right)} of {len(cells)}", table.text(row.name, server, figure),
            f"{write(least)} to {write(greatest)}", *(table.text(row.name, server, name) for name in ("rate", "share", "p50", "p99")),
            load.write(load.median(right)), str(right[0].get("limited_by") or "-")]


def details(table):
    """Each row with all that was measured."""
    out = []
    for row in rows.ROWS:
        names = [server for server in servers.KINDS if (row.name, server) in table.cells]
        if not names:
            continue
        figure = rows.METRICS["rss" if row.name == "idle" else "cpu"].title
        out += [f"### {row.title}", "", f"`{command(table, row)}`", ""]
        out += lines_of(["server", "complete", figure, "least to greatest", "deliveries/s", "% of a core", "p50 ms", "p99 ms",
                         "load, % of a core", "limited by"], [detail(table, row, server) for server in names])
    return out


def command(table, row):
    """How the load was made, for the first server of the row."""
    words = next((record["arguments"] for record in table.records if record["row"] == row.name and record["arguments"]), [])
    hidden = {"--url": "URL", "--publish-url": "URL", "--pid": "PID", "--payload": "BYTES", "--dialect": "NAME"}
    spelled = [hidden.get(before, word) for before, word in zip(["", *words], words)]
    return "bench_peers " + " ".join(spelled)


METHOD = """The server has core {server_core}, the load generator (`bench_peers`: `chatctl bench` with the dialects of the
other servers) core {load_core}, both over loopback. In each row every server is measured in turn, {runs} time(s); every run is
a new process. Figures are medians. CPU is that of all threads of the server, in user space and kernel, from the system's
accounting. The generator checks at every member that nothing is lost, doubled or reordered; a run in which something was
counts as failed.

**The same bytes for all.** chatnode takes {content_bytes} bytes of content and delivers {text_bytes} bytes: the content with
position, room, sender and time. All others take and deliver a text of {text_bytes} bytes as it is. So the publisher sends more
to them than to chatnode, which matters to nobody but in the fan-in, and there little.

**What each does.** chatnode keeps history, positions and resume. None of the others does so here: nchan's buffer is as small as
it can be used. In the fan-in chatnode stores and acks each message besides delivering it; the others only deliver. The
servers are in `tests/bench/peers/`, each as its own documentation recommends for speed, each with one
worker on one core. Two nodes: the publisher is on node A, the members are on node B, whose CPU is what is shown; one Redis;
A and Redis share core {load_core} with the generator.

**In flight** is how many messages a publisher has sent that not all members have. **Paced** rows send at even times,
and latency counts from when a message was due, so that a server that stalls cannot hide it. Latency is until the generator
has read the message; with one core for 1,000 members that is mostly the place in the line."""

LIMITS = """- One machine, loopback: no network card, no loss, no distance. A real network adds the same to all.
- A virtual machine's neighbours are not under our control. Ratios of one table can be compared, figures of two days cannot.
- With two cores the generator and Redis share one. Where the table says that the generator was the limit, rates are too low,
  CPU a delivery still holds.
- The floor waits for a slow reader and keeps nothing: no real server may do so. It is a bound, not a rival.
- One core for each server: what it would do with several is not measured."""


def discarded(table, about):
    """What the state of the cores cost."""
    records = table.records
    state = grid.majority_state(records)
    counted = sum(len(cell) for cell in table.cells.values())
    spans = [ns for record in records for ns in record["cores_ns"]]
    mixed = sorted({f"{record['row']} with {record['server']}" for record in records
                    if all(grid.state_of(run) != state for run in grid.chosen(records, record["row"], record["server"]))})
    out = [f"Virtual CPUs may move between sharing a cache and not, which changes everything by up to 30 %. Before and after each "
           f"run a cache line's round trip between the two cores is timed: {min(spans):,.0f} to {max(spans):,.0f} ns; below "
           f"{grid.NEAR_NS} ns is *near*, above *far*. Most runs were {state}. Of {len(records)} runs {len(records) - counted} "
           f"were not, or the state moved during the run; they are kept but not counted, and were repeated up to "
           f"{grid.REPEATS} times."]
    out += [f"No run in that state, so these are shown as they were: {', '.join(mixed)}." if mixed else "", ""]
    missing = [f"- {servers.KINDS[name].title} is left out: {why}" for name, why in about["missing"].items()]
    return out + (missing + [""] if missing else [])


def machine(about):
    versions = [f"{servers.KINDS[name].title.strip('*')} {version}" for name, version in about["versions"].items() if version]
    return [f"{about['date']}; {about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB; {about['system']}, "
            f"Linux {about['kernel']}.", "", f"{'; '.join(versions)}; Redis {about['redis']}.", ""]


def write(about, records):
    """The whole document."""
    table = Table(records)
    out = ["# Benchmarks", "", "Made by `./run bench`; a change here is lost with the next run. Lower is better, except where "
           "it says deliveries/s.", "", *machine(about)]
    if about["quick"]:
        out += ["**These runs were shortened, to try the benchmark out. They compare nothing.**", ""]
    if table.measured(ONE_NODE):
        out += ["## One node", "", "The first four are µs of server CPU a delivery, the next two µs of server CPU a message.", "", *figures(table, ONE_NODE, {}),
                "How many times as much as chatnode:", "", *ratios(table, ONE_NODE, {})]
    if table.measured(TWO_NODES):
        out += ["## Two nodes and one Redis", "", "The first two are µs of CPU of the members' node a delivery.", "",
                *figures(table, TWO_NODES, CLUSTER_TITLES), "How many times as much as chatnode:", "",
                *ratios(table, TWO_NODES, CLUSTER_TITLES)]
    values = {"server_core": grid.SERVER_CORE, "load_core": grid.LOAD_CORE, **about}
    out += ["## Goals", "", *goals(table), "## How it is measured", "", METHOD.format(**values), "",
            f"The command was `{about['command'].strip()}`. `./run bench --help` has the others: a part of the grid, the rest "
            "of one that was broken off, this document again from the kept runs.", "",
            "## The cores, and what was not counted", "", *discarded(table, about), "## Limits", "", LIMITS, "",
            "## Every row", "", *details(table)]
    return "\n".join(out).rstrip("\n") + "\n"
