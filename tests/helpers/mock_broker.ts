/** A broker that answers when a test wants it to, and notes what its clients say. */
import { concat } from "../../base/bytes.ts";
import type { Connection } from "../../io/connection.ts";
import { formatEndpoint } from "../../io/address.ts";
import { listen, type Listener } from "../../io/listener.ts";
import { authenticateClient } from "../../protocol/authenticate.ts";
import {
  encodeFrame,
  type Frame,
  FrameType,
  type Limits,
  type Reason,
} from "../../protocol/frame.ts";
import {
  clientFrameLimits,
  decodeOpening,
  encodeOpened,
  LIMITS_MAX,
  Resumption,
} from "../../protocol/frame_bodies.ts";
import { decodeMember, decodeNumber, decodeRanges } from "../../protocol/job_bodies.ts";
import { Link } from "../../protocol/link.ts";
import { Session } from "../../protocol/session.ts";
import { decodeTopic, encodeTopic, topicEnd } from "../../protocol/topic_block.ts";
import type { TopicPath } from "../../topic.ts";

const KEY = new TextEncoder().encode("k");
const LIMITS: Limits = {
  messageBytes: 2 ** 20,
  topicElements: 16,
  elementBytes: 255,
  subscriptions: 1024,
};

/** A stage of a connection at which it can wait. */
export type Stage = "handshake" | "OPENED";

/** One client after the other, with the key "k"; each connection begins a session. */
export class MockBroker implements AsyncDisposable {
  /** What clients may do, as OPENED says. */
  limits: Limits = LIMITS;
  /** Whether it notes and acknowledges nothing, as one that is about to die. */
  isDeaf = false;
  /** How many messages it was deaf to. */
  unheard = 0;
  /** The first elements of the topics that were published to. */
  readonly received: string[] = [];
  /** The first elements of the topics of the latest OPEN, and what came after it. */
  topics: string[] = [];
  /** The members of the latest OPEN, and those that came after it and have not left, by their numbers. */
  readonly members = new Map<number, string>();
  /** What it was told of jobs: `F` or `R`, and the first and last number of each range. */
  readonly ended: string[] = [];
  #session: Session | undefined;
  readonly #listener: Listener;
  readonly #serving: Promise<void>;
  readonly #links = new Set<Link>();
  readonly #streams = new Set<Connection>();
  readonly #gates = new Map<Stage, PromiseWithResolvers<void>>();
  readonly #brokerId = crypto.getRandomValues(new Uint8Array(16));

  private constructor(listener: Listener) {
    this.#listener = listener;
    this.#serving = this.#serve();
  }

  /** Listens at a new address, or at that of one that was closed. */
  static async start(address?: string): Promise<MockBroker> {
    return new MockBroker(await listen(address ?? ["127.0.0.1", 0]));
  }

