/**
 * Restores the order of other brokers' packets, lane by lane, as they come from a stream.
 *
 * ```
 *  from the stream      8 of lane 1, which names the topic of 7
 *  held                 8: topic of 7 is wanted, and 7 was not heard
 *  from the stream      7 ──▶ delivers 7, 8
 * ```
 *
 * A cluster that changes its leader may lose a packet and take the next. So each packet names the
 * topics of the unconfirmed packets before it. If one of these is wanted and was not heard, the packet
 * is held until that one comes, or until its broker is gone.
 */
import { ProtocolError } from "../errors.ts";
import { type ExchangeContext, lose } from "./exchange_context.ts";
import { PacketFlag, type PacketHeader } from "./packet.ts";
import { Reassembly } from "./reassembly.ts";
import { pathOf } from "./subject.ts";
import type { WantedSubjects } from "./wanted_subjects.ts";

/** How often to check whether the broker of a missing packet is still there. */
const HOLD_MS = 10_000;
/** The first packet of a lane waits only so long: those before it may have come before we read. */
const FIRST_HOLD_MS = 1000;
/** How many brokers are remembered, the latest ones. */
const REMOTES_MAX = 4096;

/** A packet that came, and waits for one before it. */
interface Held {
  readonly subject: string;
  readonly header: PacketHeader;
  readonly body: Uint8Array;
}

/** What was heard from one lane of another broker. */
interface RemoteLane {
  readonly broker: string;
  /** The number of the latest packet that was taken. */
  heard: number;
  /** All packets up to this one are in the stream, before those to come. */
  confirmed: number;
  /** The first packet that was read; those before it may have been in the stream already. */
  base: number;
  /** All up to this one were confirmed when `base` was sent; later ones may come late. */
  baseConfirmed: number;
  isFresh: boolean;
  /** Whether those before `base` are still waited for. */
  isSettling: boolean;
  readonly held: Map<number, Held>;
  timer: Disposable | undefined;
  readonly reassembly: Reassembly;
}

/** Holds back packets of other brokers until those before them have come. */
export class ReorderBuffer {
  readonly #context: ExchangeContext;
  readonly #wanted: WantedSubjects;
  readonly #remotes = new Map<string, Map<number, RemoteLane>>();

  /** Makes one that waits only for packets that are wanted. */
  constructor(context: ExchangeContext, wanted: WantedSubjects) {
    this.#context = context;
    this.#wanted = wanted;
  }

  /** Takes a packet from the stream. */
  packet(subject: string, header: PacketHeader, body: Uint8Array): void {
    const { broker, lane: index, number, before } = header;
    if (broker === this.#context.id) return;
    if (index < 1) {
      throw new ProtocolError("Cannot take a packet: its broker sends for no stream");
    }
    const lane = this.#remoteLane(broker, index);
    if (number <= lane.heard || lane.held.has(number)) return this.#late(lane, subject, header);
    const confirmed = number - before.length - 1;
    if (lane.isFresh) {
      lane.isFresh = false;
      lane.isSettling = true;
      lane.base = number;
      lane.baseConfirmed = confirmed;
    }
    lane.confirmed = Math.max(lane.confirmed, confirmed);
    lane.held.set(number, { subject, header, body });
    this.#release(lane);
  }

  /** A packet that came late may never have been heard: those before the first were not waited for. */
  #late({ base, baseConfirmed }: RemoteLane, subject: string, header: PacketHeader): void {
    const { number, messages } = header;
    if (number > baseConfirmed && number < base) this.#lose(subject, messages);
  }

  /** Takes held packets in their order, up to one that must wait. */
  #release(lane: RemoteLane): void {
    const { held } = lane;
    while (held.size > 0) {
      const number = Math.min(...held.keys());
      const next = held.get(number)!;
      if (this.#isMissing(lane, next.header)) break;
      held.delete(number);
      lane.heard = number;
      if (number >= lane.base) lane.isSettling = false;
      this.#take(lane, next);
    }
    if (held.size > 0) {
      const ms = lane.isSettling ? FIRST_HOLD_MS : HOLD_MS;
      lane.timer ??= this.#context.later(() => this.#giveUp(lane), ms);
      return;
    }
    lane.timer?.[Symbol.dispose]();
    lane.timer = undefined;
  }

  /** Whether a packet that is wanted and comes before this one may still come. */
  #isMissing(lane: RemoteLane, { number, before }: PacketHeader): boolean {
    const known = Math.max(lane.heard, lane.confirmed, lane.isSettling ? 0 : lane.base - 1);
    for (let n = known + 1; n < number; n++) {
      const path = before[n - number + before.length];
      if (path !== undefined && this.#wanted.has(path)) return true;
    }
    return false;
  }

  /** Goes on without a missing packet, which was there before, or whose broker is gone. */
  #giveUp(lane: RemoteLane): void {
    lane.timer = undefined;
    if (lane.isSettling) {
      lane.isSettling = false;
      return this.#release(lane);
    }
    if (this.#context.isHere(lane.broker)) return this.#release(lane); // It sends it again.
    lane.confirmed = Math.max(...lane.held.keys());
    lose(this.#context, [], 0);
    this.#release(lane);
  }

  #take(lane: RemoteLane, { subject, header, body }: Held): void {
    const { counts } = this.#context;
    if (header.flags & PacketFlag.DROPPED) return this.#lose(subject, header.messages);
    const frames = lane.reassembly.take(header, body);
    if (frames === undefined) return;
    if (frames === "lost") return this.#lose(subject, 1);
    counts.received += header.messages;
    this.#context.deliver(frames);
  }

  #lose(subject: string, messages: number): void {
    const path = pathOf(this.#context.prefix, subject) ?? [];
    if (this.#wanted.has(path)) lose(this.#context, path, messages);
  }

  #remoteLane(id: string, index: number): RemoteLane {
    const lanes = this.#remotes.get(id) ?? new Map<number, RemoteLane>();
    this.#remotes.delete(id);
    this.#remotes.set(id, lanes);
    if (this.#remotes.size > REMOTES_MAX) this.#remotes.delete(this.#remotes.keys().next().value!);
    let lane = lanes.get(index);
    if (lane === undefined) {
      const { messageBytes } = this.#context.bus;
      lane = {
        broker: id,
        heard: 0,
        confirmed: 0,
        base: 0,
        baseConfirmed: 0,
        isFresh: true,
        isSettling: false,
        held: new Map(),
        timer: undefined,
        reassembly: new Reassembly(messageBytes),
      };
      lanes.set(index, lane);
    }
    return lane;
  }

  /** From now on other messages are read: what was there before may not have been read. */
  chosenAnew(): void {
    for (const lanes of this.#remotes.values()) {
      for (const lane of lanes.values()) lane.isFresh = true;
    }
  }
}
