/**
 * The keys of a broker: which there are, what each grants, and at which rate its holders may publish.
 * `rights.ts` says what a grant means.
 */
import { Allowance } from "../base/allowance.ts";
import { fromBase64 } from "../base/base64.ts";
import { keyBytes, keyNameBytes, randomBytes } from "../protocol/handshake.ts";
import type { Narrowing } from "../protocol/ticket.ts";
import { looksLikePattern, slashNotice, type Topic, topicFromJson } from "../topic.ts";
import { Rights } from "./rights.ts";

/** A named key of a broker, and all that its holders (the clients that use it) may do. */
export interface BrokerKey {
  /**
   * Its name, which clients give as `keyName`: 1 to 64 bytes of UTF-8, of which the first is no `~`, with
   * which the names of tickets begin.
   */
  name: string;
  /** The key: bytes, or a string that stands for its UTF-8 bytes. Tickets take 16 bytes or more. */
  key: string | Uint8Array;
  /**
   * The topics to which its holders may publish, each with all below it. The root (`null`) grants every
   * topic, and broadcasts. At most 4096.
   *
   * @default {[]}
   */
  publish?: readonly Topic[] | undefined;
  /**
   * The topics to which its holders may subscribe, each with all below it. The root (`null`) grants
   * every topic. A subscription to a topic above granted ones gets only messages of the granted ones.
   * At most 4096.
   *
   * @default {[]}
   */
  subscribe?: readonly Topic[] | undefined;
  /**
   * The topics of whose groups its holders may be members, each with all below it, if they may subscribe
   * to all of the topic, too: a member takes messages away from others. The root (`null`) grants every
   * topic. At most 4096.
   *
   * @default {[]}
   */
  serve?: readonly Topic[] | undefined;
  /**
   * Whether its holders may hold publishers back (`overflow: "wait"`), for at most the broker's
   * `maxPatience`.
   *
   * @default {false}
   */
  wait?: boolean | undefined;
  /**
   * How many messages per second all its holders together may publish; a burst may be as large. The
   * broker refuses any more.
   *
   * @default {Infinity}
   */
  messagesPerSecond?: number | undefined;
  /**
   * The most clients that have it or a ticket of it, including those that lost their connection and may come back. At the
   * limit, a new client takes the place of the one that lost its connection after it was connected for
   * the shortest time; if all are connected, the new one is refused.
   *
   * @default {Infinity}
   */
  connections?: number | undefined;
}

/** How many bytes a random key has. */
const KEY_BYTES = 32;
/** How many ways in which tickets narrow a key are remembered. */
const NARROWED_MAX = 256;
const FILE_FIELDS = [
  "name",
  "key",
  "publish",
  "subscribe",
  "serve",
  "wait",
  "messagesPerSecond",
  "connections",
];
const EVERYTHING: Required<Omit<BrokerKey, "name" | "key">> = {
  publish: [null],
  subscribe: [null],
  serve: [null],
  wait: true,
  messagesPerSecond: Infinity,
  connections: Infinity,
};

/** One key of a broker, while it has that key. */
export class Key {
  /** Its name; empty for the single key. */
  readonly name: string;
  /** The secret. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  #rights: Rights;
  /** What its tickets grant, by what they narrow; those that were used last. */
  readonly #narrowed = new Map<string, Rights>();
  /** How many messages may be published now. */
  #allowance: Allowance | undefined;

  /** Makes a key of checked values. */
  constructor(name: string, bytes: Uint8Array<ArrayBuffer>, rights: Rights) {
    this.name = name;
    this.bytes = bytes;
    this.#rights = rights;
    this.#allowance = allowanceOf(rights);
  }

  /** What its holders may do. */
  get rights(): Rights {
    return this.#rights;
  }

  set rights(rights: Rights) {
    const isSameRate = rights.messagesPerSecond === this.#rights.messagesPerSecond;
    this.#rights = rights;
    this.#narrowed.clear();
    if (!isSameRate) this.#allowance = allowanceOf(rights);
  }

