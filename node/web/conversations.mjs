// SPDX-License-Identifier: MIT
// What the page knows: conversations (a room, or a user one writes with) and their entries.

import { comparePositions } from "./sdk/chatnode.mjs";

const ENTRIES_MAX = 2_000; // of one conversation; older ones can be loaded again
const GROUP_MS = 5 * 60_000; // messages of one sender within this time share a head

let lastKey = 0;

// Orders entries by position; what is no message (a gap, a notice) stands right after its position.
function compareEntries(a, b) {
  return comparePositions(a.pos, b.pos) || a.rank - b.rank;
}

export class Conversation {
  entries = []; // with a place in the log, in its order
  pending = []; // own messages that have no place yet: sending or failed
  unread = 0;
  firstUnread = null; // the key of the entry above which "new" is shown
  draft = "";
  isLoading = false;
  isOpened = false; // its newest page was read
  hasEarlier = true; // as far as is known
  #next = null; // where the page before the loaded ones ends, if the server said so
  #positions = new Set();
  #ownIds = new Set();

  /** @param {"room" | "user"} kind */
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    this.key = `${kind}:${name}`;
  }

  get title() { return this.kind === "room" ? `#${this.name}` : this.name; }

  /** The oldest message's position, if there is any. */
  get oldest() { return this.entries.find(({ kind }) => kind === "message")?.pos; }

  /** What to read before, for the next earlier page. */
  get earlier() { return this.#next ?? this.oldest; }

  /** Takes a message of the log; null if it is known already. */
  receive({ pos, ts, from, content, id }, me) {
    if (this.#positions.has(pos)) return null;
    const isOwn = from === me;
    if (isOwn && id !== undefined && this.#ownIds.has(id)) return null;
    const entry = (isOwn && this.#takePending(id)) || { key: ++lastKey, kind: "message", rank: 0 };
    Object.assign(entry, { pos, ts, from, content, id, isOwn, status: "sent" });
    this.#place(entry);
    return entry;
  }

  /** Shows an own message before the server has it. */
  addOwn({ id, from, content, ts }) {
    const entry = { key: ++lastKey, kind: "message", rank: 0, id, from, content, ts };
    this.pending.push(Object.assign(entry, { isOwn: true, status: "sending" }));
    return entry;
  }

  /** The server has stored it. A room's ack says where; a directed one shows up in the inbox. */
  confirm(id, { pos, ts }) {
    const entry = this.pending.find((each) => each.id === id);
    if (!entry) return;
    entry.status = "sent";
    entry.ts = ts;
    if (this.kind === "room") this.receive({ ...entry, pos }, entry.from);
  }

  fail(id, problem) {
    const entry = this.pending.find((each) => each.id === id);
    if (entry) Object.assign(entry, { status: "failed", problem });
  }

  discard(id) {
    this.#takePending(id);
  }

  /** Marks that entries are missing between what is known and what comes. */
  addGap(ts) {
    const last = this.entries.at(-1);
    if (!last || last.kind === "gap") return;
    this.#place({ key: ++lastKey, kind: "gap", rank: 1, pos: last.pos, ts, canFill: true });
  }

  /** Shows a text of the page itself. */
  addNotice(text, ts) {
    const pos = this.entries.at(-1)?.pos ?? "0-0";
    this.#place({ key: ++lastKey, kind: "notice", rank: 2, pos, ts, text });
  }

  /** Takes the newest or an earlier page of the log. */
  addHistory({ messages, more, next = null }, me) {
    for (const message of messages) this.receive(message, me);
    this.isOpened = true;
    this.hasEarlier = more;
    this.#next = more ? next : null;
  }

  /** Takes a page that ends where the gap ends; the gap closes when it meets what was known. */
  fillGap(gap, { messages, more, next }, me) {
    const ends = [...messages.map(({ pos }) => pos), ...(more && next ? [next] : [])];
    const meets = ends.some((pos) => comparePositions(pos, gap.pos) <= 0);
    for (const message of messages) {
      if (comparePositions(message.pos, gap.pos) > 0) this.receive(message, me);
    }
    gap.next = next;
    gap.canFill = more && ends.length > 0;
    if (meets) this.entries = this.entries.filter((entry) => entry !== gap);
  }

  /** The position of the first message after an entry, or where reading back from there came to. */
  after(entry) {
    if (entry.next) return entry.next;
    const start = this.entries.indexOf(entry) + 1;
    return this.entries.slice(start).find(({ kind }) => kind === "message")?.pos;
  }

  /** Counts a message that nobody looked at. */
  markUnread(entry) {
    if (this.unread++ === 0) this.firstUnread = entry.key;
  }

  #takePending(id) {
    const index = this.pending.findIndex((entry) => entry.id === id);
    return index < 0 ? null : this.pending.splice(index, 1)[0];
  }

  #place(entry) {
    if (entry.kind === "message") {
      this.#positions.add(entry.pos);
      if (entry.isOwn && entry.id !== undefined) this.#ownIds.add(entry.id);
    }
    let index = this.entries.length;
    while (index > 0 && compareEntries(this.entries[index - 1], entry) > 0) index--;
    this.entries.splice(index, 0, entry);
    if (index === this.entries.length - 1) this.#trim();
  }

  #trim() {
    if (this.entries.length <= ENTRIES_MAX) return;
    for (const { pos, id } of this.entries.splice(0, ENTRIES_MAX / 4)) {
      this.#positions.delete(pos);
      this.#ownIds.delete(id);
    }
    this.hasEarlier = true;
    this.#next = null;
  }
}

