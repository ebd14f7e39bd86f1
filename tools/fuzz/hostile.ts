/**
 * A client that has a key and sends a broker whatever comes to mind: mostly frames that are right, so
 * that its sessions live, and now and then others. What the broker sends it must be right.
 */
import { delay } from "@std/async/delay";
import { concat, writeAll } from "../../base/bytes.ts";
import type { Broker } from "../../broker.ts";
import {
  encodeFrame,
  type Frame,
  FrameType,
  isCounted,
  type Reason,
} from "../../protocol/frame.ts";
import {
  clientFrameLimits,
  decodeAck,
  decodeGap,
  decodeGoodbye,
  decodeOpened,
  decodeRefused,
  encodeAck,
  encodeGoodbye,
  encodeOpening,
  Resumption,
} from "../../protocol/frame_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import { ClientHandshake } from "../../protocol/handshake.ts";
import { decodeTopic, encodeTopic, topicEnd } from "../../protocol/topic_block.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../../topic.ts";
import { isBrokerReport } from "../harness/broker_reports.ts";
import { decode } from "../harness/payload.ts";
import { dialBroker, readUpTo } from "../harness/peer.ts";
import type { Random } from "../harness/random.ts";
import { mangledFrame } from "./frames.ts";
import { bomb, must, type Notes } from "./target.ts";

/** A key of a broker. */
export interface HostileKey {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether it grants messages of this topic. */
  hears(path: TopicPath): boolean;
}

/** A session that the broker has opened. */
interface Known {
  readonly id: Uint8Array;
  readonly key: HostileKey;
  /** How many counted frames have come. */
  taken: number;
  /** Whether it may have subscribed to what the broker says of itself. */
  mayHearReports: boolean;
}

/** What the hostile clients of one broker have in common. */
export interface Crowd {
  readonly broker: Broker;
  /** The largest message that the broker takes. */
  readonly messageBytes: number;
  readonly keys: readonly HostileKey[];
  readonly sessions: Known[];
}

const CHALLENGE_BYTES = 58;
const ANSWER_BYTES = 33;
const LIVES_MAX = 6;
const ACTS_MAX = 16;
/** How long a client stays that has nothing more to say. */
const STAY_MS = 100;
const TOPIC_LIMITS = { messageBytes: 0, topicElements: 16, elementBytes: 255, subscriptions: 0 };
/** What a broker takes. */
const TAKEN = clientFrameLimits(TOPIC_LIMITS);
const TAKES_ALL = new Array<number>(12).fill(2 ** 31);
const COUNTS = [0n, 1n, 2n, 100n, 2n ** 31n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n];
const TOPICS = [
  [],
  ["weird"],
  ["weird", "a"],
  ["weird", "a", "b"],
  ["pair"],
  ["pair", "x"],
  ["*broker"],
  ["*broker", "x"],
  ["x", "*local"],
  ["__proto__", "constructor"],
  new Array<string>(16).fill("x"),
  ["x".repeat(255)],
].map(encodeTopic);
/** Stands in whatever subscribes to what the broker says of itself. */
const BROKER_NAME = new TextEncoder().encode("*broker");
/** What most listen to, and is flooded. */
const COMMON = TOPICS[2]!;
const WRONG_TOPICS = [
  ...[new Array<string>(17).fill("x"), ["x".repeat(256)], ["a", ""]].map(encodeTopic),
  Uint8Array.of(3, 2, 0xff, 0xfe),
  Uint8Array.of(2, 200, 97),
  Uint8Array.of(),
];

/** A few of these fill a queue. */
const LARGE = new Uint8Array(60_000);
const TOO_LARGE = new Uint8Array(80_000);
/** What OPENED says of a session, as words. */
const NAMES = ["", "hostile", "\u001b[2J", "é".repeat(32)];
const OUTCOMES = ["new", "resumed", "cut off"];

/** One hostile client. */
export class Hostile {
  readonly #crowd: Crowd;
  readonly #random: Random;
  readonly #notes: Notes;
  readonly #name: string;

