/**
 * The messages of a consumer of a stream, asked for so many bytes at a time. A server that may send more
 * at once than it lets wait for a client takes that client for too slow, and disconnects it, again and
 * again; the least that servers are given is some megabytes.
 *
 * ```
 *             ┌ request 1: at most 288 KiB ┐
 *  server ──▶ │ message message …          │ ──▶ waiting ──▶ next()
 *             └ request 2, request 3       ┘
 * ```
 *
 * - There are three requests at a time, so that some are under way while what one has brought is taken.
 *   A request is made again when all that it brought is taken. One for a message that is longer than
 *   that is alone under way.
 * - Each request has a reply subject of its own: what a server says of one may come when the next one is
 *   under way.
 * - NATS's client can limit bytes, too, but then forgets what requests have left over, and asks for less
 *   and less.
 */
import {
  createInbox,
  type Msg,
  nanos,
  type NatsConnection,
  type Subscription,
} from "@nats-io/nats-core";
import { isCount } from "../base/count.ts";
import { Fifo } from "../base/fifo.ts";
import { every, type Timer } from "../base/timers.ts";

/**
 * How much one request brings: more than the longest packet, with its subject and headers. A server may
 * count twice what all requests bring: it may still write what we have taken, and been asked for more.
 */
const REQUEST_BYTES = 288 * 1024;
const REQUEST_MESSAGES = 64;
/** How many requests there are at a time. */
const REQUESTS = 3;
/** After so long a request ends by itself. */
const REQUEST_MS = 2000;
/** How often the server gives a sign of life while it has no message. */
const HEARTBEAT_MS = 1000;
const TICK_MS = 500;
/** After so many ticks without anything, the server counts as dead. */
const SILENT_TICKS = 5;
/** After so many, a request is over of which the server says no more, as when it has brought all bytes. */
const REQUEST_TICKS = (REQUEST_MS + HEARTBEAT_MS) / TICK_MS;
/** Of a message for us, `$JS.ACK.….DELIVERED.STREAM.CONSUMER.TIME.PENDING`, perhaps with more after it. */
const SHORT_TOKENS = 9;
/** How many tokens a longer form has before those. */
const LONG_OFFSET = 2;

/** A message of a stream. */
export interface StreamMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Its number in the stream. */
  readonly sequence: number;
  /** How many are left for the consumer. */
  readonly pending: number;
}

/** A place for one request at a time, with a subscription for what it brings. */
interface Slot {
  readonly inbox: string;
  readonly subscription: Subscription;
  /** How many requests it has made; the latest number ends the reply subject. */
  requests: number;
  /** How many messages may still come; 0: the request is over. */
  left: number;
  /** How many of those that came were not taken. */
  waiting: number;
  /** Whether it has brought something. */
  isUsed: boolean;
  /** Whether its next request, or the one under way, is for one message of any length. */
  isForLong: boolean;
  ticks: number;
}

/** Reads the messages of a consumer, in their order. */
export class Pull {
  readonly #nc: NatsConnection;
  readonly #subject: string;
  readonly #slots: readonly Slot[];
  readonly #waiting = new Fifo<{ readonly slot: Slot; readonly message: StreamMessage }>();
  readonly #timer: Timer;
  #delivered = 0;
  #silentTicks = 0;
  #isOver = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;
  /** Whether it ended because nothing came, not even a sign of life. */
  isSilent = false;

  /** Begins to read. */
  constructor(nc: NatsConnection, stream: string, consumer: string) {
    this.#nc = nc;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
    this.#slots = Array.from({ length: REQUESTS }, () => this.#makeSlot());
    this.#timer = every(() => this.#tick(), TICK_MS);
    nc.closed().then(() => this.stop());
    this.#request();
  }

