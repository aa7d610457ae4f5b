// SPDX-License-Identifier: MIT
// A client for the tests in other languages: is told what to do, and tells what happens, by lines
// of JSON.
//   driver.mjs ws|global URL OPTIONS
//   < {"tag":1,"call":"send","args":["lobby","hi"]}     a method of Chatnode
//   > {"tag":1,"value":{...}}  or  {"tag":1,"error":"unconfirmed"}
//   > {"event":"message","value":{...}}
// `random` among the options is a number: what Math.random() says to this client; `tokens` is a list
// of which each call for a token takes the next, the last one for ever. The program ends by itself
// after "close".

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { Chatnode } from "../../node/web/sdk/chatnode.mjs";

const EVENTS = ["state", "joined", "message", "direct", "gap", "error"];

// Debian's packages lie where only require() looks, by NODE_PATH.
function socketClass(kind) {
  const found = kind === "ws" ? createRequire(import.meta.url)("ws") : globalThis.WebSocket;
  if (!found) throw new Error("this Node.js has no WebSocket of its own");
  return found;
}

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [kind, url, text] = process.argv.slice(2);
const { random, tokens, ...options } = JSON.parse(text);
const nextToken = () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
const chat = new Chatnode(url, {
  ...options, WebSocket: socketClass(kind), ...(random !== undefined && { random: () => random }),
  ...(tokens !== undefined && { token: nextToken }),
});
for (const event of EVENTS) chat.on(event, (value) => say({ event, value }));

const commands = createInterface({ input: process.stdin });
commands.on("line", async (line) => {
  const { tag, call, args = [] } = JSON.parse(line);
  if (call === "close") process.stdin.destroy();
  try {
    const value = call in Chatnode.prototype && typeof chat[call] !== "function"
      ? chat[call] : await chat[call](...args);
    say({ tag, value });
  } catch ({ code, message }) {
    say({ tag, error: code, message });
  }
});
