/**
 * How many messages of each topic were dropped since others were told of it.
 *
 * - There is a bound to the topics, and to what they take; of others only the sum is told, to all.
 */
import { addCounts } from "../base/count.ts";
import { droppedPacket, MESSAGES_MAX, type Packet, type PacketRoute } from "./packet.ts";

/** For how many topics dropped messages are counted apart. */
const TOPICS_MAX = 1024;
/** And what these may take, in bytes: thirty of the longest topics, a thousand of the usual ones. */
const BYTES_MAX = 512 * 1024;
/** What a topic takes besides its texts, and what each character of its subject takes with all of these. */
const ROUTE_BYTES = 256;
const CHAR_BYTES = 4;

/** Counts dropped messages by where they would have gone. */
export class DroppedCounts<R extends PacketRoute> {
  readonly #all: R;
  readonly #counts = new Map<R, number>();
  #bytes = 0;

  /** Begins with nothing; `all` is where is told what is not counted apart. */
  constructor(all: R) {
    this.#all = all;
  }

  /** Notes messages that were dropped. */
  add(to: R, messages: number): void {
    const counts = this.#counts;
    const hasRoom = counts.size < TOPICS_MAX && this.#bytes + bytesOf(to) <= BYTES_MAX;
    const route = counts.has(to) || hasRoom ? to : this.#all;
    const known = counts.get(route);
    if (known === undefined) this.#bytes += bytesOf(route);
    counts.set(route, addCounts(known ?? 0, messages));
  }

  /** Notes with others all that is noted here, and forgets it. */
  moveTo(others: DroppedCounts<R>): void {
    for (const [route, messages] of this.#counts) others.add(route, messages);
    this.#counts.clear();
    this.#bytes = 0;
  }

  /** Takes a packet that tells of some of them; `undefined` if there are none. */
  take(): Packet<R> | undefined {
    for (const [route, messages] of this.#counts) {
      const told = Math.min(messages, MESSAGES_MAX);
      if (told < messages) this.#counts.set(route, messages - told); // The next packet tells of more.
      else this.#forget(route);
      if (told > 0) return droppedPacket(route, told);
    }
  }

  #forget(route: R): void {
    this.#counts.delete(route);
    this.#bytes -= bytesOf(route);
  }
}

function bytesOf({ subject }: PacketRoute): number {
  return ROUTE_BYTES + CHAR_BYTES * subject.length;
}
