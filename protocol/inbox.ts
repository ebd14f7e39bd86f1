/**
 * Counted frames that arrive from one peer: they are taken in their order, and then acknowledged. The
 * other end of that peer's outbox. Knows no connection.
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

/** A frame that could not be taken when it arrived, in bytes of its own. */
export interface HeldFrame {
  /** The kind of frame. */
  readonly type: number;
  /** The frame, with its size. */
  readonly bytes: Uint8Array;
  /** Where its body begins. */
  readonly body: number;
  /** How long the body is when that is longer than it may be, and not here; else 0. */
  readonly oversize: number;
}

/** Who takes counted frames; a `ProtocolError` ends the link. */
export interface InboxHandler {
  /** Whether no counted frame can be taken now; then call `resume` later. */
  readonly full?: boolean;
  /** Takes a frame that arrives. */
  frame(frame: Frame): void;
  /** Takes a frame that was held while it was full; there if it can be. */
  held?(frame: HeldFrame): void;
}

/** The frames up to a number, and how many bytes they are. */
export interface Position {
  /** The number of the last one. */
  count: number;
  /** Their bytes. */
  bytes: number;
}

/** Counted frames that arrive; see the module. */
export class Inbox {
  /** Those that were taken. */
  readonly taken: Position = { count: 0, bytes: 0 };
  /** Those of which the other side was told. */
  readonly acknowledged: Position = { count: 0, bytes: 0 };
  readonly #window: number;
  readonly #handler: InboxHandler;
  readonly #held = new Fifo<HeldFrame>();
  #heldBytes = 0;
  /** Behind each of these nothing is acknowledged yet, although it was taken. */
  readonly #withheld: Position[] = [];
  /** The number of the last frame whose acknowledgement was asked for. */
  #wanted = 0;
  #closed = false;

  /** Makes one to which nothing has come; at most `window` bytes may be here and not acknowledged. */
  constructor(window: number, handler: InboxHandler) {
    this.#window = window;
    this.#handler = handler;
  }

  /** Takes or holds a frame that arrives. */
  arrived(frame: Frame): void {
    if (this.#closed) return;
    // A run of frames is looked at as one, and may end beyond the window; the next is refused then.
    if (this.taken.bytes + this.#heldBytes - this.acknowledged.bytes > this.#window) {
      throw new ProtocolError(
        `Cannot take a frame: more than the window of ${this.#window} bytes is not acknowledged`,
      );
    }
    if (this.#held.length > 0 || this.#handler.full) return this.#hold(frame);
    this.#handler.frame(frame);
    // It counts once that is done, so that what came before can be withheld meanwhile.
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

  /** Takes what is held, until there is no room again. */
  resume(): void {
    while (this.#held.length > 0 && !this.#handler.full) {
      const frame = this.#held.shift()!;
      this.#heldBytes -= sizeOf(frame);
      this.#handler.held!(frame);
      this.#count(1, sizeOf(frame));
    }
  }

  /** Begins again behind what was taken, for a connection that takes the place of the one before. */
  rewind(): void {
    this.#held.clear();
    this.#heldBytes = this.#wanted = 0;
  }

  /** Begins a new session, in which nothing has come. */
  restart(): void {
    for (const position of [this.taken, this.acknowledged]) position.count = position.bytes = 0;
  }

  /** The other side wants to hear once all that is here is taken. */
  want(): void {
    this.#wanted = this.taken.count + this.#held.length;
  }

  /** Up to where it can be acknowledged now. */
  get acknowledgeable(): Readonly<Position> {
    let least = this.taken;
    for (const place of this.#withheld) if (place.count < least.count) least = place;
    return least;
  }

  /** Whether it can be acknowledged now, and was not yet, what the other side wants to hear of. */
  get isWanted(): boolean {
    return this.acknowledged.count < this.#wanted && this.#wanted <= this.acknowledgeable.count;
  }

  /** Notes that the other side is told of all that can be acknowledged; up to where that is. */
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
  withhold(frames: number, bytes: number): Position {
    const place = {
      count: Math.max(this.acknowledged.count, this.taken.count - frames),
      bytes: Math.max(this.acknowledged.bytes, this.taken.bytes - bytes),
    };
    this.#withheld.push(place);
    return place;
  }

  /** Withholds a place no more; whether that lets more be acknowledged. */
  release(place: Position): boolean {
    const at = this.#withheld.indexOf(place);
    if (at < 0) return false;
    this.#withheld.splice(at, 1);
    return this.acknowledgeable.count > this.acknowledged.count;
  }

  /** Takes no more, and withholds nothing. */
  close(): void {
    this.#closed = true;
    this.#withheld.length = 0;
  }
}

/** What a frame takes of the window. */
function sizeOf({ bytes, oversize }: HeldFrame): number {
  return bytes.length + oversize;
}
