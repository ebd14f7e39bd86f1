/** What a message costs in one process, while subscribers come and go elsewhere. */
import process from "node:process";
import { PubSub } from "../pubsub.ts";

/** For how long each is measured in a round. */
const ROUND_MS = 200;
/** After how many messages the clock is read. */
const BATCH = 250;

/** A bus with so many topics in traffic, each with a subscriber. */
class Traffic {
  readonly #bus = new PubSub();
  readonly #topics: readonly string[][];
  #next = 0;
  #heard = 0;
  #comes: Disposable | undefined;

  constructor(topics: number) {
    this.#topics = Array.from({ length: topics }, (_, i) => ["traffic", String(i)]);
    for (const topic of this.#topics) this.#bus.addSubscriber(topic, () => this.#heard++);
  }

  publish(count: number): void {
    const topics = this.#topics;
    const heard = this.#heard + count;
    for (let n = 0; n < count; n++) {
      this.#bus.publish(topics[this.#next]!, { n });
      this.#next = (this.#next + 1) % topics.length;
    }
    if (this.#heard !== heard) throw new Error("Some messages were not heard");
  }

  /** A subscriber comes, or goes. */
  change(): void {
    this.#comes?.[Symbol.dispose]();
    this.#comes = this.#comes === undefined
      ? this.#bus.addSubscriber(["elsewhere", "one"], () => {})
      : undefined;
  }
}

/** The processor time of a message, in µs, with so many changes a second; with Infinity: one each. */
function costOf(traffic: Traffic, changes: number): number {
  const before = process.cpuUsage();
  const began = performance.now();
  let messages = 0;
  let changed = 0;
  for (let now = began; now - began < ROUND_MS; now = performance.now()) {
    if (changes === Infinity) {
      for (let i = 0; i < BATCH; i++) {
        traffic.change();
        traffic.publish(1);
      }
    } else {
      while (changed < (now - began) / 1000 * changes) {
        traffic.change();
        changed++;
      }
      traffic.publish(BATCH);
    }
    messages += BATCH;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / messages;
}

/** What a message costs with each of these numbers of changes a second, by turns; all rounds. */
export function localCosts(
  topics: number,
  changes: readonly number[],
  rounds: number,
): readonly (readonly number[])[] {
  const traffic = new Traffic(topics);
  const costs = changes.map((): number[] => []);
  for (const one of changes) costOf(traffic, one); // Compiles it.
  for (let round = 0; round < rounds; round++) {
    for (const [i, one] of changes.entries()) costs[i]!.push(costOf(traffic, one));
  }
  return costs;
}
