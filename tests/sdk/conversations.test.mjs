// SPDX-License-Identifier: MIT
// The page's model: what is shown, in which order, once.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Conversation, Conversations, isName, makeRows, parseInput, splitLinks, subjectOf,
} from "../../node/web/conversations.mjs";

const NOON = new Date(2024, 5, 1, 12).getTime();

function message(pos, more = {}) {
  return { pos, ts: NOON, type: "message", room: "lobby", from: "bob", content: pos, ...more };
}

const shown = ({ entries, pending }) => [...entries, ...pending].map((entry) =>
  entry.kind === "message" ? entry.content : entry.kind);

test("keeps the log's order, whatever comes first, and drops what is known", () => {
  const room = new Conversation("room", "lobby");
  room.receive(message("5-2"), "ann");
  room.receive(message("10-0"), "ann");
  const messages = [message("5-0"), message("5-1"), message("5-2")];
  room.addHistory({ messages, more: false }, "ann");
  assert.equal(room.receive(message("5-1"), "ann"), null);
  assert.deepEqual(shown(room), ["5-0", "5-1", "5-2", "10-0"]);
  assert.equal(room.oldest, "5-0");
  assert.equal(room.hasEarlier, false);
});

test("an own message is shown once: sending, then sent, whether echo or ack comes first", () => {
  const room = new Conversation("room", "lobby");
  const ann = { from: "ann", ts: NOON };
  const one = room.addOwn({ ...ann, id: "a", content: "one" });
  const two = room.addOwn({ ...ann, id: "b", content: "two" });
  assert.deepEqual([one.status, two.status], ["sending", "sending"]);
  assert.equal(room.receive(message("5-0", { from: "ann", id: "a", content: "one" }), "ann"), one);
  room.confirm("a", { pos: "5-0", ts: NOON });
  room.confirm("b", { pos: "5-1", ts: NOON });
  assert.equal(room.receive(message("5-1", { from: "ann", id: "b", content: "two" }), "ann"), null);
  assert.deepEqual(shown(room), ["one", "two"]);
  assert.deepEqual([one.status, two.status, room.pending.length], ["sent", "sent", 0]);
});

test("a directed message keeps its place until the inbox brings it", () => {
  const talk = new Conversation("user", "bob");
  const own = talk.addOwn({ id: "a", from: "ann", content: "psst", ts: NOON });
  talk.confirm("a", { pos: "99-0", ts: NOON });
  assert.deepEqual([own.status, own.pos], ["sent", undefined]);
  talk.receive({ pos: "5-0", ts: NOON, from: "ann", to: "bob", content: "psst", id: "a" }, "ann");
  assert.deepEqual([own.pos, shown(talk)], ["5-0", ["psst"]]);
  const copy = { pos: "5-1", ts: NOON, from: "ann", to: "bob", content: "psst", id: "a" };
  assert.equal(talk.receive(copy, "ann"), null);
});

test("another's id cannot take an own message's place", () => {
  const room = new Conversation("room", "lobby");
  room.addOwn({ id: "a", from: "ann", content: "mine", ts: NOON });
  room.receive(message("5-0", { from: "eve", id: "a", content: "hers" }), "ann");
  assert.deepEqual(shown(room), ["hers", "mine"]);
});

test("a failed message stays until it is discarded", () => {
  const room = new Conversation("room", "lobby");
  const entry = room.addOwn({ id: "a", from: "ann", content: "one", ts: NOON });
  room.fail("a", "no answer");
  assert.deepEqual([entry.status, entry.problem], ["failed", "no answer"]);
  room.discard("a");
  assert.deepEqual(shown(room), []);
});

test("a gap stands where entries are missing, and closes when they were found", () => {
  const room = new Conversation("room", "lobby");
  room.addGap(NOON);
  assert.deepEqual(shown(room), []); // nothing known: nothing missed
  room.receive(message("5-0"), "ann");
  room.addGap(NOON);
  room.addGap(NOON);
  room.receive(message("5-9"), "ann");
  const gap = room.entries[1];
  assert.deepEqual(shown(room), ["5-0", "gap", "5-9"]);
  assert.equal(room.after(gap), "5-9");
  room.fillGap(gap, { messages: [message("5-7"), message("5-8")], more: true }, "ann");
  assert.deepEqual([shown(room), gap.canFill], [["5-0", "gap", "5-7", "5-8", "5-9"], true]);
  room.fillGap(gap, { messages: [message("5-6")], more: false }, "ann");
  assert.deepEqual([shown(room)[1], gap.canFill], ["gap", false]);
  room.fillGap(gap, { messages: [message("5-0"), message("5-1")], more: true }, "ann");
  assert.deepEqual(shown(room), ["5-0", "5-1", "5-6", "5-7", "5-8", "5-9"]);
});

test("is bounded, and can load again what it dropped", () => {
  const room = new Conversation("room", "lobby");
  room.hasEarlier = false;
  for (let i = 0; i <= 2_000; i++) room.receive(message(`5-${i}`), "ann");
  assert.equal(room.entries.length, 1_501);
  assert.equal(room.hasEarlier, true);
  room.addHistory({ messages: [message("5-499")], more: true }, "ann");
  assert.equal(room.oldest, "5-499");
});

