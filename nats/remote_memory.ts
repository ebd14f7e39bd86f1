/**
 * The bounds of what is remembered of other brokers, of each and of all together: what they want, and how
 * much they sent of what is wanted here. It is an estimate in bytes, rather too much than too little.
 *
 * - What the broker's router keeps of it is counted there, and is about as much.
 * - Unlike packets it is not given up for others: who is refused tells it again and again. So it may take
 *   only a part of the broker's memory.
 */
import { ProtocolError } from "../errors.ts";

/** The part of the broker's memory that all others may take, and the least that they may. */
const MEMORY_PART = 1 / 4;
const BYTES_MIN = 32 * 2 ** 20;
/** The part of that for what one of them wants. */
const BROKER_PART = 1 / 2;
/** What each element takes of a topic that somebody wants, besides its text and what it takes in the router. */
const ELEMENT_BYTES = 400;
/** What each character of that takes. */
const CHAR_BYTES = 4;
/** What it takes that a broker wants a topic, with what it was told of it. */
export const WANT_BYTES = 260;
/** What a count of another broker takes. */
export const COUNT_BYTES = 48;
/** What another broker takes of which nothing else is known. */
export const REMOTE_BYTES = 2048;

/**
 * What the elements of a topic take, however many want it.
 *
 * @param from How many of them others have, too, that are wanted.
 */
export function elementBytes(path: readonly string[], from = 0): number {
  let bytes = 0;
  for (let at = from; at < path.length; at++) {
    bytes += ELEMENT_BYTES + CHAR_BYTES * path[at]!.length;
  }
  return bytes;
}

/** Counts what is remembered of other brokers, and refuses more than there may be. */
export class RemoteMemory {
  readonly #max: number;
  readonly #onBytes: (change: number) => void;
  #bytes = 0;

  /** Makes one in which nothing is remembered; `onBytes` is called with each change. */
  constructor(max: number, onBytes: (change: number) => void = () => {}) {
    this.#max = max;
    this.#onBytes = onBytes;
  }

  /** Makes one for a broker that may hold so many bytes. */
  static within(memory: number, onBytes: (change: number) => void): RemoteMemory {
    return new RemoteMemory(Math.max(BYTES_MIN, memory * MEMORY_PART), onBytes);
  }

  /** How many bytes may be taken for what one broker wants. */
  get brokerMax(): number {
    return this.#max * BROKER_PART;
  }

  /** How many bytes are taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes room.
   *
   * @throws {ProtocolError} If there is not so much.
   */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#max) {
      throw new ProtocolError(
        `Cannot remember more of other brokers: it would take more than ${this.#max} bytes`,
      );
    }
    this.#change(bytes);
  }

  /** Gives room back. */
  give(bytes: number): void {
    this.#change(-bytes);
  }

  #change(bytes: number): void {
    this.#bytes += bytes;
    if (bytes !== 0) this.#onBytes(bytes);
  }
}
