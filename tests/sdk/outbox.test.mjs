// SPDX-License-Identifier: MIT
// The SDK's outbox: acks, retries under the same id, order, bounds, giving up.

import assert from "node:assert/strict";
import { test } from "node:test";

import { WELCOME, greet, makeClient, outcome } from "./fakes.mjs";

function inLobby(options) {
  const client = makeClient({ rooms: ["lobby"], ...options });
  client.chat.connect();
  greet(client.last());
  return client;
}

const ack = ({ id }, more = {}) => ({ type: "ack", id, pos: "5-1", ts: 7, dup: false, ...more });
const later = { type: "error", code: "unavailable", message: "later", retry: true };
const retry = ({ id }) => ({ ...later, id });

test("send() and direct() resolve with what the ack says; the id is known at once", async () => {
  const { chat, last } = inLobby();
  const sent = chat.send("lobby", "hi");
  const told = chat.direct("bob", { any: ["json"] });
  const [message] = last().take("message");
  const [direct] = last().take("direct");
  assert.deepEqual(message, { type: "message", room: "lobby", content: "hi", id: sent.id });
  assert.deepEqual(direct, { type: "direct", to: "bob", content: { any: ["json"] }, id: told.id });
  assert.match(sent.id, /^[A-Za-z0-9_-]{16,64}$/);
  last().say(ack(message), ack(direct, { dup: true }));
  assert.deepEqual(await sent, { pos: "5-1", ts: 7, dup: false });
  assert.equal((await told).dup, true);
});

test("an error without retry rejects with its code", async () => {
  const { chat, last } = inLobby();
  const sent = chat.send("lobby", "hi");
  const [{ id }] = last().take("message");
  last().say({ type: "error", id, code: "bad_request", message: "no", retry: false });
  assert.equal(await outcome(sent), "bad_request");
});

test("an error with retry is tried again, same id, same order, with back-off", async () => {
  const { chat, clock, last } = inLobby({ window: 8 });
  const one = chat.send("lobby", 1);
  const two = chat.send("lobby", 2);
  const first = last().take("message");
  last().say(retry(first[0]), retry(first[1]));
  const three = chat.send("lobby", 3);
  assert.deepEqual(last().take("message"), []);
  clock.pass(750);
  const second = last().take("message");
  assert.deepEqual(second.map(({ content }) => content), [1, 2, 3]);
  assert.deepEqual(second.slice(0, 2), first);
  last().say(retry(second[0]), ack(second[1]), ack(second[2]));
  assert.deepEqual([await outcome(two), await outcome(three)].map(({ ts }) => ts), [7, 7]);
  clock.pass(20_000);
  last().say(...last().take("message").map((frame) => ack(frame)));
  assert.equal((await one).ts, 7);
});

test("what was not confirmed goes out again after a reconnect, once in the room", async () => {
  const { chat, clock, last } = inLobby({ window: 8 });
  const one = chat.send("lobby", 1);
  const before = last().take("message");
  last().end(1006);
  const two = chat.send("lobby", 2);
  clock.pass(1_000);
  last().say(WELCOME);
  assert.deepEqual(last().take("message"), []);
  const [{ id }] = last().take("join");
  last().say({ type: "joined", room: "lobby", pos: "5-0", recovered: true, id });
  const after = last().take("message");
  assert.deepEqual(after[0], before[0]);
  assert.deepEqual(after.map(({ content }) => content), [1, 2]);
  last().say(ack(after[0], { dup: true }), ack(after[1]));
  assert.deepEqual([(await one).dup, (await two).dup], [true, false]);
});

test("the outbox is bounded", async () => {
  const { chat } = makeClient({ outbox: 2 });
  const waiting = [chat.send("lobby", 1), chat.direct("bob", 2)];
  assert.equal(await outcome(chat.send("lobby", 3)), "outbox_full");
  assert.equal(await outcome(waiting[0]), "open");
});

