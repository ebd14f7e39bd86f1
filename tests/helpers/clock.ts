/** The time of this process, as a test spends it. */
import { clock } from "../../base/clock.ts";

/** Takes the place of the clock, until it is disposed; goes on only when the test says so. */
export class Clock implements Disposable {
  /** How often it was looked at. */
  looks = 0;
  #time = 1000;
  readonly #real = clock.now;

  constructor() {
    clock.now = () => {
      this.looks++;
      return this.#time;
    };
  }

  spend(ms: number): void {
    this.#time += ms;
  }

  [Symbol.dispose](): void {
    clock.now = this.#real;
  }
}
