/**
 * Faults of connections, and plans that say which comes where.
 */
import { randomNumbers } from "../base/seeded_random.ts";

/** Something that a {@linkcode Proxy} does to a connection at a certain byte. */
export interface Fault {
  /**
   * What happens.
   *
   * - `"cut"`: both sides are closed.
   * - `"half"`: this direction is closed, and the other one goes on.
   * - `"freeze"`: nothing passes in this direction for `ms`; neither side is told.
   * - `"delay"`: from now on, everything in this direction arrives `ms` later.
   */
  readonly kind: "cut" | "half" | "freeze" | "delay";
  /** Where: `"up"` is from the client to the broker, `"down"` from the broker to the client. */
  readonly direction: "up" | "down";
  /**
   * How many bytes pass in this direction before the fault, which may come in the middle of a message.
   */
  readonly after: number;
  /**
   * For `"freeze"` and `"delay"`: how long, in milliseconds. By default without end.
   *
   * @default {Infinity}
   */
  readonly ms?: number | undefined;
}

/**
 * Says which faults each connection gets, by its number from 0; none if the array is empty.
 *
 * - `"refuse"` closes the connection at once.
 */
export type Plan = (connection: number) => readonly Fault[] | "refuse";

/** Options of {@linkcode randomPlan}. */
export interface RandomPlanOptions {
  /** How many bytes pass at most in a direction before its fault. */
  readonly bytes: number;
  /**
   * The kinds of faults to choose from; a kind that is listed twice is twice as likely.
   *
   * @default {["cut"]}
   */
  readonly kinds?: readonly (Fault["kind"] | "refuse")[] | undefined;
  /**
   * The longest freeze or delay, in milliseconds.
   *
   * @default {100}
   */
  readonly ms?: number | undefined;
}

/** A part of the random faults come this early: in handshakes, or while sessions are resumed. */
const EARLY_BYTES = 400;
const EARLY_PART = 1 / 4;

/**
 * Makes a plan with a random fault in each direction of each connection; a connection for which either
 * is `"refuse"` is refused.
 *
 * - The same seed gives the same faults to the same connections.
 * - A quarter of them are placed within the first 400 bytes, where connections are authenticated and
 *   sessions resumed.
 *
 * @param seed A whole number.
 * @param options How early faults come, of which kinds they are, and how long they last.
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
