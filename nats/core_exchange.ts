/**
 * Brokers joined through plain NATS subjects. Knows no connection.
 *
 * ```
 *  here ── what our clients want: covers, each a subscription ──▶ told to all: "wants"
 *  there ─ counts for each topic that others want what it sends ─▶ in each packet, and when asked
 * ```
 *
 * NATS delivers at most once, so every loss has to be noticed:
 *
 * - Each broker knows what each other one wants, and sends nothing else. For each topic that somebody
 *   wants, it counts the messages for it and all below it. A packet carries the counts that it belongs
 *   to, so the next one shows whether one before is missing.
 * - Every beat has the number of the latest packet. A broker that has not heard them all, perhaps
 *   because some were for others, asks for the counts. NATS delivers the answer after all that was sent
 *   before.
 * - Packets are numbered, and kept until the server has confirmed that it has them; over a new
 *   connection they are sent again. Whoever has heard one with that number or a later one ignores it.
 * - Over a new connection nothing is sent until all others were heard there, or some seconds have
 *   passed: after an outage of all of NATS, the brokers that come back first would send to nobody.
 * - When one cover replaces another, both are subscribed to until all others know the new one. What
 *   comes twice has the same number.
 *
 * Who is on the bus may not be a broker. So what is remembered of others has a bound (remote_memory.ts,
 * held_bytes.ts), and what takes long is done in pieces (turns.ts).
 *
 * This module has what brokers say to each other, and when. Others have the rest: our interests
 * (core_own_wants.ts, core_announcer.ts), what others want and know of our counts (core_remote_wants.ts,
 * core_sent_counts.ts), what was heard against their counts (core_losses.ts), and numbered packets
 * (core_sender.ts).
 */
import type { Timer } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import { runAt } from "../protocol/topic_run.ts";
import type { TopicPath } from "../topic.ts";
import { type ControlMessage, inParts } from "./control_message.ts";
import { KnownVersions } from "./core_known_versions.ts";
import { LossDetector } from "./core_losses.ts";
import { Interests } from "./core_own_wants.ts";
import { RemoteWants, type WantsChange } from "./core_remote_wants.ts";
import { CoreSender } from "./core_sender.ts";
import { SentCounts } from "./core_sent_counts.ts";
import type { Wire } from "./core_wire.ts";
import { type ExchangeContext, lose } from "./exchange_context.ts";
import { HeldBytes } from "./held_bytes.ts";
import type { Exchange } from "./mode.ts";
import type { PacketHeader } from "./packet.ts";
import { Reassembly } from "./reassembly.ts";
import { REMOTE_BYTES, RemoteMemory } from "./remote_memory.ts";
import { Turns, type Work } from "./turns.ts";

/** How long to wait for the others over a new connection. */
const AWAIT_MS = 5000;
/** How many brokers that are gone are remembered, because they may come back. */
const GONE_MAX = 1024;
/** How many counts of a full answer, at least, are told to a broker that asks again before a beat. */
const TOLD_MAX = 8192;
/** What an answer costs besides, in counts. */
const ANSWER_COST = 64;

/** Another broker. */
interface Remote {
  readonly id: string;
  isGone: boolean;
  /** What it wants from us. */
  readonly wants: RemoteWants;
  /** What we heard of it. */
  readonly losses: LossDetector;
  /** The version of our interests that it knows. */
  confirmed: number;
  /** Whether a beat passed since it should have known the latest. */
  isLate: boolean;
  /** How much it was told since the latest beat, in counts. */
  told: number;
  /** Whether a full answer waits for its turn, or for the next beat. */
  isAnswering: boolean;
  isDue: boolean;
}

