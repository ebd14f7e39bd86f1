/**
 * Standard output as a stream of text and bytes, no faster than it is read.
 */
import { concat } from "../base/bytes.ts";

/** Gathers output until {@linkcode Output.flush}. */
export class Output implements Disposable {
  readonly #writer = Deno.stdout.writable.getWriter();
  readonly #encoder = new TextEncoder();
  #parts: Uint8Array[] = [];
  #text = "";
  #bytes = 0;

  /** About how many bytes are gathered. */
  get size(): number {
    return this.#bytes + this.#text.length;
  }

  /** Adds to it. */
  add(part: string | Uint8Array): void {
    if (typeof part === "string") this.#text += part;
    else {
      this.#finishText();
      this.#push(part);
    }
  }

  #finishText(): void {
    if (this.#text !== "") this.#push(this.#encoder.encode(this.#text));
    this.#text = "";
  }

  #push(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Writes it, and waits for that. */
  async flush(): Promise<void> {
    this.#finishText();
    const parts = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    if (parts.length > 0) await this.#writer.write(concat(...parts));
  }

  [Symbol.dispose](): void {
    this.#writer.releaseLock();
  }
}

/**
 * Prints a line at once.
 *
 * @throws {Deno.errors.BrokenPipe} If nobody reads it; `console.log` does not say so.
 */
export function printLine(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