test("a full outbox does not keep anybody in a room", async () => {
  const { chat, last } = inLobby({ outbox: 2 });
  const sent = [1, 2].map((content) => chat.send("lobby", content));
  chat.leave("lobby");
  assert.equal(await outcome(chat.send("lobby", 3)), "outbox_full");
  for (const { id } of sent) last().say(ack({ id }));
  assert.equal(last().take("leave").length, 1);
});

test("options that are not set are the defaults, and a window of nothing is one of one", () => {
  const unset = { outbox: undefined, window: undefined, user: undefined, positions: undefined };
  for (const options of [unset, { window: 0 }]) {
    const { chat, last } = inLobby(options);
    for (const content of [1, 2]) chat.send("lobby", content);
    assert.deepEqual(last().take("message").map(({ content }) => content), [1]);
  }
});

test("no more is in flight than the server allows", () => {
  const { chat, last } = makeClient({ rooms: ["lobby"], window: 8 });
  chat.connect();
  greet(last(), { welcome: { limits: { max_in_flight: 2 } } });
  for (let i = 0; i < 5; i++) chat.send("lobby", i);
  const first = last().take("message");
  assert.deepEqual(first.map(({ content }) => content), [0, 1]);
  last().say(ack(first[0]));
  assert.deepEqual(last().take("message").map(({ content }) => content), [2]);
});

test("a message that the server would close for is refused here", async () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  chat.connect();
  greet(last(), { welcome: { limits: { max_message_bytes: 200 } } });
  assert.equal(await outcome(chat.send("lobby", "ü".repeat(100))), "too_big");
  assert.equal(await outcome(chat.send("lobby", "u".repeat(100))), "open");
});

test("gives up before the server forgets the id, and ignores a late answer", async () => {
  const { chat, clock, last } = inLobby();
  const sent = chat.send("lobby", "hi");
  const [frame] = last().take("message");
  last().end(1006);
  const unsent = chat.direct("bob", "still waiting, was never sent");
  for (let i = 0; i < 20; i++) {
    clock.pass(12_000);
    last().end(1006);
  }
  assert.equal(await outcome(sent), "unconfirmed");
  assert.equal(await outcome(unsent), "open");
  clock.pass(10_000);
  greet(last());
  last().say(ack(frame));
  assert.deepEqual(last().take("message"), []);
  assert.equal(last().take("direct").length, 1);
});

test("leaving a room rejects what waits for it", async () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  chat.connect();
  last().say(WELCOME);
  const sent = chat.send("lobby", "not yet joined");
  chat.leave("lobby");
  assert.equal(await outcome(sent), "not_joined");
});

test("a room's messages keep their order when one has to be sent again", async () => {
  const { chat, clock, last } = inLobby();
  const sent = [1, 2, 3].map((content) => chat.send("lobby", content));
  const other = chat.direct("bob", "another channel");
  const [first, ...more] = last().take("message");
  assert.deepEqual([first.content, more], [1, []]);
  last().say(ack(last().take("direct")[0]));
  assert.equal((await other).ts, 7);
  last().say(retry(first));
  clock.pass(20_000);
  const order = [];
  for (let [frame] = last().take("message"); frame; [frame] = last().take("message")) {
    order.push(frame.content);
    last().say(ack(frame));
  }
  assert.deepEqual(order, [1, 2, 3]);
  assert.equal((await sent[2]).ts, 7);
});

test("keeps the order over a break, and over a final error in the middle", async () => {
  const { chat, clock, last } = inLobby();
  for (const content of [1, 2]) chat.direct("bob", content).catch(() => {});
  last().end(1006);
  chat.direct("bob", 3);
  clock.pass(250);
  greet(last());
  const [one] = last().take("direct");
  last().say({ type: "error", id: one.id, code: "bad_request", message: "no", retry: false });
  const [two] = last().take("direct");
  last().say(ack(two));
  assert.deepEqual([one, two, ...last().take("direct")].map(({ content }) => content), [1, 2, 3]);
});

