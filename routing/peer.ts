/**
 * What a router knows about those between whom it passes messages: peers, which have interests and take
 * frames. Most are sessions over a socket; nothing in routing knows that.
 */
import type { Lease } from "../base/lease.ts";

/** Where messages come from: something that can be held back. */
export interface Origin {
  /**
   * Stops acknowledging, from the latest `messages` on, which are `bytes` long.
   *
   * @returns Acknowledges again.
   */
  withhold(messages: number, bytes: number): () => void;
}

/** Something that takes the messages it asked for. */
export interface Peer {
  /**
   * Takes a slice of `messages` whole PUBLISH frames. The bytes are valid during the call, and after
   * it as long as it holds the lease, if there is one.
   */
  take(frames: Uint8Array, messages: number, from: Origin, lease: Lease | undefined): void;
  /** Called when it did not get so many messages of other brokers; 0: an unknown number. */
  lose(messages: number): void;
  /**
   * Resolves when it has room for more again, or that takes too long; `undefined` if it has room.
   */
  room(): Promise<void> | undefined;
}
