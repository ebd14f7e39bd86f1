/** The time of this process, as a test spends it. */
import { clock } from "../../base/clock.ts";

/** Takes the place of the clock, until it is disposed; goes on only when the test says so. */
export class Clock implements Disposable {
  /** How often it was looked at. */
  looks = 0;
  #time = 1000;
  #date = 1_700_000_000_000;
  readonly #real = { ...clock };

  constructor() {
    clock.date = () => this.#date;
    clock.now = () => {
      this.looks++;
      return this.#time;
    };
  }

  /** `date` is what the time of day says, if that is something else: it may be set. */
  spend(ms: number, date = ms): void {
    this.#time += ms;
    this.#date += date;
  }

  [Symbol.dispose](): void {
    Object.assign(clock, this.#real);
  }
}