test("a message under an id of one's own; never two at once under one id", async () => {
  const { chat, last } = inLobby();
  const sent = chat.send("lobby", "hi", { id: "mine-1" });
  assert.equal(sent.id, "mine-1");
  assert.equal(last().take("message")[0].id, "mine-1");
  assert.equal(await outcome(chat.direct("bob", "hi", { id: "mine-1" })), "bad_id");
  assert.equal(await outcome(chat.direct("bob", "hi", { id: "no id" })), "bad_id");
  assert.deepEqual(last().take("direct"), []);
  assert.equal(await outcome(sent), "open");
});

test("what the server could not read does not get there", async () => {
  const { chat, last } = inLobby();
  const nested = (levels) => levels === 0 ? 1 : [nested(levels - 1)];
  const array = (length) => Array.from({ length }, () => 0);
  const bad = [nested(16), array(4_096), "\ud800", { "\udc00": 1 }, { "a\0": 1 }, 2 ** 63];
  for (const content of bad) {
    assert.equal(await outcome(chat.send("lobby", content)), "bad_request");
  }
  const loop = {};
  loop.loop = loop;
  await assert.rejects(chat.send("lobby", loop), TypeError);
  assert.deepEqual(last().take("message"), []);
  const good = [nested(15), array(4_000), "\ud83d\ude00 \0 \\ud800", 2 ** 53, 1e300];
  for (const content of good) {
    chat.send("lobby", content);
    const [frame] = last().take("message");
    assert.deepEqual(frame.content, content);
    last().say(ack(frame));
  }
});

test("a message too large for the limit is refused also when the limit is told later", async () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  const big = chat.send("lobby", "x".repeat(300));
  const small = chat.send("lobby", "x");
  chat.connect();
  greet(last(), { welcome: { limits: { max_message_bytes: 200 } } });
  assert.equal(await outcome(big), "too_big");
  assert.deepEqual(last().take("message").map(({ id }) => id), [small.id]);
});

test("after sleep nothing is sent whose id the server may have forgotten", async () => {
  const { chat, clock, last } = inLobby();
  const sent = chat.send("lobby", "hi");
  const next = chat.send("lobby", "next");
  last().end(1006);
  clock.freeze(240_000);
  clock.pass(250);
  greet(last());
  assert.equal(await outcome(sent), "unconfirmed");
  assert.deepEqual(last().take("message").map(({ id }) => id), [next.id]);
});

test("giving up on one lets the next one go", async () => {
  const { chat, clock, last } = inLobby();
  const sent = chat.send("lobby", "never answered");
  const next = chat.send("lobby", "next");
  last().take("message");
  for (let i = 0; i < 12; i++) {
    clock.pass(20_000);
    last().say({ type: "pong" });
  }
  assert.equal(await outcome(sent), "unconfirmed");
  assert.deepEqual(last().take("message").map(({ id }) => id), [next.id]);
});

test("leave() goes after the messages that were sent before it", async () => {
  const { chat, last } = inLobby();
  const sent = [1, 2].map((content) => chat.send("lobby", content));
  const leaving = chat.leave("lobby");
  const again = chat.leave("lobby");
  assert.equal(await outcome(again), undefined);
  for (const { id } of sent) {
    assert.deepEqual(last().take("leave"), []);
    const [frame] = last().take("message");
    assert.equal(frame.id, id);
    last().say(ack(frame));
  }
  const [{ id }] = last().take("leave");
  last().say({ type: "left", room: "lobby", id });
  assert.equal(await outcome(leaving), undefined);
});

test("leaving while the connection breaks: what was sent is unconfirmed, only that", async () => {
  const { chat, last } = inLobby();
  const [one, two] = [1, 2].map((content) => chat.send("lobby", content));
  const leaving = chat.leave("lobby");
  last().end(1006);
  assert.equal(await outcome(leaving), undefined);
  assert.deepEqual([await outcome(one), await outcome(two)], ["unconfirmed", "not_joined"]);
});

test("a room that cannot be joined again ends what waits for it", async () => {
  const { chat, clock, events, last } = inLobby();
  const [one, two] = [1, 2].map((content) => chat.send("lobby", content));
  last().end(1006);
  clock.pass(250);
  last().say(WELCOME);
  const [{ id }] = last().take("join");
  last().say({ type: "error", id, code: "too_many_rooms", message: "no", retry: false });
  assert.deepEqual([await outcome(one), await outcome(two)], ["unconfirmed", "too_many_rooms"]);
  assert.equal(events.at(-1)[1].code, "too_many_rooms");
  assert.deepEqual(last().take("message"), []);
});

