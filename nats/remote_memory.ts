/**
 * The bound of what is remembered of all other brokers together: what they want, and how much they sent
 * of what is wanted here. It is an estimate in bytes, rather too much than too little.
 */
import { ProtocolError } from "../errors.ts";

/** Enough for a thousand brokers with two thousand topics each. */
const BYTES_MAX = 1.5 * 2 ** 30;
/** What a topic takes that somebody wants, here and in the router, besides its text. */
const TOPIC_BYTES = 800;
/** What each character of that takes. */
const CHAR_BYTES = 4;
/** What it takes that a broker wants a topic. */
export const WANT_BYTES = 160;
/** What a count of another broker takes. */
export const COUNT_BYTES = 48;

/** What a topic takes, however many want it; `null`: broadcasts, which are always there. */
export function topicBytes(path: readonly string[] | null): number {
  if (path === null) return 0;
  return path.reduce((sum, { length }) => sum + CHAR_BYTES * length, TOPIC_BYTES);
}

/** Counts what is remembered of other brokers, and refuses more than there may be. */
export class RemoteMemory {
  readonly #max: number;
  #bytes = 0;

  /** Makes one in which nothing is remembered. */
  constructor(max: number = BYTES_MAX) {
    this.#max = max;
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
    this.#bytes += bytes;
  }

  /** Gives room back. */
  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
