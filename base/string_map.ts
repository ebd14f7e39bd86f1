/**
 * A map from strings that others choose.
 *
 * A `Map` finds a string by V8's hash of it. That is known of strings that are array indexes, and often
 * of all (`codec/hash_flooding.ts` says why): thousands of strings can be chosen that are all in one
 * place, and then to find one takes as long as to compare it with all others. Here strings are found by
 * a hash of our own, which nobody outside knows:
 *
 * ```
 *  few keys                           many
 *  key ─▶ Map ─▶ value                key ─▶ secret hash ─▶ Map ─▶ entry ─▶ next entry, hardly ever
 * ```
 *
 * V8 remembers the hash of a string; ours is worked out each time, 2 ns for each character. So as long
 * as there are few keys, which cannot cost much, they are in a `Map` as they are.
 */

/** So many keys are in a `Map` as they are. */
const PLAIN_MAX = 32;
/** After how many characters the hash is stirred; it has secret factors for so many. */
const BLOCK = 256;

const FACTORS = crypto.getRandomValues(new Int32Array(BLOCK));
const OTHER_FACTORS = crypto.getRandomValues(new Int32Array(BLOCK));
/** Of the length: zero characters at the end add nothing else. */
const [LENGTH_FACTOR, OTHER_LENGTH_FACTOR] = crypto.getRandomValues(new Int32Array(2));

interface Entry<V> {
  readonly key: string;
  value: V;
  /** Another entry with the same hash. */
  next: Entry<V> | undefined;
}

/** Values by strings that may have been chosen to collide; what a `Map` does, but for the order. */
export class StringMap<V> {
  /** The values, as long as there are few. */
  #plain: Map<string, V> | undefined = new Map();
  /** The first entry of each hash, once there have been many. */
  #hashed: Map<number, Entry<V>> | undefined;
  #size = 0;

  /** How many keys there are. */
  get size(): number {
    return this.#plain?.size ?? this.#size;
  }

  /** The value of a key. */
  get(key: string): V | undefined {
    if (this.#plain !== undefined) return this.#plain.get(key);
    return find(this.#hashed!.get(secretHash(key)), key)?.value;
  }

  /** Sets the value of a key. */
  set(key: string, value: V): void {
    const plain = this.#plain;
    if (plain === undefined) return this.#set(this.#hashed!, key, value);
    plain.set(key, value);
    if (plain.size <= PLAIN_MAX) return;
    this.#plain = undefined;
    this.#hashed = new Map();
    for (const [each, its] of plain) this.#set(this.#hashed, each, its);
  }

  #set(hashed: Map<number, Entry<V>>, key: string, value: V): void {
    const hash = secretHash(key);
    const first = hashed.get(hash);
    const entry = find(first, key);
    if (entry !== undefined) {
      entry.value = value;
      return;
    }
    hashed.set(hash, { key, value, next: first });
    this.#size++;
  }

  /** Removes a key; returns whether it was there. */
  delete(key: string): boolean {
    if (this.#plain !== undefined) return this.#plain.delete(key);
    const hash = secretHash(key);
    let before: Entry<V> | undefined;
    let entry = this.#hashed!.get(hash);
    for (; entry !== undefined && entry.key !== key; entry = entry.next) before = entry;
    if (entry === undefined) return false;
    if (before !== undefined) before.next = entry.next;
    else if (entry.next !== undefined) this.#hashed!.set(hash, entry.next);
    else this.#hashed!.delete(hash);
    this.#size--;
    return true;
  }

  /** All keys with their values. */
  *entries(): Generator<[string, V], void, undefined> {
    if (this.#plain !== undefined) return yield* this.#plain;
    for (const first of this.#hashed!.values()) {
      for (let entry: Entry<V> | undefined = first; entry !== undefined; entry = entry.next) {
        yield [entry.key, entry.value];
      }
    }
  }

  /** All values. */
  *values(): Generator<V, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }
}

function find<V>(entry: Entry<V> | undefined, key: string): Entry<V> | undefined {
  while (entry !== undefined && entry.key !== key) entry = entry.next;
  return entry;
}

/**
 * A text for another one, each for another, to which nobody outside knows V8's hash: a key of a `Map`
 * whose order matters, or which others may not make slow.
 */
export function salted(text: string): string {
  return `${secretHash(text)} ${text}`;
}

/**
 * A hash of 30 bits. Two strings that differ have the same one as seldom as two random numbers, and
 * nobody who does not know the factors can choose strings for which that is not so. (The sum of
 * characters times random factors has that property in its high bits, which are taken here.)
 */
export function secretHash(text: string): number {
  let a = Math.imul(LENGTH_FACTOR!, text.length);
  let b = Math.imul(OTHER_LENGTH_FACTOR!, text.length);
  for (let start = 0; start < text.length; start += BLOCK) {
    if (start > 0) {
      // Otherwise characters could change places with those a block before.
      a = stir(a);
      b = stir(b);
    }
    const end = Math.min(text.length, start + BLOCK);
    for (let i = start; i < end; i++) {
      const unit = text.charCodeAt(i);
      a = (a + Math.imul(FACTORS[i - start]!, unit)) | 0;
      b = (b + Math.imul(OTHER_FACTORS[i - start]!, unit)) | 0;
    }
  }
  return a >>> 15 << 13 | b >>> 19;
}

function stir(h: number): number {
  h = Math.imul(h ^ h >>> 15, 0x9e3779b1);
  return h ^ h >>> 13;
}
