/**
 * How many messages of each topic were dropped since others were told of it.
 *
 * - There is a bound to the topics; of others only the sum is told, to all.
 */
import { addCounts } from "../base/count.ts";
import { droppedPacket, MESSAGES_MAX, type Packet, type PacketRoute } from "./packet.ts";

/** For how many topics dropped messages are counted apart. */
const TOPICS_MAX = 1024;

/** Counts dropped messages by where they would have gone. */
export class DroppedCounts<R extends PacketRoute> {
  readonly #all: R;
  readonly #counts = new Map<R, number>();

  /** Begins with nothing; `all` is where is told what is not counted apart. */
  constructor(all: R) {
    this.#all = all;
  }

  /** Notes messages that were dropped. */
  add(to: R, messages: number): void {
    const counts = this.#counts;
    const route = counts.has(to) || counts.size < TOPICS_MAX ? to : this.#all;
    counts.set(route, addCounts(counts.get(route) ?? 0, messages));
  }

  /** Notes with others all that is noted here, and forgets it. */
  moveTo(others: DroppedCounts<R>): void {
    for (const [route, messages] of this.#counts) others.add(route, messages);
    this.#counts.clear();
  }

  /** Takes a packet that tells of some of them; `undefined` if there are none. */
  take(): Packet<R> | undefined {
    for (const [route, messages] of this.#counts) {
      const told = Math.min(messages, MESSAGES_MAX);
      if (told < messages) this.#counts.set(route, messages - told); // The next packet tells of more.
      else this.#counts.delete(route);
      if (told > 0) return droppedPacket(route, told);
    }
  }
}