  /** What a ticket grants: tickets that narrow the same grant the same object, unless they are many. */
  narrowed({ publish, subscribe, serve }: Narrowing): Rights {
    if ((publish ?? subscribe ?? serve) === undefined) return this.#rights;
    const narrow = { publish, subscribe, serve };
    const text = JSON.stringify([publish, subscribe, serve]);
    const rights = this.#narrowed.get(text) ?? this.#rights.narrowedTo(narrow);
    this.#narrowed.delete(text);
    this.#narrowed.set(text, rights);
    if (this.#narrowed.size > NARROWED_MAX) {
      const [oldest] = this.#narrowed.keys();
      this.#narrowed.delete(oldest!);
    }
    return rights;
  }

  /** Whether its rate of messages is limited. */
  get isBounded(): boolean {
    return this.#allowance !== undefined;
  }

  /** Counts one message that is to be published; returns whether it may be. */
  allow(now: number): boolean {
    return this.#allowance === undefined || this.#allowance.spend(now);
  }
}

function allowanceOf({ messagesPerSecond }: Rights): Allowance | undefined {
  if (messagesPerSecond === Infinity) return undefined;
  return new Allowance(Math.max(1, messagesPerSecond), messagesPerSecond);
}

/** The keys that a broker has now. */
export class Keyring {
  /** The key without a name. */
  readonly single: Key;
  #named: ReadonlyMap<string, Key>;
  #advice: string | undefined;
  #isAdvised = false;

  /**
   * Makes a keyring; without `authkey` the single key is random, so that nobody has it.
   *
   * @throws {TypeError} If a key, or a field of one, is of the wrong kind.
   * @throws {RangeError} If a key or its name is empty, the name comes twice, or it
   * grants too many topics.
   */
  constructor(authkey: string | Uint8Array | undefined, keys: readonly BrokerKey[]) {
    this.single = new Key("", keyBytes(authkey ?? randomBytes(KEY_BYTES)), new Rights(EVERYTHING));
    this.#named = namedKeys(keys);
    this.#advice = slashIn(keys);
  }

  /** What is to be told of the keys that it was given, once. */
  takeAdvice(): string | undefined {
    const advice = this.#isAdvised ? undefined : this.#advice;
    this.#isAdvised ||= advice !== undefined;
    return advice;
  }

  /** The key of that name. */
  get(name: string): Key | undefined {
    return name === "" ? this.single : this.#named.get(name);
  }

  /** Whether a key is still one of these. */
  has(key: Key): boolean {
    return this.get(key.name) === key;
  }

  /**
   * Replaces the named keys. A key with the same name and the same bytes stays the same object, with the
   * new rights.
   *
   * @returns Those whose rights have changed.
   * @throws What the constructor throws; then nothing has changed.
   */
  replace(keys: readonly BrokerKey[]): ReadonlySet<Key> {
    const named = namedKeys(keys);
    const changed = new Set<Key>();
    for (const [name, key] of named) {
      const before = this.#named.get(name);
      if (before === undefined || !isSame(before.bytes, key.bytes)) continue;
      if (!before.rights.equals(key.rights)) {
        before.rights = key.rights;
        changed.add(before);
      }
      named.set(name, before);
    }
    this.#named = named;
    this.#advice = slashIn(keys);
    return changed;
  }
}

function namedKeys(keys: readonly BrokerKey[]): Map<string, Key> {
  if (!Array.isArray(keys)) throw new TypeError("Cannot use keys: it must be an array");
  const named = new Map<string, Key>();
  for (const [at, key] of keys.entries()) {
    const { name } = key;
    if (named.has(name)) throw new RangeError(`Cannot use keys: two have the name "${name}"`);
    named.set(name, namedKey(key, at));
  }
  return named;
}

