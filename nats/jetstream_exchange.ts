/**
 * Brokers joined through a JetStream stream, which keeps what they send. Knows no connection.
 *
 * ```
 *  publishers ──▶ lane 1: 7 6 5 … ──▶ ┌────────┐
 *             ──▶ lane 2: 3 2 …   ──▶ │ stream │ ──▶ others, in its order
 *             ──▶   …                 └────────┘
 * ```
 *
 * The stream has one order, in which each broker reads what it wants. jetstream_sender.ts sends messages,
 * jetstream_reader.ts reads them, and jetstream_reorder.ts restores the order of packets that a cluster
 * has mixed up.
 */
import type { TopicPath } from "../topic.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import { ReorderBuffer } from "./jetstream_reorder.ts";
import { JetStreamSender, type StreamWire } from "./jetstream_sender.ts";
import type { Exchange } from "./mode.ts";
import type { PacketHeader } from "./packet.ts";
import { WantedSubjects } from "./wanted_subjects.ts";

/** Exchanges messages with other brokers through a stream, over whatever connection there is. */
export class JetStreamExchange implements Exchange {
  readonly #wanted: WantedSubjects;
  readonly #sender: JetStreamSender;
  readonly #received: ReorderBuffer;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#wanted = new WantedSubjects(context.prefix);
    this.#sender = new JetStreamSender(context);
    this.#received = new ReorderBuffer(context, this.#wanted);
  }

  get subscriptions(): number {
    return this.#wanted.size;
  }

  get queuedBytes(): number {
    return this.#sender.queuedBytes;
  }

  get waitingSince(): number | undefined {
    return this.#sender.waitingSince;
  }

  /** The subjects of what our clients want. */
  wanted(): readonly string[] {
    return this.#wanted.subjects();
  }

  /** Notes that a client wants a topic, or no longer wants it; returns whether the wants change. */
  wants(path: TopicPath, wants: boolean): boolean {
    return this.#wanted.change(path, wants) !== undefined;
  }

  /** A beat has passed; returns whether the wants change. */
  tick(): boolean {
    return [...this.#wanted.settle()].length > 0;
  }

  take(frames: Uint8Array, publisher: object): void {
    this.#sender.take(frames, publisher);
  }

  free(bytes: number): void {
    const { heldBytes } = this.#received;
    this.#received.free(bytes);
    const left = bytes - (heldBytes - this.#received.heldBytes);
    if (left > 0) this.#sender.free(left);
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#sender.drained(signal);
  }

  /** Goes on over a connection. */
  connected(wire: StreamWire): void {
    this.#sender.connected(wire);
  }

  disconnected(): void {
    this.#sender.disconnected();
  }

  /**
   * Takes a packet from the stream.
   *
   * @throws {ProtocolError} If it is from a broker that uses no stream.
   */
  packet(subject: string, header: PacketHeader, body: Uint8Array): void {
    this.#received.packet(subject, header, body);
  }

  /** From now on other messages are read: what was there before may not have been read. */
  chosenAnew(): void {
    this.#received.chosenAnew();
  }
}
