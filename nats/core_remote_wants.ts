/**
 * What one other broker wants from this one, and which of our counts it knows. core_exchange.ts knows
 * which brokers there are.
 *
 * - A broker may want so much that to take it, to tell its counts and to forget it is long work. So
 *   these are generators, which do a step for each topic; turns.ts does them in pieces.
 */
import { hiddenNumber, shownNumber } from "../base/hidden_number.ts";
import { ProtocolError } from "../errors.ts";
import type { TopicPath } from "../topic.ts";
import type { ControlMessage, NumberedCount, NumberedTopic } from "./control_message.ts";
import type { SentCount, SentCounts } from "./core_sent_counts.ts";
import { elementBytes, type RemoteMemory, WANT_BYTES } from "./remote_memory.ts";
import type { Work } from "./turns.ts";

/** How many topics a broker may want. */
const WANTS_MAX = 2 ** 17;
/** How many changes of what it wants may wait for their turn; one that is ignored comes again. */
const CHANGES_MAX = 64;
/** What such a change takes, besides its topics, in bytes. */
const CHANGE_BYTES = 512;
/** What a number of a topic takes that it no longer wants. */
const REMOVED_BYTES = 16;
/** The content of so many answers is remembered, while they are not much more than what it wants. */
const ANSWERS_MAX = 16;
const ANSWERED_MIN = 64;
/** How many counts that it knows are passed over in one step, and how many that it has got are noted. */
const KNOWN_PER_STEP = 64;
const GOT_PER_STEP = 16;

/** Something that another broker wants. */
interface Want {
  readonly sent: SentCount;
  /** The count that it is known to have, if it has not forgotten everything since. */
  told: number;
  /** How often it had forgotten everything then. */
  epoch: number;
}

/** A change of what a broker wants. */
export interface WantsChange {
  /** What it was based on; `null`: this is all. */
  readonly base: number | null;
  readonly version: number;
  readonly since: number;
  readonly add: Map<number, TopicPath | null>;
  readonly remove: number[];
  /** Which part is next. */
  part: number;
  /** What it takes until it is done. */
  bytes: number;
}

/** What one other broker wants. */
export class RemoteWants {
  readonly #counts: SentCounts;
  readonly #memory: RemoteMemory;
  /** By what hides the numbers that it has given them. */
  #wants = new Map<number, Want>();
  /** What they would take if nobody else wanted the same. */
  #bytes = 0;
  /** Those of which no answer has told a count yet. */
  #untold = new Set<number>();
  #version = 0;
  /** What has arrived so far of a change in several messages. */
  #loading: WantsChange | undefined;
  /** How many changes wait for their turn. */
  #waiting = 0;
  #since: number;
  /** How many answers it was sent, and what the latest ones said. */
  #answers = 0;
  readonly #told = new Map<number, NumberedCount[]>();
  /** How many counts those have. */
  #toldCounts = 0;
  /** How often it has forgotten all answers. */
  #epoch = 0;

  /** Begins with nothing wanted; `since` differs for each beginning. */
  constructor(counts: SentCounts, since: number, memory: RemoteMemory) {
    this.#counts = counts;
    this.#since = since;
    this.#memory = memory;
  }

  /** How many topics it wants. */
  get size(): number {
    return this.#wants.size;
  }

  /** Which version of its wants this is; 0: nothing is known. */
  get version(): number {
    return this.#version;
  }

  /** Sent with our counts; another number when they have begun anew. */
  get since(): number {
    return this.#since;
  }

  /**
   * Takes a change, or a part of it.
   *
   * @returns The change, if that was the last part: it is to be applied.
   * @throws {ProtocolError} If it wants too many topics.
   */
  take(message: ControlMessage & { type: "wants" }): WantsChange | undefined {
    const { version, base, add, remove, part, more } = message;
    if (part === 0) this.#begin(version, base);
    const change = this.#loading;
    const isNext = change?.version === version && change.part === part;
    if (!isNext) return undefined; // One was lost; it comes again.
    try {
      this.#load(change, add, remove);
    } catch (error) { // There are too many.
      this.#dropLoading();
      throw error;
    }
    if (more) return undefined;
    this.#loading = undefined;
    if (this.#waiting >= CHANGES_MAX) return this.#let(change);
    this.#waiting++;
    return change;
  }

  #begin(version: number, base: number | null): void {
    this.#dropLoading();
    const since = this.#since;
    this.#memory.take(CHANGE_BYTES);
    const bytes = CHANGE_BYTES;
    this.#loading = { version, base, since, add: new Map(), remove: [], part: 0, bytes };
  }

  #load(change: WantsChange, add: readonly NumberedTopic[], remove: readonly number[]): void {
    change.part++;
    const bytes = add.reduce((sum, [, path]) => sum + wantBytes(path), 0) +
      REMOVED_BYTES * remove.length;
    const { brokerMax } = this.#memory;
    if (change.bytes + bytes + (change.base === null ? 0 : this.#bytes) > brokerMax) {
      throw new ProtocolError(
        `Cannot take what a broker wants: it would take more than ${brokerMax} bytes`,
      );
    }
    this.#memory.take(bytes);
    change.bytes += bytes;
    for (const [id, path] of add) change.add.set(hiddenNumber(id), path && Object.freeze(path));
    for (const id of remove) change.remove.push(hiddenNumber(id));
    const size = change.add.size + (change.base === null ? 0 : this.#wants.size);
    if (Math.max(size, change.remove.length) <= WANTS_MAX) return;
    throw new ProtocolError(`Cannot take what a broker wants: more than ${WANTS_MAX} topics`);
  }

  #dropLoading(): void {
    if (this.#loading !== undefined) this.#let(this.#loading);
    this.#loading = undefined;
  }

  /** A change is done, or given up. */
  #let(change: WantsChange): undefined {
    this.#memory.give(change.bytes);
    change.bytes = 0;
  }