test("reads on where the server's page ended, also when it brought nothing", () => {
  const talk = new Conversation("user", "bob");
  const direct = (pos) => ({ pos, ts: NOON, from: "bob", to: "ann", content: pos });
  talk.receive(direct("9-5"), "ann");
  assert.deepEqual([talk.earlier, talk.hasEarlier, talk.isOpened], ["9-5", true, false]);
  talk.addHistory({ messages: [direct("9-1"), direct("9-5")], more: true }, "ann");
  assert.deepEqual([talk.earlier, talk.isOpened], ["9-1", true]);
  talk.addHistory({ messages: [], more: true, next: "8-2" }, "ann");
  assert.deepEqual([talk.earlier, talk.hasEarlier], ["8-2", true]);
  talk.addHistory({ messages: [direct("7-0")], more: false, next: "7-0" }, "ann");
  assert.deepEqual([shown(talk), talk.hasEarlier], [["7-0", "9-1", "9-5"], false]);
});

test("a gap in a conversation closes also by a page without its messages", () => {
  const talk = new Conversation("user", "bob");
  const direct = (pos) => ({ pos, ts: NOON, from: "bob", to: "ann", content: pos });
  talk.receive(direct("5-0"), "ann");
  talk.addGap(NOON);
  talk.receive(direct("5-90"), "ann");
  const gap = talk.entries[1];
  talk.fillGap(gap, { messages: [], more: true, next: "5-40" }, "ann");
  assert.deepEqual([gap.canFill, talk.after(gap), shown(talk)[1]], [true, "5-40", "gap"]);
  talk.fillGap(gap, { messages: [], more: true, next: "4-7" }, "ann");
  assert.deepEqual(shown(talk), ["5-0", "5-90"]);
});

test("rows: a divider a day, the mark of what is new, heads for groups", () => {
  const room = new Conversation("room", "lobby");
  const hour = 3_600_000;
  room.receive(message("1-0", { ts: NOON - 24 * hour }), "ann");
  room.receive(message("2-0"), "ann");
  room.receive(message("2-1", { ts: NOON + 1_000 }), "ann");
  room.receive(message("2-2", { ts: NOON + hour }), "ann");
  room.receive(message("2-3", { ts: NOON + hour, from: "cat" }), "ann");
  room.markUnread(room.receive(message("2-4", { ts: NOON + hour, from: "cat" }), "ann"));
  const rows = makeRows(room).map(({ kind, startsGroup }) => startsGroup ? "head" : kind);
  assert.deepEqual(rows, [
    "day", "head", "day", "head", "message", "head", "head", "new", "head",
  ]);
  assert.equal(room.unread, 1);
});

test("a directed message belongs to the conversation with the other one", () => {
  const all = new Conversations("ann");
  const direct = { type: "direct", content: "psst" };
  assert.equal(all.ofMessage({ ...direct, from: "bob", to: "ann" }).key, "user:bob");
  assert.equal(all.ofMessage({ ...direct, from: "ann", to: "cat" }).key, "user:cat");
  assert.equal(all.ofMessage({ type: "message", room: "left", from: "bob" }), undefined);
  assert.equal(all.of("user").length, 2);
});

test("input: text, commands, and text that looks like one", () => {
  assert.deepEqual(parseInput("hello /join"), { say: "hello /join" });
  const rest = "bob hi  there\nyou";
  assert.deepEqual(parseInput(`/MSG ${rest}`), { name: "msg", rest });
  assert.deepEqual(parseInput("/"), { name: "", rest: "" });
  assert.deepEqual(parseInput("//etc"), { say: "/etc" });
});

test("names are the server's", () => {
  for (const name of ["ann", "a.b:c_d-9", "x".repeat(64)]) assert.ok(isName(name), name);
  const bad = ["", "a b", "ä", "#tea", "x".repeat(65), "a\n"];
  for (const name of bad) assert.ok(!isName(name), name);
});

test("links: only web addresses, without the sentence's punctuation", () => {
  assert.deepEqual(splitLinks("see https://a.test/b?c=1, (http://d.test)."), [
    { text: "see " }, { text: "https://a.test/b?c=1", href: "https://a.test/b?c=1" },
    { text: ", (" }, { text: "http://d.test", href: "http://d.test" }, { text: ")." },
  ]);
  assert.deepEqual(splitLinks("javascript:alert(1) data:x http://"), [
    { text: "javascript:alert(1) data:x http://" },
  ]);
});

test("reads whose token it is, and nothing out of nonsense", () => {
  const part = (claims) => Buffer.from(JSON.stringify(claims)).toString("base64url");
  assert.equal(subjectOf(`x.${part({ sub: "ann", name: "\u00ff\u00fe?>" })}.y`), "ann");
  for (const bad of ["", "x", "x.y", `x.${part({ sub: "a b" })}.y`, `x.${part({})}.y`, `x.${part(null)}.y`]) {
    assert.equal(subjectOf(bad), null, bad);
  }
});
