/**
 * Faults of connections, and plans of which comes where.
 */
import { randomNumbers } from "../base/seeded_random.ts";

/** Something that a {@linkcode Proxy} does to a connection at a certain byte. */
export interface Fault {
  /**
   * What is done when so many bytes have passed.
   *
   * - `"cut"`: both sides are closed.
   * - `"half"`: the side that reads sees the end of what the other side sends; the other direction goes
   *   on.
   * - `"freeze"`: nothing passes in this direction for `ms`, or ever again; nobody is told.
   * - `"delay"`: from now on everything in this direction comes `ms` later.
   */
  readonly kind: "cut" | "half" | "freeze" | "delay";
  /** Where: `"up"` is from the client to the broker, `"down"` from the broker to the client. */
  readonly direction: "up" | "down";
  /** How many bytes of the direction pass before; the fault may come in the middle of a frame. */
  readonly after: number;
  /**
   * For `"freeze"` and `"delay"`: how long, in milliseconds; without an end by default.
   *
   * @default {Infinity}
   */
  readonly ms?: number;
}

/**
 * What happens to each connection, by its number from 0.
 *
 * - `"refuse"` closes it at once.
 */
export type Plan = (connection: number) => readonly Fault[] | "refuse";

/** What a random plan is made of. */
export interface RandomPlanOptions {
  /** How many bytes pass at most before the first fault of a connection. */
  readonly bytes: number;
  /**
   * The kinds of faults to choose from; one that stands here twice is twice as likely.
   *
   * @default {["cut"]}
   */
  readonly kinds?: readonly (Fault["kind"] | "refuse")[];
  /**
   * How long a freeze or a delay is at most, in milliseconds.
   *
   * @default {100}
   */
  readonly ms?: number;
}

/** A part of the random faults come this early: in handshakes, and where sessions are resumed. */
const EARLY_BYTES = 400;
const EARLY_PART = 1 / 4;

/**
 * A plan with a fault in each direction of each connection; the one that is reached first counts.
 *
 * - The same seed gives the same faults to the same connections.
 * - A quarter of them come in the first 400 bytes, which is where handshakes and resumptions are.
 *
 * @param seed A whole number.
 * @param options Where the faults come, and of which kinds.
 * @returns The plan, for a {@linkcode Proxy}.
 *
 * @example The same seed, the same faults
 * ```ts
 * import { randomPlan } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const options = { bytes: 10_000, kinds: ["cut", "freeze"] } as const;
 * const [plan, again] = [randomPlan(7, options), randomPlan(7, options)];
 * assertEquals(plan(0), again(0));
 * ```
 */
export function randomPlan(seed: number, options: RandomPlanOptions): Plan {
  const { bytes, kinds = ["cut"], ms = 100 } = options;
  return (connection) => {
    const random = randomNumbers(seed + connection * 7919);
    const faults: Fault[] = [];
    for (const direction of ["up", "down"] as const) {
      const kind = kinds[Math.floor(random() * kinds.length)]!;
      if (kind === "refuse") return "refuse";
      const range = random() < EARLY_PART ? Math.min(EARLY_BYTES, bytes) : bytes;
      const after = Math.floor(random() * range);
      faults.push({ kind, direction, after, ms: Math.ceil(random() * ms) });
    }
    return faults;
  };
}
