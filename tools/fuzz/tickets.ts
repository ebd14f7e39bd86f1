/**
 * Tickets: whatever stands in a name, nobody is let in but who has the ticket's key, and what a ticket
 * says grants no more than its key does.
 */
import { Access } from "../../broker/access.ts";
import { Key } from "../../broker/keys.ts";
import { Rights } from "../../broker/rights.ts";
import { concat } from "../../base/bytes.ts";
import { AuthError } from "../../errors.ts";
import {
  BrokerHandshake,
  ClientHandshake,
  HELLO_HEAD_BYTES,
  HELLO_NAME_BYTES_MAX,
  KEY_NAME_BYTES_MAX,
  ticketKey,
} from "../../protocol/handshake.ts";
import {
  isExpired,
  isTicketName,
  type Narrowing,
  readTicket,
  type Ticket,
  ticketName,
} from "../../protocol/ticket.ts";
import { isAny } from "../../routing/topic_tree.ts";
import {
  any,
  formatTopic,
  type PatternElement,
  type TopicPath,
  type TopicPattern,
} from "../../topic.ts";
import type { Random } from "../harness/random.ts";
import { isSame, mangle, must, type Notes, type Target } from "./target.ts";

const BROKER_ID = new Uint8Array(16);
const NAMES = ["", "page", "é".repeat(KEY_NAME_BYTES_MAX / 2), "short", "unknown", "~"];
const FORS = ["ann", "é😀", "\x1b[2J", '"\\', "x".repeat(255), "__proto__"];
const ELEMENTS = ["a", "b", "*broker", "*local", "\ufeff", "constructor"];
const DATE = 1_796_083_200_000;
const SKEW_MS = 60_000;
const EXPIRES = [1, DATE - SKEW_MS - 1, DATE - SKEW_MS, DATE - SKEW_MS + 1, DATE, 8.64e15];
const ODD = [null, 0, -1, 1.5, "", "x", [], {}, [[]], [[""]], [7], true, "1e999", 1e300];
const RIGHTS = [[null], ["a"], [["a", "b"], "b"], []] as const;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function pathOf(random: Random): TopicPath {
  return Array.from({ length: random.int(4) }, () => random.pick(ELEMENTS));
}

function patternOf(random: Random): TopicPattern {
  return pathOf(random).map((element) => random.int(4) === 0 ? any : element);
}

function narrowOf(random: Random): Narrowing {
  const topics = () => Array.from({ length: random.int(4) }, () => patternOf(random));
  const narrow: Record<string, readonly TopicPattern[]> = {};
  for (const right of ["publish", "subscribe", "serve"]) {
    if (random.int(2) === 0) narrow[right] = topics();
  }
  return narrow;
}

function ticketOf(random: Random): Ticket {
  return {
    name: random.pick(NAMES),
    expires: random.pick(EXPIRES),
    for: random.pick([undefined, ...FORS]),
    narrow: narrowOf(random),
  };
}

/** The name of a ticket, or what looks like one. */
function nameOf(random: Random): string {
  const whole = ticketName(ticketOf(random));
  if (random.int(3) > 0) return whole;
  const fields = JSON.parse(whole.slice(1));
  const field = random.pick(["name", "expires", "for", "publish", "serve", "other", "__proto__"]);
  Object.defineProperty(fields, field, { value: random.pick(ODD), enumerable: true });
  return `~${JSON.stringify(fields, null, random.int(2))}`;
}

function keysOf(random: Random): ReadonlyMap<string, Key> {
  const rights = () =>
    new Rights({
      publish: random.pick(RIGHTS),
      subscribe: random.pick(RIGHTS),
      serve: random.pick(RIGHTS),
      wait: true,
    });
  return new Map(
    NAMES.slice(0, 4).map((name) => {
      const bytes = random.bytes(name === "short" ? 15 : 16 + random.int(100));
      return [name, new Key(name, new Uint8Array(bytes), rights())];
    }),
  );
}

/** What a reader makes of a name is the same when it is written again. */
function checkRead(name: string, notes: Notes): Ticket | undefined {
  const ticket = readTicket(name);
  notes.ended(ticket === undefined ? "no ticket" : "a ticket");
  if (ticket === undefined) return undefined;
  const again = readTicket(ticketName(ticket));
  must(JSON.stringify(again) === JSON.stringify(ticket), "it is another when it is written again");
  return ticket;
}

