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
import type { Limits } from "../protocol/frame.ts";
import { type Run, runAt } from "../protocol/run.ts";
import type { DecodeTopic, Origin, Peer, Router } from "../routing/router.ts";
import { isBrokerPath, type TopicPath } from "../topic.ts";
import type { UplinkStats } from "./stats.ts";
import type { Traffic } from "./traffic.ts";

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

/** What an {@linkcode UplinkPeer} needs from its broker. */
export interface UplinkContext {
  readonly router: Router<Peer>;
  readonly limits: Limits;
  readonly decodeTopic: DecodeTopic;
  readonly traffic: Traffic;
}

/** The other brokers, as a peer of the router. */
export class UplinkPeer implements Peer, UplinkBus, Origin {
  readonly #uplink: Uplink;
  readonly #context: UplinkContext;
  /** Who got the latest messages. */
  #fed: readonly Peer[] = [];

  /** Makes the peer of an uplink that has not begun. */
  constructor(uplink: Uplink, context: UplinkContext) {
    this.#uplink = uplink;
    this.#context = context;
  }

  get messageBytes(): number {
    return this.#context.limits.messageBytes;
  }

  take(frames: Uint8Array, messages: number, from: Origin): void {
    this.#uplink.take(frames, messages, from);
  }

  lose(): void {} // It is told by others what they lost.

  /** What comes from elsewhere is held back by nobody here. */
  withhold(): () => void {
    return () => {};
  }

  /** Passes on that a peer wants a topic, or wants it no more. */
  note(peer: Peer, path: TopicPath, wants: boolean): void {
    if (peer !== this && !isBrokerPath(path)) this.#uplink.wants(path, wants);
  }

  want(path: TopicPath, wanted: boolean): void {
    const { router } = this.#context;
    if (wanted) router.add(this, path);
    else router.remove(this, path);
  }

  deliver(frames: Uint8Array): number {
    let tooLarge = 0;
    for (let at = 0; at < frames.length;) {
      const run = runAt(frames, at, this.messageBytes);
      if (!this.#pass(frames, at, run)) tooLarge++;
      at = run.end;
    }
    return tooLarge;
  }

  /** Passes messages of one topic on; not one that is too large. */
  #pass(bytes: Uint8Array, start: number, { topic, payload, end, frames }: Run): boolean {
    const { router, decodeTopic, traffic } = this.#context;
    const { path, peers, refusal } = router.route(bytes, topic, payload, decodeTopic);
    if (refusal !== undefined) return true;
    if (frames === 1 && end - payload > this.messageBytes) {
      this.lost(path, 1);
      return false;
    }
    traffic.count(path, frames, end - start);
    const slice = bytes.subarray(start, end);
    this.#fed = peers;
    for (const peer of peers) if (peer !== this) peer.take(slice, frames, this, undefined);
    return true;
  }

  room(): Promise<void> | undefined {
    const waits = this.#fed.map((peer) => peer === this ? undefined : peer.room());
    if (waits.every((wait) => wait === undefined)) return undefined;
    return Promise.all(waits).then(() => {});
  }

  lost(path: TopicPath, messages: number): void {
    for (const peer of this.#context.router.peersAround(path)) peer.lose(messages);
  }
}
