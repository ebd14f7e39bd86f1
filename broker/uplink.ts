/**
 * The contract between a broker and what joins it to others. The router sees an uplink as one peer.
 *
 * ```
 *  clients ⇄ Router ⇄ UplinkPeer ⇄ Uplink ⇄ other brokers
 *
 *            wants ──────────────▶          a client here wants a topic: others are to send it
 *            take ───────────────▶          a message that somebody elsewhere wants
 *            ◀─────────────── want          somebody elsewhere wants a topic
 *            ◀──────────── deliver          a message from elsewhere; it never goes back up
 *            ◀─────────────── lost          messages from elsewhere did not arrive
 *
 *            ◀──────────── onBytes          the uplink holds so many more bytes
 *            free ───────────────▶          the broker holds too much: the uplink is to hold less
 * ```
 */
import type { UplinkStats } from "./stats.ts";

/**
 * Joins a broker to others: give it to the broker as its option `uplink`.
 *
 * - `NatsUplink` of `@mpubsub/mpubsub/nats` is one.
 * - All calls come from the broker; only `join` may throw.
 */
export interface Uplink {
  /**
   * Called when the broker starts.
   *
   * @param bus The broker.
   * @throws {Error} If it cannot join this broker; then `start()` of the broker rejects with it.
   */
  join(bus: UplinkBus): void;
  /**
   * Called each time a client begins or ceases to want a topic and all below it.
   *
   * @param path The topic.
   * @param wants `true` if it begins, `false` if it ceases.
   */
  wants(path: readonly string[], wants: boolean): void;
  /**
   * Takes messages that other brokers want.
   *
   * @param frames Whole PUBLISH frames, as `docs/protocol.md` has them; valid during the call only.
   * @param messages How many messages the frames hold.
   * @param publisher Who published them; each publisher's order must be kept.
   */
  take(frames: Uint8Array, messages: number, publisher: object): void;
  /**
   * Says why messages for a topic cannot be passed on.
   *
   * @param path The topic.
   * @returns The reason, as the end of a sentence; `undefined` if they can be passed on.
   */
  refusal(path: readonly string[]): string | undefined;
  /**
   * Gives up what it holds and what can be told as lost, what it has held longest first: the broker holds
   * more than it may, and nobody else holds more of that.
   *
   * - It calls `onBytes` of the broker with what became free before it returns.
   *
   * @param bytes How many bytes, at most.
   */
  free(bytes: number): void;
  /**
   * Counts what the uplink has done.
   *
   * @returns A snapshot.
   */
  stats(): UplinkStats;
  /**
   * Passes on the messages that wait, tells the other brokers that it leaves, and ends.
   *
   * @param signal Ends it at once when it aborts.
   * @returns Resolves when the uplink has ended; never rejects.
   */
  leave(signal: AbortSignal): Promise<void>;
}

/** A broker, as an {@linkcode Uplink} sees it. */
export interface UplinkBus {
  /** The largest message that its clients may have, in bytes. */
  readonly messageBytes: number;
  /** How many bytes the broker may hold, with what the uplink holds: its option `memory`. */
  readonly memory: number;
  /**
   * Tells the broker that the uplink holds more bytes, or fewer: messages that wait in either direction,
   * and what it remembers of other brokers. The broker may call `free` before it returns.
   *
   * @param change How many more; less than 0: fewer.
   */
  onBytes(change: number): void;
  /**
   * Tells the broker that other brokers want a topic and all below it, or no longer want it. Topics of
   * the broker itself, `["*broker", …]`, stay with it.
   *
   * @param path The topic.
   * @param wanted `true` if they want it from now on, `false` if they no longer do.
   */
  want(path: readonly string[], wanted: boolean): void;
  /**
   * Passes messages of other brokers to the clients that want them.
   *
   * @param frames Whole PUBLISH frames; their bytes must not change afterwards.
   * @returns How many messages were dropped as larger than `messageBytes`; the clients that wanted them
   * are told.
   * @throws {ProtocolError} If there is another frame than PUBLISH; the messages before it are passed
   * on.
   */
  deliver(frames: Uint8Array): number;
  /**
   * Waits for slow clients, so that they do not lose the messages to come.
   *
   * @returns Resolves when the clients that got the latest messages have room again, or after a second;
   * `undefined` if they have room.
   */
  room(): Promise<void> | undefined;
  /**
   * Tells clients that messages of other brokers, which they may have wanted, did not arrive. Losses
   * that follow soon are told together.
   *
   * @param path The topic of the messages, or one above it.
   * @param messages How many messages; 0 if that is not known.
   */
  lost(path: readonly string[], messages: number): void;
}
