/**
 * Clients: a broker that has the key, and so is believed, sends a `NetPubSub` whatever comes to mind.
 * The client tells of it in the errors that it has for that, takes nothing that is no message, and
 * neither hangs nor fails where nobody waits for it.
 */
import { delay } from "@std/async/delay";
import { concat, writeAll } from "../../base/bytes.ts";
import {
  AuthError,
  BacklogError,
  ConnectionLostError,
  ForbiddenError,
  MessageError,
  ProtocolError,
} from "../../errors.ts";
import { NetPubSub, type NetPubSubOptions } from "../../mod.ts";
import { authenticateClient } from "../../protocol/authenticate.ts";
import { encodeFrame, FrameType, type Limits, type Reason } from "../../protocol/frame.ts";
import {
  brokerFrameLimits,
  encodeAck,
  encodeGap,
  encodeGoodbye,
  encodeOpened,
  encodeRefused,
} from "../../protocol/frame_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import { randomBytes } from "../../protocol/handshake.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import { any, type TopicPattern } from "../../topic.ts";
import { messageOf } from "../harness/messages.ts";
import { encode } from "../harness/payload.ts";
import { type Random, randomOf } from "../harness/random.ts";
import { isGone } from "./ears.ts";
import { mangledFrame } from "./frames.ts";
import {
  bomb,
  checkCause,
  type ErrorKind,
  inTime,
  mangle,
  must,
  type Notes,
  type Target,
} from "./target.ts";

/** How long anything may take once the broker is gone. */
const PATIENCE_MS = 10_000;
/** How long the client may take to come back. */
const RETURN_MS = 120;
const ACTS_MAX = 14;
const TAKES_ALL = new Array<number>(12).fill(2 ** 31);
const TOPICS = [[], ["a"], ["a", "b"], ["*broker", "x"], ["x", "*local"], ["x".repeat(255)]];
/** What a client wants, of these and others. */
const WANTED: readonly TopicPattern[] = [...TOPICS, [any], ["a", any], [any, any, "b"], [
  "*broker",
  any,
]];
const LIMITS: Limits = {
  messageBytes: 2 ** 20,
  topicElements: 16,
  elementBytes: 255,
  subscriptions: 1024,
};
/** What a client takes. */
const TAKEN = brokerFrameLimits(LIMITS);
const NUMBERS = [0, 1, 16, 255, 2 ** 16, 2 ** 31, 2 ** 32 - 1];
/** What `connect`, `flush` and `disconnect` reject with, and `onState` is told. */
const CONNECTION_ERRORS = [AuthError, ProtocolError, ConnectionLostError, ForbiddenError];
/** What `publish` throws beside `TypeError`, and `onError` is told. */
const MESSAGE_ERRORS = [ForbiddenError, BacklogError, MessageError, ProtocolError];

/** A broker that means no good. */
class HostileBroker implements AsyncDisposable {
  readonly #listener: Deno.UnixListener;
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #random: Random;
  readonly #notes: Notes;
  readonly #id: Uint8Array;
  readonly #conns = new Set<Deno.Conn>();
  readonly #lives: Promise<void>[] = [];
  readonly #accepting: Promise<void>;
  /** How many connections have come to their end. */
  ended = 0;

  constructor(path: string, key: Uint8Array<ArrayBuffer>, random: Random, notes: Notes) {
    this.#key = key;
    this.#random = random;
    this.#notes = notes;
    this.#id = random.bytes(16);
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    try {
      for (;;) {
        const conn = await this.#listener.accept();
        this.#conns.add(conn);
        this.#lives.push(this.#live(conn, randomOf(this.#random.int(2 ** 32))));
      }
    } catch (error) { // It was closed.
      if (!isGone(error)) throw error;
    }
  }

