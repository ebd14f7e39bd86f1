/**
 * Reads a JetStream stream in its order, from where it was left, over any number of connections.
 */
import {
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { later } from "../base/timers.ts";
import { ANSWER_MS } from "./jetstream_setup.ts";

const encoder = new TextEncoder();

/** What a reader needs. */
export interface JetStreamReaderOptions {
  /** The name of the stream. */
  readonly stream: string;
  /** What is wanted of it; nothing while nothing is. */
  wanted(): readonly string[];
  /** Takes a message; the next one comes when that is settled. */
  message(subject: string, bytes: Uint8Array): Promise<void> | undefined;
  /** What is read from now on was chosen anew: what is not wanted is left out. */
  chosenAnew(): void;
  /** The stream no longer has messages that were not read. */
  lost(why: string): void;
}

/** How many messages are on their way at a time. */
const MESSAGES_AHEAD = 128;
/** A request for messages that is lost with a server is noticed after that. */
const REQUEST_MS = 2000;
/** An older server takes but one filter: then everything is read. */
const FILTERS_SINCE = [2, 10] as const;
/** As long are all filters together, so that they fit a message. */
const FILTERS_BYTES_MAX = 64 * 1024;
/** For so long a stream may have less than was read. */
const SHORT_MS = 10_000;
/** Each node of a cluster has a time of its own at which it made a stream. */
const MADE_SKEW_MS = 10_000;
/** So often what is read is chosen anew. */
const CHANGE_MS = 250;

/** The reader; see the module. */
export class JetStreamReader {
  readonly #options: JetStreamReaderOptions;
  /** The sequence of the latest message that was read, or need not be; none while nothing is wanted. */
  #position: number | undefined;
  /** When the stream was made. */
  #made: number | undefined;
  /** Since when it has less than was read. */
  #shortSince: number | undefined;
  #messages: ConsumerMessages | undefined;
  #isFiltered = false;
  /** The latest filters; `undefined`: everything, `null`: nothing. */
  #chosen: string | undefined | null = null;
  #onChange: (() => void) | undefined;
  #changing: Disposable | undefined;
  #isDoubted = false;
  #manager: JetStreamManager | undefined;
  #looking: Promise<void> | undefined;
  /** How many messages are there that were not read. */
  behind = 0;
  /** Whether it reads what is wanted now. */
  isReading = false;

  /** Makes one that has read nothing; it begins with what comes from then on. */
  constructor(options: JetStreamReaderOptions) {
    this.#options = options;
  }

  /** What is wanted has changed; it is read within {@linkcode CHANGE_MS}. */
  change(): void {
    const readsAll = this.#messages !== undefined && !this.#isFiltered;
    if (readsAll && this.#options.wanted().length > 0) return;
    if (!this.#isFiltered) return this.#stop();
    this.isReading = false;
    this.#changing ??= later(() => this.#stop(), CHANGE_MS);
  }

  /** The stream may be gone: {@linkcode JetStreamReader.read} ends. */
  doubt(): void {
    this.#isDoubted = true;
    this.#stop();
  }

  #stop(): void {
    this.#changing?.[Symbol.dispose]();
    this.#changing = undefined;
    this.#onChange?.();
    this.#messages?.stop();
  }

  /** Looks whether the stream has lost what is not read yet; only with filters nobody else notices. */
  look(): void {
    const manager = this.#manager;
    if (manager === undefined || !this.#isFiltered || this.behind === 0) return;
    this.#looking ??= this.#look(manager).finally(() => this.#looking = undefined);
  }

  async #look(manager: JetStreamManager): Promise<void> {
    const { stream, lost } = this.#options;
    try {
      const { state: { first_seq: first } } = await manager.streams.info(stream);
      if (this.#position === undefined || first <= this.#position + 1) return;
      this.#position = first - 1;
      lost(`the stream ${stream} keeps not all that was not read`);
    } catch { // No answer: it is asked again.
    }
  }

  /** Reads until the connection is closed, `signal` aborts or the stream is doubted; or rejects. */
  async read(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    const manager = this.#manager = await jetstreamManager(nc, { timeout: ANSWER_MS });
    this.#isDoubted = false;
    const stop = () => this.#stop();
    signal.addEventListener("abort", stop);
    try {
      while (!signal.aborted && !nc.isClosed() && !this.#isDoubted) {
        const wanted = this.#options.wanted();
        if (wanted.length > 0) await this.#consume(nc, manager, wanted);
        else await this.#idle(nc);
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#manager = undefined;
      await this.#looking;
    }
  }

  /** Waits while nothing is wanted: what comes meanwhile is for nobody. */
  async #idle(nc: NatsConnection): Promise<void> {
    this.#position = undefined;
    this.#chosen = null;
    this.behind = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onChange = resolve;
    await Promise.race([promise, nc.closed()]);
    this.#onChange = undefined;
  }

  /** Reads until what is wanted has changed, the consumer is gone, or the connection is closed. */
  async #consume(
    nc: NatsConnection,
    manager: JetStreamManager,
    wanted: readonly string[],
  ): Promise<void> {
    const { stream } = this.#options;
    let isChanged = false;
    this.#onChange = () => isChanged = true;
    this.#position = this.#place(
      await manager.streams.info(stream),
      nc.info?.cluster === undefined ? 0 : MADE_SKEW_MS,
    );
    const filters = hasFilters(nc) && fits(wanted) ? wanted : undefined;
    this.#isFiltered = filters !== undefined;
    const chosen = filters?.join(" ");
    if (chosen !== this.#chosen) this.#options.chosenAnew();
    this.#chosen = chosen;
    const consumer = await manager.jetstream().consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#position + 1,
      ...(filters !== undefined && { filter_subjects: [...filters] }),
    });
    const messages = await consumer.consume({
      max_messages: MESSAGES_AHEAD,
      expires: REQUEST_MS,
      abort_on_missing_resource: true,
    });
    this.#messages = messages;
    const watching = stopWhenSilent(messages);
    try {
      if (isChanged) messages.stop(); // What is stopped without being read never closes.
      else this.isReading = true;
      for await (const { subject, data, info } of messages) {
        // With filters others lie between; without, they are gone.
        if (filters === undefined && info.streamSequence > this.#position + 1) {
          this.#options.lost(`the stream ${stream} keeps not all that was not read`);
        }
        await this.#options.message(subject, data);
        this.#position = info.streamSequence;
        this.behind = info.pending;
      }
    } finally {
      this.#messages = undefined;
      this.isReading = false;
      await messages.close();
      const isSilent = await watching;
      // It would go by itself after a while.
      if (!isSilent && !nc.isClosed()) await consumer.delete().catch(() => {});
    }
  }

  /**
   * Where to read on in a stream; tells when something is missing there.
   *
   * - A node that was started again may for a moment have less of a stream than was read.
   *
   * @param skew How many milliseconds apart the nodes may say that they made it.
   * @throws {Error} When that may be so: ask again.
   */
  #place(
    { created, state: { first_seq: first, last_seq: last } }: StreamInfo,
    skew: number,
  ): number {
    const { stream, lost } = this.#options;
    const position = this.#position;
    const made = Date.parse(created);
    const isOther = this.#made !== undefined && made - this.#made > skew;
    if (isOther || this.#made === undefined) this.#made = made;
    if (position === undefined) return last;
    if (!isOther && last < position) {
      const now = performance.now();
      this.#shortSince ??= now;
      if (now - this.#shortSince < SHORT_MS) {
        throw new Error(`it ends at ${last}, and was read up to ${position}`);
      }
    }
    this.#shortSince = undefined;
    if (isOther || last < position) {
      lost(`the stream ${stream} was made anew`);
      return Math.max(0, first - 1);
    }
    if (first <= position + 1) return position;
    lost(`the stream ${stream} keeps nothing before ${first}, and was read up to ${position}`);
    return first - 1;
  }
}

/**
 * Ends the messages of a consumer that gives no sign of life. One node of a cluster keeps it, whichever
 * we are connected to: when that dies nobody says so, and the library asks for ever.
 *
 * @returns Whether it was silent.
 */
async function stopWhenSilent(messages: ConsumerMessages): Promise<boolean> {
  for await (const { type } of messages.status()) {
    if (type !== "heartbeats_missed") continue;
    messages.stop();
    return true;
  }
  return false;
}

function fits(filters: readonly string[]): boolean {
  return encoder.encode(filters.join()).length <= FILTERS_BYTES_MAX;
}

function hasFilters(nc: NatsConnection): boolean {
  const [major = 0, minor = 0] = (nc.info?.version ?? "").split(".").map(Number);
  return major > FILTERS_SINCE[0] || major === FILTERS_SINCE[0] && minor >= FILTERS_SINCE[1];
}
