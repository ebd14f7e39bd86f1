/**
 * What a broker keeps in memory for others, and who loses something when that is too much.
 *
 * ```
 *  read buffers, queues,          more than           shared out by key, a walk:
 *  frames that wait,  ──▶ Account ── `memory` ──▶ the key that holds most ──▶ who of it holds most
 *  subscriptions                                  ◀────── until 1/16 is free ── loses its own ──┘
 * ```
 *
 * - Of a key those for whom its tickets are share out what it has, in the same way.
 *
 * - The sum is kept up with each buffer that comes or goes. Who holds how much is worked out only when the
 *   sum is too large; then a buffer that several hold counts for each of them in part.
 */
import { Account } from "../base/account.ts";

/** How much of `memory` is free after it was full. */
const FREED = 1 / 16;
/** In steps of which size it is freed, unless somebody holds more than others by more than that. */
const STEP = 1 / 64;

/** Of those of one owner, who can only be ended has to hold so many times as much as who can drop something. */
const ENDING = 4;

/** Why a client loses its session when nothing is left that could be dropped. */
export const MEMORY_FULL = "the broker's memory is full";

/** Somebody for whom something is kept. */
export interface Holder {
  /** Whose it is: all of one owner count together. */
  readonly owner: object;
  /** Which of those who share with that owner it is for; none if there is one only. */
  readonly of?: string;
  /** How much is kept for it, in bytes. */
  readonly keptBytes: number;
  /**
   * What it can lose, the mildest first: each gives up so many bytes if it can, or all, and returns how
   * many of them go only when something is done that is under way. None: all of it goes soon anyway.
   */
  readonly losses: readonly ((bytes: number) => number)[];
}

/** What a broker keeps, within a bound. */
export class Memory {
  /** Where everything counts that is kept for others. */
  readonly account: Account;
  readonly #max: number;
  readonly #holders: () => Iterable<Holder>;
  #isSettling = false;
  /** What was kept when nobody had anything more to lose. */
  #leastBytes = -Infinity;

  /** Makes one that keeps nothing; `holders` lists all for whom something is kept. */
  constructor(max: number, holders: () => Iterable<Holder>) {
    this.#max = max;
    this.#holders = holders;
    this.account = new Account(max, () => this.settle());
  }

  /** Lets those who hold most lose something, if too much is kept. */
  settle(): void {
    const { account } = this;
    if (account.bytes <= this.#max || this.#isSettling) return;
    if (Math.abs(account.bytes - this.#leastBytes) < this.#max * STEP) return;
    this.#isSettling = true;
    try {
      this.#free(this.#max * (1 - FREED));
    } finally {
      this.#isSettling = false;
    }
    this.#leastBytes = account.bytes > this.#max ? account.bytes : -Infinity;
  }

  /** Frees memory until no more than `wanted` bytes are kept. */
  #free(wanted: number): void {
    const step = this.#max * STEP;
    const shares = sharesOf(this.#holders());
    let going = 0;
    for (;;) {
      const excess = this.account.bytes - going - wanted;
      const share = excess > 0 ? shares.pop() : undefined;
      if (share === undefined) return;
      if (share.isEmpty) { // All that it has left goes already, so others need not lose as much.
        going += share.bytes;
        continue;
      }
      const most = Math.max(step, share.bytes - (shares.at(-1)?.bytes ?? 0));
      going += share.lose(Math.min(excess, most), step);
      insert(shares, share, (each) => each.bytes);
    }
  }
}

/** What loses something of what it holds, so that others need not. */
interface Losing {
  readonly bytes: number;
  /** Whose is the highest loses first. */
  readonly rank: number;
  /** Whether it has nothing left that it could lose. */
  readonly isEmpty: boolean;
  /** Loses so many bytes, or a step; returns how many of them go later. */
  lose(bytes: number, step: number): number;
}

/** What several hold together: all of an owner, or all for whom something is kept of one. */
class Share<P extends Losing> implements Losing {
  bytes = 0;
  /** Those who hold it, and can lose something, sorted by rank. */
  readonly #parts: P[];

  constructor(parts: readonly P[]) {
    for (const { bytes } of parts) this.bytes += bytes;
    this.#parts = parts.filter((part) => !part.isEmpty).sort((a, b) => a.rank - b.rank);
  }

  get rank(): number {
    return this.bytes;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** Lets the largest part lose them, but no more than would make it smaller than the next, or a step. */
  lose(bytes: number, step: number): number {
    const parts = this.#parts;
    const part = parts.pop()!;
    const before = part.bytes;
    const most = Math.max(step, before - (parts.at(-1)?.rank ?? 0));
    const going = part.lose(Math.min(bytes, most), step);
    this.bytes += part.bytes - before;
    if (!part.isEmpty) insert(parts, part, (each) => each.rank);
    return going;
  }
}

/** What one holder holds. */
class Part implements Losing {
  bytes: number;
  readonly #holder: Holder;
  /** How many of its losses have nothing more to give. */
  #lost = 0;

  constructor(holder: Holder) {
    this.#holder = holder;
    this.bytes = holder.keptBytes;
  }

  /** Who has the highest loses first: to lose messages is less than to be ended. */
  get rank(): number {
    return this.#lost === 0 ? this.bytes : this.bytes / ENDING;
  }

  get isEmpty(): boolean {
    return this.#lost === this.#holder.losses.length;
  }

  lose(bytes: number): number {
    const before = this.bytes;
    const going = this.#holder.losses[this.#lost]!(bytes);
    this.bytes = this.#holder.keptBytes;
    if (this.bytes >= before) this.#lost++;
    return going;
  }
}

/** What each owner holds, sorted by how much. */
function sharesOf(holders: Iterable<Holder>): Share<Share<Part>>[] {
  const owners = new Map<object, Map<string, Part[]>>();
  for (const holder of holders) {
    const { owner, of = "" } = holder;
    let parts = owners.get(owner);
    if (parts === undefined) owners.set(owner, parts = new Map());
    const own = parts.get(of);
    if (own === undefined) parts.set(of, [new Part(holder)]);
    else own.push(new Part(holder));
  }
  return [...owners.values()]
    .map((parts) => new Share([...parts.values()].map((own) => new Share(own))))
    .sort((a, b) => a.bytes - b.bytes);
}

/** Puts one where it belongs among those that are sorted. */
function insert<T>(sorted: T[], one: T, rankOf: (each: T) => number): void {
  const rank = rankOf(one);
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rankOf(sorted[middle]!) <= rank) low = middle + 1;
    else high = middle;
  }
  sorted.splice(low, 0, one);
}
