/**
 * The handshake, as a pure exchange of bytes: both sides prove that they have the same key, and
 * neither learns anything about it from the other.
 *
 * ```
 * client                                                        broker
 *   hello      magic 8 · lowest u8 · highest u8 · nonce 32 · name size u16 · name  →
 *            ←   challenge  magic 8 · 0 u8 · version u8 · broker id 16 · nonce 32
 *   proof      HMAC(K, "mpubsub client\0" ‖ hello ‖ challenge)                     →
 *            ←   answer     0 u8 · HMAC(K, "mpubsub broker\0" ‖ hello ‖ challenge ‖ proof)
 * ```
 *
 * HMAC is HMAC-SHA-256. The client proves first, so whoever connects learns nothing that helps to guess
 * the key. To refuse, a broker sends another byte (see {@linkcode Refusal}) instead of the 0 in its
 * challenge or its answer, and then closes; a refusal is only a hint, because nothing proves it.
 *
 * The name may be that of a ticket, which ticket.ts explains: then K is made of the key that it names.
 *
 * The two labels keep a proof of one side from being sent back as a proof of the other. The proofs
 * include the nonces of both sides, so that a recorded handshake is worth nothing.
 */
import { concat } from "../base/bytes.ts";
import { clock } from "../base/clock.ts";
import { hmacOf } from "../base/hmac_sha256.ts";
import { printable } from "../base/printable.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import {
  claimedKey,
  isExpired,
  isTicketName,
  readTicket,
  type Ticket,
  TICKET_KEY_BYTES_MIN,
  TICKET_NAME_BYTES_MAX,
} from "./ticket.ts";

/** The version of the protocol that this code speaks, the lowest and the highest. */
const PROTOCOL_VERSION = 1;
/** The longest name of a key that is no ticket, in bytes of UTF-8. */
export const KEY_NAME_BYTES_MAX = 64;
/** Bytes of a hello before the name of the key. */
export const HELLO_HEAD_BYTES = 44;
/** The longest name in a hello, in bytes. */
export const HELLO_NAME_BYTES_MAX: number = Math.max(KEY_NAME_BYTES_MAX, TICKET_NAME_BYTES_MAX);
/** Bytes of the part of a challenge that a refusal also has. */
export const CHALLENGE_HEAD_BYTES = 10;
/** Bytes of a challenge after its head. */
export const CHALLENGE_TAIL_BYTES = 48;
/** Bytes of a proof. */
export const PROOF_BYTES = 32;

/** Why a broker refuses a client; the numbers are those on the wire and in `docs/protocol.md`. */
export const Refusal = {
  /** The broker speaks no version that the client speaks. */
  VERSION: 1,
  /** The broker has as many connections as it may have. */
  BUSY: 2,
  /** The proof is wrong: another key, or a name that the broker does not know. */
  AUTH: 3,
  /** The proof is right, but the ticket has expired. */
  EXPIRED: 4,
} as const;

/** The number of a refusal. */
export type Refusal = typeof Refusal[keyof typeof Refusal];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const MAGIC = encoder.encode("mpubsub\n");
const CLIENT_LABEL = encoder.encode("mpubsub client\0");
const BROKER_LABEL = encoder.encode("mpubsub broker\0");
const TICKET_LABEL = encoder.encode("mpubsub ticket\0");
const NONCE_BYTES = 32;
/** Bytes of the id of a broker. */
export const BROKER_ID_BYTES = 16;
const GRANTED = 0;
const SHOWN_CHARS_MAX = 80;

/** A key as bytes: a string is its UTF-8 bytes. */
export function keyBytes(key: string | Uint8Array): Uint8Array<ArrayBuffer> {
  if (typeof key !== "string" && !(key instanceof Uint8Array)) {
    throw new TypeError("Cannot use authkey: it must be a string or a Uint8Array");
  }
  if (typeof key === "string" && !key.isWellFormed()) {
    throw new TypeError("Cannot use authkey: it has a lone surrogate, which has no UTF-8 bytes");
  }
  const bytes = typeof key === "string" ? encoder.encode(key) : new Uint8Array(key);
  if (bytes.length === 0) throw new RangeError("Cannot use authkey: it is empty");
  return bytes;
}

