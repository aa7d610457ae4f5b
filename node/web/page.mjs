// SPDX-License-Identifier: MIT
// The chat page: wires the client, the conversations and the elements of index.html together.

import { CLOSE, Chatnode } from "./sdk/chatnode.mjs";
import { Conversations, isName, parseInput, subjectOf } from "./conversations.mjs";
import { LogView, el, paintAvatar } from "./view.mjs";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const PAGE = 50; // messages of one page of history
const PAGES_MAX = 10; // read at once, to find a message that is not known yet
const DURABILITY = {
  memory: "A sent message is in the node's memory",
  disk: "A sent message is on its way to the disk",
  "disk-always": "A sent message is on the disk",
  replicated: "A sent message is on several machines",
};

const HELP = `/join ROOM joins a room
/leave leaves this room
/msg USER TEXT writes to one user
/name NAME changes your name
//TEXT says a text that begins with /`;

const UNKNOWN = new Set([CLOSE.unauthenticated, CLOSE.expired, CLOSE.revoked]);

let chat; // the client
let token; // where the server asks for one; remembered nowhere
let all; // the conversations
let active; // the one that is shown
let retryAt = 0; // when the client tries again

// ---- what is remembered in this browser ----

function remembered(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(`chatnode.${key}`)) ?? fallback;
  } catch {
    return fallback; // storage is forbidden, or somebody else's
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`chatnode.${key}`, JSON.stringify(value));
  } catch {
    // Storage is forbidden or full: the page works without.
  }
}

function rememberRooms() {
  remember(`rooms.${all.me}`, all.of("room").map(({ name }) => name));
}

// ---- the client ----

function start(user) {
  chat?.close();
  all = new Conversations(user);
  chat = new Chatnode(new URL("ws", location.href), token === undefined ? { user } : { token });
  chat.on("state", onState);
  chat.on("message", onMessage);
  chat.on("direct", onMessage);
  chat.on("gap", onGap);
  chat.on("error", ({ message }) => notice(message));
  paintAvatar($("my-avatar"), user);
  $("my-name").textContent = user;
  chat.connect();
  for (const name of roomsToJoin(user)) joinRoom(name);
  activate(all.of("room")[0]);
  focusText();
}

// The room of the page's address comes first, then those of the last visit.
function roomsToJoin(user) {
  const rooms = [query.get("room") ?? "", ...remembered(`rooms.${user}`, [])].filter(isName);
  return rooms.length > 0 ? new Set(rooms) : ["lobby"];
}

async function joinRoom(name) {
  const isNew = !all.find("room", name);
  const room = all.open("room", name);
  if (!isNew) return room;
  rememberRooms();
  chat.join(name).catch(() => {}); // what waits for the room tells it too
  loadEarlier(room);
  return room;
}


function leaveRoom(room) {
  chat.leave(room.name).catch(({ message }) => notice(message));
  all.remove(room);
  rememberRooms();
  if (room === active) activate(all.of("room")[0] ?? all.of("user")[0]);
}

function onState({ to, code, reason, retryInMs }) {
  retryAt = Date.now() + (retryInMs ?? 0);
  $("link").title = to === "connected" ? DURABILITY[chat.welcome.durability] ?? "" : reason ?? "";
  if (to === "closed") notice(`The server closed the connection: ${reason || "no reason given"}`);
  if (to === "closed" && UNKNOWN.has(code)) askToken(reason);
  showLink();
}

function onMessage(frame) {
  const conversation = all.ofMessage(frame);
  const entry = conversation?.receive(frame, chat.user);
  if (!entry) return;
  const isSeen = conversation === active && document.visibilityState === "visible" && log.isAtEnd;
  if (!entry.isOwn && !isSeen) conversation.markUnread(entry);
  update();
}

function onGap({ room, inbox }) {
  const gone = inbox ? all.of("user") : [all.find("room", room)];
  for (const conversation of gone) conversation?.addGap(Date.now());
  update();
}

function post(conversation, content) {
  const { kind, name } = conversation;
  const sent = kind === "room" ? chat.send(name, content) : chat.direct(name, content);
  conversation.firstUnread = null;
  conversation.addOwn({ id: sent.id, from: chat.user, content, ts: Date.now() });
  sent.then((ack) => conversation.confirm(sent.id, ack),
    ({ message }) => conversation.fail(sent.id, message)).then(update);
  log.toEnd();
  update();
}

// One reading of a conversation at a time; `take` gets its page.
async function load(conversation, run) {
  if (conversation.isLoading) return;
  conversation.isLoading = true;
  update();
  try {
    await run();
  } catch ({ code, message }) {
    // A node that is older than this page knows no conversations.
    if (conversation.kind === "user" && code === "bad_request") conversation.hasEarlier = false;
    else conversation.addNotice(`What was written before cannot be read: ${message}`, Date.now());
  }
  conversation.isLoading = false;
  update();
}

