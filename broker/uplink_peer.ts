/**
 * The other brokers that an uplink joins, as one peer of the router.
 */
import type { Background } from "../base/background.ts";
import type { Limits } from "../protocol/frame.ts";
import { type Run, runAt } from "../protocol/topic_run.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import type { DecodeTopic, Router } from "../routing/router.ts";
import { isBrokerPath, type TopicPath } from "../topic.ts";
import type { UplinkStats } from "./stats.ts";
import type { TopicCounts } from "./topic_counts.ts";
import type { Uplink, UplinkBus } from "./uplink.ts";
import { UplinkLosses } from "./uplink_losses.ts";

/** What an {@linkcode UplinkPeer} needs from its broker. */
export interface UplinkContext {
  /** Where what takes long is done. */
  readonly background: Background;
  readonly router: Router<Peer>;
  readonly limits: Limits;
  readonly decodeTopic: DecodeTopic;
  readonly topicCounts: TopicCounts;
  /** How many bytes the broker may hold. */
  readonly memory: number;
  /** The uplink holds so many more bytes, or fewer; may call {@linkcode UplinkPeer.free}. */
  readonly onUplinkBytes: (change: number) => void;
}

/** The other brokers, as a peer of the router. */
export class UplinkPeer implements Peer, UplinkBus, Origin {
  readonly #uplink: Uplink;
  readonly #context: UplinkContext;
  readonly #losses: UplinkLosses;
  #hasJoined = false;
  /** Who got the latest messages. */
  #fed: readonly Peer[] = [];
  /** How many bytes the uplink holds. */
  #bytes = 0;
  #isDelivering = false;
  /** How many bytes the uplink is to give up when that is over. */
  #toFree = 0;

  /** Makes the peer of an uplink that has not begun. */
  constructor(uplink: Uplink, context: UplinkContext) {
    this.#uplink = uplink;
    this.#context = context;
    this.#losses = new UplinkLosses(context.router, context.background);
  }

  /**
   * Begins.
   *
   * @throws Whatever the uplink does, when it cannot join this broker.
   */
  join(): void {
    this.#uplink.join(this);
    this.#hasJoined = true;
  }

  /** Ends, if it has begun; at once when `signal` aborts. */
  async leave(signal: AbortSignal): Promise<void> {
    if (!this.#hasJoined) return;
    this.#hasJoined = false;
    await this.#uplink.leave(signal);
    this.#losses.end();
  }

  /** What the uplink has done. */
  stats(): UplinkStats {
    return this.#uplink.stats();
  }

  get messageBytes(): number {
    return this.#context.limits.messageBytes;
  }

  get memory(): number {
    return this.#context.memory;
  }

  /** How many bytes the uplink holds, without those that it is about to give up. */
  get bytes(): number {
    return this.#bytes - this.#toFree;
  }

  onBytes(change: number): void {
    this.#bytes += change;
    this.#context.onUplinkBytes(change);
  }

  /**
   * Lets the uplink give up so many bytes of what it holds. While it delivers, that waits, and they count
   * as given up: what it holds may follow what not all clients have yet.
   */
  free(bytes: number): void {
    if (!this.#isDelivering) return this.#uplink.free(bytes);
    const more = Math.min(bytes, this.bytes);
    this.#toFree += more;
    this.#context.onUplinkBytes(-more);
  }

  #freeNow(): void {
    const bytes = this.#toFree;
    if (bytes === 0) return;
    this.#uplink.free(bytes);
    this.#toFree -= bytes;
    this.#context.onUplinkBytes(bytes);
  }

  take(frames: Uint8Array, messages: number, from: Origin): void {
    this.#uplink.take(frames, messages, from);
  }

  lose(): void {} // Other brokers notice their losses themselves.

  /** What comes from elsewhere is not held back. */
  withhold(): () => void {
    return () => {};
  }

  /** Tells the uplink that a peer wants a topic, or no longer wants it. */
  wants(peer: Peer | undefined, path: TopicPath, wants: boolean): void {
    if (this.#hasJoined && peer !== this && !isBrokerPath(path)) this.#uplink.wants(path, wants);
  }

  want(path: TopicPath, wanted: boolean): void {
    const { router } = this.#context;
    if (isBrokerPath(path)) return; // What a broker publishes of itself stays there.
    if (wanted) router.add(this, path);
    else router.remove(this, path);
  }

  deliver(frames: Uint8Array): number {
    let tooLarge = 0;
    this.#isDelivering = true;
    try {
      for (let at = 0; at < frames.length;) {
        const run = runAt(frames, at, this.messageBytes);
        if (!this.#pass(frames, at, run)) tooLarge++;
        at = run.end;
      }
    } finally { // It may throw at what is not PUBLISH.
      this.#isDelivering = false;
      this.#freeNow();
    }
    return tooLarge;
  }

  /** Passes messages of one topic on; returns `false` if they are too large. */
  #pass(bytes: Uint8Array, start: number, { topic, payload, end, frames }: Run): boolean {
    const { router, decodeTopic, topicCounts } = this.#context;
    const route = router.route(bytes, topic, payload, decodeTopic);
    const { path, forbidden } = route;
    if (forbidden !== undefined) return true;
    if (frames === 1 && end - payload > this.messageBytes) {
      this.lost(path, 1);
      return false;
    }
    topicCounts.count(path, frames, end - start);
    const slice = bytes.subarray(start, end);
    const peers = this.#fed = router.peers(route);
    for (const peer of peers) if (peer !== this) peer.take(slice, frames, this, undefined);
    return true;
  }

  room(): Promise<void> | undefined {
    const fed = this.#fed;
    this.#fed = []; // They are asked once, not again for a packet that nobody gets.
    const waits = fed.map((peer) => peer === this ? undefined : peer.room());
    if (waits.every((wait) => wait === undefined)) return undefined;
    return Promise.all(waits).then(() => {});
  }

  lost(path: TopicPath, messages: number): void {
    this.#losses.add(path, messages);
  }
}
