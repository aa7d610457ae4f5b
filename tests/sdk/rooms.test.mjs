// SPDX-License-Identifier: MIT
// The SDK's rooms and inbox: joining, resuming, dropping what is known, telling what is missing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { comparePositions } from "../../node/web/sdk/chatnode.mjs";
import { WELCOME, contents, greet, makeClient, message, outcome } from "./fakes.mjs";

// A client in the lobby, whose newest entry is 5-0.
function inLobby(options) {
  const client = makeClient({ rooms: ["lobby"], ...options });
  client.chat.connect();
  greet(client.last());
  client.reconnect = () => {
    client.last().end(1006);
    client.clock.pass(20_000);
    return client.last();
  };
  return client;
}

const gaps = (events) => events.filter(([name]) => name === "gap").map(([, gap]) => gap);

test("orders positions of any size", () => {
  assert.ok(comparePositions("9-0", "10-0") < 0);
  assert.ok(comparePositions("10-9", "10-10") < 0);
  assert.ok(comparePositions("18446744073709551615-1", "18446744073709551614-9") > 0);
  assert.equal(comparePositions("7-7", "7-7"), 0);
});

test("join() resolves with the server's answer, at once when joined already", async () => {
  const { chat, last } = inLobby();
  const joining = chat.join("tea");
  const [{ room, since, id }] = last().take("join");
  assert.deepEqual([room, since], ["tea", undefined]);
  last().say({ type: "joined", room, pos: "8-3", recovered: false, id });
  assert.deepEqual(await joining, { room: "tea", pos: "8-3", recovered: false });
  assert.deepEqual(await chat.join("tea"), { room: "tea", pos: "8-3", recovered: true });
  assert.deepEqual(last().take("join"), []);
  assert.deepEqual(chat.rooms, ["lobby", "tea"]);
});

test("join() before connecting is done on welcome, and can resume from a saved position", () => {
  const { chat, last } = makeClient();
  chat.join("tea", { since: "8-3" });
  chat.connect();
  last().say(WELCOME);
  const [{ room, since }] = last().take("join");
  assert.deepEqual([room, since], ["tea", "8-3"]);
});

test("a refused join rejects and is forgotten, one to be retried is retried", async () => {
  const { chat, clock, last } = inLobby();
  const bad = chat.join("no such name!");
  const good = chat.join("tea");
  const [first, second] = last().take("join");
  last().say({ type: "error", id: first.id, code: "bad_name", message: "no", retry: false });
  last().say({ type: "error", id: second.id, code: "unavailable", message: "no", retry: true });
  assert.equal(await outcome(bad), "bad_name");
  assert.deepEqual(chat.rooms, ["lobby", "tea"]);
  clock.pass(1_000);
  const [{ room, id }] = last().take("join");
  last().say({ type: "joined", room, pos: "0-0", recovered: false, id });
  assert.equal((await good).room, "tea");
});

test("resumes every room and the inbox from the last position", () => {
  const { chat, last, reconnect } = inLobby();
  chat.join("tea");
  const [{ id }] = last().take("join");
  last().say({ type: "joined", room: "tea", pos: "8-3", recovered: false, id });
  last().say(message("5-1"), { ...message("9-4"), type: "direct", to: "ann", room: undefined });
  const socket = reconnect();
  assert.equal(socket.url.searchParams.get("inbox"), "9-4");
  socket.say(WELCOME);
  const asked = socket.take("join").map(({ room, since }) => [room, since]);
  assert.deepEqual(asked, [["lobby", "5-1"], ["tea", "8-3"]]);
});

test("hands on what was missed, once, and in order", () => {
  const { events, last, reconnect } = inLobby();
  last().say(message("5-1"), message("5-2"));
  const socket = reconnect();
  socket.say(WELCOME);
  const [{ room, id }] = socket.take("join");
  socket.say({ type: "joined", room, pos: "5-4", recovered: true, id });
  socket.say(message("5-2"), message("5-3"), message("5-4"), message("5-4"), message("5-5"));
  assert.deepEqual(contents(events), ["5-1", "5-2", "5-3", "5-4", "5-5"]);
  assert.deepEqual(gaps(events), []);
});

