/**
 * What a router knows of those whom it passes messages between: peers, which have interests and take
 * frames. Most are sessions over a socket; nothing in routing knows that.
 */
import type { Lease } from "../base/bytes.ts";

/** Where messages come from: something that can be held back. */
export interface Origin {
  /**
   * Does not acknowledge the latest `messages`, which are so many bytes, and those that follow.
   *
   * @returns Ends that.
   */
  withhold(messages: number, bytes: number): () => void;
}

/** Something that takes the messages it asked for. */
export interface Peer {
  /**
   * Takes a slice of `messages` whole PUBLISH frames. The bytes are good during the call, and after
   * it as long as it holds the lease, if there is one.
   */
  take(frames: Uint8Array, messages: number, from: Origin, lease: Lease | undefined): void;
  /** Is told that it did not get so many messages of other brokers; 0: nobody knows how many. */
  lose(messages: number): void;
  /**
   * Resolves when it has room for more again, or that takes too long; nothing when it has room.
   */
  room(): Promise<void> | undefined;
}