  #makeSlot(): Slot {
    const inbox = createInbox();
    const subscription = this.#nc.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error !== null) this.#fail(error);
        else this.#take(slot, message);
      },
    });
    const counts = { requests: 0, left: 0, waiting: 0, ticks: 0 };
    const slot: Slot = { inbox, subscription, ...counts, isUsed: false, isForLong: false };
    return slot;
  }

  /** Makes the requests that can be made: all, or only the one for a long message. */
  #request(): void {
    if (this.#isOver || this.#nc.isClosed()) return;
    const long = this.#slots.find(({ isForLong }) => isForLong);
    const isAlone = this.#slots.every((slot) => slot === long || !isUnderWay(slot));
    for (const slot of this.#slots) {
      if (long === undefined || slot === long && isAlone) this.#requestFor(slot);
    }
  }

  #requestFor(slot: Slot): void {
    if (isUnderWay(slot) || slot.waiting > 0) return;
    slot.left = slot.isForLong ? 1 : REQUEST_MESSAGES;
    slot.isUsed = false;
    slot.ticks = 0;
    const options = {
      batch: slot.left,
      ...(!slot.isForLong && { max_bytes: REQUEST_BYTES }),
      expires: nanos(REQUEST_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    };
    const reply = `${slot.inbox}.${++slot.requests}`;
    this.#nc.publish(this.#subject, JSON.stringify(options), { reply });
  }

  #take(slot: Slot, message: Msg): void {
    if (this.#isOver) return;
    this.#silentTicks = 0;
    try {
      const code = message.headers?.code ?? 0;
      if (code === 0) this.#takeMessage(slot, message);
      else if (message.subject === `${slot.inbox}.${slot.requests}`) {
        this.#takeStatus(slot, code, message.headers!.description);
      }
    } catch (error) { // What NATS tells cannot be.
      this.#fail(error as Error);
    }
    this.#request();
  }

  #takeStatus(slot: Slot, code: number, description: string): void {
    if (code === 100) return; // A sign of life.
    slot.left = 0;
    slot.isForLong = false;
    if (code === 408 || code === 404) return; // Its time is over.
    if (code === 503) return this.stop(); // The consumer is gone.
    const isOver = code === 409 && /^(batch completed|.*exceeds maxbytes)$/i.test(description);
    if (!isOver) throw new Error(description);
    // Not even the first fits: no packet of ours, but it must pass.
    slot.isForLong = !slot.isUsed && !this.#slots.some(({ isForLong }) => isForLong);
  }

  #takeMessage(slot: Slot, { subject, data, reply }: Msg): void {
    const { delivered, sequence, pending } = placeOf(reply);
    // Some were lost on their way through a cluster: they are read again.
    if (delivered !== ++this.#delivered) return this.stop();
    slot.left--;
    slot.waiting++;
    slot.isUsed = true;
    slot.isForLong = false;
    this.#waiting.push({ slot, message: { subject, data, sequence, pending } });
    this.#wake?.();
  }

  #tick(): void {
    for (const slot of this.#slots) slot.ticks++;
    this.#request();
    if (this.#slots.every(({ left }) => left === 0)) this.#silentTicks = 0; // Nobody was asked.
    else if (++this.#silentTicks > SILENT_TICKS) {
      this.isSilent = true;
      this.stop();
    }
  }

  /**
   * The next message; call it when the one before is taken.
   *
   * @returns `undefined` when it has ended.
   * @throws {Error} If NATS says that there is something wrong.
   */
  async next(): Promise<StreamMessage | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#isOver) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    const { slot, message } = this.#waiting.shift()!;
    slot.waiting--;
    this.#request();
    return message;
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.stop();
  }

  /** Ends it, after what has come. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    for (const { subscription } of this.#slots) subscription.unsubscribe();
    this.#wake?.();
  }
}

function isUnderWay({ left, ticks }: Slot): boolean {
  return left > 0 && ticks <= REQUEST_TICKS;
}

/** Where a message stands, as its reply subject tells. */
function placeOf(
  reply = "",
): { delivered: number; sequence: number; pending: number } {
  const tokens = reply.split(".");
  const at = tokens.length === SHORT_TOKENS ? 0 : LONG_OFFSET;
  const number = (index: number) => known(Number(tokens[at + index]), "the place of a message");
  return { sequence: number(5), delivered: number(6), pending: number(8) };
}

/** A number that NATS tells, which must be exact: reading goes on after it. */
export function known(value: unknown, what: string): number {
  if (isCount(value)) return value;
  throw new Error(`NATS says that ${what} is ${value}`);
}
