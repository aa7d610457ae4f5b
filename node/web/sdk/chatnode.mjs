// SPDX-License-Identifier: MIT
// The client of a chatnode server, for browsers and Node.js: it reconnects, resumes and retries.
//
//   const chat = new Chatnode("wss://chat.example.org/ws", { user: "ann", rooms: ["lobby"] });
//   chat.on("message", ({ room, from, content }) => console.log(room, from, content));
//   await chat.connect();
//   await chat.send("lobby", "hello");
//
// What it promises: a sent message is stored once however often the connection breaks, every
// message of a joined room arrives once and in order, and what could not be had is told as `gap`.

/** Close codes of the server, by name. 4000-4499: it reconnects; 4500-4999: it does not. */
export const CLOSE = Object.freeze({
  protocol: 1002, text: 1007, too_big: 1009, internal: 1011, restart: 1012,
  no_pong: 4000, slow: 4001,
  unauthenticated: 4500, expired: 4501, revoked: 4502, denied: 4503, kicked: 4504, flooding: 4510,
  too_many: 4511,
});

const FINAL_RFC_CODES = new Set([1002, 1003, 1007, 1008, 1009, 1010]);
const BACKOFF_MIN_MS = 500; // the widest first wait; each further one is twice as wide
const BACKOFF_MAX_MS = 20_000;
const MOVE_MAX_MS = 600_000; // the longest drain that a server can be set to
const TIMER_MAX_MS = 2 ** 31 - 1; // a longer timer would run at once
const STABLE_MS = 30_000; // a connection that lived so long starts the back-off anew
const WELCOME_MS = 10_000; // from dialling to `welcome`
const PROBE_MS = 4_000; // a ping is answered within this time, or the connection is dead
const DEDUPE_MS = 300_000; // the server's memory of ids, unless it says otherwise
const KNOWN_MAX = 1_024; // positions remembered of a channel
const IN_FLIGHT_MAX = 32;
const WAIT_MAX_MS = 60_000; // the longest that the server can ask for before a retry
const CLOSING_MS = 2_000; // for the server to confirm a close, where the socket would wait longer
const NAME = /^[A-Za-z0-9_.:-]{1,64}$/;
const ID = /^[A-Za-z0-9_-]{1,64}$/;
const POSITION = /^\d{1,20}-\d{1,20}$/;
const LEVELS_MAX = 16; // of one frame, itself counted
const VALUES_MAX = 4_096;

/** True if the server does not want the client back unchanged. */
export function isFinal(code) {
  return FINAL_RFC_CODES.has(code) || (code >= 4500 && code <= 4999);
}

/** Orders two positions ("gen-seq"): negative, 0 or positive. */
export function comparePositions(a, b) {
  const [aGen, aSeq] = a.split("-");
  const [bGen, bSeq] = b.split("-");
  return compareDigits(aGen, bGen) || compareDigits(aSeq, bSeq);
}

// Decimal numbers of up to 64 bits without leading zeros, which a Number could not hold.
function compareDigits(a, b) {
  return a.length - b.length || (a < b ? -1 : Number(a > b));
}

// True if entries lie between two positions for sure: a generation's `seq` is 0, 1, 2, ...
function hasHole(last, next) {
  const [lastGen, lastSeq] = last.split("-");
  const [nextGen, nextSeq] = next.split("-");
  return BigInt(nextSeq) !== (lastGen === nextGen ? BigInt(lastSeq) + 1n : 0n);
}

function forgetOldest(known) {
  if (known.size > KNOWN_MAX) known.delete(known.keys().next().value);
}

// A position from outside; what is none (a damaged store) must not spoil the connection.
function positionOr(pos, fallback) {
  return typeof pos === "string" && POSITION.test(pos) ? pos : fallback;
}

/** A request that failed; `code` is the server's or one of this file's: see chatnode.d.ts. */
export class ChatnodeError extends Error {
  constructor(code, message, retry = false) {
    super(message);
    this.name = "ChatnodeError";
    this.code = code;
    this.retry = retry;
  }
}

// What the server seems to allow: a bucket of tokens like its own, learned from its refusals.
class Pace {
  #most = 8; // tokens at once
  #level = 1;
  #taken = 0; // requests that were taken since the last refusal