  async #live(conn: Deno.Conn, random: Random): Promise<void> {
    try {
      if (random.int(15) === 0) await this.#send(conn, "no handshake", random.bytes(100));
      else await this.#serve(conn, random);
    } catch (error) { // The client has closed, or it was closed here.
      const isExpected = CONNECTION_ERRORS.some((kind) => error instanceof kind);
      if (!isExpected && !isGone(error)) throw error;
    } finally {
      close(conn);
      this.ended++;
    }
  }

  async #serve(conn: Deno.Conn, random: Random): Promise<void> {
    await authenticateClient(streamOf(conn), {
      brokerId: random.int(10) === 0 ? random.bytes(16) : this.#id,
      keyOf: () => ({ bytes: this.#key }),
      isBusy: () => random.int(30) === 0,
      delay: () => Promise.resolve(),
    });
    const script = new Script(random);
    const reading = script.listen(conn);
    try {
      if (random.int(20) > 0) await this.#send(conn, "opened", script.opening());
      for (let left = random.int(ACTS_MAX); left > 0; left--) {
        const [what, bytes] = random.int(12) === 0 ? script.wrong() : script.right();
        await this.#send(conn, what, bytes);
        if (random.int(3) === 0) await delay(random.int(4));
      }
      if (random.int(3) === 0) await delay(20);
      if (random.int(3) === 0) await this.#send(conn, "goodbye", goodbye(random));
    } finally {
      close(conn);
      await reading;
    }
  }

  async #send(conn: Deno.Conn, what: string, bytes: Uint8Array): Promise<void> {
    this.#notes.fed(`${what}: ${bytes.subarray(0, 200).toHex()} (${bytes.length})`);
    await writeAll(conn, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) close(conn);
    await this.#accepting;
    await Promise.all(this.#lives);
  }
}

