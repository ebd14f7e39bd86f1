/**
 * The other brokers that an uplink joins, as one peer of the router.
 */
import type { Account } from "../base/account.ts";
import type { Background } from "../base/background.ts";
import { Lease } from "../base/lease.ts";
import { ProtocolError } from "../errors.ts";
import type { Limits } from "../protocol/frame.ts";
import { type Run, runAt } from "../protocol/topic_run.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import type { DecodeTopic, Router } from "../routing/router.ts";
import { beforeAny, isBrokerPath, type TopicPath, type TopicPattern } from "../topic.ts";
import type { Groups } from "./groups.ts";
import type { Holder } from "./memory.ts";
import type { UplinkStats } from "./stats.ts";
import type { TopicCounts } from "./topic_counts.ts";
import type { GroupName, HandedOver, TellLost, Uplink, UplinkBus } from "./uplink.ts";
import { UplinkLosses } from "./uplink_losses.ts";

/** What an {@linkcode UplinkPeer} needs from its broker. */
export interface UplinkContext {
  /** Where what takes long is done. */
  readonly background: Background;
  readonly router: Router<Peer>;
  readonly limits: Limits;
  readonly decodeTopic: DecodeTopic;
  readonly topicCounts: TopicCounts;
  readonly groups?: () => Groups;
  /** Where what clients keep of what it delivers counts, and what the uplink holds. */
  readonly account: Account;
  /** How many bytes the broker may hold. */
  readonly memory: number;
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
    this.#context.account.add(change);
  }

  /** The uplink, as one for which memory is kept: beside the keys, and what it wants of the router, too. */
  get holder(): Holder {
    const bytes = () => this.bytes + this.#context.router.keptBytesOf(this);
    return {
      owner: this,
      get keptBytes() {
        return bytes();
      },
      losses: [(bytes) => this.free(bytes)],
    };
  }

  /**
   * Lets the uplink give up so many bytes of what it holds. While it delivers, that waits: what it holds
   * may follow what not all clients have yet.
   *
   * @returns How many bytes go only then.
   */
  free(bytes: number): number {
    if (!this.#isDelivering) {
      this.#uplink.free(bytes);
      return 0;
    }
    const more = Math.min(bytes, this.bytes);
    this.#toFree += more;
    return more;
  }

  #freeNow(): void {
    const bytes = this.#toFree;
    this.#toFree = 0;
    if (bytes > 0) this.#uplink.free(bytes);
  }

  take(frames: Uint8Array, messages: number, from: Origin): void {
    this.#uplink.take(frames, messages, from);
  }

  lose(): void {} // Other brokers notice their losses themselves.

  /** What comes from elsewhere is not held back. */
  withhold(): () => void {
    return () => {};
  }

  /**
   * Tells the uplink that a peer wants a topic, or no longer wants it: of one with `any`, what stands
   * before that. So what is wanted never overlaps; what comes and nobody wants ends here.
   */
  wants(peer: Peer | undefined, path: TopicPattern, wants: boolean): void {
    if (!this.#hasJoined || peer === this || isBrokerPath(path) || peer?.isOfThisBroker) return;
    this.#uplink.wants(beforeAny(path), wants);
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
    // All who keep some of it keep the same.
    const lease = new Lease(frames, this.#context.account);
    this.#context.account.add(frames.buffer.byteLength);
    try {
      for (let at = 0; at < frames.length;) {
        const run = runAt(frames, at, this.messageBytes);
        if (!this.#pass(lease, at, run)) tooLarge++;
        at = run.end;
      }
    } finally { // It may throw at what is not PUBLISH.
      lease.disown();
      this.#isDelivering = false;
      this.#freeNow();
    }
    return tooLarge;
  }

  /** Passes messages of one topic on; returns `false` if they are too large. */
  #pass(lease: Lease, start: number, { topic, payload, end, frames }: Run): boolean {
    const { router, decodeTopic, topicCounts } = this.#context;
    const bytes = lease.buffer;
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
    for (const peer of peers) {
      if (peer !== this && !peer.isOfThisBroker) peer.take(slice, frames, this, lease);
    }
    return true;
  }

  /** A group has members here, or has none any more. */
  group(name: GroupName, isThere: boolean): void {
    this.#uplink.group?.(name, isThere);
  }

  /** Hands messages over to the members of a group elsewhere. */
  async handOver(
    broker: string,
    name: GroupName,
    frames: Uint8Array,
    tellLost: TellLost,
  ): Promise<HandedOver> {
    if (!this.#hasJoined) return "not taken";
    return await this.#uplink.handOver?.(broker, name, frames, tellLost) ?? "not taken";
  }

  groupsAt(broker: string, groups: readonly GroupName[]): void {
    this.#context.groups?.().groupsAt(broker, groups);
  }

  takeOver(name: GroupName, frames: Uint8Array, tellLost: TellLost, done: () => void): boolean {
    let messages = 0;
    for (let at = 0; at < frames.length;) {
      const { topic, payload, end, frames: count } = runAt(frames, at, this.messageBytes);
      this.#context.decodeTopic(frames, topic, payload);
      if (end - payload > this.messageBytes && count === 1) {
        throw new ProtocolError(`Cannot take a message of ${end - payload} bytes`);
      }
      messages += count;
      at = end;
    }
    const withhold = () => () => {}; // What comes from elsewhere is not held back.
    let kept = 1; // While it is being taken.
    const keeps = (change: number) => {
      if ((kept += change) === 0) done();
    };
    const origin = { withhold, holder: { owner: this }, tellLost, keeps };
    const isTaken = this.#context.groups?.().takeOver(name, frames, messages, origin) ?? false;
    if (isTaken) keeps(-1);
    return isTaken;
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
