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
 *            group ──────────────▶          a group has members here, or has none any more
 *            handOver ───────────▶          messages for a group that has members elsewhere only
 *            ◀───────────── groupsAt        which groups have members at another broker
 *            ◀───────────── takeOver        messages for members here, handed over by another broker
 *
 *            ◀──────────── onBytes          the uplink holds so many more bytes
 *            free ───────────────▶          the broker holds too much: the uplink is to hold less
 * ```
 */
import type { UplinkStats } from "./stats.ts";

/** A group, as brokers tell each other of it. */
export interface GroupName {
  /** Its name. */
  readonly group: string;
  /** Its topic; `null` is an element of any name. */
  readonly topic: readonly (string | null)[];
}

/**
 * What became of messages that were handed over: another broker has taken them, or has not, or nobody
 * knows.
 */
export type HandedOver = "taken" | "not taken" | "unknown";

/** Tells whoever published a message that members elsewhere did not finish it. */
export type TellLost = (why: "full" | "abandoned", topic: Uint8Array, text: string) => void;

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
   * Called when a group gets its first member here, and when it has lost the last.
   *
   * @param name The group.
   * @param isThere `true` if it has members now, `false` if it has none any more.
   */
  group?(name: GroupName, isThere: boolean): void;
  /**
   * Hands messages over to the members of a group at another broker, at most once. They count as held
   * until these have finished them, or given them up.
   *
   * @param broker The id of that broker, as `groupsAt` named it.
   * @param name The group.
   * @param frames Whole PUBLISH frames; their bytes do not change afterwards.
   * @param tellLost Called when a message was taken there, and is given up later, or its broker is gone
   * before it is finished.
   * @returns What became of them; never rejects.
   */
  handOver?(
    broker: string,
    name: GroupName,
    frames: Uint8Array,
    tellLost: TellLost,
  ): Promise<HandedOver>;
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
   * Tells the broker which groups have members at another broker.
   *
   * @param broker The id of that broker.
   * @param groups All of them; none when it is gone.
   * @throws {TypeError} If a name cannot be one.
   * @throws {RangeError} The same.
   */
  groupsAt(broker: string, groups: readonly GroupName[]): void;
  /**
   * Passes messages that another broker hands over to the members of a group here.
   *
   * @param name The group.
   * @param frames Whole PUBLISH frames.
   * @param tellLost Called for each message that is given up later.
   * @param done Called when all of them are finished, or given up.
   * @returns Whether the group has members here; if not, nobody gets them.
   * @throws {ProtocolError} If there is another frame than PUBLISH, or one that is too large; nobody gets
   * any then.
   */
  takeOver(name: GroupName, frames: Uint8Array, tellLost: TellLost, done: () => void): boolean;
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