/** All conversations of one user, in the order of their coming. */
export class Conversations {
  #all = new Map();

  constructor(me) {
    this.me = me;
  }

  [Symbol.iterator]() { return this.#all.values(); }

  get unread() { return [...this].reduce((sum, { unread }) => sum + unread, 0); }

  of(kind) { return [...this].filter((conversation) => conversation.kind === kind); }

  find(kind, name) { return this.#all.get(`${kind}:${name}`); }

  open(kind, name) {
    const found = this.find(kind, name);
    if (found) return found;
    const conversation = new Conversation(kind, name);
    this.#all.set(conversation.key, conversation);
    return conversation;
  }

  remove(conversation) { this.#all.delete(conversation.key); }

  /** The conversation that a message belongs to. */
  ofMessage({ type, room, from, to }) {
    if (type === "message") return this.find("room", room);
    return this.open("user", from === this.me ? to : from);
  }
}

/** What the log shows: days, the mark of what is new, gaps, notices, messages in groups. */
export function makeRows(conversation) {
  const rows = [];
  let day = null;
  let head = null;
  for (const entry of [...conversation.entries, ...conversation.pending]) {
    const date = new Date(entry.ts).toDateString();
    if (date !== day) rows.push({ key: `day ${date}`, kind: "day", ts: entry.ts });
    const isNew = entry.key === conversation.firstUnread;
    if (isNew) rows.push({ key: `new ${entry.key}`, kind: "new" });
    const startsGroup = date !== day || isNew || !isSameGroup(head, entry);
    rows.push({ key: `entry ${entry.key}`, kind: entry.kind, entry, startsGroup });
    if (startsGroup) head = entry;
    day = date;
  }
  return rows;
}

function isSameGroup(head, entry) {
  return head?.kind === "message" && entry.kind === "message" && head.from === entry.from &&
    entry.ts - head.ts < GROUP_MS;
}

/** A line of input: {say}, or a command {name, rest}. "//" says a text that begins with "/". */
export function parseInput(text) {
  if (!text.startsWith("/")) return { say: text };
  if (text.startsWith("//")) return { say: text.slice(1) };
  const [, name, rest] = /^\/(\S*)\s*([^]*)$/.exec(text);
  return { name: name.toLowerCase(), rest: rest.trim() };
}

/** True for what the server accepts as the name of a user or a room. */
export function isName(text) {
  return /^[A-Za-z0-9_.:-]{1,64}$/.test(text);
}

/** Whose token it is, as the token itself says; null if it says nothing like that. */
export function subjectOf(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { sub } = JSON.parse(atob(claims));
    return typeof sub === "string" && isName(sub) ? sub : null;
  } catch {
    return null;
  }
}

/** Cuts a text into [{text} | {text, href}]: the web addresses in it can be followed. */
export function splitLinks(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"']+/g)) {
    const link = match[0].replace(/[.,;:!?)\]}]+$/, "");
    if (!URL.canParse(link)) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: link, href: link });
    end = match.index + link.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}