/** What a hostile broker says over one connection. */
class Script {
  readonly #random: Random;
  readonly #session: Uint8Array;
  readonly #reader = new FrameReader(TAKES_ALL);
  #taken = 0;
  #asked = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#session = random.bytes(16);
  }

  /** Counts what the client sends, to its end. */
  async listen(conn: Deno.Conn): Promise<void> {
    const reader = this.#reader;
    try {
      for (;;) {
        const count = await conn.read(reader.space());
        if (count === null) return;
        reader.wrote(count);
        while (reader.next()) {
          if (reader.type === FrameType.PUBLISH) this.#taken++;
          if (reader.type === FrameType.ASK) this.#asked++;
        }
      }
    } catch (error) { // The client has closed, or it was closed here.
      if (!isGone(error)) throw error;
    }
  }

  /** OPENED, with DENIED before it now and then. */
  opening(): Uint8Array {
    const random = this.#random;
    const number = (right: number) => random.int(12) === 0 ? random.pick(NUMBERS) : right;
    const body = encodeOpened({
      outcome: random.int(4),
      session: this.#session,
      taken: random.int(4) === 0 ? random.int(6) : 0,
      calls: 0,
      missed: random.pick([0, 7, 2 ** 40]),
      heartbeat: number(15_000),
      window: number(2 ** 20),
      limits: {
        messageBytes: number(LIMITS.messageBytes),
        topicElements: number(LIMITS.topicElements),
        elementBytes: number(LIMITS.elementBytes),
        subscriptions: number(LIMITS.subscriptions),
      },
    });
    const right = concat(body, random.bytes(random.pick([0, 0, 9])));
    const opened = encodeFrame(
      FrameType.OPENED,
      random.int(12) === 0 ? mangle(random, right) : right,
    );
    return random.int(10) === 0 ? concat(this.#refused(FrameType.DENIED), opened) : opened;
  }

  #refused(type: FrameType): Uint8Array {
    const random = this.#random;
    const topic = encodeTopic(random.pick(WANTED));
    return encodeFrame(type, encodeRefused(random.int(13) as Reason, topic, "no\u001b[31m"));
  }

  #message(topic = this.#random.pick(TOPICS)): Uint8Array {
    const random = this.#random;
    const payload = encode(messageOf(random));
    const bytes = random.int(4) === 0 ? mangle(random, payload.subarray(0, 3000)) : payload;
    return encodeFrame(FrameType.PUBLISH, encodeTopic(topic), bytes);
  }

  /** What a broker may send. */
  right(): [what: string, bytes: Uint8Array] {
    const random = this.#random;
    switch (random.int(10)) {
      case 0:
        return ["gap", encodeFrame(FrameType.GAP, encodeGap(random.pick([1, 2 ** 40])))];
      case 1:
        return ["refused", this.#refused(FrameType.REFUSED)];
      case 2:
        return ["denied", this.#refused(FrameType.DENIED)];
      case 3:
        return ["ask", encodeFrame(FrameType.ASK)];
      case 4:
      case 5:
        return ["ack", encodeFrame(FrameType.ACK, encodeAck(this.#taken, this.#asked))];
      case 6: {
        const topic = random.pick(TOPICS);
        return ["a run", concat(...Array.from({ length: 40 }, () => this.#message(topic)))];
      }
      default:
        return ["message", this.#message()];
    }
  }

  /** What a broker may not send, or not then. */
  wrong(): [what: string, bytes: Uint8Array] {
    const random = this.#random;
    switch (random.int(6)) {
      case 0:
        return ["garbage", random.int(2) === 0 ? bomb(random) : random.bytes(random.int(40))];
      case 1:
        return ["opened again", this.opening()];
      case 2: {
        const [count, asks] = [this.#taken + random.int(3) - 1, this.#asked + random.int(3) - 1];
        const body = encodeAck(Math.max(0, count), Math.max(0, asks));
        return ["a wrong ack", encodeFrame(FrameType.ACK, body)];
      }
      case 3:
        return ["goodbye", goodbye(random)];
      case 4: {
        const topic = encodeTopic(random.pick(WANTED));
        return ["a message to any", encodeFrame(FrameType.PUBLISH, topic, random.bytes(3))];
      }
      default:
        return ["a mangled frame", mangledFrame(random, TAKEN)];
    }
  }
}

function goodbye(random: Random): Uint8Array {
  return encodeFrame(FrameType.GOODBYE, encodeGoodbye(random.int(13) as Reason, "so\u0007long"));
}

function streamOf(conn: Deno.Conn) {
  return {
    read: (into: Uint8Array) => conn.read(into),
    write: (bytes: Uint8Array) => conn.write(bytes),
    closeWrite: () => conn.closeWrite(),
    close: () => close(conn),
  };
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch (error) { // It is closed already.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** The client, and what it tells. */
class Victim {
  readonly bus: NetPubSub;
  readonly #notes: Notes;
  readonly #random: Random;
  readonly #problems: unknown[] = [];
  readonly #reading: Promise<void> | undefined;

  constructor(path: string, key: Uint8Array, random: Random, notes: Notes) {
    this.#notes = notes;
    this.#random = random;
    const options: NetPubSubOptions = {
      overflow: random.pick(["wait", "drop-oldest"]),
      backlog: random.pick([1, 1000, 2 ** 24]),
      onGap: ({ missed = 0 }) => this.#check(() => must(missed >= 0, `${missed} were missed`)),
      onError: (error) => this.#check(() => this.#told(error)),
      onState: (state, reason) =>
        this.#check(() => {
          notes.ended(state);
          if (reason === undefined) return;
          this.failed(reason, ...CONNECTION_ERRORS);
          // That would be the fault of a publisher.
          must(!reason.message.startsWith("Cannot read a message"), `it ended with ${reason}`);
        }),
    };
    this.bus = new NetPubSub(`unix://${path}`, key, options);
    this.bus.addSubscriber(
      null,
      (topic, message) => this.#check(() => checkMessage(topic, message)),
    );
    if (random.int(2) === 0) this.#reading = this.#read();
  }

  /** Takes messages at its own pace. */
  async #read(): Promise<void> {
    const overflow = this.#random.pick(["throw", "wait", "drop-oldest"] as const);
    const messages = this.bus.subscribe(["a"], { limit: 3, overflow });
    try {
      for await (const _message of messages) await delay(1);
    } catch (error) {
      this.#check(() => this.failed(error, BacklogError));
    }
  }

  /** What is thrown here is a finding, and not the client's to contain. */
  #check(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#problems.push(error);
    }
  }

  /** Notes an error of one of these kinds; throws another. */
  failed(error: unknown, ...kinds: readonly ErrorKind[]): void {
    checkCause(error);
    this.#notes.failed(error, ...kinds);
  }

  /** Notes what `onError` is told: what is wrong with a message, or how many were not delivered. */
  #told(error: unknown): void {
    this.failed(error, ...MESSAGE_ERRORS, ConnectionLostError);
    if (error instanceof ConnectionLostError) {
      must(error.undelivered > 0, `nothing is lost: ${error}`);
    }
  }

  /** Publishes, and changes its subscriptions. */
  act(): void {
    const random = this.#random;
    try {
      this.bus.publish(random.pick(TOPICS), { value: "x".repeat(random.pick([1, 2000])) });
      const topic = random.pick(WANTED);
      const ignore = () => {};
      this.bus.addSubscriber(topic, ignore);
      if (random.int(2) === 0) this.bus.removeSubscriber(topic, ignore);
    } catch (error) {
      // RangeError: the broker's limits.
      if (!(error instanceof RangeError)) this.failed(error, ...MESSAGE_ERRORS);
    }
  }

  /** Ends its subscriptions; throws what it has found. */
  async finish(): Promise<void> {
    this.bus.clearSubscribers();
    await this.#reading;
    if (this.#problems.length > 0) throw this.#problems[0];
  }
}

function checkMessage(topic: readonly string[], message: object): void {
  must(Object.isFrozen(topic) && topic.every((element) => element !== ""), "that is no topic");
  must(Object.getPrototypeOf(message) === Object.prototype, "that is no message");
}

/** A signal that aborts after a while, for a reason that is expected. */
function patience(ms: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new ConnectionLostError("There is no time left")), ms);
  return controller.signal;
}

/** Waits for a promise, which may reject with an error that is expected, but must settle. */
async function settled(victim: Victim, what: string, promise: Promise<void>): Promise<void> {
  try {
    await inTime(PATIENCE_MS, what, promise);
  } catch (error) {
    victim.failed(error, ...CONNECTION_ERRORS);
  }
}

async function runClients(random: Random, notes: Notes): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-fuzz-" });
  try {
    const key = randomBytes(16);
    const path = `${folder}/bus.sock`;
    const victim = new Victim(path, key, random, notes);
    {
      await using broker = new HostileBroker(path, key, randomOf(random.int(2 ** 32)), notes);
      await suffer(victim, broker, random);
    }
    await leave(victim, random);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Lets the client connect, and come back, until the broker has had its connections. */
async function suffer(victim: Victim, broker: HostileBroker, random: Random): Promise<void> {
  const { bus } = victim;
  await settled(victim, "connect()", bus.connect());
  const wanted = random.pick([1, 1, 1, 2]);
  const end = performance.now() + RETURN_MS;
  while (broker.ended < wanted && bus.state !== "disconnected" && performance.now() < end) {
    if (random.int(2) === 0) victim.act();
    if (random.int(6) === 0) {
      await settled(victim, "flush()", bus.flush({ signal: patience(10) }));
    } else await delay(2);
  }
}

/** The broker is gone: the client must see that, and let go. */
async function leave(victim: Victim, random: Random): Promise<void> {
  const { bus } = victim;
  const end = performance.now() + PATIENCE_MS;
  while (bus.state === "connected" || bus.state === "connecting") {
    must(performance.now() < end, `the client is ${bus.state}, and the broker is gone`);
    await delay(1);
  }
  const signal = patience(random.pick([0, 20]));
  await settled(victim, "disconnect()", bus.disconnect({ signal }));
  must(bus.state === "disconnected", `the client is ${bus.state} after disconnect()`);
  await settled(victim, "closed", bus.closed);
  await victim.finish();
}

/** See the module. */
export const clients: Target = { name: "clients", run: runClients };