function namedKey({ name, key, ...rights }: BrokerKey, at: number): Key {
  if (name === "" || name === undefined) {
    throw new RangeError(`Cannot use keys: number ${at} has no name`);
  }
  keyNameBytes(name, { mayBeTicket: false });
  try {
    return new Key(name, keyBytes(key), new Rights(rights));
  } catch (error) { // TypeError or RangeError: what is wrong with it.
    const text = `Cannot use the key "${name}": ${(error as Error).message}`;
    throw error instanceof RangeError
      ? new RangeError(text, { cause: error })
      : new TypeError(text, { cause: error });
  }
}

/** What is to be told of a grant that may be meant as a path. */
function slashIn(keys: readonly BrokerKey[]): string | undefined {
  for (const { name, publish = [], subscribe = [], serve = [] } of keys) {
    for (const topic of [...publish, ...subscribe, ...serve]) {
      const notice = slashNotice(topic);
      if (notice !== undefined) return `${notice} (in the key "${name}")`;
    }
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * The keys of a keys file: JSON, `{ "keys": [{ "name": …, "key": base64, … }] }`, with the fields of
 * {@linkcode BrokerKey}; within a topic, `null` is `any`.
 *
 * @throws {TypeError} If it is not that, or a key is not a valid one, as for a {@linkcode Keyring}. An
 * unknown field is an error, because it may be a misspelt right, and so is a grant that is a plain
 * string with a slash in it, or with what looks like a pattern.
 * @throws {RangeError} If a key or its name is empty, or the name comes twice.
 */
export function parseKeys(text: string): BrokerKey[] {
  const content = parseJson(text);
  if (!isRecord(content) || !Array.isArray(content.keys)) {
    throw new TypeError('it has no "keys": write { "keys": [{ "name": …, "key": … }] }');
  }
  checkFields("the file", content, ["keys"]);
  const keys = content.keys.map((entry: unknown, at) => {
    if (!isRecord(entry)) throw new TypeError(`key number ${at} is not an object`);
    const { name, key, ...rights } = entry;
    if (typeof name !== "string") throw new TypeError(`key number ${at} has no name`);
    checkFields(`the key "${name}"`, entry, FILE_FIELDS);
    if (typeof key !== "string") throw new TypeError(`the key "${name}" has no "key"`);
    for (const right of ["publish", "subscribe", "serve"]) {
      const topics = rights[right];
      if (Array.isArray(topics)) rights[right] = topics.map((topic) => topicFromJson(topic));
    }
    return { name, key: keyFrom(name, key), ...rights } as BrokerKey;
  });
  namedKeys(keys);
  for (const { name, publish = [], subscribe = [], serve = [] } of keys) {
    for (const topic of [...publish, ...subscribe, ...serve]) checkNoPattern(name, topic);
  }
  const slash = slashIn(keys);
  if (slash !== undefined) throw new TypeError(slash);
  return keys;
}

function checkNoPattern(name: string, topic: Topic): void {
  if (typeof topic !== "string" || !topic.split("/").some(looksLikePattern)) return;
  throw new TypeError(
    `the key "${name}" grants "${topic}", but there are no wildcards like that: a topic grants all ` +
      `below it, null everything, and in an array null is any name; write ["${topic}"] for that name`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) { // SyntaxError, whose message quotes what may be a key.
    const [place = ""] = / \(line \d+ column \d+\)/.exec((cause as Error).message) ?? [];
    // A text of Windows has 0 bytes between its letters.
    const what = text.includes("\0") ? "it is UTF-16; save it as UTF-8" : `it is not JSON${place}`;
    throw new TypeError(what);
  }
}

function checkFields(what: string, fields: object, known: readonly string[]): void {
  const unknown = Object.keys(fields).find((field) => !known.includes(field));
  if (unknown === undefined) return;
  throw new TypeError(
    `${what} has an unknown field "${unknown}"; known fields are ${known.join(", ")}`,
  );
}

function keyFrom(name: string, text: string): Uint8Array<ArrayBuffer> {
  try {
    return fromBase64(text);
  } catch (cause) { // SyntaxError.
    throw new TypeError(`the key "${name}" is not base64`, { cause });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
