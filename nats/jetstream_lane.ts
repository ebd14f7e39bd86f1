/**
 * One lane of another broker, as it comes from a stream: restores the order of its packets.
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
 *
 * - No more packets are held than a broker has under way: each says that what lies further back than it
 *   names was confirmed, and nothing waits for that.
 */
import type { Timer } from "../base/timers.ts";
import { type ExchangeContext, lose } from "./exchange_context.ts";
import { type HeldBytes, type Holder, kept } from "./held_bytes.ts";
import { PacketFlag, type PacketHeader } from "./packet.ts";
import { Reassembly } from "./reassembly.ts";
import { pathOf } from "./subject.ts";
import type { WantedSubjects } from "./wanted_subjects.ts";

/** How often to check whether the broker of a missing packet is still there. */
const HOLD_MS = 10_000;
/** The first packet of a lane waits only so long: those before it may have come before we read. */
const FIRST_HOLD_MS = 1000;
/** What a lane takes of which nothing is held, in bytes. */
export const LANE_BYTES = 700;
/** What a held packet takes besides its frames and texts, with the timer of its lane. */
const PACKET_BYTES = 1024;
/** What a topic that it names takes, and an element of that besides its text. */
const NAME_BYTES = 64;
const ELEMENT_BYTES = 40;
/** What a character takes at most. */
const CHAR_BYTES = 2;

/** What a lane needs. */
export interface LaneContext {
  readonly context: ExchangeContext;
  readonly wanted: WantedSubjects;
  readonly held: HeldBytes;
}

/** A packet that came, and waits for one before it. */
interface Held {
  readonly subject: string;
  readonly header: PacketHeader;
  readonly body: Uint8Array;
  /** How many bytes it keeps alive. */
  readonly bytes: number;
}

/** What is heard from one lane of another broker. */
export class RemoteLane implements Holder {
  readonly broker: string;
  readonly #context: LaneContext;
  /** The number of the latest packet that was taken. */
  #heard = 0;
  /** All packets up to this one are in the stream, before those to come. */
  #confirmed = 0;
  /** The first packet that was read; those before it may have been in the stream already. */
  #base = 0;
  /** All up to this one were confirmed when `#base` was sent; later ones may come late. */
  #baseConfirmed = 0;
  #isFresh = true;
  /** Whether those before `#base` are still waited for. */
  #isSettling = false;
  readonly #held = new Map<number, Held>();
  #heldBytes = 0;
  #timer: Timer | undefined;
  readonly #reassembly: Reassembly;

  /** Makes one of which nothing was heard. */
  constructor(broker: string, context: LaneContext) {
    this.broker = broker;
    this.#context = context;
    this.#reassembly = new Reassembly(broker, context.context.bus.messageBytes, context.held);
  }

  /** Takes a packet from the stream. */
  packet(subject: string, header: PacketHeader, body: Uint8Array): void {
    const { number, before } = header;
    if (number <= this.#heard || this.#held.has(number)) return this.#late(subject, header);
    const confirmed = number - before.length - 1;
    if (this.#isFresh) {
      this.#isFresh = false;
      this.#isSettling = true;
      this.#base = number;
      this.#baseConfirmed = confirmed;
    }
    this.#confirmed = Math.max(this.#confirmed, confirmed);
    this.#held.set(number, { subject, header, body, bytes: 0 });
    this.#release();
    if (this.#held.has(number)) this.#keep(number);
  }

  /** Keeps a packet that waits. */
  #keep(number: number): void {
    const held = this.#held.get(number)!;
    const body = kept(held.body);
    const bytes = bytesOf({ ...held, body });
    this.#held.set(number, { ...held, body, bytes });
    this.#heldBytes += bytes;
    this.#context.held.keeps(this, this.#heldBytes);
  }

  /** A packet that came late may never have been heard: those before the first were not waited for. */
  #late(subject: string, { number, messages }: PacketHeader): void {
    if (number > this.#baseConfirmed && number < this.#base) this.#lose(subject, messages);
  }

  /** Takes held packets in their order, up to one that must wait. */
  #release(): void {
    const held = this.#held;
    const before = this.#heldBytes;
    while (held.size > 0) {
      const number = Math.min(...held.keys());
      const next = held.get(number)!;
      if (this.#isMissing(next.header)) break;
      held.delete(number);
      this.#heldBytes -= next.bytes;
      this.#heard = number;
      if (number >= this.#base) this.#isSettling = false;
      this.#take(next);
    }
    if (held.size > 0) {
      const ms = this.#isSettling ? FIRST_HOLD_MS : HOLD_MS;
      this.#timer ??= this.#context.context.later(() => this.#lookAgain(), ms);
    } else this.#endTimer();
    if (this.#heldBytes < before) this.#context.held.keeps(this, this.#heldBytes);
  }

  #endTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Whether a packet that is wanted and comes before this one may still come. */
  #isMissing({ number, before }: PacketHeader): boolean {
    const first = number - before.length;
    // Not before the first that it names: all of those are confirmed.
    const known = Math.max(this.#heard, this.#confirmed, this.#isSettling ? 0 : this.#base - 1);
    for (let n = known + 1; n < number; n++) {
      if (this.#context.wanted.has(before[n - first]!)) return true;
    }
    return false;
  }

  /** Goes on without a missing packet, which was there before, or whose broker is gone. */
  #lookAgain(): void {
    this.#timer = undefined;
    if (this.#isSettling) {
      this.#isSettling = false;
      return this.#release();
    }
    if (this.#context.context.isHere(this.broker)) return this.#release(); // It sends it again.
    this.giveUp();
  }

  giveUp(): void {
    if (this.#held.size === 0) return;
    this.#confirmed = Math.max(...this.#held.keys());
    lose(this.#context.context, [], 0);
    this.#release();
  }

  /** Forgets all: takes what it has, and keeps nothing. */
  end(): void {
    this.giveUp();
    this.#reassembly.giveUp();
  }

  #take({ subject, header, body }: Held): void {
    const { context } = this.#context;
    if (header.flags & PacketFlag.DROPPED) {
      if (header.messages > 0) this.#lose(subject, header.messages);
      return;
    }
    const frames = this.#reassembly.take(header, body);
    if (frames === undefined) return;
    if (frames === "lost") return this.#lose(subject, 1);
    context.counts.received += header.messages;
    context.deliver(frames);
  }

  #lose(subject: string, messages: number): void {
    const { context, wanted } = this.#context;
    const path = pathOf(context.prefix, subject) ?? [];
    if (wanted.has(path)) lose(context, path, messages);
  }

  /** From now on other messages are read: what was there before may not have been read. */
  chosenAnew(): void {
    this.#isFresh = true;
  }
}

/** What a packet keeps alive while it is held. */
function bytesOf({ subject, header: { before }, body }: Omit<Held, "bytes">): number {
  let bytes = PACKET_BYTES + CHAR_BYTES * subject.length + body.buffer.byteLength;
  for (const path of before) {
    bytes += NAME_BYTES;
    for (const { length } of path) bytes += ELEMENT_BYTES + CHAR_BYTES * length;
  }
  return bytes;
}
