// SPDX-License-Identifier: MIT
// The SDK's connection: states, back-off, close codes, liveness, moving to another node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";

import { CLOSE, Chatnode, isFinal } from "../../node/web/sdk/chatnode.mjs";
import { FakeSocket, WELCOME, greet, makeClient, outcome } from "./fakes.mjs";

const states = (events) => events.filter(([name]) => name === "state").map(([, { to }]) => to);
const delays = (events) => events.flatMap(([, value]) => value.retryInMs ?? []);
const passDelay = ({ clock, events }) => clock.pass(delays(events).at(-1));

test("connects, says who it is and joins no room by the query", async () => {
  const { chat, events, last } = makeClient();
  assert.equal(chat.state, "idle");
  const connected = chat.connect();
  assert.equal(last().url.href, "ws://node.test/ws?user=ann&room=");
  assert.equal(await outcome(connected), "open");
  greet(last());
  assert.equal(await outcome(connected), undefined);
  assert.deepEqual(states(events), ["connecting", "connected"]);
  assert.equal(chat.node, "node-1");
});

test("takes http addresses, and the name that the server gave for its next connections", () => {
  const { chat, sockets, clock } = makeClient({ user: undefined });
  chat.connect();
  assert.equal(sockets[0].url.searchParams.has("user"), false);
  greet(sockets[0], { welcome: { user: "guest-7" } });
  assert.equal(chat.user, "guest-7");
  sockets[0].end(1006);
  clock.pass(1_000);
  assert.equal(sockets[1].url.searchParams.get("user"), "guest-7");

  let url;
  class WebSocket extends FakeSocket {
    constructor(href) {
      super(href);
      url = href;
    }
  }
  const secure = new Chatnode("https://chat.test/ws", { WebSocket });
  secure.connect();
  assert.equal(url, "wss://chat.test/ws?room=");
  secure.close();
});

test("backs off with full jitter: anything up to a bound from 0.5 to 20 s", () => {
  const client = makeClient({ random: () => 1 });
  const { chat, sockets, events, last } = client;
  chat.connect();
  for (let i = 0; i < 9; i++) {
    last().end(1006);
    passDelay(client);
  }
  assert.equal(sockets.length, 10);
  const most = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000];
  assert.deepEqual(delays(events), most);
  const { chat: other, last: socket, events: told } = makeClient({ random: () => 0 });
  other.connect();
  socket().end(1006);
  assert.deepEqual(delays(told), [0]);
});

test("starts the back-off anew only after 30 stable seconds", () => {
  const client = makeClient({ random: () => 1 });
  const { chat, clock, events, last } = client;
  chat.connect();
  const liveFor = (ms) => {
    greet(last(), { welcome: { ping_ms: 1_000_000 } });
    clock.pass(ms);
    last().end(1006);
    passDelay(client);
  };
  liveFor(29_999);
  liveFor(29_999);
  liveFor(30_000);
  assert.deepEqual(delays(events), [500, 1_000, 500]);
});

test("comes back after resumable codes and stays away after final ones", async () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4499]) {
    const { chat, last } = makeClient();
    chat.connect();
    greet(last());
    last().end(code);
    assert.equal(chat.state, "reconnecting", `${code}`);
  }
  for (const code of [1002, 1007, 1008, 1009, 4500, 4999]) {
    const { chat, clock, sockets, events, last } = makeClient();
    const connected = chat.connect();
    last().end(code, "no");
    assert.equal(await outcome(connected), "closed");
    clock.pass(60_000);
    assert.equal(sockets.length, 1, `${code}`);
    assert.deepEqual(events.at(-1)[1], { from: "connecting", to: "closed", code, reason: "no" });
  }
});