/**
 * The name of a key as bytes.
 *
 * @param options Whether it may also be that of a ticket, which is longer.
 */
export function keyNameBytes(name: string, { mayBeTicket = true } = {}): Uint8Array<ArrayBuffer> {
  if (typeof name !== "string") {
    throw new TypeError(`Cannot use keyName ${name}: it must be a string`);
  }
  if (!name.isWellFormed()) {
    throw new TypeError(`Cannot use keyName ${shownName(name)}: it has a lone surrogate`);
  }
  const isTicket = isTicketName(name);
  if (isTicket && !mayBeTicket) {
    throw new RangeError(`Cannot use keyName ${shownName(name)}: so begin the names of tickets`);
  }
  const bytes = encoder.encode(name);
  const limit = isTicket ? TICKET_NAME_BYTES_MAX : KEY_NAME_BYTES_MAX;
  if (bytes.length > limit) {
    throw new RangeError(
      `Cannot use keyName ${shownName(name)}: it has ${bytes.length} bytes; the limit is ${limit}`,
    );
  }
  return bytes;
}

/** A name as errors show it. */
function shownName(name: string): string {
  return printable(JSON.stringify(name), SHOWN_CHARS_MAX);
}

/** The name of a key, or of that of a ticket, as errors have it: no longer than a key's may be. */
export function nameOfKey(keyName: string): string {
  const name = isTicketName(keyName) ? claimedKey(keyName) ?? keyName : keyName;
  return name.slice(0, KEY_NAME_BYTES_MAX);
}

/** Random bytes that nobody can predict. */
export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** The other side is a broker, but speaks other versions of the protocol. */
export class VersionError extends ProtocolError {}

/** The client's side: four steps, in order. */
export class ClientHandshake {
  /** Step 1: the bytes to send first. */
  readonly hello: Uint8Array<ArrayBuffer>;
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #keyName: string;
  #challenge: Uint8Array<ArrayBuffer> = new Uint8Array();
  #proof: Uint8Array<ArrayBuffer> = new Uint8Array();

  /** Begins a handshake with a key, and the name under which the broker knows it. */
  constructor(key: Uint8Array, keyName: string, nonce = randomBytes(NONCE_BYTES)) {
    const name = keyNameBytes(keyName);
    this.#key = new Uint8Array(key);
    this.#keyName = keyName;
    this.hello = concat(
      MAGIC,
      Uint8Array.of(PROTOCOL_VERSION, PROTOCOL_VERSION),
      nonce,
      Uint8Array.of(name.length & 255, name.length >> 8),
      name,
    );
  }

  /**
   * Checks what has come of the challenge so far.
   *
   * @throws {ProtocolError} If what answers is not an mpubsub broker.
   */
  checkMagic(begin: Uint8Array): void {
    if (startsWithMagic(begin)) return;
    throw new ProtocolError("Cannot connect: what answers is not an mpubsub broker");
  }

  /**
   * Step 2: checks the head of the challenge, which may be a refusal.
   *
   * @throws {ProtocolError} If what answers is not an mpubsub broker, or speaks other versions.
   * @throws {ConnectionLostError} If the broker is busy.
   */
  checkChallengeHead(head: Uint8Array): void {
    this.checkMagic(head);
    if (head[8] === Refusal.BUSY) {
      throw new ConnectionLostError(
        "Cannot connect: the broker takes nobody now; try again later",
      );
    }
    if (head[8] === Refusal.VERSION || (head[8] === GRANTED && head[9] !== PROTOCOL_VERSION)) {
      throw new VersionError(
        `Cannot connect: the broker speaks version ${
          head[9]
        } of the protocol, and this client ${PROTOCOL_VERSION}`,
      );
    }
    if (head[8] !== GRANTED) {
      throw new ProtocolError(
        `Cannot connect: the broker refused, with the unknown code ${head[8]}`,
      );
    }
  }

