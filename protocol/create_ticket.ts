/**
 * Makes tickets, wherever there is a key: no broker is needed.
 */
import { toBase64 } from "../base/base64.ts";
import { clock } from "../base/clock.ts";
import type { Topic } from "../topic.ts";
import { keyBytes, keyNameBytes, ticketKey } from "./handshake.ts";
import {
  checkFields,
  checkFor,
  EXPIRES_MAX,
  isExpiry,
  narrowing,
  type Ticket as Content,
  TICKET_KEY_BYTES_MIN,
  TICKET_NAME_BYTES_MAX,
  ticketName,
} from "./ticket.ts";

const OPTIONS: readonly (keyof TicketOptions)[] = ["name", "for", "narrow", "expireIn"];

/** To what a ticket narrows the rights of its key. */
export interface TicketNarrow {
  /** The topics to which its holder may publish, each with all below it; by default those of the key. */
  publish?: readonly Topic[] | undefined;
  /** The topics to which its holder may subscribe, each with all below it; by default those of the key. */
  subscribe?: readonly Topic[] | undefined;
  /**
   * The topics of whose groups its holder may be a member, each with all below it, if it may subscribe
   * to all of the topic, too; by default those of the key.
   */
  serve?: readonly Topic[] | undefined;
}

/** What a ticket is for. */
export interface TicketOptions {
  /** The name of the key; `""` for the key without a name, the broker's `authkey`. */
  name: string;
  /**
   * Who it is for, 1 to 255 bytes of UTF-8, such as the name of a user. The broker tells it of each
   * client, lets a session go on under a later ticket with the same one, and shares out what a key has
   * among those for whom its tickets are.
   */
  for?: string | undefined;
  /**
   * Narrows the rights of the key. What the key does not grant, its tickets do not either, whatever they
   * say, and without an error.
   */
  narrow?: TicketNarrow | undefined;
  /** How long it can be used, in milliseconds. */
  expireIn: number;
}

/** A ticket, as a client uses it: `keyName` and `authkey` of a connection file. */
export interface Ticket {
  /** What a client gives as `keyName`, at most 1 KiB. It holds all that the ticket says; it is no secret. */
  readonly keyName: string;
  /** The key of the ticket, in base64. */
  readonly authkey: string;
  /** When it ends, in milliseconds since 1970. */
  readonly expires: number;
}

/**
 * Makes a ticket: a key that ends by itself, and grants no more than the one of which it is made. It is
 * for clients that must not have that key, such as pages.
 *
 * - It needs no broker, and no broker keeps it. Whoever has the key can make tickets; to end them all
 *   before their time, change the key.
 * - When it ends, the broker ends the connection; its clock may be a minute behind. The client may come
 *   back with another ticket.
 *
 * @param key The broker's key of that name, at least 16 bytes: whoever holds a ticket can guess at its
 * key, as often as they like. A string stands for its UTF-8 bytes.
 * @param options Of which key it is, for whom, what it narrows, and when it ends.
 * @returns What a client connects with.
 * @throws {TypeError} If something is of the wrong kind, or has a field that is unknown.
 * @throws {RangeError} If the key is too short, or something is too long or out of range.
 *
 * @example
 * ```ts
 * import { Broker, createTicket, NetPubSub } from "@mpubsub/mpubsub";
 * import { assertEquals, assertInstanceOf } from "@std/assert";
 *
 * const key = crypto.getRandomValues(new Uint8Array(32));
 * await using broker = new Broker({
 *   address: "tcp://127.0.0.1:0",
 *   keys: [{ name: "page", key, publish: ["rooms"], subscribe: ["rooms"] }],
 * });
 * await broker.start();
 *
 * const { keyName, authkey } = await createTicket(key, {
 *   name: "page",
 *   for: "ann",
 *   narrow: { publish: [["rooms", "7"]] },
 *   expireIn: 3_600_000, // an hour
 * });
 *
 * const bytes = Uint8Array.from(atob(authkey), (c) => c.charCodeAt(0));
 * const refused = Promise.withResolvers<unknown>();
 * await using page = new NetPubSub(broker.address, bytes, { keyName, onError: refused.resolve });
 * await page.connect();
 * page.publish(["rooms", "8"], { text: "not mine" });
 * assertEquals((await refused.promise as Error).name, "ForbiddenError");
 * ```
 */
export async function createTicket(
  key: string | Uint8Array,
  options: TicketOptions,
): Promise<Ticket> {
  checkFields("the second argument", options, OPTIONS);
  const { name, for: who, narrow = {}, expireIn } = options;
  if (typeof name !== "string") {
    throw new TypeError(
      `Cannot make a ticket: name is ${typeof name}; it must be a string, "" for the key without one`,
    );
  }
  keyNameBytes(name, { mayBeTicket: false });
  if (who !== undefined) checkFor(who);
  if (typeof expireIn !== "number") {
    throw new TypeError(
      `Cannot make a ticket: expireIn is ${typeof expireIn}; it must be a number`,
    );
  }
  const expires = Math.ceil(clock.date() + expireIn);
  if (!(expireIn > 0) || !isExpiry(expires)) {
    throw new RangeError(
      `Cannot make a ticket: expireIn is ${expireIn}; it must be a positive number of ms, ` +
        `and end before ${new Date(EXPIRES_MAX).toISOString()}`,
    );
  }
  return await sealed(key, { name, expires, for: who, narrow: narrowing(narrow) });
}

/**
 * Makes the ticket that says this.
 *
 * @throws {TypeError} If the key is of the wrong kind.
 * @throws {RangeError} If the key is too short, or what the ticket says is too long.
 */
export async function sealed(key: string | Uint8Array, content: Content): Promise<Ticket> {
  const bytes = keyBytes(key);
  if (bytes.length < TICKET_KEY_BYTES_MIN) {
    throw new RangeError(
      `Cannot make a ticket of a key of ${bytes.length} bytes: whoever holds a ticket can guess at ` +
        `its key; it must have ${TICKET_KEY_BYTES_MIN} at least`,
    );
  }
  const keyName = ticketName(content);
  const name = new TextEncoder().encode(keyName);
  if (name.length > TICKET_NAME_BYTES_MAX) {
    throw new RangeError(
      `Cannot make a ticket: what it says takes ${name.length} bytes; the limit is ` +
        `${TICKET_NAME_BYTES_MAX}: narrow it to fewer topics, or to one above them`,
    );
  }
  const authkey = toBase64(await ticketKey(bytes, name));
  return { keyName, authkey, expires: content.expires };
}