function readPage({ kind, name }, before) {
  const page = { before, limit: PAGE };
  return kind === "room" ? chat.history(name, page) : chat.conversation(name, page);
}

// The newest page first, then the earlier ones. A page may bring nothing: the inbox that a
// conversation is read from has others' messages too.
function loadEarlier(conversation) {
  const { isOpened } = conversation;
  return load(conversation, async () => {
    const shown = isOpened ? conversation.oldest : undefined;
    for (let i = 0; i < PAGES_MAX && conversation.hasEarlier; i++) {
      const before = conversation.isOpened ? conversation.earlier : undefined;
      conversation.addHistory(await readPage(conversation, before), chat.user);
      if (conversation.oldest !== shown) break;
    }
  });
}

// ---- commands ----

const COMMANDS = {
  help: () => notice(HELP),
  async join(rest) {
    const name = rest.replace(/^#/, "");
    if (!isName(name)) return notice("A room's name has letters, digits and _ . : - only");
    activate(await joinRoom(name));
  },
  leave() {
    if (active.kind === "room") leaveRoom(active);
    else notice("This is no room");
  },
  msg(rest) {
    const [, name, text] = /^@?(\S*)\s*([^]*)$/.exec(rest);
    if (!isName(name)) return notice("Write /msg USER TEXT");
    activate(all.open("user", name));
    if (text) post(active, text);
  },
  name(rest) {
    if (isName(rest)) rename(rest);
    else notice("A name has letters, digits and _ . : - only");
  },
};

function submit() {
  const text = $("text").value.trim();
  if (!text || !active) return;
  $("text").value = "";
  fitText();
  const { say, name, rest } = parseInput(text);
  if (say !== undefined) return post(active, say);
  const run = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : null;
  if (run) run(rest);
  else notice(`There is no /${name}; /help lists the commands`);
}

function notice(text) {
  active?.addNotice(text, Date.now());
  update();
}

function rename(name) {
  query.delete("user"); // chosen here: the address no longer says it
  history.replaceState(null, "", query.size > 0 ? `?${query}` : location.pathname);
  remember("user", name);
  start(name);
}

function askToken(help) {
  if (help) setText("token-help", help);
  $("token").value = "";
  if (!$("token-dialog").open) $("token-dialog").showModal();
}

function showToken() {
  const shown = $("token").value.trim();
  const user = subjectOf(shown);
  if (user === null) return setText("token-help", "This is no token");
  token = shown;
  $("token-dialog").close();
  start(user);
}

function askName() {
  if (token !== undefined) return askToken();
  $("name").value = chat?.user ?? "";
  $("name-dialog").showModal();
}

// ---- showing ----

function activate(conversation) {
  if (active) active.draft = $("text").value;
  if (active) active.firstUnread = null;
  active = conversation;
  if (active?.kind === "user" && !active.isOpened) loadEarlier(active);
  $("text").value = conversation?.draft ?? "";
  fitText();
  openSide(false);
  update();
  log.toEnd();
}

// At most one drawing a turn. A timer, since hidden windows draw nothing but have a title.
let isUpdating = false;

function update() {
  if (isUpdating) return;
  isUpdating = true;
  setTimeout(() => {
    isUpdating = false;
    draw();
  });
}

function draw() {
  if (active && document.visibilityState === "visible" && log.isAtEnd) active.unread = 0;
  showLists();
  showHeading();
  if (active) log.show(active);
  showJump();
}

function showLists() {
  for (const [id, kind] of [["rooms", "room"], ["users", "user"]]) {
    const focused = document.activeElement?.dataset?.key;
    $(id).replaceChildren(...all.of(kind).map(listItem));
    if (focused) $(id).querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }
  const { unread } = all;
  $("menu-count").hidden = unread === 0;
  $("menu-count").textContent = unread;
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${active?.title ?? "chatnode"} · chatnode`;
}

function listItem(conversation) {
  const { key, kind, name, unread } = conversation;
  const signClass = kind === "room" ? "hash" : "avatar";
  const sign = el("span", { class: signClass, "aria-hidden": "true" }, "#");
  if (kind === "user") paintAvatar(sign, name);
  const count = unread === 0 ? null : el("span", { class: "count" }, String(unread),
    el("span", { class: "unseen" }, " unread"));
  const current = conversation === active && "true";
  return el("li", {}, el("button", {
    class: "conversation", data: { key }, "aria-current": current,
    on: { click: () => { activate(conversation); focusText(); } },
  }, sign, el("span", { class: "name" }, name), count));
}

function showHeading() {
  const isRoom = active?.kind === "room";
  $("title").textContent = active?.title ?? "chatnode";
  $("subtitle").textContent = !active ? "Join a room to begin"
    : isRoom ? "Everyone in this room reads along" : `Between you and ${active.name}`;
  $("leave").hidden = !isRoom;
  $("leave").title = isRoom ? `Leave ${active.title}` : "";
  $("leave").setAttribute("aria-label", $("leave").title);
  $("text").placeholder = active ? `Message ${active.title}` : "Message";
  $("text").disabled = $("send").disabled = !active;
}

function showJump() {
  $("jump").hidden = log.isAtEnd;
  const unread = active?.unread ?? 0;
  $("jump-text").textContent = unread > 0 ? `${unread} new` : "Latest";
}

// The words are for everyone, the counting seconds only for eyes.
function showLink() {
  const { state } = chat;
  const isOffline = state !== "connected" && navigator.onLine === false;
  const texts = {
    idle: "Not connected", connecting: "Connecting", closed: "Disconnected",
    connected: "Connected to", reconnecting: "Reconnecting",
  };
  $("link").dataset.state = isOffline ? "offline" : state;
  setText("chip-state", isOffline ? "Offline" : texts[state]);
  setText("chip-node", state === "connected" ? chat.node : "");
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000));
  $("countdown").textContent = state === "reconnecting" && !isOffline ? `in ${seconds} s` : "";
  $("connect").hidden = state !== "reconnecting" && state !== "closed";
}

// A status that is written again is read out again.
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// Not where it would open the keyboard on the screen.
function focusText() {
  if (matchMedia("(hover: hover)").matches) $("text").focus();
}

function fitText() {
  $("text").style.height = "auto";
  $("text").style.height = `${Math.min($("text").scrollHeight, 180)}px`;
}

function openSide(isOpen) {
  $("app").classList.toggle("side-open", isOpen);
  $("shade").hidden = !isOpen;
  $("menu").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) $("side").querySelector("[aria-current]")?.focus();
}

// Alt and an arrow go through the conversations.
function moveBy(step) {
  const list = [...all.of("room"), ...all.of("user")];
  const next = list[(list.indexOf(active) + step + list.length) % list.length];
  if (next) activate(next);
}

const log = new LogView($("log"), {
  retry(entry) {
    active.discard(entry.id);
    post(active, entry.content);
  },
  discard(entry) {
    active.discard(entry.id);
    update();
  },
  fillGap(gap) {
    const conversation = active;
    load(conversation, async () => {
      const page = await readPage(conversation, conversation.after(gap));
      conversation.fillGap(gap, page, chat.user);
    });
  },
  loadEarlier: () => loadEarlier(active),
  scrolled() {
    if (log.isAtEnd && active?.unread > 0) update();
    showJump();
  },
  guestLink() {
    const link = new URLSearchParams({ user: `guest-${Math.floor(Math.random() * 900) + 100}` });
    link.set("room", all.of("room")[0]?.name ?? "lobby");
    return `?${link}`;
  },
});

// ---- events of the elements ----

function onSubmit(id, run) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    run(event);
  });
}

function onKey(event) {
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    moveBy(event.key === "ArrowUp" ? -1 : 1);
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    openSide(false);
    $("text").focus();
  }
}

onSubmit("composer", submit);
onSubmit("join-form", () => {
  COMMANDS.join($("join-name").value.trim());
  $("join-name").value = "";
});
onSubmit("talk-form", () => {
  COMMANDS.msg($("talk-name").value.trim());
  $("talk-name").value = "";
});
onSubmit("name-form", () => {
  $("name-dialog").close();
  rename($("name").value);
});
$("name-dialog").addEventListener("cancel", (event) => {
  if (!chat) event.preventDefault();
});
onSubmit("token-form", showToken);
$("token-dialog").addEventListener("cancel", (event) => {
  if (!chat) event.preventDefault();
});
$("text").addEventListener("input", fitText);
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
$("connect").addEventListener("click", () => chat.connect());
$("leave").addEventListener("click", () => leaveRoom(active));
$("rename").addEventListener("click", askName);
$("menu").addEventListener("click", () => openSide(!$("app").classList.contains("side-open")));
$("shade").addEventListener("click", () => openSide(false));
$("jump").addEventListener("click", () => {
  log.toEnd();
  update();
});
addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => { if (all) update(); });
for (const name of ["online", "offline"]) addEventListener(name, () => { if (chat) showLink(); });
setInterval(() => { if (chat && chat.state !== "connected") showLink(); }, 500);

// Whether the server asks for tokens; if it does not say, it will when we connect.
async function asksForTokens() {
  try {
    const { auth } = await (await fetch("info")).json();
    return auth === "token";
  } catch {
    return false;
  }
}

const name = query.get("user") ?? remembered("user", "");
if (await asksForTokens()) askToken();
else if (isName(name)) start(name);
else askName();
