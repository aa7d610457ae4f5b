// SPDX-License-Identifier: MIT
// The SDK's tokens: shown first, fetched anew when they expire, and not shown where nobody asks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CLOSE, isFinal } from "../../node/web/sdk/chatnode.mjs";
import { WELCOME, greet, makeClient, outcome } from "./fakes.mjs";

const turn = () => new Promise((resolve) => { setImmediate(resolve); });
const errors = (events) => events.filter(([name]) => name === "error").map(([, { code }]) => code);
const last = (list) => list.at(-1);

function makeBearer(token, options = {}) {
  const client = makeClient({ user: undefined, token, ...options });
  const connect = async () => {
    client.chat.connect().catch(() => {});
    await turn();
    client.last().open();
  };
  return { ...client, connect };
}

test("the token is the first word, and the user is not said beside it", async () => {
  const { chat, connect, sockets } = makeBearer("t1");
  await connect();
  assert.deepEqual(sockets[0].sent, [{ type: "auth", token: "t1" }]);
  greet(sockets[0]);
  assert.equal(chat.state, "connected");
  sockets[0].end(1006);
  assert.equal(chat.user, "ann");
  assert.equal(sockets[0].url.searchParams.has("user"), false);
});

test("a function is asked for each connection, and may take its time", async () => {
  let count = 0;
  const { connect, sockets, clock, last: socket } = makeBearer(async () => `t${++count}`);
  await connect();
  assert.deepEqual(sockets[0].take("auth"), [{ type: "auth", token: "t1" }]);
  greet(socket());
  socket().end(1006);
  clock.pass(1_000);
  await turn();
  socket().open();
  assert.deepEqual(sockets[1].take("auth"), [{ type: "auth", token: "t2" }]);
});

test("a fresh one is shown when the old one expires", async () => {
  let count = 0;
  const { chat, connect, last: socket } = makeBearer(() => `t${++count}`);
  await connect();
  greet(socket());
  socket().take("auth");
  socket().say({ type: "expiring", in_ms: 30_000 });
  await turn();
  assert.deepEqual(socket().take("auth"), [{ type: "auth", token: "t2" }]);
  socket().say({ type: "authenticated", exp: 1_700_000_000, expires_in_ms: 60_000 });
  assert.equal(chat.state, "connected");
});

test("a token that cannot be had is told, and tried again with the next connection", async () => {
  let fails = true;
  const token = () => { if (fails) throw new Error("logged out"); return "t"; };
  const { chat, events, clock, sockets } = makeBearer(token);
  chat.connect().catch(() => {});
  await turn();
  assert.equal(sockets.length, 0);
  assert.equal(chat.state, "reconnecting");
  assert.match(last(events)[1].reason, /logged out/);
  fails = false;
  clock.pass(1_000);
  await turn();
  sockets[0].open();
  greet(sockets[0]);
  fails = true;
  sockets[0].say({ type: "expiring", in_ms: 30_000 });
  await turn();
  assert.deepEqual(errors(events), ["no_token"]);
  assert.equal(chat.state, "connected");
});

test("a token that never comes is given up in time", async () => {
  const { chat, clock, sockets } = makeBearer(() => new Promise(() => {}));
  chat.connect().catch(() => {});
  clock.pass(10_000);
  assert.equal(chat.state, "reconnecting");
  assert.equal(sockets.length, 0);
});

test("a token that comes too late is not used", async () => {
  let give;
  const { chat, sockets } = makeBearer(() => new Promise((resolve) => { give = resolve; }));
  chat.connect().catch(() => {});
  await turn();
  chat.close();
  give("t");
  await turn();
  assert.equal(sockets.length, 0);
  assert.equal(chat.state, "closed");
});

test("closed for its expiry, it comes back with another one, if it can have one", async () => {
  const { chat, connect, clock, sockets } = makeBearer(() => "t");
  await connect();
  greet(sockets[0]);
  sockets[0].end(CLOSE.expired, "the token has expired");
  assert.equal(chat.state, "reconnecting");
  clock.pass(1_000);
  await turn();
  assert.equal(sockets.length, 2);

  const fixed = makeBearer("t");
  await fixed.connect();
  greet(fixed.last());
  fixed.last().say({ type: "expiring", in_ms: 30_000 });
  fixed.last().end(CLOSE.expired, "the token has expired");
  assert.equal(fixed.chat.state, "closed");
});

test("not let in, it stops and tells why", async () => {
  for (const name of ["unauthenticated", "revoked", "denied"]) {
    assert.ok(isFinal(CLOSE[name]));
    const { chat, events, connect, last: socket } = makeBearer(() => "t");
    const opening = chat.connect();
    await connect();
    socket().say({ type: "error", code: "unauthenticated", message: "show a valid token first", reason: "signature",
      retry: false });
    socket().end(CLOSE[name], "no");
    assert.equal(chat.state, "closed");
    assert.equal(await outcome(opening), "closed");
    assert.deepEqual(errors(events), ["unauthenticated"]);
    assert.match(events.find(([event]) => event === "error")[1].message, /signature/);
  }
});

test("a room that a fresh token forbids is left, and told", async () => {
  const { chat, events, connect, last: socket } = makeBearer("t", { rooms: ["lobby"] });
  await connect();
  greet(socket());
  const waiting = chat.send("lobby", "under way");
  socket().take("message");
  const behind = chat.send("lobby", "waits");
  socket().say({ type: "left", room: "lobby", reason: "denied" });
  assert.deepEqual(chat.rooms, []);
  assert.deepEqual(errors(events), ["denied"]);
  assert.equal(await outcome(behind), "denied");
  socket().say({ type: "ack", id: waiting.id, pos: "5-1", ts: 1, dup: false });
  assert.equal((await outcome(waiting)).pos, "5-1");
});

test("without a token nothing of it is said", () => {
  const { chat, last: socket } = makeClient();
  chat.connect();
  socket().open();
  assert.deepEqual(socket().sent, []);
  socket().say(WELCOME);
  assert.equal(chat.state, "connected");
});
