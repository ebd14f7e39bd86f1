/** Streams of bytes without a socket. */
import type { ByteStream } from "../../protocol/link.ts";

/**
 * One direction. Nothing is held on the way: a write ends when the other side has read some of it,
 * so that a test knows what was read, and a reader that stops holds the writer back.
 */
class Pipe {
  readonly #readMax: number;
  /** How many bytes may pass; told each time, says how many of `count` do. */
  readonly #budget: (count: number) => number;
  #reader:
    | { into: Uint8Array; resolve(count: number | null): void; reject(e: Error): void }
    | undefined;
  #writer: { bytes: Uint8Array; resolve(count: number): void; reject(e: Error): void } | undefined;
  #ended = false;
  #broken = false;

  constructor(readMax: number, budget: (count: number) => number) {
    this.#readMax = readMax;
    this.#budget = budget;
  }

  read(into: Uint8Array): Promise<number | null> {
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    this.#reader = { into, resolve, reject };
    this.#pass();
    return promise;
  }

  write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#writer = { bytes, resolve, reject };
    this.#pass();
    return promise;
  }

  /** The writer has nothing more. */
  end(): void {
    this.#ended = true;
    this.#pass();
  }

  /** The reader reads no more. */
  break(): void {
    this.#broken = true;
    this.#pass();
  }

  #pass(): void {
    const [reader, writer] = [this.#reader, this.#writer];
    if (this.#broken) reader?.reject(new Error("closed"));
    if (this.#broken || this.#ended) writer?.reject(new Error("broken pipe"));
    else if (reader !== undefined && writer !== undefined) {
      const wanted = Math.min(reader.into.length, writer.bytes.length, this.#readMax);
      const count = this.#budget(wanted);
      if (count === 0) return; // The connection was cut, and both sides know.
      reader.into.set(writer.bytes.subarray(0, count));
      reader.resolve(count);
      writer.resolve(count);
    } else return;
    if (this.#ended) reader?.resolve(null);
    this.#reader = this.#writer = undefined;
  }
}

/** One end of a connection in memory. */
class MemoryStream implements ByteStream {
  readonly #in: Pipe;
  readonly #out: Pipe;

  constructor(incoming: Pipe, outgoing: Pipe) {
    this.#in = incoming;
    this.#out = outgoing;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#in.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#out.write(bytes);
  }

  closeWrite(): Promise<void> {
    this.#out.end();
    return Promise.resolve();
  }

  close(): void {
    this.#in.break();
    this.#out.end();
  }
}

/**
 * Both ends of a connection in memory; a read gets at most `readMax` bytes. After `bytesMax` bytes in
 * both directions together the connection is cut.
 */
export function streamPair(readMax = Infinity, bytesMax = Infinity): [ByteStream, ByteStream] {
  let left = bytesMax;
  const budget = (count: number) => {
    const part = Math.min(count, left);
    left -= part;
    if (part === 0) { for (const pipe of pipes) pipe.break(); }
    return part;
  };
  const [there, back] = [new Pipe(readMax, budget), new Pipe(readMax, budget)];
  const pipes = [there, back];
  return [new MemoryStream(back, there), new MemoryStream(there, back)];
}
