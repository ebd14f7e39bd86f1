/** A side of a stream that speaks frame by frame. */
import { assertEquals } from "@std/assert";
import { writeAll } from "../../base/bytes.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { decodeGoodbye } from "../../protocol/frame_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import type { ByteStream } from "../../protocol/link.ts";

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
