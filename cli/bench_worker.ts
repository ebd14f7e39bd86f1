/**
 * The clients of `mpubsub bench`: this module runs in each of its workers, and defines what the
 * workers and the command say to each other.
 *
 * ```
 *  command                                  worker
 *     ── open: which clients it has ──────────▸  connects and subscribes
 *     ◂────────────────────────────── opened ──
 *     ── publish ─────────────────────────────▸  publishes, as fast as the slowest subscriber or
 *     ◂──────────────────── published: how many      at its rate
 *     ── expect: how many in all ─────────────▸  waits for the rest, disconnects
 *     ◂────────────────── received: what came ──
 * ```
 *
 * Meanwhile all of them see in shared memory how far each client is, and whether the run was stopped
 * ({@linkcode Counts}).
 */
import { delay } from "@std/async/delay";
import { type BrokerAccess, connect } from "./client.ts";
import { messageOf } from "./command.ts";
import { Histogram, type Times } from "./histogram.ts";
import { ForbiddenError, type Gap, NetPubSub, type State } from "../net.ts";

/** The name of the workers in which this module runs; elsewhere it does nothing. */
export const WORKER_NAME = "mpubsub bench";
/** When nothing has arrived for so long, what is missing is lost. */
export const SILENCE_MS = 5000;
/** The same when the run was stopped. */
export const STOPPED_SILENCE_MS = 1000;
/** How often those who wait for long look whether the run was stopped. */
const STOP_MS = 100;
/** How many bytes may be on their way to the slowest subscriber; the broker's queue is longer. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** The same for all subscribers together; the broker has memory for more. */
const WINDOWS_BYTES = 64 * 1024 * 1024;
/** With `--rate`, how many bytes may wait for the broker before the publisher pauses. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024;
/** About how many bytes are published in one turn. */
const BATCH_BYTES = 128 * 1024;
/** About how many bytes a message takes besides its data. */
const OVERHEAD_BYTES = 64;
/** How often a publisher checks whether there is room again. */
const ROOM_MS = 2;
/** For how long a look at the counts is good enough: hundreds may look at the counts of hundreds. */
const LOOK_MS = 1;
/** How often a subscriber checks whether everything has arrived. */
const ARRIVED_MS = 20;

/** What is to be measured. */
export interface Load {
  readonly topic: readonly string[];
  readonly publishers: number;
  readonly subscribers: number;
  /** The bytes of `data`. */
  readonly size: number;
  /** Messages per second of all publishers together; `undefined` for as many as possible. */
  readonly rate: number | undefined;
  /** How many messages all publishers publish together; without it they stop after `seconds`. */
  readonly messages: number | undefined;
  readonly seconds: number;
}

/** What the command orders a worker to do. */
export type Order =
  | {
    readonly type: "open";
    readonly broker: BrokerAccess;
    readonly load: Load;
    readonly counts: SharedArrayBuffer;
    /** Which of the clients run in this worker. */
    readonly publishers: readonly number[];
    readonly subscribers: readonly number[];
  }
  | { readonly type: "publish" }
  /** So many messages were published in all. */
  | { readonly type: "expect"; readonly messages: number };

/** What a worker answers, or reports by itself. */
export type Report =
  | { readonly type: "opened" }
  | { readonly type: "published"; readonly publishers: readonly Published[] }
  | {
    readonly type: "received";
    readonly subscribers: readonly Received[];
    readonly latency: Times;
  }
  | { readonly type: "complaint"; readonly text: string }
  | { readonly type: "failed"; readonly text: string };

/** What a publisher did; times in milliseconds, from the same moment for all. */
export interface Published {
  readonly messages: number;
  readonly from: number;
  /** When the broker had all of them. */
  readonly to: number;
}

/** What a subscriber got. */
export interface Received {
  readonly messages: number;
  /** The bytes of their `data`. */
  readonly bytes: number;
  /** How many messages the broker reported as dropped. */
  readonly missed: number;
  /** When the last arrived; 0 if none did. */
  readonly to: number;
}