  /** Makes one that is called `name` in the notes. */
  constructor(crowd: Crowd, random: Random, notes: Notes, name: string) {
    this.#crowd = crowd;
    this.#random = random;
    this.#notes = notes;
    this.#name = name;
  }

  /** Connects a few times, one connection after the other or beside it. */
  async live(): Promise<void> {
    const lives: Promise<void>[] = [];
    for (let left = 1 + this.#random.int(LIVES_MAX); left > 0; left--) {
      const life = this.#live();
      if (this.#random.int(3) > 0) await life;
      lives.push(life);
    }
    await Promise.all(lives);
  }

  async #live(): Promise<void> {
    const random = this.#random;
    const key = random.pick(this.#crowd.keys);
    using conn = await dialBroker(this.#crowd.broker);
    const ears = new Ears(conn, key, this.#crowd.sessions, this.#notes);
    try {
      if (!await authenticate(conn, key)) return;
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    const reading = random.int(5) > 0 ? ears.listen() : Promise.resolve();
    try {
      await this.#act(conn, ears, key);
    } catch (error) { // The broker has closed: what it said before is still to be heard.
      if (!isGone(error)) throw error;
    }
    if (random.int(6) === 0) await Promise.race([reading, delay(STAY_MS)]);
    conn.close();
    await reading;
  }

  async #act(conn: Deno.Conn, ears: Ears, key: HostileKey): Promise<void> {
    const random = this.#random;
    if (random.int(12) > 0) await this.#send(conn, ears, "open", this.#opening(ears, key));
    for (let left = random.int(ACTS_MAX); left > 0; left--) {
      const [what, bytes] = random.int(12) === 0 ? this.#wrong(ears, key) : this.#right(ears);
      await this.#send(conn, ears, what, bytes);
      if (random.int(3) === 0) await delay(random.int(4));
    }
    if (random.int(4) === 0) await this.#send(conn, ears, "goodbye", goodbye(random));
    if (random.int(3) === 0) await conn.closeWrite();
  }

  async #send(conn: Deno.Conn, ears: Ears, what: string, bytes: Uint8Array): Promise<void> {
    ears.sends(bytes);
    this.#notes.fed(`${this.#name} ${what}: ${bytes.subarray(0, 60).toHex()} (${bytes.length})`);
    await writeAll(conn, bytes);
  }

  /** An OPEN of a new session, or one that is known to this client or another. */
  #opening(ears: Ears, key: HostileKey): Uint8Array {
    const random = this.#random;
    const { sessions } = this.#crowd;
    const own = sessions.filter((known) => known.key === key || random.int(20) === 0).slice(-3);
    const known = random.int(3) === 0 ? undefined : random.pick(own);
    ears.resumes = known;
    const session = random.int(15) === 0 ? random.bytes(16) : known?.id;
    const head = encodeOpening({
      session,
      taken: known?.taken ?? 0,
      wait: random.int(2) === 0,
      patience: random.pick([0, 1, 20, 2 ** 32 - 1]),
      name: random.pick(NAMES),
    });
    if (random.int(40) === 0) head[29] = random.int(256); // The length of the name.
    if (random.int(4) === 0) setCount(head, 16, this.#count(known?.taken));
    const topics = Array.from({ length: random.int(5) }, () => random.pick(TOPICS));
    if (random.int(2) === 0) topics.push(COMMON);
    if (random.int(30) === 0) topics.push(random.pick(WRONG_TOPICS));
    return encodeFrame(FrameType.OPEN, head, ...topics);
  }

  /** A count near one that is right, or far off. */
  #count(near = 0): bigint {
    const off = BigInt(near + this.#random.int(4) - 2);
    return this.#random.int(2) === 0 && off >= 0n ? off : this.#random.pick(COUNTS);
  }

  /** What a client may send. */
  #right(ears: Ears): [what: string, bytes: Uint8Array] {
    const random = this.#random;
    const topic = random.pick(TOPICS);
    const publish = (size: number, topic = random.pick(TOPICS)) =>
      encodeFrame(FrameType.PUBLISH, topic, random.bytes(size));
    const several = (count: number, make: () => Uint8Array) =>
      concat(...Array.from({ length: random.int(count) }, make));
    switch (random.int(11)) {
      case 0:
      case 1:
        return ["subscribe", encodeFrame(FrameType.SUBSCRIBE, topic)];
      case 2:
        return ["unsubscribe", encodeFrame(FrameType.UNSUBSCRIBE, topic)];
      case 3:
      case 4:
        return ["publish", several(9, () => publish(1 + random.int(300)))];
      case 5:
        return ["publish a run", several(300, () => publish(1 + random.int(20), topic))];
      case 6:
        return ["publish large ones", several(3, () => publish(this.#crowd.messageBytes))];
      case 7:
        return ["flood", several(60, () => encodeFrame(FrameType.PUBLISH, COMMON, LARGE))];
      case 8:
        return ["ask", several(5, () => encodeFrame(FrameType.ASK))];
      default:
        return ["acknowledge", encodeFrame(FrameType.ACK, encodeAck(ears.taken, ears.asked))];
    }
  }

  /** What a client may not send, or not then. */
  #wrong(ears: Ears, key: HostileKey): [what: string, bytes: Uint8Array] {
    const random = this.#random;
    switch (random.int(10)) {
      case 0:
        return ["garbage", random.int(2) === 0 ? bomb(random) : random.bytes(random.int(40))];
      case 1:
      case 8:
      case 9:
        return ["a mangled frame", mangledFrame(random, TAKEN)];
      case 2:
        return ["open again", this.#opening(ears, key)];
      case 3: {
        const body = encodeAck(0, random.pick([ears.asked, ears.asked + 1, 0, 2 ** 32 - 1]));
        setCount(body, 0, this.#count(ears.taken));
        return ["acknowledge wrongly", encodeFrame(FrameType.ACK, body)];
      }
      case 4: {
        const type = random.pick([FrameType.PUBLISH, FrameType.SUBSCRIBE, FrameType.UNSUBSCRIBE]);
        return ["a wrong topic", encodeFrame(type, random.pick(WRONG_TOPICS), random.bytes(3))];
      }
      case 5:
        return ["no payload", encodeFrame(FrameType.PUBLISH, random.pick(TOPICS))];
      case 6:
        return ["too large", encodeFrame(FrameType.PUBLISH, random.pick(TOPICS), TOO_LARGE)];
      default:
        return ["goodbye", goodbye(random)];
    }
  }
}

function goodbye(random: Random): Uint8Array {
  return encodeFrame(FrameType.GOODBYE, encodeGoodbye(random.int(13) as Reason, "so long"));
}

function setCount(body: Uint8Array, at: number, count: bigint): void {
  new DataView(body.buffer, body.byteOffset).setBigUint64(at, count, true);
}

/** Whether that is how a socket says that it is closed. */
export function isGone(error: unknown): boolean {
  const { BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected } = Deno.errors;
  const kinds = [BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected];
  return kinds.some((kind) => error instanceof kind);
}

async function authenticate(conn: Deno.Conn, { name, bytes }: HostileKey): Promise<boolean> {
  const handshake = new ClientHandshake(bytes, name);
  await writeAll(conn, handshake.hello);
  const challenge = await readUpTo(conn, CHALLENGE_BYTES);
  if (challenge.length < CHALLENGE_BYTES) return false; // It is busy, or goes.
  await writeAll(conn, await handshake.prove(challenge));
  return (await readUpTo(conn, ANSWER_BYTES)).length === ANSWER_BYTES;
}

/** Reads what the broker sends, and checks it. */
class Ears {
  readonly #conn: Deno.Conn;
  readonly #key: HostileKey;
  readonly #sessions: Known[];
  readonly #notes: Notes;
  readonly #reader = new FrameReader(TAKES_ALL);
  #session: Known | undefined;
  #isOver = false;
  #mayHearReports = false;
  /** The session that it asks to go on with. */
  resumes: Known | undefined;
  /** How many ASKs have come. */
  asked = 0;

  constructor(conn: Deno.Conn, key: HostileKey, sessions: Known[], notes: Notes) {
    this.#conn = conn;
    this.#key = key;
    this.#sessions = sessions;
    this.#notes = notes;
  }

  /** How many counted frames of the session have come. */
  get taken(): number {
    return this.#session?.taken ?? 0;
  }

  /** Notes what is sent: reports come only to those who have named their topic. */
  sends(bytes: Uint8Array): void {
    if (!contains(bytes, BROKER_NAME)) return;
    this.#mayHearReports = true;
    // Nobody reads what comes over some connections, OPENED neither.
    for (const known of [this.#session, this.resumes]) {
      if (known !== undefined) known.mayHearReports = true;
    }
  }

  /** Reads to the end. */
  async listen(): Promise<void> {
    const reader = this.#reader;
    try {
      for (;;) {
        const count = await this.#conn.read(reader.space());
        if (count === null) return;
        reader.wrote(count);
        while (reader.next()) this.#hear(reader);
      }
    } catch (error) { // The broker has closed, or it was closed here.
      if (!isGone(error)) throw error;
    }
  }

  #hear(frame: Frame): void {
    const { buffer, type, body: start, end } = frame;
    const body = buffer.subarray(start, end);
    must(!this.#isOver, `a frame of type ${type} comes after GOODBYE`);
    if (this.#session === undefined && type !== FrameType.GOODBYE && type !== FrameType.DENIED) {
      must(type === FrameType.OPENED, `a frame of type ${type} comes before OPENED`);
      this.#open(body);
      return;
    }
    if (isCounted(type)) this.#session!.taken++;
    switch (type) {
      case FrameType.PUBLISH:
        return this.#checkMessage(body);
      case FrameType.ACK:
        return void decodeAck(body);
      case FrameType.ASK:
        this.asked++;
        return must(body.length === 0, "ASK has a body");
      case FrameType.GAP:
        return must(decodeGap(body)! > 0, "a GAP is of no message");
      case FrameType.REFUSED:
      case FrameType.DENIED:
        return void decodeRefused(body, TOPIC_LIMITS);
      case FrameType.GOODBYE:
        decodeGoodbye(body);
        this.#isOver = true;
        return;
      default:
        must(false, `a frame of type ${type} comes from the broker`);
    }
  }

  #open(body: Uint8Array): void {
    const { outcome, session, missed } = decodeOpened(body);
    this.#notes.ended(`opened with outcome ${OUTCOMES[outcome]}`);
    must(missed! <= 2 ** 32, `a client is told that it missed ${missed} messages`);
    const known = this.#sessions.find(({ id }) => id.toString() === session.toString());
    must((outcome === Resumption.RESUMED) === (known !== undefined), `outcome ${outcome}`);
    this.#session = known ?? { id: session, key: this.#key, taken: 0, mayHearReports: false };
    this.#session.mayHearReports ||= this.#mayHearReports;
    if (known === undefined) this.#sessions.push(this.#session);
  }

  #checkMessage(body: Uint8Array): void {
    const end = topicEnd(body, 0, body.length);
    const path = decodeTopic(body, 0, end, TOPIC_LIMITS);
    must(end < body.length, "a message has no payload");
    must(!isLocalPath(path), `a message comes to ${JSON.stringify(path)}`);
    if (isBrokerPath(path)) this.#checkReport(path, body.subarray(end));
    must(this.#key.hears(path), `"${this.#key.name}" hears ${JSON.stringify(path)}`);
  }

  #checkReport(path: TopicPath, payload: Uint8Array): void {
    must(this.#session!.mayHearReports, `${JSON.stringify(path)} comes unasked`);
    const isReport = isBrokerReport(path, decode(payload));
    must(isReport, `what comes to ${JSON.stringify(path)} is not the broker's`);
    this.#notes.ended(`a report comes to ${path.join()}`);
  }
}

/** Whether some bytes stand anywhere in others. */
function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = bytes.indexOf(part[0]!); at >= 0; at = bytes.indexOf(part[0]!, at + 1)) {
    if (part.every((byte, index) => bytes[at + index] === byte)) return true;
  }
  return false;
}
