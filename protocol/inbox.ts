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
import { Fifo } from "../base/fifo.ts";
import { ProtocolError } from "../errors.ts";
import type { Frame } from "./frame.ts";

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

/** The frames up to a number, and how many bytes they are. */
export interface Position {
  /** The number of the last one. */
  count: number;
  /** Their bytes. */
  bytes: number;
}

/** A position after which nothing is acknowledged. */
export interface Place extends Position {
  isReleased: boolean;
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
  /** Nothing after the first of these is acknowledged yet, although it was taken; in their order. */
  readonly #withheld: Place[] = [];
  /** How many of them, the first, were released. */
  #released = 0;
  /** The number of the last frame for which an acknowledgement was requested. */
  #wanted = 0;
  #closed = false;

  /** Makes an empty one; at most `window` bytes may be here and not acknowledged. */
  constructor(window: number, handler: InboxHandler) {
    this.#window = window;
    this.#handler = handler;
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
    this.taken.count += frames;
    this.taken.bytes += bytes;
  }

  /** Takes what is held, until its owner is full again. */
  resume(): void {
    while (this.#held.length > 0 && !this.#handler.full) {
      const frame = this.#held.shift()!;
      this.#heldBytes -= sizeOf(frame);
      this.#handler.held!(frame);
      this.#count(1, sizeOf(frame));
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
    return this.#withheld[this.#released] ?? this.taken;
  }

  /** Whether what the other side has requested can be acknowledged now, and was not yet. */
  get isWanted(): boolean {
    return this.acknowledged.count < this.#wanted && this.#wanted <= this.acknowledgeable.count;
  }

  /** Acknowledges all that can be acknowledged; returns up to where that is. */
  acknowledge(): number {
    const { count, bytes } = this.acknowledgeable;
    this.acknowledged.bytes = bytes;
    return this.acknowledged.count = count;
  }

  /**
   * Acknowledges nothing from the latest `frames` on.
   *
   * @returns What to release.
   */
  withhold(frames: number, bytes: number): Place {
    const place = {
      count: Math.max(this.acknowledged.count, this.taken.count - frames),
      bytes: Math.max(this.acknowledged.bytes, this.taken.bytes - bytes),
      isReleased: false,
    };
    // Those who withhold say so while the frames pass, so mostly it is the last.
    const places = this.#withheld;
    let at = places.length;
    while (at > this.#released && places[at - 1]!.count > place.count) at--;
    if (at === places.length) places.push(place);
    else places.splice(at, 0, place);
    return place;
  }

  /** Stops withholding a place; returns whether more can be acknowledged then. */
  release(place: Place): boolean {
    if (place.isReleased) return false;
    place.isReleased = true;
    const places = this.#withheld;
    while (places[this.#released]?.isReleased) this.#released++;
    if (2 * this.#released >= places.length) {
      places.splice(0, this.#released);
      this.#released = 0;
    }
    return this.acknowledgeable.count > this.acknowledged.count;
  }

  /** Takes no more, and withholds nothing. */
  close(): void {
    this.#closed = true;
    for (const place of this.#withheld) place.isReleased = true;
    this.#withheld.length = this.#released = 0;
  }
}

/** How many bytes of the window a frame takes. */
function sizeOf({ bytes, oversize }: HeldFrame): number {
  return bytes.length + oversize;
}
