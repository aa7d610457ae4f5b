// SPDX-License-Identifier: MIT
// What the log looks like: rows of the model as elements. Text goes in as text, never as markup.

import { makeRows, splitLinks } from "./conversations.mjs";

const time = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

/** An element with properties (class, dataset and attributes by name) and children. */
export function el(tag, { class: className, data = {}, on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Gives an avatar its letters and its colour, both from the name. */
export function paintAvatar(element, name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hash);
  element.textContent = name.slice(0, 2).toUpperCase();
}

function avatar(name) {
  const element = el("span", { class: "avatar", "aria-hidden": "true" });
  paintAvatar(element, name);
  return element;
}

function dayName(ts) {
  const date = new Date(ts);
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return "Today";
  today.setDate(today.getDate() - 1);
  return date.toDateString() === today.toDateString() ? "Yesterday" : day.format(date);
}

// The content as the sender meant it: a text, or any JSON value as its text.
function contentOf(content) {
  if (typeof content !== "string") {
    const text = JSON.stringify(content) ?? "";
    return [el("code", {}, text.length < 60 ? text : JSON.stringify(content, null, 2))];
  }
  return splitLinks(content).map(({ text, href }) =>
    href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, text) : text);
}

function statusOf(entry, actions) {
  if (entry.status === "sending") return el("span", { class: "status" }, "Sending…");
  if (entry.status !== "failed") return null;
  const button = (text, run) =>
    el("button", { class: "text", on: { click: () => run(entry) } }, text);
  return el("span", { class: "status failed" }, `Not sent: ${entry.problem} `,
    button("Retry", actions.retry), button("Discard", actions.discard));
}

function headOf({ from, isOwn, ts }) {
  const at = new Date(ts);
  const stamp = el("time", { datetime: at.toISOString(), title: full.format(at) }, time.format(at));
  const name = el("strong", { class: isOwn ? "unseen" : "" }, from);
  return el("p", { class: "head" }, name, " ", stamp);
}

function messageRow({ entry, startsGroup }, actions) {
  const { isOwn, status, ts, from, pos } = entry;
  const classes = ["message", isOwn ? "own" : "other", startsGroup ? "first" : "next", status];
  const bubble = el("div", { class: "bubble", dir: "auto", title: full.format(new Date(ts)) },
    ...contentOf(entry.content));
  return el("article", { class: classes.join(" "), data: pos ? { pos, from } : { from } },
    isOwn || !startsGroup ? null : avatar(from),
    startsGroup ? headOf(entry) : null, bubble, statusOf(entry, actions));
}

function gapRow({ entry }, actions) {
  const text = entry.canFill ? "Some messages are missing here" : "Some messages were lost here";
  const fill = () => actions.fillGap(entry);
  const button = el("button", { class: "text", on: { click: fill } }, "Load what was kept");
  const words = el("span", {}, `${text} `, entry.canFill ? button : null);
  return el("p", { class: "divider gap" }, words);
}

function makeRow(row, actions) {
  switch (row.kind) {
    case "day": return el("p", { class: "divider day" }, el("span", {}, dayName(row.ts)));
    case "new": return el("p", { class: "divider new" }, el("span", {}, "New"));
    case "gap": return gapRow(row, actions);
    case "notice": return el("p", { class: "notice" }, row.entry.text);
    default: return messageRow(row, actions);
  }
}

// Rows look the same as long as this does.
function looksOf({ kind, startsGroup, ts, entry }) {
  const { status, pos, canFill } = entry ?? {};
  return [kind, startsGroup, status, pos, canFill, kind === "day" && dayName(ts)].join();
}

/** The log's element: shows one conversation, and keeps what has not changed. */
export class LogView {
  #log;
  #actions;
  #shown = null; // the conversation
  #nodes = new Map(); // row key -> {looks, node}
  #isPinned = true; // the reader is at the end: it follows what comes