  constructor(now, inMs) {
    this.gapMs = inMs; // from one token to the next
    this.at = now + inMs; // when `#level` was, or will be, right
  }

  refused(now, inMs) {
    this.gapMs = Math.min(Math.max(this.gapMs * 1.25, inMs), WAIT_MAX_MS);
    this.#most = Math.max(1, this.#most >> 1);
    this.#level = 1;
    this.#taken = 0;
    this.at = now + inMs;
  }

  taken() {
    if (++this.#taken % 32 !== 0) return;
    this.gapMs *= 0.95;
    this.#most = Math.min(this.#most + 1, IN_FLIGHT_MAX);
  }

  // In how many milliseconds there is a token; 0: it was spent.
  spend(now) {
    if (now < this.at) return this.at - now;
    this.#level = Math.min(this.#most, this.#level + (now - this.at) / this.gapMs);
    this.at = now;
    if (this.#level < 1) return Math.ceil((1 - this.#level) * this.gapMs);
    this.#level -= 1;
    return 0;
  }
}

// How far one channel (a room or the inbox) was read.
class Cursor {
  resume = null; // the position to resume from; null: from nowhere
  #last = null; // what is at or before it is known; null after a reset
  #tail = null; // the newest position as told by a `joined` that could not resume
  #known = new Set();
  #stored = new Map(); // by sender and id: {gen, ts}

  // The server's `joined`: what follows depends on what was asked for.
  joined({ pos, recovered }, asked, historyFollows) {
    this.#tail = null;
    if (asked !== null && recovered) {
      this.#last = asked;
    } else if (asked !== null) {
      this.#last = null;
      this.#tail = pos;
    } else if (!historyFollows || pos === "0-0") {
      this.resume = this.#last = pos;
    }
  }

  // The server's `gap`: told once, it need not be told again by the next resume.
  reset() {
    this.#last = null;
    this.resume = this.#tail ?? this.resume;
    this.#tail = null;
  }

  // Takes the next entry: null if it is known, else {from} which is set if some are missing before.
  take({ pos, ts, from, id }) {
    const last = this.#last;
    if (this.#known.has(pos) || (last !== null && comparePositions(pos, last) <= 0)) return null;
    this.#known.add(pos);
    forgetOldest(this.#known);
    this.#last = this.resume = pos;
    if (id !== undefined && this.#isRestored(`${from} ${id}`, pos.split("-")[0], ts)) return null;
    return { from: last !== null && hasHole(last, pos) ? last : null };
  }

  // What a failover had lost is stored again, under its id but in a new generation.
  #isRestored(key, gen, ts) {
    const before = this.#stored.get(key);
    this.#stored.set(key, { gen, ts });
    forgetOldest(this.#stored);
    return before !== undefined && before.gen !== gen && Math.abs(ts - before.ts) < DEDUPE_MS;
  }
}

// A room that the client is in, or wants to be in.
class Room {
  cursor = new Cursor();
  isJoined = false;
  request = null; // the id of the `join` under way
  asked = null; // its `since`
  waiters = [];

  constructor(name, since) {
    this.name = name;
    this.cursor.resume = since;
  }

  settle(how, value) {
    for (const waiter of this.waiters.splice(0)) waiter[how](value);
  }
}

export class Chatnode {
  #url;
  #options;
  #state = "idle";
  #listeners = new Map();
  #rooms = new Map();
  #saved; // positions of an earlier life, by room, for rooms that were not joined yet
  #inbox = new Cursor();
  #inboxAsked = null;
  #requests = new Map(); // by id, in the order of sending
  #socket = null;
  #attempt = null; // the connection that a token is being fetched for
  #welcome = null;
  #timers = new Map(); // by purpose: each has at most one
  #attempts = 0; // connections tried since the last stable one
  #dialAt = 0; // when the next connection is tried
  #retries = 0; // `error` with retry:true since the last success
  #pace = null; // how fast to go, once the server has said that it was too much: see Pace
  #connectedAt = 0;
  #moveAt = null; // when the server wants us to go elsewhere
  #heard = 0; // frames heard; the watchdog looks whether it grows
  #heardAt = 0;
  #opening = null; // the promise of connect()

  /**
   * @param {string | URL} url where the server is: ws(s):, http(s):, or relative to the page
   * @param {import("./chatnode.d.ts").Options} [options]
   */
  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#url.hash = "";
    this.#options = {
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      now: Date.now,
      setTimeout: globalThis.setTimeout,
      clearTimeout: globalThis.clearTimeout,
      outbox: 256,
      window: 1,
      ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
    };
    const { WebSocket, user, positions } = this.#options;
    if (!WebSocket) throw new TypeError("no WebSocket here: give options.WebSocket");
    // The server would refuse the handshake, which looks like a server that is away.
    if (user !== undefined && !NAME.test(user)) throw new TypeError(`no user's name: ${user}`);
    this.#saved = new Map(Object.entries(positions?.rooms ?? {}));
    this.#inbox.resume = positionOr(positions?.inbox, null);
    for (const name of options.rooms ?? []) this.#openRoom(name);
  }

  get state() { return this.#state; }
  get user() { return this.#welcome?.user ?? this.#options.user; }
  get node() { return this.#welcome?.node; }
  get rooms() { return [...this.#rooms.keys()]; }
  /** The server's last `welcome`. */
  get welcome() { return this.#welcome; }

  /** How far each room and the inbox were read: for `options.positions` of a later client. */
  get positions() {
    const rooms = [...this.#rooms.values()].filter(({ cursor }) => cursor.resume !== null);
    return {
      rooms: Object.fromEntries(rooms.map(({ name, cursor }) => [name, cursor.resume])),
      ...(this.#inbox.resume !== null && { inbox: this.#inbox.resume }),
    };
  }

  /** Calls `listener` for each such event; returns the function that ends it. */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.#listeners.get(event).delete(listener);
  }

  /** Connects, at once if it waits for its next attempt. Resolves when connected. */
  connect() {
    if (this.#state === "connected") return Promise.resolve();
    if (this.#opening === null) {
      this.#opening = deferred();
      this.#opening.promise.catch(() => {}); // `state` says it too: nobody has to look here
      this.#observeBrowser(true);
    }
    const { promise } = this.#opening;
    if (this.#state !== "connecting") this.#dial();
    return promise;
  }

  /** Leaves for good. What was not confirmed is rejected; connect() begins anew. */
  close() {
    if (this.#state !== "closed") this.#finish(1000, "closed by the client");
  }

  /** Joins a room, now and after every reconnect; `since` resumes from a saved position. */
  join(name, { since = null } = {}) {
    if (this.#state === "closed") return Promise.reject(closedError());
    this.#withdrawLeave(name);
    const room = this.#rooms.get(name) ?? this.#openRoom(name);
    if (room.request === null) room.cursor.resume ??= positionOr(since, null);
    if (room.isJoined) {
      return Promise.resolve({ room: name, pos: room.cursor.resume, recovered: true });
    }
    const waiter = deferred();
    room.waiters.push(waiter);
    if (this.#state === "connected" && room.request === null) this.#joinSoon(room);
    return waiter.promise;
  }

  // At once, unless others wait for their turn.
  #joinSoon(room) {
    if (this.#pace || this.#joinsUnderWay >= IN_FLIGHT_MAX) this.#joinRooms();
    else this.#sendJoin(room);
  }

  /** Leaves a room, after the messages that were sent to it before, or at once when not in it. */
  leave(name) {
    const room = this.#rooms.get(name);
    this.#rooms.delete(name);
    this.#saved.delete(name);
    room?.settle("reject", leftError(name));
    if (room && !room.isJoined) this.#rejectWaiting(name, leftError(name));
    this.#joinRooms(); // it may have kept another one waiting
    if (!room || this.#state !== "connected") return Promise.resolve();
    return this.#request({ type: "leave", room: name }).then(() => {}, (problem) => {
      if (problem.code !== "not_joined") throw problem; // a join that failed needs no leave
    });
  }

  /** Sends to a room. Resolves with {pos, ts, dup} when the message is stored. */
  send(room, content, { id } = {}) {
    return this.#request({ type: "message", room, content, id });
  }

  /** Sends to a user's inbox, on whatever node that user is, or for later. As send(). */
  direct(to, content, { id } = {}) {
    return this.#request({ type: "direct", to, content, id });
  }

  /** Reads a page of a room's log, oldest first; by default the newest page. */
  history(room, { before, after, limit } = {}) {
    return this.#request({ type: "history", room, before, after, limit });
  }

  /** Reads a page of the directed messages between you and one user. As history(). */
  conversation(user, { before, after, limit } = {}) {
    return this.#request({ type: "history", with: user, before, after, limit });
  }

  // ---- requests ----

  #request({ id = makeId(), ...rest }) {
    const { type, room: gate, to } = rest;
    const request = { id, type, gate, inFlight: false, sentAt: null, ...deferred() };
    // What has to keep its order: a room's messages and its `leave`, the messages to one user.
    if (type !== "history") request.channel = to === undefined ? `room ${gate}` : `user ${to}`;
    try {
      request.text = encode({ ...rest, id });
      request.bytes = new TextEncoder().encode(request.text).length;
      this.#refuse(request);
      this.#requests.set(id, request);
    } catch (error) {
      request.reject(error);
    }
    this.#flush();
    return withId(request.promise, id);
  }

  #refuse({ id, type, bytes }) {
    if (this.#state === "closed") throw closedError();
    if (!ID.test(id)) throw new ChatnodeError("bad_id", "an id is 1 to 64 of A-Z a-z 0-9 _ -");
    if (this.#requests.has(id)) throw new ChatnodeError("bad_id", "this id is waiting already");
    // One `leave` a room at most, and the server would go on sending to us.
    if (type !== "leave" && this.#requests.size >= this.#options.outbox) {
      throw new ChatnodeError("outbox_full", "too many requests wait for the server", true);
    }
    if (bytes > this.#maxBytes) throw this.#tooBig();
  }

  get #maxBytes() { return this.#welcome?.limits?.max_message_bytes ?? Infinity; }

  #tooBig() {
    return new ChatnodeError("too_big", `more than ${this.#maxBytes} bytes`);
  }

  // Sends what waits, in its order, as far as `window` and the server's limit allow. A room's
  // requests wait until the room is joined.
  #flush() {
    if (this.#state !== "connected" || this.#timers.has("retry")) return;
    let free = Math.min(this.#welcome.limits?.max_in_flight ?? IN_FLIGHT_MAX, IN_FLIGHT_MAX);
    const under = new Map(); // how many are under way, by channel
    for (const request of [...this.#requests.values()]) {
      const { channel, gate, type, inFlight } = request;
      const before = under.get(channel) ?? 0;
      const most = type === "leave" ? 1 : Math.max(this.#options.window, 1);
      const isShut = this.#rooms.get(gate)?.isJoined === false;
      if (!inFlight) {
        if (free <= 0 || isShut || (channel && before >= most)) {
          under.set(channel, Infinity); // what comes after it must not overtake it
          continue;
        }
        if (this.#mustWait()) return;
        if (!this.#transmit(request)) continue;
      }
      free--;
      under.set(channel, before + 1);
    }
  }

  // No retry may come after the server's memory of ids.
  get #unconfirmedMs() {
    return (this.#welcome?.limits?.dedupe_ms ?? DEDUPE_MS) * 0.8;
  }

  // False if it must not be sent any more.
  #transmit(request) {
    const now = this.#options.now();
    // A machine that slept has late timers; by the clock the server may have forgotten the id.
    if (request.sentAt !== null && now - request.sentAt >= this.#unconfirmedMs) {
      this.#settle(request, "reject", unconfirmedError());
    } else if (request.bytes > this.#maxBytes) { // not known when it was asked for
      this.#settle(request, "reject", this.#tooBig());
    } else {
      request.inFlight = true;
      request.sentAt ??= now;
      request.timer ??= this.#later(this.#unconfirmedMs, () => this.#giveUp(request));
      this.#socket.send(request.text);
    }
    return request.inFlight;
  }

  #giveUp(request) {
    this.#settle(request, "reject", unconfirmedError());
    this.#flush();
  }

  // Ends what waits for a room that will not be joined.
  #rejectWaiting(room, error) {
    for (const request of [...this.#requests.values()]) {
      if (request.gate !== room || request.type === "leave" || request.inFlight) continue;
      this.#settle(request, "reject", request.sentAt === null ? error : unconfirmedError());
    }
  }

  // A `leave` that was not sent yet must not overtake a new `join`.
  #withdrawLeave(room) {
    for (const request of [...this.#requests.values()]) {
      if (request.type !== "leave" || request.gate !== room || request.inFlight) continue;
      this.#settle(request, "resolve");
    }
  }

  #settle(request, how, value) {
    this.#cancel(request.timer);
    this.#requests.delete(request.id);
    request.inFlight = false;
    request[how](value);
  }

  #answer(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return; // answered before: a retry crossed its answer
    this.#succeed();
    this.#settle(request, "resolve", withoutEnvelope(frame));
    this.#flush();
  }

  #succeed() {
    this.#retries = 0;
    this.#pace?.taken();
  }

  // True if the server is to be spared for a moment: what waits is sent after it.
  #mustWait() {
    const waitMs = this.#pace?.spend(this.#options.now()) ?? 0;
    if (waitMs > 0) this.#startRetry(waitMs);
    return waitMs > 0;
  }

  // ---- the connection ----

  #dial() {
    this.#stop("dial");
    const url = new URL(this.#url);
    const { token } = this.#options;
    if (this.user !== undefined && token === undefined) url.searchParams.set("user", this.user);
    url.searchParams.set("room", "");
    this.#inboxAsked = this.#inbox.resume;
    if (this.#inboxAsked !== null) url.searchParams.set("inbox", this.#inboxAsked);
    this.#enter("connecting");
    if (this.#state !== "connecting" || this.#socket) return; // a listener changed its mind
    this.#start("watch", WELCOME_MS, () => this.#lose(1006, "no welcome in time"));
    if (token === undefined) return this.#open(url);
    this.#withToken((fresh) => this.#open(url, fresh),
      ({ message }) => this.#lose(1006, `no token: ${message}`));
  }

  #open(url, token) {
    let socket;
    try {
      socket = this.#socket = new this.#options.WebSocket(url.href);
    } catch (error) {
      return this.#finish(1006, error.message); // no address, or one that the page may not use
    }
    if (token !== undefined) socket.onopen = () => this.#authenticate(token);
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
    socket.onerror = () => {}; // a close event follows
  }

  // Gets a token for the connection at hand; what comes when that is gone is not used.
  #withToken(use, fail) {
    const { token } = this.#options;
    const attempt = this.#attempt = {};
    if (typeof token !== "function") return use(token);
    const ifCurrent = (run) => (value) => { if (this.#attempt === attempt) run(value); };
    Promise.resolve().then(token).then(ifCurrent(use), ifCurrent(fail));
  }

  #authenticate(token) {
    this.#socket?.send(JSON.stringify({ type: "auth", token }));
  }

  // Its token is about to expire. If there is no other, the server will close the connection.
  #onExpiring() {
    if (typeof this.#options.token !== "function") return;
    this.#withToken((token) => this.#authenticate(token), ({ message }) => {
      this.#emit("error", new ChatnodeError("no_token", `no token: ${message}`, true));
    });
  }

  #lose(code, reason) {
    this.#hangUp();
    const hasAnother = code === CLOSE.expired && typeof this.#options.token === "function";
    if (isFinal(code) && !hasAnother) return this.#finish(code, reason);
    const now = this.#options.now();
    if (this.#connectedAt && now - this.#connectedAt >= STABLE_MS) this.#attempts = 0;
    let retryInMs = this.#backOff(isOffline() ? Infinity : this.#attempts);
    this.#attempts++;
    if (this.#moveAt !== null) {
      retryInMs = Math.max(0, this.#moveAt - now);
      this.#attempts = 0;
    }
    this.#moveAt = null;
    this.#connectedAt = 0;
    this.#dialIn(retryInMs);
    this.#enter("reconnecting", { code, reason, retryInMs });
  }

  #dialIn(ms) {
    this.#dialAt = this.#options.now() + ms;
    this.#start("dial", ms, () => this.#dial());
  }

  #finish(code, reason) {
    this.#hangUp();
    this.#stop("dial");
    this.#attempts = this.#retries = this.#connectedAt = 0;
    this.#moveAt = null;
    this.#observeBrowser(false);
    const error = new ChatnodeError("closed", reason || `closed with code ${code}`);
    this.#opening?.reject(error);
    this.#opening = null;
    for (const request of [...this.#requests.values()]) this.#settle(request, "reject", error);
    for (const room of this.#rooms.values()) room.settle("reject", error);
    this.#enter("closed", { code, reason });
  }

  // Forgets the socket without waiting for its close: a dead network would never confirm it.
  #hangUp() {
    for (const purpose of ["watch", "probe", "retry", "move"]) this.#stop(purpose);
    const socket = this.#socket;
    this.#attempt = null;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    // The `ws` package would keep a process alive for 30 s.
    if (socket.terminate) this.#later(CLOSING_MS, () => socket.terminate()).unref?.();
    for (const room of this.#rooms.values()) {
      room.isJoined = false;
      room.request = null;
    }
    for (const request of this.#requests.values()) request.inFlight = false;
    for (const request of [...this.#requests.values()]) {
      if (request.type === "leave") this.#endLeave(request);
    }
  }

  // The session is gone, and with it the membership; so is the way for what was to go before.
  #endLeave(request) {
    this.#settle(request, "resolve");
    if (!this.#rooms.has(request.gate)) this.#rejectWaiting(request.gate, leftError(request.gate));
  }

  // Full jitter: anything up to a bound that doubles with each attempt. However many lose their
  // connection at once, they come back spread.
  #backOff(attempt) {
    const most = Math.min(BACKOFF_MIN_MS * 2 ** attempt, BACKOFF_MAX_MS);
    return Math.round(this.#options.random() * most);
  }

  #enter(to, details = {}) {
    const from = this.#state;
    this.#state = to;
    this.#emit("state", { from, to, ...details });
  }

  // ---- is it alive? ----

  // An OPEN socket proves nothing after sleep or a change of network: only an answer does.
  #watch() {
    const pingMs = Math.max(this.#welcome.ping_ms ?? 25_000, 1_000);
    const silentMs = this.#options.now() - this.#heardAt;
    if (silentMs >= pingMs) return this.#probe();
    this.#start("watch", pingMs - Math.max(silentMs, 0), () => this.#watch());
  }

  #probe() {
    if (this.#timers.has("probe")) return;
    const heard = this.#heard;
    this.#socket.send('{"type":"ping"}');
    this.#start("probe", PROBE_MS, () => {
      if (this.#heard === heard) this.#lose(1006, "the server is silent");
      else this.#watch();
    });
  }

  // The machine slept, or its network changed. Many may wake at once, so even this is spread.
  #onWake = () => {
    if (this.#state === "connected") return this.#probe();
    if (this.#state !== "reconnecting" || isOffline() || isHidden()) return;
    const soon = this.#backOff(0);
    if (this.#options.now() + soon < this.#dialAt) this.#dialIn(soon);
  };

  #observeBrowser(on) {
    const change = on ? "addEventListener" : "removeEventListener";
    for (const event of ["online", "offline"]) globalThis[change]?.(event, this.#onWake);
    globalThis.document?.[change]("visibilitychange", this.#onWake);
  }

  // ---- what the server says ----

  #hear(data) {
    this.#heard++;
    this.#heardAt = this.#options.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return this.#emit("error", new ChatnodeError("bad_frame", "the server's frame is not JSON"));
    }
    if (frame?.type === "welcome" && this.#state === "connecting") this.#onWelcome(frame);
    else if (frame?.type === "error" && this.#state === "connecting") this.#onRefusal(frame);
    else if (this.#state === "connected") this.#handle(frame);
  }

  #handle(frame) {
    switch (frame?.type) {
      case "joined": return this.#onJoined(frame);
      case "message": return this.#onEntry(frame, this.#cursorOf(frame));
      case "direct": return this.#onEntry(frame, this.#inbox);
      case "ack":
      case "history": return this.#answer(frame);
      case "left": return this.#onLeft(frame);
      case "expiring": return this.#onExpiring();
      case "error": return this.#onError(frame);
      case "gap": return this.#onGap(frame);
      case "reconnect": return this.#onReconnect(frame);
    } // a newer server may say more
  }

  #onWelcome(frame) {
    this.#welcome = frame;
    this.#connectedAt = this.#options.now();
    this.#enter("connected");
    this.#opening?.resolve();
    this.#opening = null;
    if (this.#state !== "connected") return; // a listener closed it
    this.#watch();
    this.#joinRooms();
    this.#flush();
  }

  // Asks for the rooms that are not asked for yet, as many as may be at once.
  #joinRooms() {
    if (this.#state !== "connected" || this.#timers.has("retry")) return;
    let free = IN_FLIGHT_MAX - this.#joinsUnderWay;
    for (const room of this.#rooms.values()) {
      if (room.isJoined || room.request !== null) continue;
      if (free-- <= 0 || this.#mustWait()) return;
      this.#sendJoin(room);
    }
  }

  get #joinsUnderWay() {
    return [...this.#rooms.values()].filter((room) => room.request !== null).length;
  }

  #openRoom(name) {
    const room = new Room(name, positionOr(this.#saved.get(name), null));
    this.#saved.delete(name);
    this.#rooms.set(name, room);
    return room;
  }

  #sendJoin(room) {
    room.request = makeId();
    room.asked = room.cursor.resume;
    const since = room.asked ?? undefined;
    this.#socket.send(JSON.stringify({ type: "join", room: room.name, since, id: room.request }));
  }

  #onJoined(frame) {
    if (frame.inbox) return this.#inbox.joined(frame, this.#inboxAsked, true);
    const room = this.#rooms.get(frame.room);
    if (!room || room.request !== frame.id) return; // left meanwhile
    this.#succeed();
    room.isJoined = true;
    room.request = null;
    room.cursor.joined(frame, room.asked, false);
    room.settle("resolve", withoutEnvelope(frame));
    this.#emit("joined", withoutEnvelope(frame));
    this.#joinRooms();
    this.#flush();
  }

  // Null for a room that was left, or joined anew and not answered yet: that is not ours any more.
  #cursorOf(frame) {
    if (frame.inbox) return this.#inbox;
    const room = this.#rooms.get(frame.room);
    return room?.isJoined ? room.cursor : null;
  }

  #onEntry(frame, cursor) {
    const taken = cursor?.take(frame);
    if (!taken) return;
    const { room, pos } = frame;
    if (taken.from !== null) this.#emit("gap", { ...channel(room), from: taken.from, to: pos });
    this.#emit(frame.type, frame);
  }

  #onGap(frame) {
    const cursor = this.#cursorOf(frame);
    if (!cursor) return;
    cursor.reset();
    this.#emit("gap", { ...channel(frame.room), reset: true });
  }

  #onError({ id, code, message, retry = false, in_ms: inMs }) {
    const error = new ChatnodeError(code, message, retry);
    const request = this.#requests.get(id);
    const room = [...this.#rooms.values()].find((each) => id !== undefined && each.request === id);
    if (request || room) {
      if (retry) this.#retryLater(request, room, inMs);
      else if (request) this.#fail(request, error);
      else this.#refuseRoom(room, error);
    } else if (id === undefined) {
      this.#emit("error", error);
    } // else what was asked for is not wanted any more: given up, or a join that was overtaken
  }

  // The token was not believed; the server closes.
  #onRefusal({ code, message, reason, retry = false }) {
    const text = reason === undefined ? message : `${message} (${reason})`;
    this.#emit("error", new ChatnodeError(code, text, retry));
  }

  // Without an id it was not asked for: a fresh token does not allow the room any more.
  #onLeft(frame) {
    if (frame.id !== undefined) return this.#answer(frame);
    const room = this.#rooms.get(frame.room);
    const error = new ChatnodeError(frame.reason ?? "denied", `not allowed in ${frame.room} now`);
    if (room) this.#refuseRoom(room, error);
  }

  #fail(request, error) {
    this.#settle(request, "reject", error);
    this.#flush();
  }

  #refuseRoom(room, error) {
    this.#rooms.delete(room.name);
    if (room.waiters.length === 0) this.#emit("error", error);
    room.settle("reject", error);
    this.#rejectWaiting(room.name, error);
    this.#joinRooms();
  }

  // Under the same id, so that the server can tell. All wait, to keep their order. A server for which
  // it was too much says how long.
  #retryLater(request, room, inMs) {
    if (request) request.inFlight = false;
    if (room) room.request = null;
    if (inMs !== undefined) {
      const waitMs = Math.min(Math.max(Number(inMs) || 0, 1), WAIT_MAX_MS);
      if (this.#slowDown(waitMs)) this.#startRetry(waitMs);
    } else if (!this.#timers.has("retry")) {
      this.#startRetry(this.#backOff(this.#retries++));
    }
  }

  // False if the refusal is one of several of the same moment.
  #slowDown(waitMs) {
    const now = this.#options.now();
    if (this.#pace && now < this.#pace.at) return false;
    if (this.#pace) this.#pace.refused(now, waitMs);
    else this.#pace = new Pace(now, waitMs);
    return true;
  }

  #startRetry(ms) {
    this.#start("retry", ms, () => {
      this.#joinRooms();
      this.#flush();
    });
  }

  #onReconnect({ in_ms: hint }) {
    const inMs = Math.min(Math.max(Number(hint) || 0, 0), MOVE_MAX_MS);
    this.#moveAt = this.#options.now() + inMs;
    this.#start("move", inMs, () => this.#lose(CLOSE.restart, "the server asked for it"));
  }

  // ---- small things ----

  #start(purpose, ms, run) {
    this.#stop(purpose);
    this.#timers.set(purpose, this.#later(ms, () => {
      this.#timers.delete(purpose);
      run();
    }));
  }

  #stop(purpose) {
    if (this.#timers.has(purpose)) this.#cancel(this.#timers.get(purpose));
    this.#timers.delete(purpose);
  }

  #later(ms, run) {
    const { setTimeout } = this.#options;
    return setTimeout(run, Math.min(ms, TIMER_MAX_MS));
  }

  #cancel(timer) {
    const { clearTimeout } = this.#options;
    clearTimeout(timer);
  }