test("knows the server's close codes as the server does", () => {
  const file = new URL("../../include/chatnode/protocol.h", import.meta.url);
  const [, rest] = readFileSync(file, "utf8").split("CN_REASON_TABLE(X)");
  const [table] = rest.split("enum cn_problem");
  const rows = [...table.matchAll(/X\(\w+, "(\w+)", (\d+),/g)]
    .map(([, name, code]) => [name, Number(code)]);
  assert.ok(rows.length > 5);
  assert.deepEqual(Object.fromEntries(rows.filter(([, code]) => code !== 0)), { ...CLOSE });
  for (const [name, code] of rows) {
    const isFinalRfc = ["protocol", "text", "too_big"].includes(name);
    assert.equal(isFinal(code), isFinalRfc || code >= 4500, name);
  }
});

test("moves when the server says so, at the time it says", () => {
  const { chat, clock, sockets, events, last } = makeClient();
  chat.connect();
  greet(last());
  last().say({ type: "reconnect", in_ms: 3_000, reason: "restart" });
  clock.pass(2_999);
  assert.equal(chat.state, "connected");
  clock.pass(1);
  assert.equal(sockets[0].isClosed, true);
  assert.equal(sockets.length, 2);
  assert.deepEqual(delays(events), [0]);
});

test("waits out the server's hint when the close comes first", () => {
  const { chat, clock, sockets, events, last } = makeClient();
  chat.connect();
  greet(last());
  last().say({ type: "reconnect", in_ms: 3_000, reason: "restart" });
  clock.pass(1_000);
  last().end(1012);
  assert.deepEqual(delays(events), [2_000]);
  clock.pass(2_000);
  assert.equal(sockets.length, 2);
});

test("pings a silent server and leaves it when no answer comes", () => {
  const { chat, clock, last } = makeClient();
  chat.connect();
  greet(last());
  clock.pass(24_999);
  assert.deepEqual(last().take("ping"), []);
  clock.pass(1);
  assert.equal(last().take("ping").length, 1);
  last().say({ type: "pong" });
  clock.pass(25_000 + 3_999);
  assert.equal(last().take("ping").length, 1);
  assert.equal(chat.state, "connected");
  clock.pass(1);
  assert.equal(last().isClosed, true);
  assert.equal(chat.state, "reconnecting");
});

test("a silence that no timer can hold does not make it ping all the time", () => {
  const waits = [];
  const { chat, last } = makeClient({ setTimeout: (run, ms) => waits.push(ms) });
  chat.connect();
  greet(last(), { welcome: { ping_ms: 1e12 } });
  assert.equal(waits.at(-1), 2 ** 31 - 1);
});

test("does not ping a server that talks", () => {
  const { chat, clock, last } = makeClient();
  chat.connect();
  greet(last());
  for (let i = 0; i < 10; i++) {
    clock.pass(10_000);
    last().say({ type: "pong" });
  }
  assert.deepEqual(last().take("ping"), []);
});

test("gives up on a server that never welcomes it", () => {
  const { chat, clock, sockets } = makeClient();
  chat.connect();
  clock.pass(10_000);
  assert.equal(chat.state, "reconnecting");
  clock.pass(1_000);
  assert.equal(sockets.length, 2);
});

test("close() leaves no timer behind; connect() begins anew with the same rooms", async () => {
  const { chat, clock, last, sockets } = makeClient({ rooms: ["lobby"] });
  chat.connect();
  greet(last());
  const sent = chat.send("lobby", "never confirmed");
  chat.close();
  assert.equal(await outcome(sent), "closed");
  assert.equal(clock.pending, 0);
  assert.equal(await outcome(chat.send("lobby", "too late")), "closed");
  assert.equal(await outcome(chat.join("other")), "closed");
  chat.connect();
  sockets[1].say(WELCOME);
  assert.deepEqual(sockets[1].take("join").map(({ room }) => room), ["lobby"]);
});

test("connect() while waiting tries at once", () => {
  const { chat, clock, sockets, last } = makeClient();
  chat.connect();
  greet(last());
  last().end(1006);
  chat.connect();
  assert.equal(sockets.length, 2);
  clock.pass(2_000);
  assert.equal(sockets.length, 2);
});

test("on() gives the function that ends it; one bad listener stops no other", (t) => {
  const { chat, last } = makeClient();
  const heard = [];
  const later = [];
  t.mock.method(globalThis, "queueMicrotask", (run) => later.push(run));
  chat.on("state", () => { throw new Error("mine"); });
  const off = chat.on("state", ({ to }) => heard.push(to));
  chat.connect();
  off();
  greet(last());
  assert.deepEqual(heard, ["connecting"]);
  assert.equal(later.length, 2);
  assert.throws(later[0], { message: "mine" });
});

test("reports frames that are not JSON and ignores types of the future", () => {
  const { chat, events, last } = makeClient();
  chat.connect();
  greet(last());
  last().onmessage({ data: "{oops" });
  last().say({ type: "hologram" }, 7, null);
  const errors = events.filter(([name]) => name === "error").map(([, { code }]) => code);
  assert.deepEqual(errors, ["bad_frame"]);
});

// Puts what a browser has in the place of what Node.js has, for one test.
function inBrowser(t, { onLine = true, visibilityState = "visible" } = {}) {
  const page = { navigator: { onLine }, document: new EventTarget(), listeners: new EventTarget() };
  page.document.visibilityState = visibilityState;
  const { listeners, document } = page;
  const globals = {
    navigator: page.navigator, document,
    addEventListener: listeners.addEventListener.bind(listeners),
    removeEventListener: listeners.removeEventListener.bind(listeners),
  };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => {
      delete globalThis[name];
      if (before) Object.defineProperty(globalThis, name, before);
    });
  }
  page.tell = (name) => {
    const target = name === "visibilitychange" ? document : listeners;
    target.dispatchEvent(new Event(name));
  };
  return page;
}

