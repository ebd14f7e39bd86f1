/**
 * A client that says what an attack wants, right or wrong. It was written against `docs/protocol.md`
 * alone and shares no code with the library: so it also shows that the page is enough.
 *
 * ```
 * const client = await RawClient.dial(endpoint);
 * const { code } = await client.authenticate({ name: "", key });      // 0: the broker lets us in
 * const opened = await client.open({ topics: [topic("foo")] });
 * await client.send(frame(Type.PUBLISH, topic("foo"), payload({ n: small(1) })));
 * ```
 */

/** Where a broker listens. */
export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

/** A key, and the name under which the broker knows it. */
export interface Credentials {
  readonly name: string;
  readonly key: string;
}

/** The same of a key that may be bytes; a text stands for its UTF-8. */
export interface RawCredentials {
  readonly name: string;
  readonly key: string | Uint8Array<ArrayBuffer>;
}

/** The types of frames, as in the table of `docs/protocol.md`. */
export const Type = {
  PUBLISH: 1,
  OPEN: 2,
  OPENED: 3,
  SUBSCRIBE: 4,
  UNSUBSCRIBE: 5,
  ACK: 6,
  ASK: 7,
  GOODBYE: 8,
  GAP: 9,
  REFUSED: 10,
  DENIED: 11,
  LOST: 12,
  JOIN: 13,
  LEAVE: 14,
  JOB: 15,
  FINISHED: 16,
  RETURNED: 17,
} as const;

/** The types of frames that have numbers, by lane. */
export const COUNTED: Readonly<Record<"messages" | "calls", readonly number[]>> = {
  messages: [Type.PUBLISH, Type.GAP, Type.REFUSED, Type.LOST],
  calls: [Type.JOB, Type.FINISHED, Type.RETURNED],
};

/** Refusals in a handshake, as in its table; 0 is none. */
export const Refusal = { NONE: 0, VERSION: 1, BUSY: 2, AUTH: 3, EXPIRED: 4 } as const;

/** Reasons of a GOODBYE, a REFUSED or a DENIED, as in their table. */
export const Reason = {
  DONE: 0,
  SHUTDOWN: 1,
  PROTOCOL: 2,
  TOO_BIG: 3,
  TOO_MANY_SUBSCRIPTIONS: 4,
  CUT_OFF: 5,
  FORBIDDEN: 6,
  REPLACED: 7,
  TOPIC_TOO_BIG: 8,
  TOO_FAST: 9,
  KEY_REVOKED: 10,
  NOT_READING: 11,
  BUSY: 12,
  EXPIRED: 13,
  GROUP_FULL: 14,
  ABANDONED: 15,
} as const;

const MAGIC = bytesOf("mpubsub\n");
/** Bytes of the parts of a handshake. */
const NONCE = 32;
const PROOF = 32;
const CHALLENGE = 58;
const CHALLENGE_HEAD = 10;
const SESSION = 16;
const LONG = 255;
const READ_BYTES = 64 * 1024;

