/**
 * Sends our clients' messages in numbered packets, and keeps these until the server has confirmed them.
 *
 * - Over a new connection, unconfirmed packets are sent again, with the same numbers.
 */
import { addCounts, COUNT_MAX } from "../base/count.ts";
import { Fifo } from "../base/fifo.ts";
import type { CountedRoute, SentCounts } from "./core_sent_counts.ts";
import type { Wire } from "./core_wire.ts";
import { type ExchangeContext, warnOfEnd } from "./exchange_context.ts";
import { Packer } from "./packer.ts";
import { sealPacket } from "./packet.ts";
import { PacketBuffers } from "./packet_buffers.ts";
import { SendQueue } from "./send_queue.ts";

/** How many bytes may be unconfirmed. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** A packet that the server has not confirmed. */
interface Sent {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly number: number;
  readonly since: number;
}

/** Sends our clients' messages to other brokers. */
export class CoreSender {
  readonly #context: ExchangeContext;
  readonly #counts: SentCounts;
  readonly #buffers = new PacketBuffers();
  readonly #packer = new Packer<CountedRoute>(this.#buffers);
  readonly #queue: SendQueue<CountedRoute>;
  readonly #unconfirmed = new Fifo<Sent>();
  #number: number;
  #wire: Wire | undefined;
  #flushing: Wire | undefined;

  /** Makes one without a connection; it counts what it sends. Its numbers go on from `first`. */
  constructor(context: ExchangeContext, counts: SentCounts, first = 0) {
    this.#number = first;
    this.#context = context;
    this.#counts = counts;
    this.#queue = new SendQueue({
      packers: [this.#packer],
      buffers: this.#buffers,
      onBytes: context.onBytes,
      bytesMax: context.queueBytes,
      windowBytes: WINDOW_BYTES,
      dropped: ({ route, messages }) => { // The counts show it.
        this.#number = addCounts(this.#number, 1);
        counts.add(route, messages);
        context.counts.dropped += messages;
      },
    });
  }

  /** How many bytes wait, or are not confirmed. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Since when the oldest of these has been waiting. */
  get waitingSince(): number | undefined {
    return this.#unconfirmed.at(0)?.since ?? this.#packer.first?.since;
  }

  /** The number of the latest packet. */
  get number(): number {
    return this.#number;
  }

  /** Takes messages of our clients, and ignores those that no other broker wants. */
  take(frames: Uint8Array): void {
    this.#packer.addAll(frames, (bytes, start, end) => this.#counts.routeOf(bytes, start, end));
    this.#queue.bound();
    this.sendMore();
    this.#queue.tell();
  }

  /** Drops what waits longest, until it takes so many bytes less. */
  free(bytes: number): void {
    this.#queue.free(bytes);
  }

  /** Sends unconfirmed packets again over a connection; {@linkcode CoreSender.sendMore} goes on. */
  connected(wire: Wire): void {
    this.#wire = wire;
    for (let i = 0; i < this.#unconfirmed.length; i++) {
      const { subject, bytes } = this.#unconfirmed.at(i)!;
      wire.publish(subject, bytes);
    }
  }

  /** The connection is lost. */
  disconnected(): void {
    this.#wire = undefined;
  }

  /** Sends as much as the window allows; a packet that is not full waits while any is unconfirmed. */
  sendMore(): void {
    const wire = this.#wire;
    if (wire === undefined) return;
    const { id: broker, counts } = this.#context;
    while (!this.#queue.isFull) {
      if (this.#number === COUNT_MAX) {
        warnOfEnd(this.#context);
        break;
      }
      const packet = this.#packer.next(this.#unconfirmed.length === 0);
      if (packet === undefined) break;
      const { route, messages, since } = packet;
      const { subject } = route;
      const sentCounts = this.#counts.add(route, messages);
      counts.sent += messages;
      const number = ++this.#number;
      const bytes = sealPacket(packet, { broker, number, counts: sentCounts });
      this.#unconfirmed.push({ subject, bytes, number, since });
      this.#queue.sent(bytes);
      wire.publish(subject, bytes);
    }
    if (this.#unconfirmed.length > 0) this.#confirm(wire);
    else this.#queue.settle();
  }

  #confirm(wire: Wire): void {
    if (this.#flushing === wire) return;
    this.#flushing = wire;
    const number = this.#number;
    const done = () => {
      if (this.#flushing === wire) this.#flushing = undefined;
    };
    wire.flush().then(() => {
      done();
      if (this.#wire !== wire) return;
      for (let sent = this.#unconfirmed.at(0); sent !== undefined; sent = this.#unconfirmed.at(0)) {
        if (sent.number > number) break;
        this.#unconfirmed.shift();
        this.#queue.confirmed(sent.bytes);
        this.#buffers.recycle(sent.bytes);
      }
      this.sendMore();
      this.#queue.tell();
    }, done); // Rejects when the connection is lost: everything goes over the next one.
  }

  /** Resolves when nothing waits any more, or `signal` aborts. */
  drained(signal: AbortSignal): Promise<void> {
    return this.#queue.drained(signal);
  }
}
