/**
 * Tickets: what somebody who has a key makes of it for a client that must not have it, such as a page.
 * All that a ticket says stands in its name, so nobody keeps a list of them:
 *
 * ```
 *  keyName   ~{"name":"page","expires":1796083200000,"for":"ann","subscribe":[["rooms","7"]]}
 *  its key   HMAC-SHA-256(the key "page", "mpubsub ticket\0" ‖ keyName)
 * ```
 *
 * Whoever changes a byte of the name has no key for it. `createTicket` makes tickets, the handshake
 * checks them; here is only what stands in a name.
 */
import { printable } from "../base/printable.ts";
import { shortestTopic, topicFromJson, type TopicPattern, topicPattern } from "../topic.ts";

/** How the `keyName` of a ticket begins, and the name of no key. */
const MARK = "~";
/** The longest `keyName` of a ticket, in bytes of UTF-8. */
export const TICKET_NAME_BYTES_MAX = 1024;
/** Whoever holds a ticket can guess at its key; so shorter keys have none. */
export const TICKET_KEY_BYTES_MIN = 16;
/** How far the clocks of who makes a ticket and of the broker may be apart. */
export const TICKET_SKEW_MS = 60_000;
/** The longest text that says for whom a ticket is, in bytes of UTF-8. */
const FOR_BYTES_MAX = 255;
/** The last moment that has a date. */
export const EXPIRES_MAX = 8.64e15;

/** The rights that a ticket can narrow. */
export const NARROWING = ["publish", "subscribe", "serve"] as const;
const FIELDS: readonly string[] = ["name", "expires", "for", ...NARROWING];
const encoder = new TextEncoder();

/** To which topics a ticket narrows the rights of its key; what is left out stays as the key has it. */
export type Narrowing<T = TopicPattern> = {
  readonly [right in typeof NARROWING[number]]?: readonly T[] | undefined;
};

/** What a ticket says. */
export interface Ticket {
  /** The name of its key; empty for the single key. */
  readonly name: string;
  /** When it ends, in milliseconds since 1970. */
  readonly expires: number;
  /** For whom it is; `undefined` for nobody by name. */
  readonly for: string | undefined;
  readonly narrow: Narrowing;
}

/** Whether the name of a key is that of a ticket. */
export function isTicketName(keyName: string): boolean {
  return keyName.startsWith(MARK);
}

/** The name of a ticket. */
export function ticketName({ name, expires, for: who, narrow }: Ticket): string {
  const rights = NARROWING.map((right) => [right, narrow[right]?.map(shortestTopic)]);
  return MARK + JSON.stringify({ name, expires, for: who, ...Object.fromEntries(rights) });
}

/** Of which key something claims to be a ticket; `undefined` if it cannot be one. */
export function claimedKey(keyName: string): string | undefined {
  const name = fieldsOf(keyName)?.name;
  return typeof name === "string" ? name : undefined;
}

/**
 * What a ticket says that was made with its key; `undefined` if whoever made it did not keep to the
 * form, or to that of a later version, which may narrow what this one does not know.
 */
export function readTicket(keyName: string): Ticket | undefined {
  const fields = fieldsOf(keyName);
  if (fields === undefined) return undefined;
  const { name, expires, for: who, publish, subscribe, serve } = fields;
  const isKnown = Object.keys(fields).every((field) => FIELDS.includes(field));
  if (!isKnown || typeof name !== "string" || !isExpiry(expires)) return undefined;
  try {
    if (who !== undefined) checkFor(who);
    const narrow = narrowing({
      publish: fromJson(publish),
      subscribe: fromJson(subscribe),
      serve: fromJson(serve),
    });
    return { name, expires, for: who as string | undefined, narrow };
  } catch (error) { // What is wrong with it.
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** What narrows a right, with the topics that stand there as JSON. */
function fromJson(topics: unknown): unknown {
  return Array.isArray(topics) ? topics.map((topic) => topicFromJson(topic)) : topics;
}

function fieldsOf(keyName: string): Readonly<Record<string, unknown>> | undefined {
  if (!isTicketName(keyName)) return undefined;
  try {
    const fields: unknown = JSON.parse(keyName.slice(MARK.length));
    const isRecord = typeof fields === "object" && fields !== null && !Array.isArray(fields);
    return isRecord ? fields as Record<string, unknown> : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether a time can be the end of a ticket. */
export function isExpiry(expires: unknown): expires is number {
  return typeof expires === "number" && Number.isInteger(expires) && expires > 0 &&
    expires <= EXPIRES_MAX;
}

/** Whether a ticket is over at a time in milliseconds since 1970. */
export function isExpired({ expires }: Ticket, date: number): boolean {
  return date >= expires + TICKET_SKEW_MS;
}

/**
 * Checks for whom a ticket is.
 *
 * @throws {TypeError} If that is no well-formed text.
 * @throws {RangeError} If it is empty or too long.
 */
export function checkFor(who: unknown): asserts who is string {
  if (typeof who !== "string" || !who.isWellFormed()) {
    throw new TypeError("Cannot make a ticket: for must be a well-formed string");
  }
  const { length } = encoder.encode(who);
  if (length >= 1 && length <= FOR_BYTES_MAX) return;
  const shown = printable(JSON.stringify(who), 80);
  throw new RangeError(
    `Cannot make a ticket for ${shown}: it has ${length} bytes; it must have 1 to ${FOR_BYTES_MAX}`,
  );
}

/**
 * Checks that something has these fields and no others: what is misspelt, or stands where nobody looks,
 * would narrow nothing.
 *
 * @throws {TypeError} If it has others, or is no plain object.
 */
export function checkFields(
  what: string,
  fields: unknown,
  known: readonly string[],
): asserts fields is Readonly<Record<string, unknown>> {
  if (!isPlainObject(fields)) {
    throw new TypeError(`Cannot make a ticket: ${what} must be an object with ${known.join(", ")}`);
  }
  const unknown = Object.keys(fields).find((field) => !known.includes(field));
  if (unknown === undefined) return;
  const shown = printable(JSON.stringify(unknown), 80);
  throw new TypeError(`Cannot make a ticket: ${what} has ${shown}; known are ${known.join(", ")}`);
}

/** Whether a value is one like those that `{}` makes, in this realm or another. */
function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * Checks what a ticket narrows.
 *
 * @throws {TypeError} If it has a field that is none, or something that is no list of topics.
 * @throws {RangeError} If a topic has too many elements, or one that is too long.
 */
export function narrowing(narrow: unknown): Narrowing {
  checkFields("narrow", narrow, NARROWING);
  const paths: { -readonly [right in keyof Narrowing]: Narrowing[right] } = {};
  for (const right of NARROWING) {
    const topics = narrow[right];
    if (topics === undefined) continue;
    if (!Array.isArray(topics)) {
      throw new TypeError(`Cannot make a ticket: narrow.${right} must be an array of topics`);
    }
    paths[right] = Array.from(topics, (topic) => topicPattern(topic));
  }
  return paths;
}
