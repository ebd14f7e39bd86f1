/**
 * Counted frames that arrive from one peer: they are taken in their order, and then acknowledged. The
 * counterpart of that peer's outbox. Knows no connection.
 *
 * ```
 *             ┌ held ──────────────┐         ┌ taken ───────────────┐
 *  arrived ──▶│ its owner is full; │ ──────▶ │ withheld by some: no │ ──▶ acknowledged
 *             │ not counted yet    │         │ acknowledgement yet  │
 *             └────────────────────┘         └──────────────────────┘
 *             └───────────────── at most a window ─────────────────┘
 * ```
 */
import { COUNT_MAX } from "../base/count.ts";
import { Fifo } from "../base/fifo.ts";
import { ProtocolError } from "../errors.ts";
import type { Frame } from "./frame.ts";
import { type Place, type Position, Withheld } from "./withheld.ts";

/** A frame that could not be taken when it arrived, in a copy of its own. */
export interface HeldFrame {
  /** The type of the frame. */
  readonly type: number;
  /** The frame, with its size. */
  readonly bytes: Uint8Array;
  /** Where its body begins. */
  readonly body: number;
  /** The length of a body that is too long, and was skipped; otherwise 0. */
  readonly oversize: number;
}

/** Who takes counted frames; a `ProtocolError` ends the link. */
export interface InboxHandler {
  /** Whether no counted frame can be taken now; if so, call `resume` later. */
  readonly full?: boolean;
  /** Takes a frame that arrives. */
  frame(frame: Frame): void;
  /** Takes a frame that was held while it was full; must be there if `full` is. */
  held?(frame: HeldFrame): void;
}

/** Takes, holds and acknowledges the counted frames of one peer. */
export class Inbox {
  /** The frames that were taken. */
  readonly taken: Position = { count: 0, bytes: 0 };
  /** The frames that were acknowledged. */
  readonly acknowledged: Position = { count: 0, bytes: 0 };
  readonly #window: number;
  readonly #handler: InboxHandler;
  readonly #held = new Fifo<HeldFrame>();
  #heldBytes = 0;
  /** Nothing after the first of these is acknowledged yet, although it was taken. */
  readonly #withheld = new Withheld();
  /** The number of the last frame for which an acknowledgement was requested. */
  #wanted = 0;
  #closed = false;

  /**
   * Makes an empty one; at most `window` bytes may be here and not acknowledged. The number of the last
   * frame before is `first`.
   */
  constructor(window: number, handler: InboxHandler, first = 0) {
    this.#window = window;
    this.#handler = handler;
    this.taken.count = this.acknowledged.count = first;
  }

  /** Takes or holds a frame that arrives. */
  arrived(frame: Frame): void {
    if (this.#closed) return;
    // A run of frames is checked as one, and may end beyond the window; then the next is refused.
    if (this.taken.bytes + this.#heldBytes - this.acknowledged.bytes > this.#window) {
      throw new ProtocolError(
        `Cannot take a frame: more than the window of ${this.#window} bytes is not acknowledged`,
      );
    }
    if (this.#held.length > 0 || this.#handler.full) return this.#hold(frame);
    this.#handler.frame(frame);
    // Counted afterwards, so that what came before can be withheld meanwhile.
    this.#count(frame.frames, frame.end - frame.start + frame.oversize);
  }

  #hold({ type, buffer, start, body, end, oversize }: Frame): void {
    const frame = { type, bytes: buffer.slice(start, end), body: body - start, oversize };
    this.#held.push(frame);
    this.#heldBytes += sizeOf(frame);
  }

  #count(frames: number, bytes: number): void {
    if (frames > COUNT_MAX - this.taken.count) {
      throw new ProtocolError(`Cannot count a frame: a session has at most ${COUNT_MAX} of them`);
    }
    this.taken.count += frames;
    this.taken.bytes += bytes;
  }

  /** Whether it holds frames that were not taken. */
  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** Takes what is held, until its owner is full again, or `isEnough` after a frame. */
  resume(isEnough: (frame: HeldFrame) => boolean = () => false): void {
    while (this.#held.length > 0 && !this.#handler.full) {
      const frame = this.#held.shift()!;
      this.#heldBytes -= sizeOf(frame);
      this.#handler.held!(frame);
      this.#count(1, sizeOf(frame));
      if (isEnough(frame)) return;
    }
  }

  /** Goes back to what was taken, for a connection that replaces the one before. */
  rewind(): void {
    this.#held.clear();
    this.#heldBytes = this.#wanted = 0;
  }

  /** Begins a new session, in which nothing has arrived. */
  restart(): void {
    for (const position of [this.taken, this.acknowledged]) position.count = position.bytes = 0;
  }

  /** The other side has requested an acknowledgement once all that is here is taken. */
  want(): void {
    this.#wanted = this.taken.count + this.#held.length;
  }

  /** Up to where frames can be acknowledged now. */
  get acknowledgeable(): Readonly<Position> {
    const { first } = this.#withheld;
    return first !== undefined && first.count < this.taken.count ? first : this.taken;
  }

  /** Whether what the other side has requested can be acknowledged now, and was not yet. */
  get isWanted(): boolean {
    return this.acknowledged.count < this.#wanted && this.#wanted <= this.acknowledgeable.count;
  }

  /** Acknowledges all that can be acknowledged; returns up to where that is. */
  acknowledge(): number {
    const { count, bytes } = this.acknowledgeable;
    this.acknowledged.bytes = bytes;
    // Of bytes only differences count: while nobody has a place in the sums, these begin anew.
    if (this.#withheld.first === undefined) this.taken.bytes = this.acknowledged.bytes = 0;
    return this.acknowledged.count = count;
  }

  /**
   * Acknowledges nothing from the latest `frames` on.
   *
   * @returns What to release.
   */
  withhold(frames: number, bytes: number): Place {
    return this.#withheld.add({
      count: Math.max(this.acknowledged.count, this.taken.count - frames),
      bytes: Math.max(this.acknowledged.bytes, this.taken.bytes - bytes),
    });
  }

  /** Stops withholding a place; returns whether more can be acknowledged then. */
  release(place: Place): boolean {
    if (!this.#withheld.remove(place)) return false;
    return this.acknowledgeable.count > this.acknowledged.count;
  }

  /** Takes no more, and withholds nothing. */
  close(): void {
    this.#closed = true;
    this.#withheld.clear();
  }
}

/** How many bytes of the window a frame takes. */
function sizeOf({ bytes, oversize }: HeldFrame): number {
  return bytes.length + oversize;
}
