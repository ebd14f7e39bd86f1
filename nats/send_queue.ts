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
 * Beyond `bytesMax`, the oldest messages of the longest packer are dropped. They are, too, when the broker
 * needs what they take; it is told how many bytes the buffers have, which may be more than is in them.
 */
import type { Packer } from "./packer.ts";
import type { Packet, PacketRoute } from "./packet.ts";
import type { PacketBuffers } from "./packet_buffers.ts";

/** The part of `bytesMax` that may be unconfirmed. */
const WINDOW_PART = 1 / 2;

/** What a {@linkcode SendQueue} is made of. */
export interface SendQueueOptions<R extends PacketRoute> {
  /** Where messages wait. */
  readonly packers: readonly Packer<R>[];
  /** Their buffers. */
  readonly buffers: PacketBuffers;
  /** How many bytes may wait or be unconfirmed. */
  readonly bytesMax: number;
  /** How many of them may be unconfirmed; at most half of all. */
  readonly windowBytes?: number;
  /** Takes a packet that is dropped, and which packer it waited in. */
  dropped(packet: Packet<R>, packer: number): void;
  /** Called by {@linkcode SendQueue.tell}: the buffers take so many more bytes, or fewer. */
  onBytes(change: number): void;
}

/** Bounds several packers, together with what was sent from them. */
export class SendQueue<R extends PacketRoute> {
  readonly #packers: readonly Packer<R>[];
  readonly #bytesMax: number;
  readonly #windowBytes: number;
  readonly #buffers: PacketBuffers;
  readonly #dropped: SendQueueOptions<R>["dropped"];
  readonly #onBytes: SendQueueOptions<R>["onBytes"];
  #unconfirmedBytes = 0;
  /** How many bytes the buffers of those have. */
  #keptBytes = 0;
  /** Of how many bytes the broker was told. */
  #toldBytes = 0;
  #onEmpty: (() => void) | undefined;

  /** Makes one for packers that hold nothing yet. */
  constructor(options: SendQueueOptions<R>) {
    const { packers, buffers, bytesMax, windowBytes = Infinity, dropped, onBytes } = options;
    this.#packers = packers;
    this.#buffers = buffers;
    this.#onBytes = onBytes;
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

  /** Notes that a packet was sent. */
  sent({ length, buffer }: Uint8Array): void {
    this.#unconfirmedBytes += length;
    this.#keptBytes += buffer.byteLength;
  }

  /** Notes that a packet was confirmed, or that another one takes its place. */
  confirmed({ length, buffer }: Uint8Array): void {
    this.#unconfirmedBytes -= length;
    this.#keptBytes -= buffer.byteLength;
  }

  /** Drops the oldest messages of the longest packer while there is too much. */
  bound(): void {
    while (this.bytes > this.#bytesMax) this.#dropOldest(); // Some wait: less is unconfirmed.
  }

  /** Drops spare buffers, and then the oldest messages, until it takes so many bytes less. */
  free(bytes: number): void {
    const left = this.#takes - bytes;
    if (this.#takes > left) this.#buffers.dropSpares();
    while (this.#takes > left && this.bytes > this.#unconfirmedBytes) this.#dropOldest();
    this.tell();
  }

  get #takes(): number {
    return this.#buffers.bytes + this.#keptBytes;
  }

  #dropOldest(): void {
    const longest = this.#packers.reduce((a, b) => b.bytes > a.bytes ? b : a);
    const packer = this.#packers.indexOf(longest);
    for (const packet of longest.drop()) this.#dropped(packet, packer);
  }

  /** Call it last: tells the broker how much more it takes; the broker may call `free` meanwhile. */
  tell(): void {
    const change = this.#takes - this.#toldBytes;
    this.#toldBytes += change;
    if (change !== 0) this.#onBytes(change);
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
