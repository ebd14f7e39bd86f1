/**
 * What joins a broker to others, and how a broker sees it: as one of its peers.
 *
 * ```
 *  clients ⇄ Router ⇄ UplinkPeer ⇄ Uplink ⇄ other brokers
 *
 *            wants ──────────────▶          a client here wants a topic: others are to send it
 *            take ───────────────▶          a message that somebody elsewhere wants
 *            ◀─────────────── want          somebody elsewhere wants a topic
 *            ◀──────────── deliver          a message from elsewhere; it never goes back up
 *            ◀─────────────── lost          messages from elsewhere did not arrive
 * ```
 */
import type { UplinkStats } from "./stats.ts";

/**
 * Joins a broker to others: give it to the broker as its option `uplink`.
 *
 * - `NatsUplink` of `@mpubsub/mpubsub/nats` is one.
 * - All calls come from the broker; none of them but `join` may throw.
 */
export interface Uplink {
  /**
   * Begins, when the broker does.
   *
   * @param bus The broker.
   * @throws When it cannot join this broker, which then does not start.
   */
  join(bus: UplinkBus): void;
  /**
   * A client wants a topic and all below it, or wants it no more; called as often as clients do.
   *
   * @param path The topic.
   * @param wants Whether it wants it from now on.
   */
  wants(path: readonly string[], wants: boolean): void;
  /**
   * Takes messages that others want.
   *
   * @param frames Whole PUBLISH frames, as `docs/protocol.md` has them; good during the call only.
   * @param messages How many they are.
   * @param publisher Who published them: the order of each publisher must hold.
   */
  take(frames: Uint8Array, messages: number, publisher: object): void;
  /**
   * Why messages for a topic cannot be passed on.
   *
   * @param path The topic.
   * @returns The end of a sentence; nothing when they can.
   */
  refusal(path: readonly string[]): string | undefined;
  /**
   * What it has done.
   *
   * @returns Counts that do not change any more.
   */
  stats(): UplinkStats;
  /**
   * Passes on what waits, says goodbye and ends.
   *
   * @param signal Ends it at once when it aborts.
   * @returns Resolves when it has ended; never rejects.
   */
  leave(signal: AbortSignal): Promise<void>;
}

/** A broker, as an {@linkcode Uplink} sees it. */
export interface UplinkBus {
  /** The largest message that its clients may have, in bytes. */
  readonly messageBytes: number;
  /**
   * Others want a topic and all below it, or want it no more.
   *
   * @param path The topic.
   * @param wanted Whether they want it from now on.
   */
  want(path: readonly string[], wanted: boolean): void;
  /**
   * Passes messages of others to the clients that want them.
   *
   * @param frames Whole PUBLISH frames; they must stay as they are.
   * @returns How many were larger than its clients may have; those who wanted them are told.
   * @throws {ProtocolError} When they are none; those before the wrong one are passed on.
   */
  deliver(frames: Uint8Array): number;
  /**
   * For who can wait with more messages: none of them is lost then because a client is slow.
   *
   * @returns Resolves when the clients that got the latest have room again, or after a second; nothing
   * when they have room.
   */
  room(): Promise<void> | undefined;
  /**
   * Tells the clients that may have wanted messages of others that these did not arrive.
   *
   * @param path Their topic, or one above it.
   * @param messages How many; 0 when nobody knows.
   */
  lost(path: readonly string[], messages: number): void;
}
