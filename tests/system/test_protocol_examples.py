# SPDX-License-Identifier: MIT
"""Every example of docs/protocol.md, replayed against a real node, and held against docs/asyncapi.yaml.

How a block is written is told in docs/testing.md. Each block has a node of its own.
"""
import json
import re
import signal
import urllib.parse

import pytest

from clients import Client
from harness import DEADLINE, ROOT, SLOW, Node, eventually
from tokens import SECRET, mint

PAGE = ROOT / "docs/protocol.md"
BLOCK = re.compile(r"^```chat\n(.*?)^```$", re.M | re.S)
LINE = re.compile(r"(?:(?P<who>[a-z]+) )?(?P<what>[*<>x]) (?P<text>.+)")
POSITION = re.compile(r"\d+-\d+")
NAMED_POSITION = re.compile(r"[A-Z]+\d+")  # POS1, ANN2: the same word is the same position, a higher number a later one
ANY_TEXT = {"SESSION", "NODE", "VERSION", "GUEST"}
NUMBERS = {"TS": 1_600_000_000_000, "EXP": 1_600_000_000, "MS": 0}  # words for numbers, and what is less than those
TOKENS = {  # what stands for a token in an example
    "TOKEN": lambda: mint("ann", name="Ann Lee"), "SHORT_TOKEN": lambda: mint("ann", seconds=2 * SLOW),
    "OLD_TOKEN": lambda: mint("ann", seconds=-60), "READER_TOKEN": lambda: mint("ann", rooms={"lobby": ["join"]}),
}
ENTRY_TYPES = ("message", "direct", "joined", "left", "gap")


class Step:
    """One line of a block: who, what, and the rest."""

    def __init__(self, line):
        found = LINE.fullmatch(line)
        assert found, f"docs/protocol.md: not a line of an example: {line!r}"
        self.who, self.what, self.text = found["who"] or "", found["what"], found["text"]


