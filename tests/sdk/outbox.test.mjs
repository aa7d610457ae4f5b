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
  const { chat, clock, last } = inLobby();
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
  const { chat, clock, last } = inLobby();
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

test("no more is in flight than the server allows", () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
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
  const unsent = chat.send("lobby", "still waiting, was never sent");
  for (let i = 0; i < 20; i++) {
    clock.pass(12_000);
    last().end(1006);
  }
  assert.equal(await outcome(sent), "unconfirmed");
  assert.equal(await outcome(unsent), "open");
  clock.pass(20_000);
  greet(last());
  last().say(ack(frame));
  assert.deepEqual(last().take("message").map(({ content }) => content).length, 1);
});

test("leaving a room rejects what waits for it", async () => {
  const { chat, last } = makeClient({ rooms: ["lobby"] });
  chat.connect();
  last().say(WELCOME);
  const sent = chat.send("lobby", "not yet joined");
  chat.leave("lobby");
  assert.equal(await outcome(sent), "not_joined");
});