/** The UTF-8 bytes of a text. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** All parts, one behind the other. */
export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The same bytes so many times, one behind the other. */
export function repeat(bytes: Uint8Array, times: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

/** Bytes that nobody can foresee. */
export function random(count: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** A number as so many bytes, little endian. */
export function number(value: number | bigint, bytes: 1 | 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const all = new DataView(new ArrayBuffer(8));
  all.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(all.buffer, 0, bytes);
}

/** A size in its shortest form. */
export function size(value: number): Uint8Array<ArrayBuffer> {
  return value < LONG ? Uint8Array.of(value) : longSize(value);
}

/** A size in its long form. */
export function longSize(value: number): Uint8Array<ArrayBuffer> {
  return join(Uint8Array.of(LONG), number(value, 4));
}

/** A size, and as many bytes. */
export function sized(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const body = join(...parts);
  return join(size(body.length), body);
}

/** A whole frame. */
export function frame(type: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return sized(Uint8Array.of(type), ...parts);
}

/** A topic block. */
export function topic(...elements: readonly string[]): Uint8Array<ArrayBuffer> {
  return sized(...elements.map((element) => sized(bytesOf(element))));
}

/** What an OPEN says; a new session that wants nothing, unless something else is said. */
export interface Opening {
  session?: Uint8Array;
  taken?: number | bigint;
  policy?: number;
  patience?: number;
  name?: Uint8Array;
  topics?: readonly Uint8Array[];
  /** How many topics these are said to be. */
  topicCount?: number;
  /** How many calls were taken. */
  calls?: number | bigint;
  /** The bodies of JOIN. */
  members?: readonly Uint8Array[];
}

/** An OPEN. */
export function openFrame(opening: Opening = {}): Uint8Array<ArrayBuffer> {
  const { session = new Uint8Array(SESSION), taken = 0, policy = 0, patience = 0 } = opening;
  const { name = bytesOf("raw"), topics = [], calls = 0, members = [] } = opening;
  const { topicCount = topics.length } = opening;
  const head = [session, number(taken, 8), number(calls, 8), number(policy, 1)];
  const named = [number(patience, 4), number(name.length, 1), name];
  const wanted = [number(topicCount, 4), ...topics, ...members];
  return frame(Type.OPEN, ...head, ...named, ...wanted);
}

/** A member of a group. */
export interface RawMember {
  number: number;
  concurrency: number;
  group: string;
  topic: Uint8Array;
}

/** A JOIN. */
export function joinFrame(member: RawMember): Uint8Array<ArrayBuffer> {
  const group = bytesOf(member.group);
  const head = [number(member.number, 4), number(member.concurrency, 4), number(group.length, 1)];
  return frame(Type.JOIN, ...head, group, member.topic);
}

/** A LEAVE. */
export function leaveFrame(member: number): Uint8Array<ArrayBuffer> {
  return frame(Type.LEAVE, number(member, 4));
}

/** The first number and the count of some jobs. */
export type RawRange = readonly [first: number | bigint, count: number];

/** A FINISHED. */
export function finishedFrame(ranges: readonly RawRange[]): Uint8Array<ArrayBuffer> {
  return frame(Type.FINISHED, ...ranges.flatMap(rangeOf));
}

/** A RETURNED. */
export function returnedFrame(ranges: readonly RawRange[]): Uint8Array<ArrayBuffer> {
  return frame(Type.RETURNED, ...ranges.flatMap(rangeOf));
}

function rangeOf([first, count]: RawRange): Uint8Array[] {
  return [number(first, 8), number(count, 4)];
}

/** An ACK. */
export function ackFrame(
  messages: number | bigint,
  requests: number,
  calls: number | bigint = 0,
): Uint8Array<ArrayBuffer> {
  return frame(Type.ACK, number(messages, 8), number(calls, 8), number(requests, 4));
}

/** A payload: the names of an object with their values, each as it stands on the wire. */
export function payload(members: Readonly<Record<string, Uint8Array>>): Uint8Array<ArrayBuffer> {
  return payloadOf(Object.entries(members));
}

/** The same, where names may come twice or be `__proto__`. */
export function payloadOf(
  members: readonly (readonly [name: string | Uint8Array, value: Uint8Array])[],
): Uint8Array<ArrayBuffer> {
  const names = members.map(([name]) => sized(typeof name === "string" ? bytesOf(name) : name));
  return join(sized(...names), ...members.map(([, value]) => value));
}

/** An integer from 0 to 127, as a value. */
export function small(value: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(value);
}

/** Bytes as a value. */
export function bytesValue(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return join(Uint8Array.of(0xaf), sized(bytes));
}

/** `true` as a value. */
export const TRUE: Uint8Array<ArrayBuffer> = Uint8Array.of(0xa2);

/** What may be changed in a hello. */
export interface HelloParts {
  magic?: Uint8Array;
  lowest?: number;
  highest?: number;
  nonce?: Uint8Array;
  name?: Uint8Array;
  nameSize?: number;
}

/** Step 1. */
export function hello(parts: HelloParts = {}): Uint8Array<ArrayBuffer> {
  const { magic = MAGIC, lowest = 1, highest = 1, nonce = random(NONCE), name = bytesOf("") } =
    parts;
  const { nameSize = name.length } = parts;
  return join(magic, Uint8Array.of(lowest, highest), nonce, number(nameSize, 2), name);
}

/** HMAC-SHA-256 of all parts, one behind the other. */
export async function hmac(
  key: RawCredentials["key"],
  ...parts: readonly Uint8Array[]
): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const bytes = typeof key === "string" ? bytesOf(key) : key;
  const imported = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, join(...parts)));
}