test("errors for what is not wanted any more are not shown, those for nothing are", () => {
  const { chat, events, last } = inLobby();
  chat.join("tea").catch(() => {});
  const [{ id }] = last().take("join");
  chat.leave("tea");
  last().say({ type: "error", id, code: "superseded", message: "overtaken", retry: false });
  last().say({ type: "error", code: "binary", message: "text only", retry: false });
  const codes = events.filter(([name]) => name === "error").map(([, { code }]) => code);
  assert.deepEqual(codes, ["binary"]);
});

const limited = ({ id }, inMs) =>
  ({ type: "error", id, code: "rate_limited", message: "too much", retry: true, in_ms: inMs });

test("what was too much is sent again when the server said, same id, same order", async () => {
  const { chat, clock, last } = inLobby({ window: 8 });
  const sent = [1, 2, 3].map((content) => chat.send("lobby", content));
  const first = last().take("message");
  last().say(ack(first[0]), limited(first[1], 3_000), limited(first[2], 3_200));
  assert.equal((await sent[0]).ts, 7);
  clock.pass(2_999);
  assert.deepEqual(last().take("message"), []);
  clock.pass(1);
  const second = last().take("message");
  assert.deepEqual(second, [first[1]], "one at a time");
  last().say(ack(second[0]));
  assert.deepEqual(last().take("message"), [], "and no faster than the server seems to allow");
  clock.pass(3_000);
  const third = last().take("message");
  assert.deepEqual(third, [first[2]]);
  last().say(ack(third[0]));
  assert.deepEqual((await Promise.all(sent)).map(({ dup }) => dup), [false, false, false]);
});

// A server with a token bucket; how many requests it refused, and how long it took.
function serve({ perSecond, burst, count }) {
  const { chat, clock, last } = inLobby({ window: 8, outbox: count });
  let [level, at, refused, taken] = [burst, clock.now(), 0, 0];
  const began = clock.now();
  for (let i = 0; i < count; i++) chat.send("lobby", i);
  while (taken < count && clock.now() - began < 600_000) {
    for (const frame of last().take("message")) {
      level = Math.min(burst, level + (clock.now() - at) * perSecond / 1_000);
      at = clock.now();
      if (level >= 1) {
        level -= 1;
        assert.equal(frame.content, taken++, "in order");
        last().say(ack(frame));
      } else {
        refused++;
        last().say(limited(frame, Math.ceil((1 - level) * 1_000 / perSecond)));
      }
    }
    clock.pass(1);
    if (clock.now() % 5_000 === 0) last().say({ type: "pong" });
  }
  return { refused, taken, ms: clock.now() - began };
}

for (const [perSecond, burst] of [[1, 1], [10, 1], [10, 50], [50, 5], [500, 5]]) {
  test(`a server that allows ${perSecond} a second, ${burst} at once, is asked for hardly more`, () => {
    const count = Math.min(perSecond * 30, 600);
    const { refused, taken, ms } = serve({ perSecond, burst, count });
    assert.equal(taken, count);
    assert.ok(refused / Math.max(ms / 10_000, 1) < 60, `${refused} refused in ${ms} ms`); // flood-limit: 100 in 10 s
    assert.ok(ms < 3_000 + 3_000 * count / perSecond, `${ms} ms`);
  });
}

test("a wait that is no number, or has no end, is not taken at its word", () => {
  for (const [inMs, afterMs] of [["soon", 1], [-5, 1], [1e12, 60_000]]) {
    const { chat, clock, last } = inLobby();
    chat.send("lobby", "hi");
    last().say(limited(last().take("message")[0], inMs));
    for (let passed = 0; passed < afterMs; passed += 10_000) {
      clock.pass(Math.min(10_000, afterMs));
      last().say({ type: "pong" });
    }
    assert.equal(last().take("message").length, 1, `${inMs}`);
  }
});