  /** Step 3: the proof to send, from the whole challenge. */
  async prove(challenge: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    this.#challenge = challenge;
    const key = await hmacOf(this.#key);
    return this.#proof = await key.sign(concat(CLIENT_LABEL, this.hello, challenge));
  }

  /** Step 4a: checks the first byte of the broker's answer. */
  checkAnswer(code: number): void {
    if (code === GRANTED) return;
    const keyName = nameOfKey(this.#keyName);
    const key = keyName === "" ? "the key" : `the key named ${shownName(keyName)}`;
    const isTicket = isTicketName(this.#keyName);
    if (isTicket && code === Refusal.EXPIRED) {
      throw new AuthError(`Cannot connect: the ticket of ${key} has expired; get a new one`, {
        keyName,
        expired: true,
      });
    }
    throw new AuthError(
      isTicket
        ? `Cannot connect: the broker refused the ticket of ${key}; make it with the key that the broker has`
        : `Cannot connect: the broker refused ${key}; give both sides the same authkey`,
      { keyName },
    );
  }

  /** Step 4b: checks the broker's proof; returns the broker's random id. */
  async verify(proof: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const key = await hmacOf(this.#key);
    const text = concat(BROKER_LABEL, this.hello, this.#challenge, this.#proof);
    if (!await key.verify(proof, text)) {
      throw new AuthError(
        "Cannot connect: what answers did not prove that it has the key; it is not our broker",
        { keyName: nameOfKey(this.#keyName) },
      );
    }
    return this.#challenge.slice(CHALLENGE_HEAD_BYTES, CHALLENGE_HEAD_BYTES + BROKER_ID_BYTES);
  }
}

/** What a handshake needs of a key that the broker knows. */
export interface Secret {
  /** The key. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What a client has proved to have. */
export interface Proven<K extends Secret> {
  /** A key of the broker's. */
  readonly key: K;
  /** The ticket of it, if the client has no more than that. */
  readonly ticket: Ticket | undefined;
}

/** What a broker makes of a proof. */
export interface Verdict<K extends Secret> {
  /** What the client has proved, if it is let in. */
  readonly proven: Proven<K> | undefined;
  /** Whether the client has proved a ticket that has expired. */
  readonly isExpired: boolean;
  /** What the client is sent. */
  readonly answer: Uint8Array;
}

/** The broker's side of one handshake. */
export class BrokerHandshake<K extends Secret> {
  readonly #brokerId: Uint8Array;
  readonly #keyOf: (name: string) => K | undefined;
  #hello: Uint8Array<ArrayBuffer> = new Uint8Array();
  #challenge: Uint8Array<ArrayBuffer> = new Uint8Array();
  #keyName = "";

  /** Begins a handshake; `keyOf` knows the keys by name. */
  constructor(brokerId: Uint8Array, keyOf: (name: string) => K | undefined) {
    this.#brokerId = brokerId;
    this.#keyOf = keyOf;
  }

  /**
   * Step 1: how many bytes follow the head of the hello.
   *
   * @throws {ProtocolError} If these bytes are not a hello.
   */
  helloTail(head: Uint8Array): number {
    if (!startsWithMagic(head)) {
      throw new ProtocolError("Cannot authenticate a client: it does not speak mpubsub");
    }
    const size = head[HELLO_HEAD_BYTES - 2]! | head[HELLO_HEAD_BYTES - 1]! << 8;
    if (size > HELLO_NAME_BYTES_MAX) {
      throw new ProtocolError(
        `Cannot authenticate a client: its key name has ${size} bytes; ` +
          `the limit is ${HELLO_NAME_BYTES_MAX}`,
      );
    }
    return size;
  }

  /** Whether the whole hello allows a version that the broker speaks. */
  speaks(hello: Uint8Array): boolean {
    return hello[8]! <= PROTOCOL_VERSION && PROTOCOL_VERSION <= hello[9]!;
  }

  /** Step 2: the challenge, the same for every name. */
  challenge(hello: Uint8Array<ArrayBuffer>, nonce = randomBytes(NONCE_BYTES)): Uint8Array {
    this.#hello = hello;
    this.#keyName = decoder.decode(hello.subarray(HELLO_HEAD_BYTES));
    this.#challenge = concat(
      MAGIC,
      Uint8Array.of(GRANTED, PROTOCOL_VERSION),
      this.#brokerId,
      nonce,
    );
    return this.#challenge;
  }

  /** The refusal that is sent instead of a challenge. */
  refuse(refusal: Refusal): Uint8Array {
    return concat(MAGIC, Uint8Array.of(refusal, PROTOCOL_VERSION));
  }

  /**
   * Step 4: what the client has proved to have, if anything, and the answer to its proof.
   *
   * - An unknown name takes the same steps as a known one, with a key that nobody has; so does the ticket
   *   of a key that is unknown, or too short for tickets.
   * - Only who has proved the key of a ticket is told that it has expired.
   *
   * @param date The time, in milliseconds since 1970.
   */
  async answer(proof: Uint8Array<ArrayBuffer>, date: number = clock.date()): Promise<Verdict<K>> {
    const known = this.#known();
    const bytes = known?.bytes ?? randomBytes(PROOF_BYTES);
    const isTicket = isTicketName(this.#keyName);
    const key = await hmacOf(isTicket ? await ticketKey(bytes, this.#nameBytes) : bytes);
    const isRight = await key.verify(proof, concat(CLIENT_LABEL, this.#hello, this.#challenge));
    const signature = await key.sign(concat(BROKER_LABEL, this.#hello, this.#challenge, proof));
    if (!isRight || known === undefined) return refused(Refusal.AUTH);
    const ticket = isTicket ? readTicket(this.#keyName) : undefined;
    if (isTicket && ticket === undefined) return refused(Refusal.AUTH);
    if (ticket !== undefined && isExpired(ticket, date)) return refused(Refusal.EXPIRED);
    return {
      proven: { key: known, ticket },
      isExpired: false,
      answer: concat(Uint8Array.of(GRANTED), signature),
    };
  }

  /** The key that the client names, or of which it says to have a ticket. */
  #known(): K | undefined {
    if (!this.#isUtf8()) return undefined;
    if (!isTicketName(this.#keyName)) return this.#keyOf(this.#keyName);
    const claimed = claimedKey(this.#keyName);
    const key = claimed === undefined || isTicketName(claimed) ? undefined : this.#keyOf(claimed);
    return key !== undefined && key.bytes.length >= TICKET_KEY_BYTES_MIN ? key : undefined;
  }

  get #nameBytes(): Uint8Array<ArrayBuffer> {
    return this.#hello.subarray(HELLO_HEAD_BYTES);
  }

  /** Whether the name that the client gave is UTF-8; no key has another. */
  #isUtf8(): boolean {
    const name = this.#nameBytes;
    const again = encoder.encode(this.#keyName);
    return name.length === again.length && name.every((byte, i) => byte === again[i]);
  }

  /** The name of the key that the client gave, or of which it says to have a ticket. */
  get keyName(): string {
    return nameOfKey(this.#keyName);
  }
}

function refused(refusal: Refusal): Verdict<never> {
  return {
    proven: undefined,
    isExpired: refusal === Refusal.EXPIRED,
    answer: Uint8Array.of(refusal),
  };
}

/** Whether bytes are the first of what a client or a broker sends, as far as they are there. */
function startsWithMagic(bytes: Uint8Array): boolean {
  return MAGIC.subarray(0, bytes.length).every((byte, i) => bytes[i] === byte);
}

/** The key of the ticket of a key that has this name. */
export async function ticketKey(
  key: Uint8Array<ArrayBuffer>,
  name: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  return await (await hmacOf(key)).sign(concat(TICKET_LABEL, name));
}