/** A ticket of a key, that says this. */
export async function ticketOf(
  { key }: RawCredentials,
  says: Readonly<Record<string, unknown>>,
): Promise<RawCredentials> {
  const name = `~${JSON.stringify(says)}`;
  return { name, key: await hmac(key, bytesOf("mpubsub ticket\0"), bytesOf(name)) };
}

/** Step 3. */
export function proofOf(
  key: RawCredentials["key"],
  helloSent: Uint8Array,
  challenge: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  return hmac(key, bytesOf("mpubsub client\0"), helloSent, challenge);
}

/** All that passed in a handshake. */
export interface Handshake {
  readonly hello: Uint8Array<ArrayBuffer>;
  readonly challenge: Uint8Array<ArrayBuffer>;
  readonly proof: Uint8Array<ArrayBuffer>;
  /** 0, or why the broker refuses; none when it closed without a word. */
  readonly code: number | undefined;
  /** The broker's proof, when it let us in. */
  readonly brokerProof: Uint8Array<ArrayBuffer> | undefined;
}

/** What a broker answers to a hello. */
export interface Challenge {
  /** 0, or why the broker refuses; none when it closed without a word. */
  readonly code: number | undefined;
  readonly version: number | undefined;
  /** All bytes that came, 58 when it is a challenge. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A frame as it came. */
export interface RawFrame {
  readonly type: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** The part of an OPENED that attacks look at. */
export interface Opened {
  readonly outcome: number;
  readonly session: Uint8Array<ArrayBuffer>;
  readonly taken: number;
  /** Topics that were denied before it came. */
  readonly denied: number;
}

/** What carries bytes to the broker and back. */
export type Carrier = Pick<Deno.Conn, "read" | "write" | "close">;

/** One connection. */
export class RawClient implements Disposable {
  readonly #conn: Carrier;
  #bytes = new Uint8Array(0);
  /** Counted frames and requests that came; requests that were sent. */
  #taken = 0;
  #asked = 0;
  #asks = 0;
  #closed = false;

  /** Begins on a connection on which nothing was said. */
  constructor(conn: Carrier) {
    this.#conn = conn;
  }

  /** A connection that is there, and has carried nothing yet. */
  static over(carrier: Carrier): RawClient {
    return new RawClient(carrier);
  }

  /** Connects, without a word. */
  static async dial(endpoint: Endpoint): Promise<RawClient> {
    const conn = await Deno.connect({ ...endpoint });
    conn.setNoDelay(true);
    return new RawClient(conn);
  }

  /** Connects and authenticates; fails when it is not let in. */
  static async authenticated(
    endpoint: Endpoint,
    credentials: RawCredentials,
  ): Promise<RawClient> {
    const client = await RawClient.dial(endpoint);
    const { code } = await client.authenticate(credentials);
    if (code === Refusal.NONE) return client;
    client.close();
    throw new Error(`The broker did not let "${credentials.name}" in: ${code ?? "it closed"}`);
  }

  /** Connects, authenticates and opens a session. */
  static async opened(
    endpoint: Endpoint,
    credentials: RawCredentials,
    opening: Opening = {},
  ): Promise<RawClient> {
    const client = await RawClient.authenticated(endpoint, credentials);
    await client.open(opening);
    return client;
  }

  /** Writes all bytes; whether the connection took them. */
  async send(...parts: readonly Uint8Array[]): Promise<boolean> {
    const bytes = parts.length === 1 ? parts[0]! : join(...parts);
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      return true;
    } catch (_error) { // Reset, a broken pipe, or closed here meanwhile.
      return false;
    }
  }

  /** Exactly so many bytes, or those that came before the end. */
  async read(count: number): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#bytes.length < count && await this.#more());
    return this.#take(Math.min(count, this.#bytes.length));
  }

