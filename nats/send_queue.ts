/**
 * The bounds of what a broker has for others: messages that wait in packers, and packets that were sent
 * but are not confirmed.
 *
 * ```
 *  messages ──▶ packers ──▶ unconfirmed ──▶ confirmed
 *               └───── at most bytesMax ───┘
 *                           └─ half of that: nothing more is sent meanwhile
 * ```
 *
 * Beyond `bytesMax`, the oldest messages of the longest packer are dropped.
 */
import type { Packer } from "./packer.ts";
import type { Packet, PacketRoute } from "./packet.ts";

/** The part of `bytesMax` that may be unconfirmed. */
const WINDOW_PART = 1 / 2;

/** What a {@linkcode SendQueue} is made of. */
export interface SendQueueOptions<R extends PacketRoute> {
  /** Where messages wait. */
  readonly packers: readonly Packer<R>[];
  /** How many bytes may wait or be unconfirmed. */
  readonly bytesMax: number;
  /** How many of them may be unconfirmed; at most half of all. */
  readonly windowBytes?: number;
  /** Takes a packet that is dropped, and which packer it waited in. */
  dropped(packet: Packet<R>, packer: number): void;
}

/** Bounds several packers, together with what was sent from them. */
export class SendQueue<R extends PacketRoute> {
  readonly #packers: readonly Packer<R>[];
  readonly #bytesMax: number;
  readonly #windowBytes: number;
  readonly #dropped: SendQueueOptions<R>["dropped"];
  #unconfirmedBytes = 0;
  #onEmpty: (() => void) | undefined;

  /** Makes one for packers that hold nothing yet. */
  constructor({ packers, bytesMax, windowBytes = Infinity, dropped }: SendQueueOptions<R>) {
    this.#packers = packers;
    this.#bytesMax = bytesMax;
    this.#windowBytes = Math.min(windowBytes, bytesMax * WINDOW_PART);
    this.#dropped = dropped;
  }

  /** How many bytes wait, or are not confirmed. */
  get bytes(): number {
    let sum = this.#unconfirmedBytes;
    for (const packer of this.#packers) sum += packer.bytes;
    return sum;
  }

  /** Whether so much is unconfirmed that nothing more is to be sent. */
  get isFull(): boolean {
    return this.#unconfirmedBytes >= this.#windowBytes;
  }

  /** Notes that a packet of so many bytes was sent. */
  sent(bytes: number): void {
    this.#unconfirmedBytes += bytes;
  }

  /** Notes that a packet of so many bytes was confirmed. */
  confirmed(bytes: number): void {
    this.#unconfirmedBytes -= bytes;
  }

  /** Drops the oldest messages of the longest packer while there is too much. */
  bound(): void {
    while (this.bytes > this.#bytesMax) { // Less than that is unconfirmed, so something waits.
      const longest = this.#packers.reduce((a, b) => b.bytes > a.bytes ? b : a);
      const packer = this.#packers.indexOf(longest);
      for (const packet of longest.drop()) this.#dropped(packet, packer);
    }
  }

  /** Call it when packets were confirmed, and more were sent: resolves `drained` if nothing is left. */
  settle(): void {
    if (this.#onEmpty !== undefined && this.bytes === 0) this.#onEmpty();
  }

  /** Resolves when nothing waits any more, or `signal` aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    if (this.bytes === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = () => resolve();
    this.#onEmpty = done;
    signal.addEventListener("abort", done);
    await promise;
    signal.removeEventListener("abort", done);
  }
}
