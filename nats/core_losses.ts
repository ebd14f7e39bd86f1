/**
 * Notices which of another broker's messages were lost: compares what was heard with the counts in each
 * packet, and in the answers of that broker. jetstream_reader.ts notices what a stream has lost.
 */
import { COUNT_MAX } from "../base/count.ts";
import type { ControlMessage } from "./control_message.ts";
import type { Interest, Interests } from "./core_own_wants.ts";
import type { PacketCount, PacketHeader } from "./packet.ts";
import type { Reassembly } from "./reassembly.ts";
import { COUNT_BYTES, type RemoteMemory } from "./remote_memory.ts";

/** So many counts may be of interests that are gone, before those are searched for. */
const GONE_MAX = 64;

/** What a {@linkcode LossDetector} needs. */
export interface LossDetectorOptions {
  readonly interests: Interests;
  readonly reassembly: Reassembly;
  readonly memory: RemoteMemory;
  /** Called with an interest, and how many of its messages were lost; 0: that is not known. */
  lost(path: Interest["path"], messages: number): void;
}

/** Notices which messages of one other broker were lost. */
export class LossDetector {
  readonly #interests: Interests;
  readonly #memory: RemoteMemory;
  readonly #lost: LossDetectorOptions["lost"];
  /** By our numbers of interests: how many of its messages we know of. Some interests are gone. */
  readonly #counts = new Map<number, number>();
  /** Of its answers: their `since`, the number of the latest, and how many parts of that are here. */
  #since: number | undefined;
  #answer = 0;
  #parts = 0;
  /** Whether the latest answer was only about what we newly want. */
  #isUnsettled = false;
  /** The number of its latest packet that was heard, and of the one up to which its counts say all. */
  #heard = 0;
  #sure = 0;
  readonly #reassembly: Reassembly;

  /** Begins with nothing heard. */
  constructor({ interests, reassembly, memory, lost }: LossDetectorOptions) {
    this.#interests = interests;
    this.#reassembly = reassembly;
    this.#memory = memory;
    this.#lost = (path, messages) => lost(path, messages);
  }

  /** The number of the latest answer that is here; 0: none. */
  get answer(): number {
    return this.#answer;
  }

  /** Whether it has ever sent counts. */
  get hasAnswered(): boolean {
    return this.#since !== undefined;
  }

  /** Whether it must be asked for counts, given the number of its latest packet. */
  hasToAsk(sent: number): boolean {
    return sent > this.#sure || this.#isUnsettled;
  }

  /** Takes a packet; returns the whole frames that end in it, if it is new and there are any. */
  assemble(header: PacketHeader, body: Uint8Array): Uint8Array | undefined {
    const { number } = header;
    if (number <= this.#heard) return undefined;
    const isNext = this.#sure === number - 1;
    this.#heard = number;
    const frames = this.#reassembly.take(header, body);
    if (frames === "lost") return undefined; // The counts will show it.
    if (isNext) this.#sure = number;
    return frames;
  }

  /** Compares the counts of a packet for these interests with what was heard; returns whether it is new. */
  check(
    interests: readonly Interest[],
    { counts, messages }: Pick<PacketHeader, "counts" | "messages">,
  ): boolean {
    let told = 0;
    for (const { id, path } of interests) {
      const count = countAt(counts, path?.length ?? 0);
      const known = this.#counts.get(id);
      // A count that has come to its end says nothing any more.
      if (count === undefined || known === undefined || known === COUNT_MAX) continue;
      if (count <= known) return false; // It was counted as lost before.
      this.#counts.set(id, count);
      const missing = count - messages - known;
      // The losses of the wider topic, of which clients were told, include those of this one.
      if (missing > told) this.#lost(path, missing - told);
      told = Math.max(told, missing);
    }
    return true;
  }

  /**
   * Takes counts, or a part of them; returns whether all parts are here now.
   *
   * @throws {ProtocolError} If there is no room for more counts.
   */
  take(message: ControlMessage & { type: "counts" }): boolean {
    const { since, answer, sent, counts, isFull, part, more } = message;
    if (this.#since !== since) {
      const isFirst = this.#since === undefined;
      this.#since = since;
      this.#forgetCounts();
      // It had forgotten us: what it sent since then was not for us.
      if (!isFirst) this.#lost(null, 0);
    }
    for (const [id, count] of counts) {
      const interest = this.#interests.get(id);
      if (interest === undefined) continue;
      const known = this.#counts.get(id);
      if (known === undefined) this.#memory.take(COUNT_BYTES);
      this.#counts.set(id, Math.max(count, known ?? 0));
      if (known !== undefined && count > known) this.#lost(interest.path, count - known);
    }
    if (this.#counts.size > 2 * this.#interests.size + GONE_MAX) this.#sweep();
    this.#parts = part === 0 ? 1 : this.#parts + 1;
    if (more || this.#parts !== part + 1) return false; // If one was lost, all is told again.
    this.#answer = answer;
    this.#isUnsettled = !isFull;
    if (isFull) this.#sure = Math.max(this.#sure, sent);
    return true;
  }

  /** Forgets the counts of interests that are gone: as many as there are others, so it is rarely. */
  #sweep(): void {
    const before = this.#counts.size;
    for (const id of this.#counts.keys()) {
      if (this.#interests.get(id) === undefined) this.#counts.delete(id);
    }
    this.#memory.give(COUNT_BYTES * (before - this.#counts.size));
  }

  #forgetCounts(): void {
    this.#memory.give(COUNT_BYTES * this.#counts.size);
    this.#counts.clear();
  }

  /** Its broker is forgotten. */
  end(): void {
    this.#forgetCounts();
    this.#reassembly.giveUp();
  }
}

function countAt(counts: readonly PacketCount[], depth: number): number | undefined {
  return counts.find((one) => one.depth === depth)?.count;
}
