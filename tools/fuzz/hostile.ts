/**
 * A client that has a key and sends a broker whatever comes to mind: mostly frames that are right, so
 * that its sessions live, and now and then others. What the broker sends it must be right.
 */
import { delay } from "@std/async/delay";
import { concat, writeAll } from "../../base/bytes.ts";
import type { Broker } from "../../broker.ts";
import { encodeFrame, FrameType, type Reason } from "../../protocol/frame.ts";
import {
  clientFrameLimits,
  encodeAck,
  encodeGoodbye,
  encodeOpening,
} from "../../protocol/frame_bodies.ts";
import { encodeMember, encodeNumber, encodeRanges } from "../../protocol/job_bodies.ts";
import { ClientHandshake } from "../../protocol/handshake.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import { any, type TopicPattern } from "../../topic.ts";
import { dialBroker, readUpTo } from "../harness/peer.ts";
import type { Random } from "../harness/random.ts";
import { Ears, type HostileKey, isGone, type Known, TOPIC_LIMITS } from "./ears.ts";
import { mangledFrame } from "./frames.ts";
import { bomb, type Notes } from "./target.ts";

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
/** What a broker takes. */
const TAKEN = clientFrameLimits(TOPIC_LIMITS);
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
/** What nobody may publish to, but everybody may want. */
const PATTERNS: readonly TopicPattern[] = [
  [any],
  [any, any, any],
  ["weird", any],
  ["weird", any, "b"],
  [any, "a"],
  [any, "x"],
  ["*broker", any],
  [any, "*local"],
  ["x", any, "x", any, ...new Array<string>(11).fill("x"), any],
];
const ANYS = PATTERNS.map(encodeTopic);
const WANTED = [...TOPICS, ...ANYS];
/** What most listen to, and is flooded. */
const COMMON = TOPICS[2]!;
const WRONG_PATTERNS: readonly TopicPattern[] = [
  new Array<string>(17).fill("x"),
  ["x".repeat(256)],
  [any, any, any, any],
];
const WRONG_TOPICS = [
  ...WRONG_PATTERNS.map(encodeTopic),
  Uint8Array.of(3, 2, 0xff, 0xfe),
  Uint8Array.of(2, 200, 97),
  Uint8Array.of(),
];

const AGAIN = { number: 0, concurrency: 1, group: "g", topic: COMMON };
/** A few of these fill a queue. */
const LARGE = new Uint8Array(60_000);
const TOO_LARGE = new Uint8Array(80_000);
/** What OPENED says of a session, as words. */
const NAMES = ["", "hostile", "\u001b[2J", "é".repeat(32)];

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
      calls: known?.jobs ?? 0,
      wait: random.int(2) === 0,
      patience: random.pick([0, 1, 20, 2 ** 32 - 1]),
      name: random.pick(NAMES),
    });
    if (random.int(40) === 0) head[37] = random.int(256); // The length of the name.
    if (random.int(4) === 0) setCount(head, 16, this.#count(known?.taken));
    const topics = Array.from({ length: random.int(5) }, () => random.pick(WANTED));
    if (random.int(2) === 0) topics.push(COMMON);
    if (random.int(30) === 0) topics.push(random.pick(WRONG_TOPICS));
    const count = encodeNumber(random.int(40) === 0 ? random.int(9) : topics.length);
    return encodeFrame(FrameType.OPEN, head, count, ...topics);
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
    const wanted = random.pick(WANTED);
    const publish = (size: number, topic = random.pick(TOPICS)) =>
      encodeFrame(FrameType.PUBLISH, topic, random.bytes(size));
    const several = (count: number, make: () => Uint8Array) =>
      concat(...Array.from({ length: random.int(count) }, make));
    switch (random.int(15)) {
      case 11:
        return ["join", several(4, () => this.#join(ears))];
      case 12:
        return ["leave", encodeFrame(FrameType.LEAVE, encodeNumber(random.int(4)))];
      case 13:
        return ["finish", this.#finish(ears)];
      case 0:
      case 1:
        return ["subscribe", encodeFrame(FrameType.SUBSCRIBE, wanted)];
      case 2:
        return ["unsubscribe", encodeFrame(FrameType.UNSUBSCRIBE, wanted)];
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
        return [
          "acknowledge",
          encodeFrame(FrameType.ACK, encodeAck(ears.taken, ears.asked, ears.jobs)),
        ];
    }
  }

  /** A member that the session did not have before. */
  #join({ session }: Ears): Uint8Array {
    const random = this.#random;
    const member = {
      number: session === undefined ? random.int(2 ** 32) : session.members++,
      concurrency: random.pick([1, 2, 16, 2 ** 32 - 1]),
      group: random.pick(["g", "h", "é".repeat(127)]),
      topic: random.pick(WANTED),
    };
    return encodeFrame(FrameType.JOIN, encodeMember(member));
  }

  /** Tells that the jobs that have come are finished, or some of them given back. */
  #finish({ session }: Ears): Uint8Array {
    const random = this.#random;
    const left = session === undefined ? 0 : session.jobs - session.ended;
    if (left === 0) return encodeFrame(FrameType.ASK);
    const range = { first: session!.ended + 1, count: 1 + random.int(left) };
    session!.ended += range.count;
    const type = random.pick([FrameType.FINISHED, FrameType.FINISHED, FrameType.RETURNED]);
    return encodeFrame(type, encodeRanges([range]));
  }

  /** What a client may not send, or not then. */
  #wrong(ears: Ears, key: HostileKey): [what: string, bytes: Uint8Array] {
    const random = this.#random;
    switch (random.int(14)) {
      case 11:
        return [
          "a member again",
          encodeFrame(FrameType.JOIN, encodeMember(AGAIN), random.bytes(2)),
        ];
      case 12: {
        const range = { first: random.int(9), count: random.pick([0, 1, 2, 2 ** 32 - 1]) };
        const type = random.pick([FrameType.FINISHED, FrameType.RETURNED]);
        return ["finish wrongly", encodeFrame(type, encodeRanges([range, range]))];
      }
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
      case 7:
        return ["publish to any", encodeFrame(FrameType.PUBLISH, random.pick(ANYS), LARGE)];
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

async function authenticate(conn: Deno.Conn, { name, bytes }: HostileKey): Promise<boolean> {
  const handshake = new ClientHandshake(bytes, name);
  await writeAll(conn, handshake.hello);
  const challenge = await readUpTo(conn, CHALLENGE_BYTES);
  if (challenge.length < CHALLENGE_BYTES) return false; // It is busy, or goes.
  await writeAll(conn, await handshake.prove(challenge));
  return (await readUpTo(conn, ANSWER_BYTES)).length === ANSWER_BYTES;
}
