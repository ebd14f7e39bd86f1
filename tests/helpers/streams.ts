/** Streams of bytes without a socket, and a side of them that speaks frame by frame. */
import { assertEquals } from "@std/assert";
import { writeAll } from "../../base/bytes.ts";
import { decodeGoodbye } from "../../protocol/bodies.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
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

/** A stream whose direction out ends after so many bytes, whatever is written. */
export function cutAfter(stream: ByteStream, count: number): ByteStream {
  let left = count;
  return {
    read: (into) => stream.read(into),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
    async write(bytes) {
      const part = bytes.subarray(0, left);
      left -= part.length;
      await writeAll(stream, part);
      if (left === 0) await stream.closeWrite();
      return bytes.length;
    },
  };
}

/** Resolves when nothing is left to do: these streams need turns only, and a timer comes after them. */
export async function quiet(): Promise<void> {
  // On a busy machine a link may give others their turn, and go on after it.
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setTimeout(resolve));
}

/** A frame on its own. */
export interface LoneFrame {
  readonly type: number;
  readonly body: Uint8Array;
}

/** A copy of the reader's current frame. */
export function loneFrame(
  { type, buffer, body, end }: Pick<FrameReader, "type" | "buffer" | "body" | "end">,
): LoneFrame {
  return { type, body: buffer.slice(body, end) };
}

/** The side of a stream that a test plays, frame by frame. */
export class FramePeer {
  readonly stream: ByteStream;
  readonly #reader = new FrameReader(new Array(256).fill(2 ** 31));

  constructor(stream: ByteStream) {
    this.stream = stream;
  }

  async send(type: FrameType, ...parts: readonly Uint8Array[]): Promise<void> {
    await writeAll(this.stream, encodeFrame(type, ...parts));
  }

  /** The next frame, or `undefined` at the end. */
  async next(): Promise<LoneFrame | undefined> {
    while (!this.#reader.next()) {
      const count = await this.stream.read(this.#reader.space());
      if (count === null) return undefined;
      this.#reader.wrote(count);
    }
    return loneFrame(this.#reader);
  }

  /** The body of the next frame, which must be of this type. */
  async expect(type: FrameType): Promise<Uint8Array> {
    const frame = await this.next();
    assertEquals(frame?.type, type);
    return frame!.body;
  }

  /** The GOODBYE that must come next, and the end after it; then closes. */
  async goodbye(): Promise<{ reason: number; text: string }> {
    const told = decodeGoodbye(await this.expect(FrameType.GOODBYE));
    assertEquals(await this.next(), undefined, "GOODBYE is the last frame");
    this.stream.close();
    return told;
  }
}
