/**
 * The bound of what is kept of other brokers' packets until more of them come: packets that wait for
 * one before them, and parts of a frame. There is one for each broker, and one for all together.
 *
 * ```
 *  broker 1: lane 1, lane 7 ┐
 *  broker 2: lane 3         ├─ who has waited longest without progress is given up first
 *  broker 3: …              ┘
 * ```
 *
 * - What really comes from a broker does not wait for long. So of all that is kept, and of what is kept
 *   of one broker that has too much, the oldest goes.
 * - What is counted is what is really kept alive: a whole buffer, where a packet is a part of it.
 */
import { salted } from "../base/string_map.ts";

/** The part of all that may be kept of one broker: as much as one has under way at most. */
const BROKER_PART = 1 / 2;
/** What is a smaller part of its buffer is copied, so that it does not keep all of that. */
const KEPT_PART_MIN = 3 / 4;

/** Who keeps something. */
export interface Holder {
  /** The id of the broker of which it is kept. */
  readonly broker: string;
  /** Lets go of all that it keeps. */
  giveUp(): void;
}

/** These bytes, or a copy of them if they would keep much more alive. */
export function kept(bytes: Uint8Array): Uint8Array {
  return bytes.length < KEPT_PART_MIN * bytes.buffer.byteLength ? bytes.slice() : bytes;
}

/** What some holders keep together. */
class Share {
  sum = 0;
  /** How many bytes each keeps, who has waited longest first. */
  readonly holders = new Map<Holder, number>();

  /** A holder keeps so many bytes now, the latest of all. */
  set(holder: Holder, bytes: number): void {
    this.sum += bytes - (this.holders.get(holder) ?? 0);
    this.holders.delete(holder);
    if (bytes > 0) this.holders.set(holder, bytes);
  }
}

/** Bounds what all holders keep. */
export class HeldBytes {
  readonly #max: number;
  readonly #brokerMax: number;
  readonly #onBytes: (change: number) => void;
  readonly #all = new Share();
  /** By the salted ids of the brokers of which something is kept. */
  readonly #brokers = new Map<string, Share>();

  /** Bounds it to so many bytes; `onBytes` is called with each change. */
  constructor(max: number, onBytes: (change: number) => void = () => {}) {
    this.#max = max;
    this.#brokerMax = max * BROKER_PART;
    this.#onBytes = onBytes;
  }

  /** How many bytes all keep. */
  get bytes(): number {
    return this.#all.sum;
  }

  /** Of how many brokers something is kept. */
  get brokers(): number {
    return this.#brokers.size;
  }

  /**
   * Notes how many bytes a holder keeps now; gives up others if that is too much, and it if need be.
   * Call it last: what is kept may be given up before it returns.
   */
  keeps(holder: Holder, bytes: number): void {
    const share = this.#set(holder, bytes);
    while (share.sum > this.#brokerMax) this.#giveUpFirst(share);
    while (this.#all.sum > this.#max) this.#giveUpFirst(this.#all);
  }

  /** Gives up what has waited longest, until it is so many bytes less. */
  free(bytes: number): void {
    const left = Math.max(0, this.#all.sum - bytes);
    while (this.#all.sum > left) this.#giveUpFirst(this.#all);
  }

  #set(holder: Holder, bytes: number): Share {
    const key = salted(holder.broker);
    const share = this.#brokers.get(key) ?? new Share();
    const before = this.#all.sum;
    this.#all.set(holder, bytes);
    share.set(holder, bytes);
    if (share.holders.size > 0) this.#brokers.set(key, share);
    else this.#brokers.delete(key);
    if (this.#all.sum !== before) this.#onBytes(this.#all.sum - before);
    return share;
  }

  #giveUpFirst({ holders }: Share): void {
    const first = holders.keys().next().value!;
    this.#set(first, 0);
    first.giveUp();
  }
}
