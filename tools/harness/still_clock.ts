import { clock } from "../../base/clock.ts";

/** Lets no time pass for those who look at the clock, until it is disposed of. */
export function stillClock(): Disposable {
  const { now } = clock;
  const at = now();
  clock.now = () => at;
  return { [Symbol.dispose]: () => void (clock.now = now) };
}