  /** Applies a change, unless what it is based on is not what is known; a step for each topic. */
  *apply(change: WantsChange): Work {
    const { base, add, version } = change;
    if (change.since === this.#since && (base === null || base === this.#version)) {
      yield* this.#remove(change);
      yield* this.#add(change);
      // Otherwise it has begun anew meanwhile.
      if (change.since === this.#since) this.#version = version;
    }
    add.clear();
    this.#waiting--;
    this.#let(change);
  }

  *#remove({ base, since, add, remove }: WantsChange): Work {
    for (const id of base === null ? this.#wants.keys() : remove) {
      yield;
      if (since !== this.#since) return;
      const want = this.#wants.get(id);
      if (want === undefined || base === null && isSame(add.get(id), want.sent.path)) continue;
      this.#wants.delete(id);
      this.#untold.delete(id);
      this.#bytes -= wantBytes(want.sent.path);
      this.#drop(want);
    }
  }

  *#add(change: WantsChange): Work {
    for (const [id, path] of change.add) {
      yield;
      if (change.since !== this.#since) return;
      if (this.#wants.has(id) || this.#wants.size >= WANTS_MAX) continue;
      const before = this.#counts.bytes;
      const sent = this.#counts.hold(path);
      // From now on the want takes them, and what is new of the topic.
      change.bytes -= WANT_BYTES + this.#counts.bytes - before;
      this.#bytes += wantBytes(path);
      this.#wants.set(id, { sent, told: -1, epoch: this.#epoch });
      this.#untold.add(id);
    }
  }

  #drop({ sent }: Want): void {
    const before = this.#counts.bytes;
    this.#counts.release(sent);
    this.#memory.give(WANT_BYTES + before - this.#counts.bytes);
  }

  /** Forgets what it wants; if it comes back, it begins anew. What is left to do has steps. */
  clear(since: number): Work {
    const wants = this.#wants;
    this.#wants = new Map();
    this.#bytes = 0;
    this.#untold = new Set();
    this.#version = 0;
    this.#since = since;
    this.#dropLoading();
    this.#told.clear();
    this.#toldCounts = 0;
    return this.#release(wants);
  }

  *#release(wants: ReadonlyMap<number, Want>): Work {
    for (const want of wants.values()) {
      yield;
      this.#drop(want);
    }
  }

  /** Begins an answer to it; returns its number. */
  beginAnswer(): number {
    const answer = ++this.#answers;
    this.#told.set(answer, []);
    const most = ANSWERED_MIN + 2 * this.#wants.size;
    for (const before of this.#told.keys()) {
      const isTooMuch = this.#told.size > ANSWERS_MAX || this.#toldCounts > most;
      if (!isTooMuch || before === answer) break;
      this.#forgetAnswer(before);
    }
    return answer;
  }

  #forgetAnswer(answer: number): void {
    this.#toldCounts -= this.#told.get(answer)?.length ?? 0;
    this.#told.delete(answer);
  }

  /**
   * What an answer says: the counts that it may not know; without `isFull`, only of what no answer has
   * told yet. `undefined` stands for some topics that are not to be told.
   */
  *countsFor(answer: number, isFull: boolean): Generator<NumberedCount | undefined, void> {
    const since = this.#since;
    const ids = (isFull ? this.#wants.keys() : this.#untold.values())[Symbol.iterator]();
    for (let next = this.#pass(ids); next !== null; next = this.#pass(ids)) {
      if (next !== undefined && this.#told.get(answer)?.push(next)) this.#toldCounts++;
      yield next;
      if (since !== this.#since) return;
    }
  }

  /** The next count that is to be told; `undefined`: not among so many; `null`: there are no more. */
  #pass(ids: Iterator<number, undefined>): NumberedCount | undefined | null {
    for (let known = 0; known < KNOWN_PER_STEP; known++) {
      const { value: id } = ids.next();
      if (id === undefined) return null;
      this.#untold.delete(id);
      const { sent: { count }, told, epoch } = this.#wants.get(id)!;
      if (told !== count || epoch !== this.#epoch) return [shownNumber(id), count];
    }
    return undefined;
  }

  /**
   * It has this answer; 0: it has none, and has forgotten everything.
   *
   * @returns Notes what that told, in steps, if it told anything; once for each answer.
   */
  commit(answer: number): Work | undefined {
    if (answer === 0) this.#epoch++;
    const got = this.#told.get(answer);
    // Nothing more is to be learned from that answer, or from those before it.
    for (const before of this.#told.keys()) if (before <= answer) this.#forgetAnswer(before);
    return got === undefined || got.length === 0 ? undefined : this.#note(got);
  }

  *#note(got: readonly NumberedCount[]): Work {
    const since = this.#since;
    const epoch = this.#epoch;
    for (let at = 0; at < got.length; at++) {
      if (at % GOT_PER_STEP === GOT_PER_STEP - 1) yield;
      if (since !== this.#since) return;
      const [id, count] = got[at]!;
      const want = this.#wants.get(hiddenNumber(id));
      if (want === undefined) continue;
      want.told = count;
      want.epoch = epoch;
    }
  }
}

function isSame(a: TopicPath | null | undefined, b: TopicPath | null): boolean {
  if (a === undefined || a === null || b === null) return a === b;
  return a.length === b.length && a.every((element, index) => element === b[index]);
}

/** What it takes at most that a broker wants a topic. */
function wantBytes(path: TopicPath | null): number {
  return WANT_BYTES + elementBytes(path ?? []);
}
