/**
 * Reads a JetStream stream in its order, over any number of connections, each from where the last ended.
 */
import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
  type StreamInfo,
} from "@nats-io/jetstream";
import { nanos, type NatsConnection } from "@nats-io/nats-core";
import { clock } from "../base/clock.ts";
import { later, type Timer } from "../base/timers.ts";
import { known, Pull } from "./jetstream_pull.ts";
import { ANSWER_MS } from "./jetstream_setup.ts";

const encoder = new TextEncoder();

/** What a reader needs. */
export interface JetStreamReaderOptions {
  /** The name of the stream. */
  readonly stream: string;
  /** Whether anything is wanted. */
  isWanted(): boolean;
  /** The subjects of all that is wanted. */
  wanted(): readonly string[];
  /** Takes a message; the next one comes when that is settled. */
  message(subject: string, bytes: Uint8Array): Promise<void> | undefined;
  /** From now on other subjects are read: what is not wanted is left out. */
  chosenAnew(): void;
  /** The stream no longer has messages that were not read. */
  lost(why: string): void;
}

/** After so long without a request, NATS forgets a consumer. */
const FORGOTTEN_MS = 5 * 60 * 1000;
/** Older servers take only one filter; with them, everything is read. */
const FILTERS_SINCE = [2, 10] as const;
/** How long all filters may be together, so that they fit a message. */
const FILTERS_BYTES_MAX = 64 * 1024;
/** How long a stream may have less than was read. */
const SHORT_MS = 10_000;
/** How far apart the nodes of a cluster may date the making of a stream. */
const MADE_SKEW_MS = 10_000;
/** How often the filters may change. */
const CHANGE_MS = 250;

/** Reads a stream, and notices what is missing in it. */
export class JetStreamReader {
  readonly #options: JetStreamReaderOptions;
  /** The sequence of the latest message that was read or skipped; none while nothing is wanted. */
  #position: number | undefined;
  /** When the stream was made. */
  #made: number | undefined;
  /** Since when the stream has had less than was read. */
  #shortSince: number | undefined;
  #messages: Pull | undefined;
  #isFiltered = false;
  /** The latest filters; `undefined`: everything, `null`: nothing. */
  #chosen: string | undefined | null = null;
  #onChange: (() => void) | undefined;
  #changing: Timer | undefined;
  #isDoubted = false;
  #manager: JetStreamManager | undefined;
  #looking: Promise<void> | undefined;
  /** How many messages in the stream were not read yet. */
  behind = 0;
  /** Whether it reads what is wanted now. */
  isReading = false;

  /** Makes one that has read nothing; it begins with what comes from now on. */
  constructor(options: JetStreamReaderOptions) {
    this.#options = options;
  }