test("tells a gap, then takes the newest page even from an older generation", () => {
  const { events, last, reconnect } = inLobby();
  last().say(message("5-1"), message("5-2"));
  const socket = reconnect();
  socket.say(WELCOME);
  const [{ room, id }] = socket.take("join");
  socket.say({ type: "joined", room, pos: "4-9", recovered: false, id });
  socket.say({ type: "gap", room, reset: true });
  socket.say(message("5-2"), message("4-8"), message("4-9"));
  assert.deepEqual(gaps(events), [{ room: "lobby", reset: true }]);
  assert.deepEqual(contents(events), ["5-1", "5-2", "4-8", "4-9"]);
  reconnect().say(WELCOME);
  assert.equal(last().take("join")[0].since, "4-9");
});

test("what a failover lost and the server restored is not shown twice", () => {
  const { events, last } = inLobby();
  const said = (pos, id, ts) => ({ ...message(pos), content: `${id} at ${ts}`, id, ts });
  last().say(said("5-1", "a", 1000), said("5-2", "b", 1001));
  last().say({ type: "gap", room: "lobby", reset: true });
  last().say(said("6-0", "b", 9000), said("6-1", "c", 9001));
  assert.deepEqual(contents(events), ["a at 1000", "b at 1001", "c at 9001"]);
  assert.deepEqual(gaps(events), [{ room: "lobby", reset: true }]);
  last().say(said("6-2", "b", 9002), said("7-0", "a", 400_000)); // an id may be used again, in time
  assert.deepEqual(contents(events).slice(3), ["b at 9002", "a at 400000"]);
});

test("a gap that was told is not asked for again when nothing followed", () => {
  const { last, reconnect } = inLobby();
  const socket = reconnect();
  socket.say(WELCOME);
  const [{ room, id }] = socket.take("join");
  socket.say({ type: "joined", room, pos: "7-0", recovered: false, id });
  socket.say({ type: "gap", room, reset: true });
  reconnect().say(WELCOME);
  assert.equal(last().take("join")[0].since, "7-0");
});

test("a gap within a session does not move the resume position back", () => {
  const { last, reconnect } = inLobby();
  last().say(message("5-1"), { type: "gap", room: "lobby", reset: true });
  reconnect().say(WELCOME);
  assert.equal(last().take("join")[0].since, "5-1");
});

test("notices itself when entries are missing", () => {
  const { events, last } = inLobby();
  last().say(message("5-1"), message("5-4"), message("6-0"));
  assert.deepEqual(gaps(events), [{ room: "lobby", from: "5-1", to: "5-4" }]);
  assert.deepEqual(contents(events), ["5-1", "5-4", "6-0"]);
});

test("the inbox's retained entries come first; without any it resumes from its start", () => {
  const { events, last, reconnect } = inLobby();
  assert.equal(reconnect().url.searchParams.get("inbox"), "0-0");
  greet(last());
  last().say({ type: "direct", pos: "3-0", from: "bob", to: "ann", content: "psst", ts: 1 });
  last().say({ type: "direct", pos: "3-0", from: "bob", to: "ann", content: "psst", ts: 1 });
  assert.deepEqual(contents(events, "direct"), ["psst"]);

  const fresh = makeClient();
  fresh.chat.connect();
  fresh.last().say(WELCOME, { type: "joined", inbox: true, pos: "3-7", recovered: false });
  const direct = { type: "direct", from: "bob", to: "ann", ts: 1 };
  fresh.last().say({ ...direct, pos: "3-6", content: 6 }, { ...direct, pos: "3-7", content: 7 });
  assert.deepEqual(contents(fresh.events, "direct"), [6, 7]);
  fresh.last().say({ type: "gap", inbox: true, reset: true });
  assert.deepEqual(gaps(fresh.events), [{ inbox: true, reset: true }]);
});

test("leave() resolves on the answer, ends the room's messages and its resuming", async () => {
  const { chat, events, last, reconnect } = inLobby();
  const leaving = chat.leave("lobby");
  const [{ id }] = last().take("leave");
  last().say(message("5-1"));
  assert.equal(await outcome(leaving), "open");
  last().say({ type: "left", room: "lobby", id });
  assert.equal(await outcome(leaving), undefined);
  assert.deepEqual(contents(events), []);
  reconnect().say(WELCOME);
  assert.deepEqual(last().take("join"), []);
});