test("wakes soon, but not at the same moment as everybody else", (t) => {
  const page = inBrowser(t);
  for (const name of ["online", "visibilitychange"]) {
    const { chat, clock, sockets, last } = makeClient();
    chat.connect();
    for (let i = 0; i < 8; i++) {
      last().end(1006);
      if (i < 7) clock.pass(20_000);
    }
    const tried = sockets.length;
    page.tell(name);
    clock.pass(249);
    assert.equal(sockets.length, tried);
    clock.pass(1);
    assert.equal(sockets.length, tried + 1, name);
    chat.close();
    page.tell(name);
    assert.equal(clock.pending, 0);
  }
});

test("an early wake does not put off an attempt that is sooner", (t) => {
  const page = inBrowser(t);
  const { chat, clock, sockets, last } = makeClient();
  chat.connect();
  last().end(1006);
  clock.pass(100);
  page.tell("online");
  clock.pass(150);
  assert.equal(sockets.length, 2);
});

test("asks the server at once after sleep or a change of network, once", (t) => {
  const page = inBrowser(t);
  const { chat, clock, last } = makeClient();
  chat.connect();
  greet(last());
  page.tell("visibilitychange");
  clock.pass(3_000);
  page.tell("offline");
  assert.equal(last().take("ping").length, 1);
  clock.pass(1_000);
  assert.equal(chat.state, "reconnecting");
});

test("offline it seldom tries, and hidden it does not hurry", (t) => {
  const page = inBrowser(t, { onLine: false });
  const { chat, clock, events, sockets, last } = makeClient();
  chat.connect();
  last().end(1006);
  assert.deepEqual(delays(events), [10_000]);
  page.tell("visibilitychange");
  page.navigator.onLine = true;
  page.document.visibilityState = "hidden";
  page.tell("online");
  clock.pass(9_999);
  assert.equal(sockets.length, 1);
  clock.pass(1);
  assert.equal(sockets.length, 2);
});

test("an absurd hint to move is bounded", () => {
  for (const [hint, waits] of [[-5, 0], ["soon", 0], [undefined, 0], [1e12, 600_000]]) {
    const { chat, clock, events, last } = makeClient();
    chat.connect();
    greet(last());
    last().say({ type: "reconnect", in_ms: hint });
    last().end(1012);
    assert.deepEqual(delays(events), [waits]);
    chat.close();
    assert.equal(clock.pending, 0);
  }
});

test("an address that is refused by the browser is final, not a loop", async () => {
  class WebSocket {
    constructor() { throw new SyntaxError("not from this page"); }
  }
  const { chat, events } = makeClient({ WebSocket });
  assert.equal(await outcome(chat.connect()), "closed");
  assert.equal(events.at(-1)[1].reason, "not from this page");
  assert.throws(() => makeClient({ user: "no name!" }), TypeError);
});

test("a listener may close, even while connecting", async () => {
  const { chat, sockets, last } = makeClient();
  const off = chat.on("state", () => chat.close());
  assert.equal(await outcome(chat.connect()), "closed");
  assert.deepEqual([chat.state, sockets.length], ["closed", 0]);
  off();
  chat.on("state", ({ to }) => { if (to === "connected") chat.close(); });
  chat.connect();
  greet(last());
  assert.deepEqual([chat.state, last().isClosed], ["closed", true]);
});

test("a socket that does not end by itself is ended, without keeping the process", () => {
  const waits = [];
  const { chat, last } = makeClient({
    setTimeout: (run, ms) => {
      waits.push({ run, ms, unref() { this.isUnref = true; } });
      return waits.at(-1);
    },
    clearTimeout: (timer) => { if (timer) timer.isCleared = true; },
  });
  chat.connect();
  let ends = 0;
  last().terminate = () => { ends++; };
  greet(last());
  chat.close();
  const open = waits.filter(({ isCleared }) => !isCleared);
  assert.deepEqual(open.map(({ isUnref }) => isUnref), [true]);
  open[0].run();
  assert.equal(ends, 1);
});