  /** What is wanted has changed; takes effect within {@linkcode CHANGE_MS}. */
  change(): void {
    const readsAll = this.#messages !== undefined && !this.#isFiltered;
    if (readsAll && this.#options.isWanted()) return;
    if (!this.#isFiltered) return this.#stop();
    this.isReading = false;
    this.#changing ??= later(() => this.#stop(), CHANGE_MS);
  }

  /** Says that the stream may be gone: ends {@linkcode JetStreamReader.read}. */
  doubt(): void {
    this.#isDoubted = true;
    this.#stop();
  }

  #stop(): void {
    this.#changing?.cancel();
    this.#changing = undefined;
    this.#onChange?.();
    this.#messages?.stop();
  }

  /** With filters, checks whether the stream has dropped messages before they were read. */
  look(): void {
    const manager = this.#manager;
    if (manager === undefined || !this.#isFiltered || this.behind === 0) return;
    this.#looking ??= this.#look(manager).finally(() => this.#looking = undefined);
  }

  async #look(manager: JetStreamManager): Promise<void> {
    const { stream, lost } = this.#options;
    try {
      const { first } = stateOf(await manager.streams.info(stream));
      if (this.#position === undefined || first <= this.#position + 1) return;
      this.#position = first - 1;
      lost(`the stream ${stream} has dropped messages that were not read`);
    } catch { // No answer: the next look asks again.
    }
  }

  /** Reads until the connection is closed, `signal` aborts or the stream may be gone; or rejects. */
  async read(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    const manager = this.#manager = await jetstreamManager(nc, { timeout: ANSWER_MS });
    this.#isDoubted = false;
    const stop = () => this.#stop();
    signal.addEventListener("abort", stop);
    try {
      while (!signal.aborted && !nc.isClosed() && !this.#isDoubted) {
        if (this.#options.isWanted()) await this.#consume(nc, manager, this.#options.wanted());
        else await this.#idle();
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#manager = undefined;
      await this.#looking;
    }
  }

  /** Waits while nothing is wanted, and skips what comes meanwhile. */
  async #idle(): Promise<void> {
    this.#position = undefined;
    this.#chosen = null;
    this.behind = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onChange = resolve;
    await promise; // Also when the connection is closed: then `stop` is called.
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
    const { name: consumer } = await manager.consumers.add(stream, {
      name: crypto.randomUUID(),
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#position + 1,
      ack_policy: AckPolicy.None,
      max_deliver: 1,
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: nanos(FORGOTTEN_MS),
      ...(filters !== undefined && { filter_subjects: [...filters] }),
    });
    const messages = this.#messages = new Pull(nc, stream, consumer);
    try {
      if (isChanged) messages.stop();
      else this.isReading = true;
      for (let next = await messages.next(); next !== undefined; next = await messages.next()) {
        const { subject, data, sequence, pending } = next;
        // Without filters, whatever is missing in between is gone.
        if (filters === undefined && sequence > this.#position + 1) {
          this.#options.lost(`the stream ${stream} has dropped messages that were not read`);
        }
        // Whatever it does, it is not read again: what cannot be taken now never can.
        this.#position = sequence;
        this.behind = pending;
        await this.#options.message(subject, data);
      }
    } finally {
      this.#messages = undefined;
      this.isReading = false;
      messages.stop();
      // Otherwise the server would delete it after a while.
      if (!messages.isSilent && !nc.isClosed()) {
        await manager.consumers.delete(stream, consumer).catch(() => {});
      }
    }
  }

  /**
   * Where to read on in a stream; calls `lost` if something is missing there.
   *
   * - A node that was started again may, for a moment, have less of a stream than was read.
   *
   * @param skew How many milliseconds apart the nodes may date the making of the stream.
   * @throws {Error} If that may be the case: ask again.
   */
  #place(info: StreamInfo, skew: number): number {
    const { stream, lost } = this.#options;
    const { first, last, made } = stateOf(info);
    const position = this.#position;
    const isOther = this.#made !== undefined && made - this.#made > skew;
    if (isOther || this.#made === undefined) this.#made = made;
    if (position === undefined) return last;
    if (!isOther && last < position) {
      const now = clock.now();
      this.#shortSince ??= now;
      if (now - this.#shortSince < SHORT_MS) {
        throw new Error(`it ends at ${last}, but was read up to ${position}`);
      }
    }
    this.#shortSince = undefined;
    if (isOther || last < position) {
      lost(`the stream ${stream} was made anew`);
      return Math.max(0, first - 1);
    }
    if (first <= position + 1) return position;
    lost(`the stream ${stream} begins with ${first}, but was read only up to ${position}`);
    return first - 1;
  }
}

/** What NATS says of a stream: its first and last sequence, and when it was made. */
function stateOf({ created, state }: StreamInfo): { first: number; last: number; made: number } {
  return {
    first: known(state.first_seq, "its first sequence"),
    last: known(state.last_seq, "its last sequence"),
    made: knownDate(created),
  };
}

function knownDate(text: string): number {
  const date = Date.parse(text);
  if (!Number.isNaN(date)) return date;
  throw new Error(`NATS says that it was made at ${text}`);
}

function fits(filters: readonly string[]): boolean {
  return encoder.encode(filters.join()).length <= FILTERS_BYTES_MAX;
}

function hasFilters(nc: NatsConnection): boolean {
  const [major = 0, minor = 0] = String(nc.info?.version ?? "").split(".").map(Number);
  return major > FILTERS_SINCE[0] || major === FILTERS_SINCE[0] && minor >= FILTERS_SINCE[1];
}