/**
 * How far each client is, in memory that all threads see at once.
 *
 * - Counts start again at 2³²: only their differences mean something.
 */
export class Counts {
  /** 1 when the run is to end early. */
  readonly #stopped: Int32Array;
  readonly #published: Int32Array;
  readonly #taken: Int32Array;
  #onTheirWay = 0;
  #lookedAt = -Infinity;

  constructor(
    { publishers, subscribers }: Pick<Load, "publishers" | "subscribers">,
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(4 * (1 + publishers + subscribers)),
  ) {
    this.#stopped = new Int32Array(buffer, 0, 1);
    this.#published = new Int32Array(buffer, 4, publishers);
    this.#taken = new Int32Array(buffer, 4 * (1 + publishers), subscribers);
  }

  /** Whether publishers publish no more. */
  get isStopped(): boolean {
    return Atomics.load(this.#stopped, 0) === 1;
  }

  /** Ends the run early; what was published is still measured. */
  stop(): void {
    Atomics.store(this.#stopped, 0, 1);
  }

  /** All that was published. */
  get published(): number {
    return sum(this.#published);
  }

  /** All that was taken, by all subscribers together. */
  get taken(): number {
    return sum(this.#taken);
  }

  /** How many messages the slowest subscriber had not taken, a moment ago. */
  get onTheirWay(): number {
    const now = performance.now();
    if (now - this.#lookedAt >= LOOK_MS) {
      this.#onTheirWay = this.#behind();
      this.#lookedAt = now;
    }
    return this.#onTheirWay;
  }

  #behind(): number {
    const published = this.published;
    let most = 0;
    for (let i = 0; i < this.#taken.length; i++) {
      most = Math.max(most, (published - Atomics.load(this.#taken, i)) | 0);
    }
    return most;
  }

  /** Sets how many messages a publisher has published. */
  publish(publisher: number, messages: number): void {
    Atomics.store(this.#published, publisher, messages);
  }

  /** Sets how many messages a subscriber has taken, or knows that it missed. */
  take(subscriber: number, messages: number): void {
    Atomics.store(this.#taken, subscriber, messages);
  }
}

function sum(counts: Int32Array): number {
  let all = 0;
  for (let i = 0; i < counts.length; i++) all = (all + Atomics.load(counts, i)) | 0;
  return all;
}

/** Milliseconds, by a clock that all threads share. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** One publisher. */
class Publisher {
  readonly #load: Load;
  readonly #index: number;
  readonly #counts: Counts;
  readonly #bus: NetPubSub;
  readonly #data: Uint8Array;
  readonly #batch: number;
  readonly #window: number;
  /** The flush of the batch before: one batch is on its way while the next is made, never more. */
  #flush: Promise<void> = Promise.resolve();
  #messages = 0;

  constructor(bus: NetPubSub, index: number, load: Load, counts: Counts) {
    const bytes = load.size + OVERHEAD_BYTES;
    this.#load = load;
    this.#index = index;
    this.#counts = counts;
    this.#bus = bus;
    this.#data = new Uint8Array(load.size);
    const window = Math.min(WINDOW_BYTES, WINDOWS_BYTES / load.subscribers);
    this.#window = Math.max(2, Math.floor(window / bytes));
    const share = this.#window / (2 * load.publishers);
    this.#batch = Math.max(1, Math.floor(Math.min(BATCH_BYTES / bytes, share)));
  }

  /** Publishes all that it has to. */
  async publish(): Promise<Published> {
    const from = now();
    const { publishers, messages, seconds } = this.#load;
    const most = messages === undefined ? Infinity : shareOf(messages, publishers, this.#index);
    const end = messages === undefined ? from + seconds * 1000 : Infinity;
    while (this.#messages < most && now() < end && !this.#counts.isStopped) {
      const due = Math.min(most, this.#dueAt(now() - from));
      this.#publishBatch(Math.min(this.#batch, due - this.#messages), from);
      if (this.#messages < due) {
        await this.#drain();
        if (!await this.#room(end)) break;
      } else if (due < most) await this.#next(from, end);
    }
    await this.#bus.flush();
    return { messages: this.#messages, from, to: now() };
  }

  /** How much has to be published after so many milliseconds; publishers take turns. */
  #dueAt(ms: number): number {
    const { rate, publishers } = this.#load;
    if (rate === undefined) return Infinity;
    return Math.max(0, Math.ceil((ms * rate / 1000 - this.#index) / publishers));
  }

  #publishBatch(count: number, from: number): void {
    const { rate, publishers, topic } = this.#load;
    for (let i = 0; i < count; i++) {
      // With a rate, a message that is published late has been waiting since it was due.
      const number = (this.#messages + i) * publishers + this.#index;
      const at = rate === undefined ? now() : from + number * 1000 / rate;
      this.#bus.publish(topic, { at, data: this.#data });
    }
    this.#messages += count;
    this.#counts.publish(this.#index, this.#messages);
  }

  /** Waits until the broker has the batch before. */
  async #drain(): Promise<void> {
    const before = this.#flush;
    this.#flush = this.#bus.flush();
    this.#flush.catch(() => {}); // Whoever waits for it next gets the error.
    await before;
  }

  /**
   * Waits until the subscribers have taken enough; with a rate, does not wait for them.
   *
   * @returns Whether there is room; when too much was lost, there never is.
   */
  async #room(end: number): Promise<boolean> {
    if (this.#load.rate !== undefined) return true;
    let since = now();
    let before = this.#counts.onTheirWay;
    while (before > this.#window && now() < end && !this.#counts.isStopped) {
      await delay(ROOM_MS);
      const { onTheirWay } = this.#counts;
      if (onTheirWay !== before) since = now();
      else if (now() - since >= SILENCE_MS) return false;
      before = onTheirWay;
    }
    return true;
  }

  /** Waits until the next message is due. */
  async #next(from: number, end: number): Promise<void> {
    const { rate, publishers } = this.#load;
    const due = from + (this.#messages * publishers + this.#index) * 1000 / rate!;
    while (now() < Math.min(due, end) && !this.#counts.isStopped) {
      await delay(Math.min(STOP_MS, Math.max(0, Math.min(due, end) - now())));
    }
    if (this.#bus.pending > PENDING_BYTES_MAX) await this.#bus.flush();
  }
}

/** How many of all messages one of the publishers publishes. */
function shareOf(messages: number, publishers: number, index: number): number {
  return Math.floor(messages / publishers) + (index < messages % publishers ? 1 : 0);
}

/** One subscriber. */
class Subscriber {
  readonly #index: number;
  readonly #counts: Counts;
  readonly #latency: Histogram;
  #messages = 0;
  #bytes = 0;
  #missed = 0;
  #to = 0;

  constructor(index: number, counts: Counts, latency: Histogram) {
    this.#index = index;
    this.#counts = counts;
    this.#latency = latency;
  }

  /** Takes the messages of a topic from now on. */
  subscribe(bus: NetPubSub, topic: readonly string[]): void {
    bus.addSubscriber(topic, (_topic, { at, data }) => {
      this.#to = now();
      this.#latency.add(this.#to - (at as number));
      this.#messages++;
      this.#bytes += (data as Uint8Array).length;
      this.#tell();
    });
  }

  /** Counts messages that will not arrive. */
  miss(messages: number): void {
    this.#missed += messages;
    this.#tell();
  }

  #tell(): void {
    this.#counts.take(this.#index, this.#messages + this.#missed);
  }

  /** Waits until so many have arrived or were missed, or nothing arrives any more. */
  async expect(messages: number): Promise<Received> {
    const since = now();
    while (this.#messages + this.#missed < messages) {
      const silence = this.#counts.isStopped ? STOPPED_SILENCE_MS : SILENCE_MS;
      if (now() - Math.max(since, this.#to) >= silence) break;
      await delay(ARRIVED_MS);
    }
    return { messages: this.#messages, bytes: this.#bytes, missed: this.#missed, to: this.#to };
  }
}

/** All clients of one worker. */
class Clients {
  readonly #say: (report: Report) => void;
  readonly #latency = new Histogram();
  #buses: NetPubSub[] = [];
  #publishers: Publisher[] = [];
  #subscribers: Subscriber[] = [];

  constructor(say: (report: Report) => void) {
    this.#say = say;
  }

  /** Does what the command orders. */
  async follow(order: Order): Promise<void> {
    try {
      this.#say(await this.#answer(order));
    } catch (error) { // Whatever it is, it is for a person to read.
      this.#fail(messageOf(error));
    }
  }

  async #answer(order: Order): Promise<Report> {
    if (order.type === "open") {
      await this.#open(order);
      return { type: "opened" };
    }
    if (order.type === "publish") {
      const publishers = this.#publishers.map((publisher) => publisher.publish());
      return { type: "published", publishers: await Promise.all(publishers) };
    }
    const waiting = this.#subscribers.map((subscriber) => subscriber.expect(order.messages));
    const subscribers = await Promise.all(waiting);
    await Promise.all(this.#buses.map((bus) => bus.disconnect()));
    return { type: "received", subscribers, latency: this.#latency };
  }

  async #open(order: Order & { type: "open" }): Promise<void> {
    const { broker, load } = order;
    const counts = new Counts(load, order.counts);
    this.#subscribers = order.subscribers.map((index) => {
      const subscriber = new Subscriber(index, counts, this.#latency);
      subscriber.subscribe(this.#busFor(broker, subscriber), load.topic);
      return subscriber;
    });
    this.#publishers = order.publishers.map((index) =>
      new Publisher(this.#busFor(broker), index, load, counts)
    );
    await Promise.all(this.#buses.map((bus) => connect(bus)));
    // Rejects here if a right is missing.
    await Promise.all(this.#buses.map((bus) => bus.flush()));
  }

  #busFor(
    { address, authkey, keyName, caCerts, name }: BrokerAccess,
    subscriber?: Subscriber,
  ): NetPubSub {
    const bus = new NetPubSub(address, authkey, {
      name,
      keyName,
      tls: { caCerts },
      onError: (error) => this.#tellError(error),
      onGap: (gap) => this.#tellGap(gap, subscriber),
      onState: (state, reason) => this.#tellState(state, reason),
    });
    this.#buses.push(bus);
    return bus;
  }

  #tellError(error: unknown): void {
    if (error instanceof ForbiddenError) this.#fail(messageOf(error));
    else this.#say({ type: "complaint", text: messageOf(error) });
  }

  #tellGap({ missed, reason }: Gap, subscriber: Subscriber | undefined): void {
    if (missed === undefined) this.#fail(`Missed an unknown number of messages (${reason})`);
    else subscriber?.miss(missed);
  }

  /** A lost connection makes the measurement meaningless. */
  #tellState(state: State, reason: Error | undefined): void {
    if (state === "reconnecting") this.#fail(`Lost the connection: ${messageOf(reason)}`);
  }

  #fail(text: string): void {
    this.#say({ type: "failed", text });
  }
}

/** What this module uses of a worker's global object. */
interface WorkerScope {
  readonly name?: string;
  onmessage: (event: MessageEvent<Order>) => void;
  postMessage(report: Report): void;
}

const scope = globalThis as unknown as WorkerScope;
if ("WorkerGlobalScope" in globalThis && scope.name === WORKER_NAME) {
  const clients = new Clients((report) => scope.postMessage(report));
  scope.onmessage = ({ data }) => void clients.follow(data);
}