  constructor(log, actions) {
    this.#log = log;
    this.#actions = actions;
    log.addEventListener("scroll", () => {
      this.#isPinned = this.#distance() < 48;
      actions.scrolled();
    }, { passive: true });
    new ResizeObserver(() => { if (this.#isPinned) this.toEnd(); }).observe(log);
  }

  get isAtEnd() { return this.#isPinned; }

  toEnd() {
    this.#isPinned = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  show(conversation) {
    const isOther = conversation !== this.#shown;
    if (isOther) this.#clear(conversation);
    // A screen reader is to read what comes, not what was there.
    this.#log.setAttribute("aria-busy", String(isOther || conversation.isLoading));
    const anchor = this.#isPinned ? null : this.#firstVisible();
    this.#reconcile(conversation);
    if (this.#isPinned) this.toEnd();
    else if (anchor) this.#keepInPlace(anchor);
    if (isOther) setTimeout(() => this.#log.setAttribute("aria-busy", "false"));
  }

  #clear(conversation) {
    this.#shown = conversation;
    this.#nodes.clear();
    this.#log.replaceChildren();
    this.#isPinned = true;
  }

  #distance() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight;
  }

  // The reader's place: a message and where its lower edge is. Its head may come or go.
  #firstVisible() {
    const { top } = this.#log.getBoundingClientRect();
    for (const [key, { node }] of this.#nodes) {
      if (!node.classList.contains("message")) continue;
      const { bottom } = node.getBoundingClientRect();
      if (bottom > top) return { key, bottom };
    }
    return null;
  }

  #keepInPlace({ key, bottom }) {
    const node = this.#nodes.get(key)?.node; // drawn anew, perhaps
    if (node) this.#log.scrollTop += node.getBoundingClientRect().bottom - bottom;
  }

  #reconcile(conversation) {
    const rows = makeRows(conversation);
    const nodes = new Map();
    let next = this.#placeTop(conversation, rows.length === 0);
    for (const row of rows) {
      const looks = looksOf(row);
      const old = this.#nodes.get(row.key);
      const node = old?.looks === looks ? old.node : makeRow(row, this.#actions);
      nodes.set(row.key, { looks, node });
      if (node === next) next = next.nextSibling;
      else this.#log.insertBefore(node, next);
      if (old && old.node !== node) {
        if (old.node === next) next = next.nextSibling;
        old.node.remove();
      }
    }
    for (const [key, { node }] of this.#nodes) if (!nodes.has(key)) node.remove();
    this.#nodes = nodes;
  }

  // What stands above the rows; returns the first row's place.
  #placeTop(conversation, isEmpty) {
    const { hasEarlier, isLoading } = conversation;
    const looks = [hasEarlier, isLoading, isEmpty].join();
    let top = this.#log.firstElementChild;
    if (!top?.classList.contains("top")) this.#log.prepend(top = el("div", { class: "top" }));
    if (top.dataset.looks !== looks) {
      top.dataset.looks = looks;
      top.replaceChildren(...this.#topContent(conversation, isEmpty));
    }
    return top.nextSibling;
  }

  #topContent({ hasEarlier, isLoading, title, kind }, isEmpty) {
    if (isLoading) return [el("p", { class: "notice" }, "Loading…")];
    if (hasEarlier) {
      const click = () => this.#actions.loadEarlier();
      const looks = { class: "pill", id: "earlier", on: { click } };
      return [el("button", looks, "Load earlier messages")];
    }
    if (!isEmpty) return [el("p", { class: "notice" }, "No earlier messages")];
    const link = el("a", { href: this.#actions.guestLink(), target: "_blank", rel: "noopener" },
      "open a second window as another user");
    const text = kind === "room" ? "Be the first to write, or " : "Write the first message, or ";
    const words = [el("h2", {}, `This is ${title}`), el("p", {}, text, link, ".")];
    return [el("div", { class: "empty" }, ...words)];
  }
}