test("leave() is done when the connection breaks, and does not undo a later join", async () => {
  const { chat, last, reconnect } = inLobby();
  const leaving = chat.leave("lobby");
  const socket = reconnect();
  assert.equal(await outcome(leaving), undefined);
  chat.join("lobby");
  socket.say(WELCOME);
  assert.deepEqual(last().sent.map(({ type }) => type), ["join"]);
});

test("leave() of a room whose join had failed is no error", async () => {
  const { chat, clock, last } = inLobby();
  const joining = chat.join("tea");
  const [{ id: join }] = last().take("join");
  last().say({ type: "error", id: join, code: "unavailable", message: "no", retry: true });
  const leaving = chat.leave("tea");
  assert.equal(await outcome(joining), "not_joined");
  clock.pass(20_000);
  const [{ id }] = last().take("leave");
  last().say({ type: "error", id, code: "not_joined", message: "no", retry: false });
  assert.equal(await outcome(leaving), undefined);
  assert.deepEqual(last().take("join"), []);
});

test("joining again takes back a leave that was not sent yet", async () => {
  const { chat, clock, last } = inLobby();
  const sent = chat.send("lobby", "hi");
  last().say({ type: "error", id: sent.id, code: "overloaded", message: "wait", retry: true });
  const leaving = chat.leave("lobby");
  const joining = chat.join("lobby");
  assert.equal(await outcome(leaving), undefined);
  const [{ room, id }] = last().take("join");
  last().say({ type: "joined", room, pos: "5-0", recovered: false, id });
  assert.equal((await joining).room, "lobby");
  clock.pass(20_000);
  assert.deepEqual(last().take("leave"), []);
  assert.deepEqual(last().take("message").map((frame) => frame.id), [sent.id, sent.id]);
});

test("history() asks with its page and resolves with the messages", async () => {
  const { chat, last } = inLobby();
  const reading = chat.history("lobby", { before: "5-1", limit: 2 });
  const [{ id, ...asked }] = last().take("history");
  assert.deepEqual(asked, { type: "history", room: "lobby", before: "5-1", limit: 2 });
  const messages = [message("4-0"), message("5-0")];
  last().say({ type: "history", room: "lobby", id, messages, more: true });
  assert.deepEqual(await reading, { room: "lobby", messages, more: true });
});

test("conversation() asks for the messages with one user, and pages on by `next`", async () => {
  const { chat, last } = inLobby();
  const reading = chat.conversation("bob", { before: "9-4", limit: 1 });
  const [{ id, ...asked }] = last().take("history");
  assert.deepEqual(asked, { type: "history", with: "bob", before: "9-4", limit: 1 });
  const messages = [{ pos: "9-1", ts: 1, type: "direct", from: "bob", to: "ann", content: "psst" }];
  last().say({ type: "history", with: "bob", id, messages, more: true, next: "8-7" });
  const page = await reading;
  assert.deepEqual(page, { with: "bob", messages, more: true, next: "8-7" });
  chat.conversation("bob", { before: page.next });
  assert.equal(last().take("history")[0].before, "8-7");
});

test("a conversation waits for no room, a room's history for its room", () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  chat.history("lobby");
  chat.conversation("bob");
  chat.connect();
  last().say(WELCOME);
  assert.deepEqual(last().take("history").map((frame) => frame.with), ["bob"]);
});

test("positions survive the client: the next one goes on where it was", () => {
  const { chat, last } = inLobby();
  last().say(message("5-1"), { ...message("9-4"), type: "direct", to: "ann", room: undefined });
  const positions = JSON.parse(JSON.stringify(chat.positions));
  assert.deepEqual(positions, { rooms: { lobby: "5-1" }, inbox: "9-4" });
  chat.close();

  const next = makeClient({ positions, rooms: ["lobby", "tea"] });
  next.chat.connect();
  assert.equal(next.last().url.searchParams.get("inbox"), "9-4");
  next.last().say(WELCOME);
  const asked = next.last().take("join");
  assert.deepEqual(asked.map(({ room, since }) => [room, since]), [
    ["lobby", "5-1"], ["tea", undefined],
  ]);
  next.last().say({ type: "joined", room: "lobby", pos: "5-4", recovered: true, id: asked[0].id });
  next.last().say(message("5-1"), message("5-3"));
  assert.deepEqual(contents(next.events), ["5-3"]);
  assert.deepEqual(gaps(next.events), [{ room: "lobby", from: "5-1", to: "5-3" }]);
});

