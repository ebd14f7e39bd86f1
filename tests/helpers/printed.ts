/** What this process prints while it lives, as lines of both streams, instead of printing it. */
export class Printed implements Disposable {
  /** What was printed, in its order. */
  readonly lines: string[] = [];
  readonly #write: (bytes: Uint8Array) => Promise<void>;

  /** @param write Called with what is written before it counts as written; may reject. */
  constructor(write: (bytes: Uint8Array) => Promise<void> = () => Promise.resolve()) {
    this.#write = write;
    const take = async (bytes: Uint8Array) => {
      await this.#write(bytes);
      this.lines.push(...new TextDecoder().decode(bytes).replace(/\n$/, "").split("\n"));
      return bytes.length;
    };
    for (const stream of [Deno.stdout, Deno.stderr]) Object.assign(stream, { write: take });
  }

  [Symbol.dispose](): void {
    for (const stream of [Deno.stdout, Deno.stderr]) delete (stream as { write?: unknown }).write;
  }
}
