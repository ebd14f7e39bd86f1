/**
 * The bytes that wait to be written to one connection.
 *
 * One write is in flight; what is put in meanwhile gathers and goes out in the next. So a busy
 * connection writes in large pieces and an idle one at once, and there is no timer.
 *
 * ```
 *  push ──▶ ┌ tail ┐ full, or a large slice comes ▶ ┌ chunks ───────┐ ──▶ write
 *           └──────┘                                └ … ┴ … ┴ slice ┘
 * ```
 *
 * Small pieces are copied into the tail; a large slice goes on as it is, without a copy.
 */

/** What a connection is to everything but the transport: a stream of bytes. */
export interface ByteStream {
  /** Reads into `into`; how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`; how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends the direction out: the other side reads what was written, then the end. */
  closeWrite(): Promise<void>;
  /** Ends both directions; reads and writes under way reject or end. */
  close(): void;
}

const TAIL_BYTES_MIN = 1024;
const TAIL_BYTES_MAX = 64 * 1024;
/** From this size on, handing on a slice is cheaper than copying it. */
const SLICE_BYTES_MIN = 16 * 1024;

/** The bytes that wait for one connection; see the module. */
export class Outbox {
  readonly #stream: Pick<ByteStream, "write">;
  readonly #onError: (error: unknown) => void;
  #chunks: Uint8Array[] = [];
  #tail = new Uint8Array(TAIL_BYTES_MIN);
  #used = 0;
  #queued = 0;
  #writing: Promise<void> | undefined;
  #closed = false;

  /** Makes an outbox over `stream`; `onError` is told once when a write fails. */
  constructor(stream: Pick<ByteStream, "write">, onError: (error: unknown) => void) {
    this.#stream = stream;
    this.#onError = onError;
  }

  /** Bytes that are not written yet. */
  get queued(): number {
    return this.#queued;
  }

  /** Puts bytes in; a large `piece` must stay as it is. Ignored once closed. */
  push(piece: Uint8Array): void {
    if (this.#closed) return;
    this.#queued += piece.length;
    if (piece.length >= SLICE_BYTES_MIN) {
      this.#seal();
      this.#chunks.push(piece);
    } else this.#room(piece.length).set(piece, this.#used - piece.length);
    this.#start();
  }

  /** The tail with room for `count` more bytes, which count as used. */
  #room(count: number): Uint8Array {
    if (this.#tail.length - this.#used < count) this.#enlarge(count);
    this.#used += count;
    return this.#tail;
  }

  #enlarge(count: number): void {
    const length = Math.min(TAIL_BYTES_MAX, Math.max(2 * this.#tail.length, this.#used + count));
    if (this.#used + count <= length) {
      const tail = new Uint8Array(length);
      tail.set(this.#tail.subarray(0, this.#used));
      this.#tail = tail;
    } else this.#seal(TAIL_BYTES_MAX);
  }

  /** Moves what is in the tail to the chunks. */
  #seal(next = TAIL_BYTES_MIN): void {
    if (this.#used === 0) return;
    this.#chunks.push(this.#tail.subarray(0, this.#used));
    this.#tail = new Uint8Array(next);
    this.#used = 0;
  }

  #start(): void {
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    await undefined; // What the same turn publishes gathers for the first write.
    try {
      while (this.#queued > 0 && !this.#closed) {
        this.#seal(this.#tail.length);
        const chunks = this.#chunks;
        this.#chunks = [];
        for (const chunk of chunks) {
          for (let at = 0; at < chunk.length;) {
            const count = await this.#stream.write(at === 0 ? chunk : chunk.subarray(at));
            if (this.#closed) return;
            at += count;
            this.#queued -= count;
          }
        }
      }
      this.#tail = new Uint8Array(TAIL_BYTES_MIN);
    } catch (error) { // Whatever the stream throws: the connection is gone.
      if (!this.#closed) this.#onError(error);
    } finally {
      this.#writing = undefined;
    }
  }

  /** Resolves when everything put in so far is written, or never will be. */
  async drained(): Promise<void> {
    await this.#writing;
  }

  /** Drops what waits, and takes nothing more. */
  close(): void {
    this.#closed = true;
    this.#chunks = [];
    this.#used = 0;
    this.#queued = 0;
  }
}
