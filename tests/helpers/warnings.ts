/** What is printed with `console.warn` while it lives, a line each. */
export class Warnings implements Disposable {
  readonly lines: string[] = [];
  readonly #warn = console.warn;

  constructor() {
    console.warn = (...parts: unknown[]) => this.lines.push(parts.join(" "));
  }

  [Symbol.dispose](): void {
    console.warn = this.#warn;
  }
}
