// SPDX-License-Identifier: MIT
// The types of chatnode.mjs, the client of a chatnode server.

/** A value that JSON can carry. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The place of one entry in a channel's log: "gen-seq". */
export type Position = string;

export type State = "idle" | "connecting" | "connected" | "reconnecting" | "closed";

export interface StateEvent {
  from: State;
  to: State;
  /** The close code, with `reconnecting` and `closed`. */
  code?: number;
  reason?: string;
  /** With `reconnecting`: when the next attempt comes. */
  retryInMs?: number;
}

export interface Message {
  type: "message";
  room: string;
  from: string;
  content: Json;
  pos: Position;
  /** The server's time of storing, in milliseconds since 1970. */
  ts: number;
  /** The sender's own id of the request. */
  id?: string;
}

export interface Direct {
  type: "direct";
  from: string;
  to: string;
  content: Json;
  pos: Position;
  ts: number;
  id?: string;
}

/** Entries of a room or of the inbox are missing here: between two positions, or unknown which. */
export interface Gap {
  room?: string;
  inbox?: true;
  from?: Position;
  to?: Position;
  reset?: true;
}

export interface Joined {
  room: string;
  pos: Position | null;
  /** True if nothing was missed since the position that was asked for. */
  recovered: boolean;
}

export interface Ack {
  pos: Position;
  ts: number;
  /** True if a retry found the message stored already. */
  dup: boolean;
}

/** A page of a log, oldest first. */
export interface Page<Entry> {
  messages: Entry[];
  /** True if the log goes on in the direction of reading. */
  more: boolean;
  /** With `more`: what to give as `before` (or `after`) to read on. */
  next?: Position;
}

export interface History extends Page<Message> {
  room: string;
}

/** The directed messages between the user and another one. */
export interface Conversation extends Page<Direct> {
  with: string;
}

/** Which page: the newest one, or what is before or after a position. */
export interface PageOptions {
  before?: Position;
  after?: Position;
  limit?: number;
}

export interface SendOptions {
  /**
   * The message's id, 1 to 64 of `A-Z a-z 0-9 _ -`; made up if not given. Within some minutes of
   * its first sending it may be sent again, by another client of the same user too, and is stored
   * once.
   */
  id?: string;
}

/** How far the channels were read. Belongs to one user on one chat system. */
export interface Positions {
  rooms: Record<string, Position>;
  inbox?: Position;
}

export interface Welcome {
  type: "welcome";
  user: string;
  session: string;
  node: string;
  version: string;
  ping_ms: number;
  limits?: { max_message_bytes?: number; max_rooms?: number; max_in_flight?: number;
    /** How long the server remembers an id. */
    dedupe_ms?: number };
  /**
   * What an ack means: the message is in the node's "memory", on the store's "disk", there without
   * delay ("disk-always"), on several machines ("replicated"), or nobody knows ("unknown").
   */
  durability?: string;
  /** With a token: how to show the user, if it says so, and when it expires (Unix time). */
  name?: string;
  exp?: number;
  expires_in_ms?: number;
}

export interface Events {
  state: StateEvent;
  joined: Joined;
  message: Message;
  direct: Direct;
  gap: Gap;
  error: ChatnodeError;
}

/** What Chatnode needs of a WebSocket; the browser's, Node.js's and the `ws` package's have it. */
export interface SocketLike {
  onopen?: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Options {
  /** Who you are; the server gives a name if you do not. With `token` it is the token's. */
  user?: string;
  /**
   * Where the server asks for tokens: one, or what gets one. A function is called for each
   * connection, and again when the server says that the token is about to expire.
   */
  token?: string | (() => string | Promise<string>);
  /** Rooms to join at once. */
  rooms?: Iterable<string>;
  /** Where there is no global one (Node.js before 22): the class of the `ws` package. */
  WebSocket?: new (url: string) => SocketLike;
  /** How many requests may wait for their answer; more are rejected with "outbox_full". 256. */
  outbox?: number;
  /**
   * How many messages to one room or user may be under way at once. 1 keeps their order whatever
   * happens. More is faster over a slow link, but a message that the server wants to have again
   * later is then overtaken by those behind it.
   */
  window?: number;
  /** Where an earlier client of this user was: its `positions`. */
  positions?: Positions;
  /** For tests: chance in [0, 1), the clock in milliseconds, timers. */
  random?: () => number;
  now?: () => number;
  setTimeout?: (run: () => void, ms: number) => any;
  clearTimeout?: (timer: any) => void;
}

/** A promise that knows the id under which its request was sent. */
export type Sent<T> = Promise<T> & { readonly id: string };

export class ChatnodeError extends Error {
  constructor(code: string, message: string, retry?: boolean);
  /**
   * The server's, or "closed", "outbox_full", "too_big", "unconfirmed", "bad_frame", "no_token"; "bad_id" and
   * "bad_request" also for what was not sent because the server would refuse it.
   */
  readonly code: string;
  readonly retry: boolean;
}

export class Chatnode {
  constructor(url: string | URL, options?: Options);
  readonly state: State;
  readonly user: string | undefined;
  /** The node that the client is, or was last, connected to. */
  readonly node: string | undefined;
  readonly rooms: string[];
  readonly welcome: Welcome | null;
  /** For the `positions` of a later client, after a reload for example. */
  readonly positions: Positions;
  on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void;
  connect(): Promise<void>;
  close(): void;
  join(room: string, options?: { since?: Position | null }): Promise<Joined>;
  leave(room: string): Promise<void>;
  send(room: string, content: Json, options?: SendOptions): Sent<Ack>;
  direct(to: string, content: Json, options?: SendOptions): Sent<Ack>;
  history(room: string, page?: PageOptions): Sent<History>;
  conversation(user: string, page?: PageOptions): Sent<Conversation>;
}

/** Close codes of the server, by name. */
export const CLOSE: Readonly<Record<string, number>>;

/** True if the server does not want the client back unchanged. */
export function isFinal(code: number): boolean;

/** Orders two positions: negative, 0 or positive. */
export function comparePositions(a: Position, b: Position): number;
