/**
 * Packets of other brokers as they come from a stream, each to the lane that it belongs to, which
 * restores their order.
 */
import { salted } from "../base/string_map.ts";
import { ProtocolError } from "../errors.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import { HeldBytes } from "./held_bytes.ts";
import { LANE_BYTES, type LaneContext, RemoteLane } from "./jetstream_lane.ts";
import type { PacketHeader } from "./packet.ts";
import type { WantedSubjects } from "./wanted_subjects.ts";

/** How many lanes of others are remembered, the latest ones: all lanes of 512 brokers. */
const LANES_MAX = 2 ** 15;

/** Holds back packets of other brokers until those before them have come. */
export class ReorderBuffer {
  readonly #context: LaneContext;
  /** By broker and number, salted, the one that was heard of longest ago first. */
  readonly #lanes = new Map<string, RemoteLane>();
  readonly #lanesMax: number;

  /** Makes one that waits only for packets that are wanted. */
  constructor(context: ExchangeContext, wanted: WantedSubjects, lanesMax = LANES_MAX) {
    const held = new HeldBytes(context.queueBytes, context.onBytes);
    this.#context = { context, wanted, held };
    this.#lanesMax = lanesMax;
  }

  /** How many bytes it holds back. */
  get heldBytes(): number {
    return this.#context.held.bytes;
  }

  /** Gives up so many bytes of what it holds back, what has waited longest first. */
  free(bytes: number): void {
    this.#context.held.free(bytes);
  }

  /**
   * Takes a packet from the stream.
   *
   * @throws {ProtocolError} If its broker uses no stream.
   */
  packet(subject: string, header: PacketHeader, body: Uint8Array): void {
    const { broker, lane } = header;
    if (broker === this.#context.context.id) return;
    if (lane < 1) throw new ProtocolError("Cannot take a packet: its broker sends for no stream");
    this.#lane(broker, lane).packet(subject, header, body);
  }

  #lane(broker: string, index: number): RemoteLane {
    const key = salted(`${broker}.${index}`);
    const known = this.#lanes.get(key);
    const lane = known ?? new RemoteLane(broker, this.#context);
    this.#lanes.delete(key);
    this.#lanes.set(key, lane);
    if (this.#lanes.size > this.#lanesMax) {
      const [oldest, forgotten] = this.#lanes.entries().next().value!;
      this.#lanes.delete(oldest);
      forgotten.end();
    } else if (known === undefined) this.#context.context.onBytes(LANE_BYTES);
    return lane;
  }

  /** From now on other messages are read: what was there before may not have been read. */
  chosenAnew(): void {
    for (const lane of this.#lanes.values()) lane.chosenAnew();
  }
}
