/**
 * Puts together frames that came in several packets.
 */
import { concat } from "../base/bytes.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { topicBlockMax } from "../protocol/topic_block.ts";
import { PacketFlag, type PacketHeader } from "./packet.ts";

/** What has arrived of a frame that does not fit a packet. */
export class Reassembly {
  readonly #bytesMax: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #next = 0;

  /** Makes one for messages of at most so many bytes. */
  constructor(messageBytes: number) {
    this.#bytesMax = messageBytes + topicBlockMax(LIMITS_MAX);
  }

  /**
   * Takes a packet in its order.
   *
   * @returns The whole frames that end in it; `undefined` if there are none; `"lost"` if the beginning
   * of a frame that ends there is missing, or it is too long.
   */
  take(
    { flags, number }: PacketHeader,
    body: Uint8Array,
  ): Uint8Array | "lost" | undefined {
    const isNext = number === this.#next;
    if (!(flags & PacketFlag.REST)) this.#clear();
    else if (!isNext || this.#bytes + body.length > this.#bytesMax) {
      this.#clear();
      return flags & PacketFlag.MORE ? undefined : "lost";
    }
    if (!(flags & (PacketFlag.MORE | PacketFlag.REST))) return body;
    this.#parts.push(body);
    this.#bytes += body.length;
    this.#next = number + 1;
    if (flags & PacketFlag.MORE) return undefined;
    const whole = concat(...this.#parts);
    this.#clear();
    return whole;
  }

  #clear(): void {
    this.#parts = [];
    this.#bytes = 0;
    this.#next = 0;
  }
}
