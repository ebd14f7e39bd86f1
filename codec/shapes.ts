/**
 * The shapes of objects that were met lately: what is known about an object from its names alone.
 *
 * ```
 *  the shape before ── follower ──▶ the shape that came after it last time: mostly the one
 *  hash of the names ─▶ a slot    ▶ otherwise
 * ```
 *
 * A shape that is met twice in a row in its slot is kept, and replaces the one that was there. So names
 * that come only once, the keys of a table say, push nothing out, and cost little.
 */

/** How many shapes are kept, a power of two. */
const SLOTS = 256;

/** A shape that {@linkcode Shapes} keeps. */
export interface Shape<S> {
  /** The shape that came after this one the last time. */
  follower: S | undefined;
}

/** A bounded memory of shapes; its user compares the names. */
export class Shapes<S extends Shape<S>> {
  readonly #slots: (S | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #hashes = new Int32Array(SLOTS);
  #latest: S | undefined;

  /** The shape that is likely to come next. */
  get likely(): S | undefined {
    return this.#latest?.follower;
  }

  /** The only kept shape whose names may have this hash. */
  at(hash: number): S | undefined {
    return this.#slots[hash & (SLOTS - 1)];
  }

  /** Notes that a shape has come. */
  met(shape: S): void {
    if (this.#latest !== undefined) this.#latest.follower = shape;
    this.#latest = shape;
  }

  /** Notes that a shape has come that is not kept; returns whether it should be. */
  missed(hash: number): boolean {
    const slot = hash & (SLOTS - 1);
    const isAgain = this.#hashes[slot] === hash;
    this.#hashes[slot] = hash;
    return isAgain;
  }

  /** Keeps a shape. */
  add(hash: number, shape: S): void {
    const slot = hash & (SLOTS - 1);
    const old = this.#slots[slot];
    if (old !== undefined) old.follower = undefined; // Otherwise a chain of old ones could live on.
    this.#slots[slot] = shape;
    this.met(shape);
  }
}
