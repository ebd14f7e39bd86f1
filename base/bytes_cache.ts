/**
 * A bounded cache from byte strings to what was worked out from them, for topics as bytes in frames:
 * most frames of a connection have a topic that was there a moment ago, and comparing its bytes is
 * cheaper than decoding them.
 *
 * ```
 *  hash(key) ─▶ slot, slot + 1, … slot + PROBES − 1     the key is in one of these, or nowhere
 * ```
 *
 * The table grows with its keys, up to its bound; then a new key takes the slot of an old one. So a
 * lookup checks only a few entries, and an unlucky set of keys only costs time.
 */
import { hash } from "./bytes.ts";

/** How many slots a key may be in. */
const PROBES = 8;
const SLOTS_MIN = 16;
/** A longer key is remembered only while it is the latest, so that long keys do not fill memory. */
const KEY_BYTES_MAX = 256;

interface Entry<V> {
  readonly hash: number;
  readonly key: Uint8Array;
  readonly value: V;
}

/** A bounded map whose keys are bytes. */
export class BytesCache<V> {
  readonly #slotsMax: number;
  #slots: (Entry<V> | undefined)[] = [];
  #count = 0;
  #latest: Entry<V> | undefined;

  /** Makes a cache of at most `slots` entries, a power of two. */
  constructor(slots: number) {
    this.#slotsMax = slots;
    this.clear();
  }

  /** The value of the key in `bytes` from `start` to before `end`. */
  get(bytes: Uint8Array, start: number, end: number): V | undefined {
    const latest = this.#latest;
    if (latest !== undefined && isAt(bytes, start, end, latest.key)) return latest.value;
    const slots = this.#slots;
    const mask = slots.length - 1;
    const h = hash(bytes, start, end);
    for (let slot = h; slot !== h + PROBES; slot++) {
      const entry = slots[slot & mask];
      if (entry === undefined) return undefined;
      if (entry.hash !== h || !isAt(bytes, start, end, entry.key)) continue;
      this.#latest = entry;
      return entry.value;
    }
    return undefined;
  }

  /** Remembers the value of that key; the key's bytes are copied. */
  set(bytes: Uint8Array, start: number, end: number, value: V): void {
    const entry = { hash: hash(bytes, start, end), key: bytes.slice(start, end), value };
    this.#latest = entry;
    if (end - start > KEY_BYTES_MAX) return;
    if (2 * this.#count >= this.#slots.length && this.#slots.length < this.#slotsMax) this.#grow();
    this.#place(entry);
  }

  #place(entry: Entry<V>): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const { hash, key } = entry;
    for (let slot = hash; slot !== hash + PROBES; slot++) {
      const old = slots[slot & mask];
      if (old !== undefined && (old.hash !== hash || !isAt(key, 0, key.length, old.key))) continue;
      if (old === undefined) this.#count++;
      slots[slot & mask] = entry;
      return;
    }
    slots[hash & mask] = entry;
  }

  #grow(): void {
    const entries = this.#slots;
    this.#slots = new Array(Math.min(4 * entries.length, this.#slotsMax)).fill(undefined);
    this.#count = 0;
    for (const entry of entries) if (entry !== undefined) this.#place(entry);
  }

  /** Forgets everything. */
  clear(): void {
    this.#slots = new Array(Math.min(SLOTS_MIN, this.#slotsMax)).fill(undefined);
    this.#count = 0;
    this.#latest = undefined;
  }
}

function isAt(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) {
    if (bytes[start + i] !== key[i]) return false;
  }
  return true;
}