  /** The address; the key is "k". */
  get address(): string {
    return formatEndpoint(this.#listener.endpoint);
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#streams.size;
  }

  /** Lets connections wait before this stage. */
  hold(stage: Stage): void {
    if (!this.#gates.has(stage)) this.#gates.set(stage, Promise.withResolvers());
  }

  /** Lets all connections go on. */
  letIn(): void {
    for (const { resolve } of this.#gates.values()) resolve();
    this.#gates.clear();
  }

  /** Ends all connections without a word. */
  cut(): void {
    for (const link of this.#links) link.close();
    for (const stream of this.#streams) stream.close();
  }

  /** Ends all sessions, with a reason. */
  end(reason: Reason): void {
    for (const link of this.#links) link.end(reason, "as the test wants");
  }

  async #serve(): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const stream of this.#listener.connections(() => {})) {
      this.#streams.add(stream);
      // Cut, or closed by a client that gave up.
      all.push(this.#serveOne(stream).catch(() => {}).finally(() => this.#gone(stream)));
    }
    await Promise.all(all);
  }

  #gone(stream: Connection): void {
    stream.close();
    this.#streams.delete(stream);
  }

  async #serveOne(stream: Connection): Promise<void> {
    await this.#gates.get("handshake")?.promise;
    await authenticateClient(stream, {
      brokerId: this.#brokerId,
      keyOf: () => ({ bytes: KEY }),
      isBusy: () => false,
      delay: () => Promise.resolve(),
    });
    const link = new Link(stream, clientFrameLimits(LIMITS_MAX));
    this.#links.add(link);
    link.expect({ [FrameType.OPEN]: (frame) => void this.#open(link, frame) });
    await link.finished;
    this.#links.delete(link);
  }

  async #open(link: Link, { buffer, body, end }: Frame): Promise<void> {
    const open = buffer.slice(body, end);
    this.#noteOpen(open);
    await this.#gates.get("OPENED")?.promise;
    const session = this.#session = new Session({ frame: (frame) => this.#take(frame) });
    const counts = { taken: 0, calls: 0, missed: 0, heartbeat: 60_000, window: 2 ** 20 };
    const id = crypto.getRandomValues(new Uint8Array(16));
    const opened = { outcome: Resumption.NEW, session: id, ...counts, limits: this.limits };
    link.send(FrameType.OPENED, encodeOpened(opened));
    session.attach(link);
    link.handler = {
      frame: (frame) => this.isDeaf ? this.#ignore(frame) : session.frame(frame),
      batch: () => this.isDeaf || session.batch(),
      next: () => session.next(),
      idle: () => session.idle(),
      ask: () => session.ask(),
    };
  }

  #ignore({ type }: Frame): void {
    if (type === FrameType.PUBLISH) this.unheard++;
  }

  #noteOpen(open: Uint8Array): void {
    let at = decodeOpening(open).topics;
    const count = decodeNumber(open, at);
    at += 4;
    this.topics = [];
    for (let i = 0; i < count; i++) {
      const end = topicEnd(open, at, open.length);
      this.topics.push(decodeTopic(open, at, end, LIMITS_MAX)[0] ?? "");
      at = end;
    }
    this.members.clear();
    while (at < open.length) at = this.#noteMember(open, at);
  }

  /** Notes the member at a place as its group, its topic and its concurrency; returns the place after it. */
  #noteMember(bytes: Uint8Array, at: number): number {
    const { member: { number, group, topic, concurrency }, end } = decodeMember(bytes, at);
    const path = decodeTopic(topic, 0, topic.length, LIMITS_MAX);
    this.members.set(number, `${group} of ${path.join("/")}: ${concurrency}`);
    return end;
  }

  /** Gives a member a job, which has this payload. */
  give(member: number, topic: TopicPath, payload: Uint8Array, redelivered = 0): void {
    const head = new Uint8Array(5);
    new DataView(head.buffer).setUint32(0, member, true);
    head[4] = redelivered;
    this.#session!.call(encodeFrame(FrameType.JOB, concat(head, encodeTopic(topic), payload)));
    this.#session!.pump();
  }

  #take({ type, buffer, body, end }: Frame): void {
    const bytes = buffer.subarray(body, end);
    if (type === FrameType.JOIN) this.#noteMember(bytes.slice(), 0);
    else if (type === FrameType.LEAVE) this.members.delete(decodeNumber(bytes));
    else if (type === FrameType.FINISHED) this.#noteEnded("F", bytes);
    else if (type === FrameType.RETURNED) this.#noteEnded("R", bytes);
    else this.#takeTopic(type, buffer, body, end);
  }

  #noteEnded(what: string, body: Uint8Array): void {
    const ranges = decodeRanges(body).map(({ first, count }) => `${first}-${first + count - 1}`);
    this.ended.push([what, ...ranges].join(" "));
  }

  #takeTopic(type: number, buffer: Uint8Array, body: number, end: number): void {
    const path = decodeTopic(buffer, body, topicEnd(buffer, body, end), LIMITS_MAX);
    const [first = ""] = path;
    if (type === FrameType.PUBLISH) this.received.push(first);
    else if (type === FrameType.SUBSCRIBE) this.topics.push(first);
    else if (type === FrameType.UNSUBSCRIBE) this.topics.splice(this.topics.indexOf(first), 1);
  }

  /** Listens no more, and ends all connections without a word. */
  async close(): Promise<void> {
    const closed = this.#listener.close();
    this.letIn();
    this.cut();
    await Promise.all([closed, this.#serving]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
