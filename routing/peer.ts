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
  /** For whom what it publishes is kept; absent for the broker itself. */
  readonly holder?: { readonly owner: object; readonly of?: string };
  /** Called when something of what it has published is kept for a group, and when that is gone. */
  keeps?(change: 1 | -1): void;
  /**
   * Tells it that a group did not take a message of its, or that nobody is left to finish one.
   *
   * @param topic The topic, as a block.
   * @param text Why, for people.
   */
  tellLost?(why: "full" | "abandoned", topic: Uint8Array, text: string): void;
}

/** Something that takes the messages it asked for. */
export interface Peer {
  /** Whether it gets only what is published at this broker, and nothing of other brokers. */
  readonly isOfThisBroker?: boolean;
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
