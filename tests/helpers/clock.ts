/** The time of this process, as a test spends it. */

/** Takes the place of `performance.now`, until it is disposed; goes on only when the test says so. */
export class Clock implements Disposable {
  /** How often it was looked at. */
  looks = 0;
  #time = 1000;
  readonly #real = performance.now;

  constructor() {
    performance.now = () => {
      this.looks++;
      return this.#time;
    };
  }

  spend(ms: number): void {
    this.#time += ms;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}