  #take(count: number): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  async #more(): Promise<boolean> {
    const room = new Uint8Array(READ_BYTES);
    try {
      const count = await this.#conn.read(room);
      if (count === null) return false;
      const more = room.subarray(0, count);
      this.#bytes = this.#bytes.length === 0 ? more : join(this.#bytes, more);
      return true;
    } catch (_error) { // Reset, or closed here meanwhile.
      return false;
    }
  }

  /** The next frame; none at the end. */
  async frame(): Promise<RawFrame | undefined> {
    const first = await this.read(1);
    const long = first[0] === LONG ? await this.read(4) : undefined;
    const length = long === undefined ? first[0] : new DataView(long.buffer).getUint32(0, true);
    if (length === undefined) return undefined;
    const rest = await this.read(length);
    if (rest.length < length) return undefined;
    const type = rest[0]!;
    if (COUNTED.messages.includes(type)) this.#taken++;
    if (type === Type.ASK) this.#asked++;
    return { type, body: rest.slice(1) };
  }

  /** Acknowledges all that was read. */
  async acknowledge(): Promise<void> {
    await this.send(ackFrame(this.#taken, this.#asked));
  }

  /** The next frame of a type; none at the end. */
  async frameOf(type: number): Promise<RawFrame | undefined> {
    let next = await this.frame();
    while (next !== undefined && next.type !== type) next = await this.frame();
    return next;
  }

  /** Reads to the end; the reason of the broker's GOODBYE, none if it closed without a word. */
  async goodbye(): Promise<number | undefined> {
    return (await this.frameOf(Type.GOODBYE))?.body[0];
  }

  /** Reads to the end, and forgets what comes. */
  async ended(): Promise<void> {
    while (await this.#more()) this.#bytes = new Uint8Array(0);
  }

  /** Reads what answers a hello. */
  async challenge(): Promise<Challenge> {
    const head = await this.read(CHALLENGE_HEAD);
    const code = head[MAGIC.length];
    const rest = code === Refusal.NONE ? await this.read(CHALLENGE - CHALLENGE_HEAD) : undefined;
    return { code, version: head[MAGIC.length + 1], bytes: join(head, rest ?? bytesOf("")) };
  }

  /** Reads what answers a proof. */
  async answer(): Promise<Pick<Handshake, "code" | "brokerProof">> {
    const [code] = await this.read(1);
    return { code, brokerProof: code === Refusal.NONE ? await this.read(PROOF) : undefined };
  }

  /** A whole handshake; `parts` changes its hello. */
  async authenticate(
    { name, key }: RawCredentials,
    parts: HelloParts = {},
  ): Promise<Handshake> {
    const ours = hello({ name: bytesOf(name), ...parts });
    await this.send(ours);
    const { code, bytes: challenge } = await this.challenge();
    const proof = await proofOf(key, ours, challenge);
    const before = { hello: ours, challenge, proof };
    if (code !== Refusal.NONE) return { ...before, code, brokerProof: undefined };
    await this.send(proof);
    return { ...before, ...await this.answer() };
  }

  /** Opens a session, or goes on with one. */
  async open(opening: Opening = {}): Promise<Opened> {
    await this.send(openFrame(opening));
    let denied = 0;
    for (;;) {
      const next = await this.frame();
      if (next?.type === Type.DENIED) denied++;
      else if (next?.type === Type.OPENED) return { ...openedOf(next.body), denied };
      else throw new Error(`The broker did not open a session: ${next?.type} ${next?.body}`);
    }
  }

  /** Waits until the broker has taken all that was sent; whether it has. The only one to send ASK. */
  async flush(): Promise<boolean> {
    const wanted = ++this.#asks;
    await this.send(frame(Type.ASK));
    for (;;) {
      const ack = await this.frameOf(Type.ACK);
      if (ack === undefined) return false;
      if (new DataView(ack.body.buffer).getUint32(16, true) >= wanted) return true;
    }
  }

  /** Ends the connection; twice is once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#conn.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openedOf(body: Uint8Array<ArrayBuffer>): Omit<Opened, "denied"> {
  const taken = Number(new DataView(body.buffer).getBigUint64(1 + SESSION, true));
  return { outcome: body[0]!, session: body.slice(1, 1 + SESSION), taken };
}

/** The elements of the topic block that a body begins with. */
export function topicOf(body: Uint8Array<ArrayBuffer>): string[] {
  const elements: string[] = [];
  const [start, length] = sizeAt(body, 0);
  for (let at = start; at < start + length;) {
    const [from, count] = sizeAt(body, at);
    elements.push(new TextDecoder().decode(body.subarray(from, from + count)));
    at = from + count;
  }
  return elements;
}

/** Where what a size counts begins, and how much it is. */
function sizeAt(bytes: Uint8Array<ArrayBuffer>, at: number): [start: number, size: number] {
  if (bytes[at] !== LONG) return [at + 1, bytes[at]!];
  return [at + 5, new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 1, true)];
}
