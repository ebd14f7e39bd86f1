/**
 * Puts together frames that came in several packets.
 */
import { concat } from "../base/bytes.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { topicBlockMax } from "../protocol/topic_block.ts";
import { type HeldBytes, type Holder, kept } from "./held_bytes.ts";
import { PacketFlag, type PacketHeader } from "./packet.ts";

/** What has arrived of a frame that does not fit a packet. */
export class Reassembly implements Holder {
  readonly broker: string;
  readonly #bytesMax: number;
  readonly #held: HeldBytes;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  /** How many bytes the parts keep alive. */
  #keptBytes = 0;
  #next = 0;

  /** Makes one for a broker's messages of at most so many bytes; `held` bounds what all keep. */
  constructor(broker: string, messageBytes: number, held: HeldBytes) {
    this.broker = broker;
    this.#held = held;
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
    if (!(flags & PacketFlag.REST)) this.giveUp();
    else if (!isNext || this.#bytes + body.length > this.#bytesMax) {
      this.giveUp();
      return flags & PacketFlag.MORE ? undefined : "lost";
    }
    if (!(flags & (PacketFlag.MORE | PacketFlag.REST))) return body;
    this.#bytes += body.length;
    this.#next = number + 1;
    if (flags & PacketFlag.MORE) {
      this.#keep(body);
      return undefined;
    }
    const whole = concat(...this.#parts, body);
    this.giveUp();
    return whole;
  }

  #keep(body: Uint8Array): void {
    const part = kept(body);
    this.#parts.push(part);
    this.#keptBytes += part.buffer.byteLength;
    this.#held.keeps(this, this.#keptBytes);
  }

  giveUp(): void {
    if (this.#parts.length === 0) return;
    this.#parts = [];
    this.#bytes = 0;
    this.#keptBytes = 0;
    this.#next = 0;
    this.#held.keeps(this, 0);
  }
}