test("a damaged store spoils nothing, and leaving a room forgets its position", () => {
  const positions = { rooms: { lobby: "x", tea: 7, gin: "6-1" }, inbox: "1600&room=x" };
  const { chat, last } = makeClient({ positions, rooms: ["lobby"] });
  chat.leave("gin");
  for (const name of ["tea", "gin"]) chat.join(name, { since: "no position" });
  chat.connect();
  assert.equal(last().url.searchParams.has("inbox"), false);
  last().say(WELCOME);
  const asked = last().take("join").map(({ room, since }) => [room, since]);
  assert.deepEqual(asked, [["lobby", undefined], ["tea", undefined], ["gin", undefined]]);
  assert.deepEqual(chat.positions, { rooms: {} });
});

test("join() with a position resumes also a room that was only named before", () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  chat.join("lobby", { since: "5-1" });
  chat.connect();
  last().say(WELCOME);
  assert.equal(last().take("join")[0].since, "5-1");
});

test("a generation that does not begin with its first entry has a hole", () => {
  const { events, last } = inLobby();
  last().say(message("5-1"), message("6-0"), message("7-2"), message("7-3"));
  assert.deepEqual(gaps(events), [{ room: "lobby", from: "6-0", to: "7-2" }]);
});

test("the gap is told before what follows it", () => {
  const { events, last } = inLobby();
  last().say(message("5-1"), message("5-3"), { type: "gap", room: "lobby", reset: true });
  last().say(message("5-9"));
  const order = events.filter(([name]) => name !== "state").map(([name]) => name);
  assert.deepEqual(order, ["message", "gap", "message", "gap", "message"]);
});

test("nothing of an ended membership gets into the new one", () => {
  const { chat, events, last } = inLobby();
  chat.leave("lobby");
  chat.join("lobby");
  last().say(message("5-1"), { type: "gap", room: "lobby", reset: true });
  const [{ room, id }] = last().take("join");
  last().say({ type: "joined", room, pos: "5-2", recovered: false, id }, message("5-3"));
  assert.deepEqual([contents(events), gaps(events)], [["5-3"], []]);
});

test("a break between `joined` and `gap` does not lose the gap", () => {
  const { events, last, reconnect } = inLobby();
  last().say(message("5-1"));
  for (let i = 0; i < 2; i++) {
    const socket = reconnect();
    socket.say(WELCOME);
    const [{ room, since, id }] = socket.take("join");
    assert.equal(since, "5-1");
    socket.say({ type: "joined", room, pos: "7-9", recovered: false, id });
    if (i === 1) socket.say({ type: "gap", room, reset: true }, message("7-9"));
  }
  assert.deepEqual([gaps(events).length, contents(events)], [1, ["5-1", "7-9"]]);
});

test("joins that were too much are sent again when the server said, one at a time", async () => {
  const { chat, clock, last } = inLobby();
  const names = ["a", "b", "c"];
  const joining = names.map((name) => chat.join(name));
  for (const { id } of last().take("join"))
    last().say({ type: "error", id, code: "rate_limited", message: "too much", retry: true, in_ms: 700 });
  clock.pass(699);
  const late = chat.join("d");
  assert.deepEqual(last().take("join"), [], "who comes later does not overtake them");
  clock.pass(1);
  const seen = [];
  for (let asked = last().take("join"); asked.length > 0; asked = last().take("join")) {
    seen.push(asked.map(({ room }) => room));
    for (const { room, id } of asked) last().say({ type: "joined", room, pos: "5-0", recovered: false, id });
    clock.pass(700);
  }
  assert.deepEqual(seen[0], ["a"]);
  assert.deepEqual(seen.flat(), [...names, "d"]);
  assert.deepEqual((await Promise.all([...joining, late])).map(({ room }) => room), [...names, "d"]);
});

test("after a reconnect not more rooms are asked for at once than may be in flight", () => {
  const names = Array.from({ length: 100 }, (_, n) => `r${n}`);
  const { chat, last } = makeClient({ rooms: names });
  chat.connect();
  last().say(WELCOME);
  const seen = [];
  for (let asked = last().take("join"); asked.length > 0; asked = last().take("join")) {
    assert.ok(asked.length <= 32);
    seen.push(...asked.map(({ room }) => room));
    for (const { room, id } of asked) last().say({ type: "joined", room, pos: "5-0", recovered: false, id });
  }
  assert.deepEqual(seen, names);
});
