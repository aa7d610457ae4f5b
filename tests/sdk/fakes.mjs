// SPDX-License-Identifier: MIT
// A WebSocket whose server is the test, and a clock that the test moves.

import { Chatnode } from "../../node/web/sdk/chatnode.mjs";

/** Time that passes only when told to, with the timers that hang on it. */
export class Clock {
  #now = 1_000_000;
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  setTimeout = (run, ms) => {
    this.#timers.set(this.#next, { at: this.#now + ms, run });
    return this.#next++;
  };

  clearTimeout = (timer) => { this.#timers.delete(timer); };

  get pending() { return this.#timers.size; }

  /** The machine sleeps: the clock goes on, the timers do not. */
  freeze(ms) {
    this.#now += ms;
    for (const timer of this.#timers.values()) timer.at += ms;
  }

  /** Lets `ms` pass; runs what becomes due, in its order. */
  pass(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      if (due.length === 0) break;
      const [timer, { at, run }] = due.sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      this.#timers.delete(timer);
      this.#now = at;
      run();
    }
    this.#now = end;
  }
}

/** One connection; `sent` is what the client said and nobody took yet. */
export class FakeSocket {
  sent = [];
  isClosed = false;
  onopen = null;
  onmessage = null;
  onclose = null;

  constructor(url) {
    this.url = new URL(url);
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.isClosed = true; }

  /** The connection stands. */
  open() { this.onopen?.({}); }

  /** The server says something. */
  say(...frames) {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The server, or the network, ends it. */
  end(code, reason = "") { this.onclose?.({ code, reason }); }

  /** Takes the requests of a type out of `sent`. */
  take(type) {
    const taken = this.sent.filter((frame) => frame.type === type);
    this.sent = this.sent.filter((frame) => frame.type !== type);
    return taken;
  }
}

/** A client on a fake clock; `sockets` are its connections, `events` what it told. */
export function makeClient(options = {}) {
  const clock = new Clock();
  const sockets = [];
  class WebSocket extends FakeSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  }
  const chat = new Chatnode("ws://node.test/ws", {
    user: "ann", random: () => 0.5, WebSocket, ...clock, ...options,
  });
  const events = [];
  for (const name of ["state", "message", "direct", "gap", "error"]) {
    chat.on(name, (value) => events.push([name, value]));
  }
  return { chat, clock, sockets, events, last: () => sockets.at(-1) };
}

export const WELCOME = {
  type: "welcome", user: "ann", session: "1", node: "node-1", version: "0.1.0", ping_ms: 25_000,
  limits: { max_message_bytes: 65_536, max_rooms: 128, max_in_flight: 64, dedupe_ms: 300_000 }, durability: "memory",
};

/** Answers `welcome`, the inbox, and every `join` with the position that it asked for. */
export function greet(socket, { tail = "5-0", welcome = {} } = {}) {
  const inbox = socket.url.searchParams.get("inbox");
  socket.say({ ...WELCOME, ...welcome });
  socket.say({ type: "joined", inbox: true, pos: inbox ?? "0-0", recovered: inbox !== null });
  for (const { room, since, id } of socket.take("join")) {
    const recovered = since !== undefined;
    socket.say({ type: "joined", room, pos: since ?? tail, recovered, id });
  }
}

export function message(pos, content = pos, room = "lobby") {
  return { pos, ts: 1_700_000_000_000, type: "message", room, from: "bob", content };
}

/** What the client handed on: contents of one event. */
export function contents(events, name = "message") {
  return events.filter(([event]) => event === name).map(([, value]) => value.content);
}

/** "open", or how the promise ended. */
export async function outcome(promise) {
  const open = Symbol("open");
  const turn = new Promise((resolve) => { setImmediate(resolve, open); });
  try {
    const value = await Promise.race([promise, turn]);
    return value === open ? "open" : value;
  } catch (error) {
    return error.code;
  }
}