  // A listener's mistake is its own: it shows up, but stops neither the others nor the client.
  #emit(event, value) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

function closedError() {
  return new ChatnodeError("closed", "the client is closed");
}

function leftError(room) {
  return new ChatnodeError("not_joined", `left ${room}`);
}

function unconfirmedError() {
  return new ChatnodeError("unconfirmed", "no answer in time: it may or may not have been stored");
}

// Only a clear "no" counts: where nobody knows, one tries.
function isOffline() {
  return globalThis.navigator?.onLine === false;
}

function isHidden() {
  return globalThis.document?.visibilityState === "hidden";
}

// The frame's text. The server answers JSON that it cannot read without saying which request it
// was, so what it would refuse must not get there.
function encode(frame) {
  const levels = new Map();
  let values = 0;
  return JSON.stringify(frame, function check(key, value) {
    const level = (levels.get(this) ?? 0) + 1;
    if (typeof value === "object" && value !== null) levels.set(value, level);
    const isDeep = typeof value === "object" && value !== null && level > LEVELS_MAX;
    if (isDeep || ++values > VALUES_MAX || !isReadable(value) || !isReadableKey(key)) {
      throw new ChatnodeError("bad_request", "the content has what the server cannot read");
    }
    return value;
  });
}

// No halves of surrogate pairs, and no whole number beyond 64 bits that is written out in digits.
function isReadable(value) {
  if (typeof value === "string") return !/\p{Surrogate}/u.test(value);
  return typeof value !== "number" || !(Math.abs(value) >= 2 ** 63 && Math.abs(value) < 1e21);
}

function isReadableKey(key) {
  return isReadable(key) && !key.includes("\0");
}

function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

// The id is known before the answer: a page shows the message at once and knows it again by it.
function withId(promise, id) {
  return Object.assign(promise, { id });
}

function withoutEnvelope({ type, id, ...rest }) {
  return rest;
}

function channel(room) {
  return room === undefined ? { inbox: true } : { room };
}

// Unique, not secret: Node.js 18, which has no global `crypto`, gets it from Math.random().
function makeId() {
  const bytes = new Uint8Array(12);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else bytes.forEach((_, i) => { bytes[i] = Math.floor(Math.random() * 256); });
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