async function runTickets(random: Random, notes: Notes): Promise<void> {
  const keys = keysOf(random);
  const whole = encoder.encode(nameOf(random));
  const sent = mangle(random, whole).subarray(0, HELLO_NAME_BYTES_MAX);
  notes.fed(sent);
  const name = decoder.decode(sent);
  const isText = isSame(encoder.encode(name), sent);
  // What is left of it may be the name of a key, which is another target's.
  if (!isTicketName(name)) return notes.ended("no ticket's name");
  const said = checkRead(name, notes);
  const key = said && keys.get(said.name);
  const known = key ?? random.pick([...keys.values()]);
  // The right key of what is sent; of what it was before; of something else.
  const proves = random.pick([sent, sent, whole, random.bytes(20)]);
  const secret = random.int(10) === 0
    ? known.bytes
    : await ticketKey(known.bytes, new Uint8Array(proves));
  const { proven, isExpired: isOver } = await handshake(sent, secret, keys);
  const isRight = key !== undefined && isText && key.bytes.length >= 16 && isSame(proves, sent) &&
    !isSame(secret, known.bytes);
  const isLetIn = isRight && !isExpired(said!, DATE);
  must((proven !== undefined) === isLetIn, isLetIn ? "it was not let in" : "it was let in");
  must(isOver === (isRight && !isLetIn), "it was told wrongly whether it is over");
  notes.ended(isLetIn ? "let in" : isRight ? "over" : "refused");
  if (proven === undefined) return;
  must(proven.key === key && proven.ticket !== undefined, "that is another key");
  checkRights(random, key, proven.ticket);
}

/** A whole handshake of a client that names these bytes. */
async function handshake(
  name: Uint8Array,
  secret: Uint8Array,
  keys: ReadonlyMap<string, Key>,
) {
  const client = new ClientHandshake(secret, "");
  const head = client.hello.slice(0, HELLO_HEAD_BYTES);
  head.set([name.length & 255, name.length >> 8], HELLO_HEAD_BYTES - 2);
  client.hello.set(head);
  const hello = concat(head, name);
  const broker = new BrokerHandshake(BROKER_ID, (name) => keys.get(name));
  must(broker.helloTail(head) === name.length, "it has another length");
  const challenge = new Uint8Array(broker.challenge(hello));
  const label = encoder.encode("mpubsub client\0");
  const imported = await crypto.subtle.importKey(
    "raw",
    new Uint8Array(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const text = concat(label, hello, challenge);
  const proof = new Uint8Array(await crypto.subtle.sign("HMAC", imported, text));
  const verdict = await broker.answer(proof, DATE);
  must(broker.keyName.length <= KEY_NAME_BYTES_MAX, "its name is too long to show");
  try {
    client.checkAnswer(verdict.answer[0]!);
    must(verdict.proven !== undefined, "it is told that it was let in");
  } catch (error) {
    if (!(error instanceof AuthError)) throw error;
    must(verdict.proven === undefined, "it is told that it was refused");
  }
  return verdict;
}

/** What it grants is what the key grants and it says. */
function checkRights(random: Random, key: Key, ticket: Ticket): void {
  const { rights } = new Access(key, ticket);
  const stands = (element: PatternElement, other: PatternElement | undefined, depth: number) =>
    element === other || element === any && other !== undefined && isAny(depth, other);
  const covers = (all: readonly TopicPattern[] | undefined, path: TopicPattern) =>
    all === undefined || all.some((top) => top.every((one, at) => stands(one, path[at], at)));
  for (let i = 0; i < 20; i++) {
    const path = pathOf(random);
    const { publish, subscribe, serve } = ticket.narrow;
    const mayPublish = key.rights.mayPublish(path) && covers(publish, path);
    must(rights.mayPublish(path) === mayPublish, `publish ${path}: not ${mayPublish}`);
    const mayServe = key.rights.mayServe(path) && covers(subscribe, path) && covers(serve, path);
    must(rights.mayServe(path) === mayServe, `serve ${path}: not ${mayServe}`);
    if (path.length === 0) continue;
    const mayGet = key.rights.mayGet(path) && covers(subscribe, path);
    must(rights.mayGet(path) === mayGet, `subscribe ${path}: not ${mayGet}`);
    for (const topic of rights.narrow(path)?.topics ?? []) {
      must(
        key.rights.narrow(topic) === undefined && covers(subscribe, topic),
        `${formatTopic(topic)} of ${path}`,
      );
    }
  }
}

/** See the module. */
export const tickets: Target = { name: "tickets", run: runTickets };