/** Exchanges messages with other brokers, over whatever connection there is. */
export class CoreExchange implements Exchange {
  readonly #context: ExchangeContext;
  #wire: Wire | undefined;
  readonly #interests: Interests;
  readonly #counts: SentCounts;
  readonly #sender: CoreSender;
  readonly #remotes = new Map<string, Remote>();
  /** The ids of those of them that are gone, who has been gone longest first. */
  readonly #gone = new Set<string>();
  readonly #known = new KnownVersions();
  readonly #held: HeldBytes;
  readonly #memory: RemoteMemory;
  readonly #turns: Turns;
  #registrations = 0;
  /** The brokers that were not heard over this connection yet; `undefined`: it waits for nobody. */
  #awaited: Set<Remote> | undefined;
  #awaiting: Timer | undefined;
  /** The brokers that get our counts after that wait, because some messages may come again before. */
  readonly #countsDue = new Set<Remote>();

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#context = context;
    this.#turns = new Turns((callback, ms) => context.later(callback, ms));
    this.#interests = new Interests(context, this.#known, this.#turns);
    this.#held = new HeldBytes(context.queueBytes, context.onBytes);
    this.#memory = RemoteMemory.within(context.bus.memory, context.onBytes);
    this.#counts = new SentCounts(context.bus, context.prefix);
    this.#sender = new CoreSender(context, this.#counts);
  }

  get subscriptions(): number {
    return this.#interests.size;
  }

  get queuedBytes(): number {
    return this.#sender.queuedBytes;
  }

  get waitingSince(): number | undefined {
    return this.#sender.waitingSince;
  }

  /** How many others may not know yet what is wanted here. */
  get unaware(): number {
    let unaware = 0;
    for (const { confirmed, isGone } of this.#remotes.values()) {
      if (!isGone && !this.#interests.isLatest(confirmed)) unaware++;
    }
    return unaware;
  }

  /** What each beat tells. */
  get beat(): { sent: number; wants: number } {
    return { sent: this.#sender.number, wants: this.#interests.version };
  }

  /** Notes that a client wants a topic, or no longer wants it. */
  wants(path: TopicPath, wants: boolean): void {
    this.#interests.wants(path, wants);
  }

  take(frames: Uint8Array): void {
    this.#sender.take(frames);
  }

  free(bytes: number): void {
    const held = this.#held.bytes;
    this.#held.free(bytes);
    const left = bytes - (held - this.#held.bytes);
    if (left > 0) this.#sender.free(left);
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#sender.drained(signal);
  }

  /** Goes on over a connection. */
  connected(wire: Wire): void {
    this.#wire = wire;
    this.#interests.connected(wire);
    this.#awaited = new Set();
    for (const remote of this.#remotes.values()) {
      if (!remote.isGone && remote.wants.size > 0) this.#awaited.add(remote);
    }
    this.#awaiting = this.#context.later(() => this.#goOn(), AWAIT_MS);
    // The answers have counts, which show what was missed meanwhile.
    this.#interests.sayAll();
    if (this.#awaited.size === 0) this.#goOn();
  }

  /** All others are here: sends what waits. */
  #goOn(): void {
    this.#awaiting?.cancel();
    this.#awaited = undefined;
    if (this.#wire !== undefined) this.#sender.connected(this.#wire);
    for (const remote of this.#countsDue) this.#sayCounts(remote, true);
    this.#countsDue.clear();
    this.#sender.sendMore();
  }

  disconnected(): void {
    this.#wire = undefined;
    this.#sender.disconnected();
    this.#awaiting?.cancel();
    this.#interests.disconnected();
  }

  /**
   * Takes a packet from NATS.
   *
   * @throws {ProtocolError} If it is from a broker that uses a stream, or from one too many.
   */
  packet(header: PacketHeader, body: Uint8Array): void {
    const { broker, lane, messages } = header;
    if (lane > 0) {
      throw new ProtocolError("Cannot take a packet: its broker sends for a stream");
    }
    if (!this.#remotes.has(broker)) this.#context.heard(broker);
    const { losses } = this.#remote(broker);
    const frames = losses.assemble(header, body);
    if (frames === undefined || messages === 0) return;
    const { topic, payload } = runAt(frames, 0, 0); // The first is enough: all have one topic.
    if (!losses.check(this.#interests.covering(frames, topic, payload), header)) return;
    this.#context.counts.received += messages;
    this.#context.deliver(frames);
  }

  /** The broker with this id; a new one is told what we want. */
  #remote(id: string): Remote {
    let remote = this.#remotes.get(id);
    if (remote === undefined) {
      this.#memory.take(REMOTE_BYTES);
      remote = this.#makeRemote(id);
      this.#remotes.set(id, remote);
      this.#known.set(id, 0);
      if (this.#wire !== undefined) this.#interests.sayAll(id);
    }
    return remote;
  }

  #makeRemote(id: string): Remote {
    const context = this.#context;
    const interests = this.#interests;
    const memory = this.#memory;
    return {
      id,
      isGone: false,
      wants: new RemoteWants(this.#counts, ++this.#registrations, memory),
      losses: new LossDetector({
        interests,
        memory,
        reassembly: new Reassembly(id, context.bus.messageBytes, this.#held),
        lost: (path, messages) => lose(context, path ?? [], messages),
      }),
      confirmed: 0,
      isLate: false,
      told: 0,
      isAnswering: false,
      isDue: false,
    };
  }

  /** Takes what another broker says. */
  hear(message: ControlMessage): void {
    if (message.type === "bye") return this.gone(message.from, true);
    const remote = this.#remote(message.from);
    if (remote.isGone) {
      remote.isGone = false;
      this.#gone.delete(remote.id);
      this.#known.set(remote.id, 0);
      this.#interests.sayAll(remote.id);
    }
    this.#noLongerAwaited(remote);
    if (message.type === "beat") {
      if (remote.losses.hasToAsk(message.sent)) this.#ask(remote);
      if (message.wants !== remote.wants.version) this.#sayCounts(remote, false);
    } else if (message.type === "ask") {
      this.#commit(remote, message.got);
      this.#sayCounts(remote, true);
    } else if (message.type === "got") this.#commit(remote, message.got);
    else if (message.type === "counts") this.#takeCounts(remote, message);
    else {
      const change = remote.wants.take(message);
      if (change !== undefined) this.#turns.add(remote, this.#apply(remote, change));
    }
  }

  /** A broker has an answer; it is noted before the next one is made for it. */
  #commit(remote: Remote, got: number): void {
    const noting = remote.wants.commit(got);
    if (noting !== undefined) this.#turns.add(remote, noting);
  }

  *#apply(remote: Remote, change: WantsChange): Work {
    yield* remote.wants.apply(change);
    if (!remote.isGone) this.#sayCounts(remote, change.base === null);
  }

  /** A broker that was waited for was heard, or is gone. */
  #noLongerAwaited(remote: Remote): void {
    if (this.#awaited?.delete(remote) && this.#awaited.size === 0) this.#goOn();
  }

  #ask({ id, losses: { answer } }: Remote): void {
    this.#context.say({ type: "ask", from: this.#context.id, got: answer }, id);
  }

  /** Tells a broker the counts that it may not know; without `isFull`, only of what it newly wants. */
  #sayCounts(remote: Remote, isFull: boolean): void {
    if (this.#awaited !== undefined) {
      this.#countsDue.add(remote);
      return;
    }
    if (isFull) {
      if (remote.isAnswering) return;
      remote.isDue = remote.told > TOLD_MAX;
      if (remote.isDue) return; // It is told with the next beat.
      remote.told += remote.wants.size + ANSWER_COST;
      remote.isAnswering = true;
    }
    this.#turns.add(remote, this.#answer(remote, isFull));
  }

  *#answer(remote: Remote, isFull: boolean): Work {
    if (isFull) remote.isAnswering = false;
    const { id, wants } = remote;
    const { version, since } = wants;
    const { id: from, say } = this.#context;
    const sent = this.#sender.number; // The counts say all up to here: they are read later.
    const answer = wants.beginAnswer();
    yield* inParts(wants.countsFor(answer, isFull), (counts, part, more) => {
      if (wants.since !== since) return; // It has begun anew meanwhile.
      say({ type: "counts", from, version, since, answer, sent, counts, isFull, part, more }, id);
    });
  }

  #takeCounts(remote: Remote, message: ControlMessage & { type: "counts" }): void {
    const { version, answer, counts, isFull, part } = message;
    if (version > this.#interests.version) {
      throw new ProtocolError(`Cannot take counts: their broker knows version ${version} of us`);
    }
    if (!remote.losses.take(message)) return;
    const { id: from, say } = this.#context;
    if (part > 0 || counts.length > 0) say({ type: "got", from, got: answer }, remote.id);
    if (version === 0) this.#interests.sayAll(remote.id);
    remote.confirmed = Math.max(remote.confirmed, version);
    if (isFull) {
      this.#known.set(remote.id, remote.confirmed);
      this.#interests.retire();
    } else if (this.#interests.areSomeLeaving) {
      this.#ask(remote); // A last look at the interests that leave.
    }
  }

  /** A beat has passed: tells what we want again to those who do not know it yet. */
  tick(): void {
    if (this.#wire === undefined) return;
    this.#interests.tick();
    for (const remote of this.#remotes.values()) {
      remote.told = 0;
      if (remote.isDue) this.#sayCounts(remote, true);
      if (remote.isGone || remote.confirmed >= this.#interests.version) remote.isLate = false;
      else if (remote.isLate) this.#interests.sayAll(remote.id);
      else remote.isLate = true;
    }
  }

  /** A broker gave no sign of life for long, or said goodbye. */
  gone(id: string, saidGoodbye: boolean): void {
    const remote = this.#remotes.get(id);
    if (remote === undefined || remote.isGone) return;
    remote.isGone = true;
    this.#countsDue.delete(remote);
    this.#noLongerAwaited(remote);
    this.#turns.add(remote, remote.wants.clear(++this.#registrations));
    remote.confirmed = 0;
    remote.isDue = false;
    this.#known.delete(id);
    if (!saidGoodbye && remote.losses.hasAnswered) lose(this.#context, [], 0);
    this.#interests.retire();
    if (saidGoodbye) return this.#forget(id);
    // If it was only cut off, it may come back, and send again what was heard before.
    this.#gone.add(id);
    if (this.#gone.size > GONE_MAX) this.#forget(this.#gone.keys().next().value!);
  }

  #forget(id: string): void {
    this.#remotes.get(id)?.losses.end();
    if (this.#remotes.delete(id)) this.#memory.give(REMOTE_BYTES);
    this.#gone.delete(id);
  }
}
