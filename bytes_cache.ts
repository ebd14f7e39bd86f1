/**
 * A bounded cache from byte strings to what was worked out from them, for topics as they stand in
 * frames: most frames of a connection name a topic that was named a moment ago, and comparing its
 * bytes is cheaper than decoding them.
 *
 * A key has one slot, chosen by a hash of its bytes; a new key takes the slot of an old one. So a
 * lookup looks at one entry, the size never grows, and an unlucky pair of keys costs time only.
 */

/** A bounded map whose keys are bytes; see the module. */
export class BytesCache<V> {
  readonly #slots: ({ key: Uint8Array; value: V } | undefined)[];
  readonly #mask: number;
  #latest: { key: Uint8Array; value: V } | undefined;

  /** Makes a cache of `size` slots, a power of two. */
  constructor(size: number) {
    this.#slots = new Array(size).fill(undefined);
    this.#mask = size - 1;
  }

  /** The value of the key that stands in `bytes` from `start` to before `end`. */
  get(bytes: Uint8Array, start: number, end: number): V | undefined {
    const latest = this.#latest;
    if (latest !== undefined && isAt(bytes, start, end, latest.key)) return latest.value;
    const entry = this.#slots[hash(bytes, start, end) & this.#mask];
    if (entry === undefined || !isAt(bytes, start, end, entry.key)) return undefined;
    this.#latest = entry;
    return entry.value;
  }

  /** Remembers the value of that key; the key's bytes are copied. */
  set(bytes: Uint8Array, start: number, end: number, value: V): void {
    const entry = { key: bytes.slice(start, end), value };
    this.#slots[hash(bytes, start, end) & this.#mask] = entry;
    this.#latest = entry;
  }

  /** Forgets everything. */
  clear(): void {
    this.#slots.fill(undefined);
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

/** FNV-1a, 32 bits. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h ^ (h >>> 15);
}
