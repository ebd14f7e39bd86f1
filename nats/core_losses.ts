/**
 * Notices which of another broker's messages were lost: compares what was heard with the counts in each
 * packet, and in the answers of that broker. jetstream_reader.ts notices what a stream has lost.
 */
import type { ControlMessage } from "./control_message.ts";
import type { Interest, Interests } from "./core_own_wants.ts";
import type { PacketCount, PacketHeader } from "./packet.ts";
import type { Reassembly } from "./reassembly.ts";

/** Notices which messages of one other broker were lost. */
export class LossDetector {
  readonly #interests: Interests;
  readonly #lost: (path: Interest["path"], messages: number) => void;
  /** By our numbers of interests: how many of its messages we know of. */
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

  /** Begins with nothing heard; calls `lost` with an interest, and how many messages (0: not known). */
  constructor(
    interests: Interests,
    reassembly: Reassembly,
    lost: (path: Interest["path"], messages: number) => void,
  ) {
    this.#interests = interests;
    this.#reassembly = reassembly;
    this.#lost = lost;
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
      if (count === undefined || known === undefined) continue;
      if (count <= known) return false; // It was counted as lost before.
      this.#counts.set(id, count);
      const missing = count - messages - known;
      // The losses of the wider topic, of which clients were told, include those of this one.
      if (missing > told) this.#lost(path, missing - told);
      told = Math.max(told, missing);
    }
    return true;
  }

  /** Takes counts, or a part of them; returns whether all parts are here now. */
  take(message: ControlMessage & { type: "counts" }): boolean {
    const { since, answer, sent, counts, isFull, part, more } = message;
    if (this.#since !== since) {
      const isFirst = this.#since === undefined;
      this.#since = since;
      this.#counts.clear();
      // It had forgotten us: what it sent since then was not for us.
      if (!isFirst) this.#lost(null, 0);
    }
    for (const [id, count] of counts) {
      const interest = this.#interests.get(id);
      if (interest === undefined) continue;
      const known = this.#counts.get(id);
      this.#counts.set(id, Math.max(count, known ?? 0));
      if (known !== undefined && count > known) this.#lost(interest.path, count - known);
    }
    this.#parts = part === 0 ? 1 : this.#parts + 1;
    if (more || this.#parts !== part + 1) return false; // If one was lost, all is told again.
    this.#answer = answer;
    this.#isUnsettled = !isFull;
    if (isFull) this.#sure = Math.max(this.#sure, sent);
    return true;
  }

  /** The interest with this number was removed. */
  forget(id: number): void {
    this.#counts.delete(id);
  }
}

function countAt(counts: readonly PacketCount[], depth: number): number | undefined {
  return counts.find((one) => one.depth === depth)?.count;
}