class Block:
    """An example: the node's flags, and its steps."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.flags = lines.pop(0).split()[2:] if lines[0].startswith("$ chatnode ") else []
        self.steps = [line if line.startswith("$ ") else Step(line) for line in lines]
        self.name = next((step.text for step in self.steps if not isinstance(step, str)), text)

    def whom(self):
        """The clients in the order in which they come up, and those that connect by a line of their own."""
        steps = [step for step in self.steps if isinstance(step, Step)]
        return dict.fromkeys(step.who for step in steps), {step.who for step in steps if step.what == "*"}


BLOCKS = [Block(text) for text in BLOCK.findall(PAGE.read_text())]


def frame_of(text):
    """The frame as shown; a bare TS, EXP or MS stands for a number."""
    return json.loads(re.sub(rf":({'|'.join(NUMBERS)})\b", r':"\1"', text))


def fits(shown, came, bound):
    """Whether the frame that came is the one shown; binds the names of positions."""
    if isinstance(shown, str) and shown in ANY_TEXT:
        return isinstance(came, str) and came != ""
    if isinstance(shown, str) and shown in NUMBERS:
        return isinstance(came, int) and came > NUMBERS[shown]
    if isinstance(shown, str) and NAMED_POSITION.fullmatch(shown):
        return bool(POSITION.fullmatch(came)) and bound.setdefault(shown, came) == came
    if isinstance(shown, dict) and isinstance(came, dict):
        return shown.keys() == came.keys() and all(fits(shown[key], came[key], bound) for key in shown)
    if isinstance(shown, list) and isinstance(came, list):
        return len(shown) == len(came) and all(fits(*pair, bound) for pair in zip(shown, came))
    return type(shown) is type(came) and shown == came


def order_key(frame):
    """Frames with the same key come in the order shown: those of one channel, and answers of one kind."""
    if frame["type"] in ENTRY_TYPES:
        return frame.get("room", "the inbox")
    return frame["type"]


class Replay:
    """One block against one node."""

    def __init__(self, block, node):
        self.block, self.node = block, node
        self.bound, self.clients, self.shown = {}, {}, {}
        everybody, by_line = block.whom()
        for who in everybody:
            if who not in by_line:
                self.clients[who] = Client(node.port, user=who or "ann")

    def run(self):
        for step in self.block.steps:
            if isinstance(step, Step) and step.what == "<":
                self.shown.setdefault(step.who, []).append(frame_of(step.text))
                continue
            self.receive()
            if isinstance(step, str):
                assert step == "$ kill -TERM", step
                self.node.signal(signal.SIGTERM)
            else:
                {"*": self.connect, ">": self.send, "x": self.closed}[step.what](step)
        self.receive()
        self.nothing_else_came()
        self.positions_rise()

    def fill(self, text):
        text = re.sub(r'(?<="token":")[A-Z_]+', lambda found: TOKENS[found[0]](), text)
        return NAMED_POSITION.sub(lambda found: self.bound.get(found[0], found[0]), text)

    def connect(self, step):
        url = urllib.parse.urlsplit(self.fill(step.text))
        assert url.path == "/ws", step.text
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.clients[step.who] = Client(self.node.port, wait=False, **query)

    def send(self, step):
        self.clients[step.who].send(self.fill(step.text))

    def closed(self, step):
        code, _, reason = step.text.partition(" ")
        client = self.clients[step.who]
        assert (client.closed(), client.close_reason) == (int(code), reason)

    def receive(self):
        """Takes what was shown since the last step of another kind, from each client."""
        for who, frames in self.shown.items():
            client = self.clients[who]
            eventually(lambda: len(client.frames) >= len(frames) or client.ended, DEADLINE,
                       f"{who or 'the client'} gets {len(frames)} frames; there are {list(client.frames)}")
            for _ in range(len(frames)):
                assert client.frames, f"closed before {frames}"
                self.take(client.frames.popleft(), frames)
        self.shown = {}

    def take(self, came, frames):
        same = [shown for shown in frames if order_key(shown) == order_key(came)]
        assert same and fits(same[0], came, self.bound), f"shown: {frames}\ncame:  {came}\nknown: {self.bound}"
        frames.remove(same[0])

    def nothing_else_came(self):
        for who, client in self.clients.items():
            if not client.ended:
                client.fence()
            assert not client.frames, f"{who}: {list(client.frames)} came too"

    def positions_rise(self):
        families = {}
        for name, position in self.bound.items():
            family, number = re.fullmatch(r"([A-Z]+)(\d+)", name).groups()
            families.setdefault(family, []).append((int(number), tuple(map(int, position.split("-")))))
        for family, found in families.items():
            positions = [position for _, position in sorted(found)]
            assert positions == sorted(set(positions)), f"{family}: {positions}"

    def stop(self):
        for client in self.clients.values():
            client.close()


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{i + 1}: {block.name[:50]}" for i, block in enumerate(BLOCKS)])
def test_the_example_is_what_a_node_does(block, start):
    flags = [SECRET if flag == "SECRET" else flag for flag in block.flags]
    node = start.keep(Node(*flags, start=False)).start()
    replay = Replay(block, node)
    try:
        replay.run()
    finally:
        replay.stop()


def test_a_wrong_example_is_noticed(start):
    node = start.node()
    for wrong in ('> {"type":"ping"}\n< {"type":"pong","id":"x"}', '> {"type":"ping","id":"a"}\n< {"type":"pong","id":"b"}',
                  '> {"type":"ping"}', '> hi\n< {"pos":"POS1","ts":TS,"type":"message","room":"lobby","from":"bob","content":"hi"}'):
        replay = Replay(Block(wrong), node)
        try:
            with pytest.raises(AssertionError):
                replay.run()
        finally:
            replay.stop()


# ---- docs/asyncapi.yaml ----

def read_yaml(text):
    """The plain part of YAML that asyncapi.yaml keeps to: maps and lists by indentation, [a, b], one-line scalars."""
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in text.splitlines()
             if line.strip() and not line.strip().startswith("#")]
    value, rest = _block(lines, 0, lines[0][0])
    assert rest == len(lines), lines[rest]
    return value


def _block(lines, at, indent):
    return _list(lines, at, indent) if lines[at][1].startswith("- ") else _map(lines, at, indent)


def _list(lines, at, indent):
    items = []
    while at < len(lines) and lines[at][0] == indent and lines[at][1].startswith("- "):
        lines[at] = (indent + 2, lines[at][1][2:])
        if re.match(r"[\w$/.]+:( |$)", lines[at][1]):
            item, at = _map(lines, at, indent + 2)
        else:
            item, at = _scalar(lines[at][1]), at + 1
        items.append(item)
    return items, at


def _map(lines, at, indent):
    found = {}
    while at < len(lines) and lines[at][0] == indent and not lines[at][1].startswith("- "):
        key, text = re.fullmatch(r"([\w$/.-]+):(?: (.*))?", lines[at][1]).groups()
        assert key not in found, f"{key} twice"
        at += 1
        if text is not None:
            found[key] = _scalar(text)
        else:
            found[key], at = _block(lines, at, lines[at][0])
    return found, at


def _scalar(text):
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    if text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1].replace("''", "'") if text[0] == "'" else json.loads(text)
    if text in ("true", "false", "{}"):
        return {"true": True, "false": False, "{}": {}}[text]
    return int(text) if re.fullmatch(r"-?\d+", text) else text


API = read_yaml((ROOT / "docs/asyncapi.yaml").read_text())
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}


def resolve(schema):
    while "$ref" in schema:
        node = API
        for word in schema["$ref"].removeprefix("#/").split("/"):
            node = node[word]
        schema = node
    return schema


def wrong(schema, value, where="frame"):
    """What about the value is not as the schema (the few words of JSON Schema that the file uses) says."""
    schema = resolve(schema)
    unknown = schema.keys() - {"type", "const", "enum", "pattern", "minimum", "maximum", "required", "properties", "items",
                               "additionalProperties", "description", "oneOf", "default", "maxLength"}
    assert not unknown, unknown
    if "oneOf" in schema:
        fitting = [one for one in schema["oneOf"] if not wrong(one, value, where)]
        return [] if len(fitting) == 1 else [f"{where}: fits {len(fitting)} of the schemas"]
    problems = []
    kind = TYPES.get(schema.get("type"), object)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return [f"{where}: not a {schema['type']}"]
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        problems.append(f"{where}: {value!r} is not allowed")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        problems.append(f"{where}: {value!r} does not match")
    if kind is int and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        problems.append(f"{where}: {value} is out of range")
    if kind is list:
        for number, item in enumerate(value):
            problems += wrong(schema["items"], item, f"{where}[{number}]")
    if kind is dict:
        problems += [f"{where}: no {key}" for key in schema.get("required", []) if key not in value]
        for key, item in value.items():
            if key in schema.get("properties", {}):
                problems += wrong(schema["properties"][key], item, f"{where}.{key}")
            elif schema.get("additionalProperties") is False:
                problems.append(f"{where}: {key} is not described")
    return problems


def type_of(schema):
    return resolve(schema)["properties"]["type"]["const"]


def schemas(operation):
    """{type: schema} of what one side sends."""
    messages = [resolve(message) for message in API["operations"][operation]["messages"]]
    return {type_of(message["payload"]): message["payload"] for message in messages
            if resolve(message["payload"])["type"] == "object"}


def examples(what):
    return [frame_of(step.text) for block in BLOCKS for step in block.steps
            if isinstance(step, Step) and step.what == what and step.text.startswith("{")]


def concrete(value):
    """The frame with something in the place of each name."""
    if isinstance(value, dict):
        return {key: concrete(item) for key, item in value.items()}
    if isinstance(value, list):
        return [concrete(item) for item in value]
    if isinstance(value, str) and value in NUMBERS:
        return NUMBERS[value] + 1
    return "1700000000000-0" if isinstance(value, str) and NAMED_POSITION.fullmatch(value) else value


def table_of(header, table):
    """The first text of each row of a table of the code."""
    text = (ROOT / "include/chatnode" / header).read_text()
    rows = text.split(f"#define {table}(X)")[1].split("\n\n")[0]
    return re.findall(r'X\(\w+,\s*"([a-z_]+)"', rows)


def test_the_description_has_every_request_and_every_error():
    assert list(schemas("receive")) == table_of("codec.h", "CN_REQUEST_TABLE")
    code = resolve(schemas("send")["error"])["properties"]["code"]
    assert resolve(code)["enum"] == table_of("protocol.h", "CN_PROBLEM_TABLE")


def test_every_frame_of_the_description_has_an_example():
    assert {frame["type"] for frame in examples("<")} == set(schemas("send"))
    assert set(schemas("receive")) <= {frame.get("type") for frame in examples(">")}


def test_what_a_node_sends_is_as_described():
    for frame in examples("<"):
        assert not wrong(schemas("send")[frame["type"]], concrete(frame)), frame


def test_what_a_client_sends_is_as_described_unless_it_is_refused():
    refused = {frame.get("id") for frame in examples("<") if frame["type"] == "error" and not frame["retry"]}
    known = schemas("receive")
    for frame in examples(">"):
        if frame.get("id") not in refused:
            assert not wrong(known[frame["type"]], concrete(frame)), frame


def test_the_reader_of_schemas_finds_faults():
    ack = schemas("send")["ack"]
    good = {"type": "ack", "id": "a", "pos": "1-0", "ts": 1, "dup": False}
    assert not wrong(ack, good)
    for change in ({"pos": "1"}, {"ts": "1"}, {"dup": 0}, {"more": 1}, {"id": "a b"}):
        assert wrong(ack, {**good, **change}), change
    assert wrong(ack, {key: good[key] for key in good if key != "dup"})
