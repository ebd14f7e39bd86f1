/** How much is walked through in arrays. */

const METHODS = [
  "concat",
  "every",
  "filter",
  "find",
  "findIndex",
  "findLast",
  "findLastIndex",
  "forEach",
  "includes",
  "indexOf",
  "map",
  "reduce",
  "shift",
  "slice",
  "some",
  "splice",
  "toSpliced",
  "unshift",
  "with",
] as const;

type Method = (...args: unknown[]) => unknown;

/** Counts the elements of arrays whose methods are called, until it is disposed. */
export class Walks implements Disposable {
  elements = 0;
  readonly #methods = new Map<string, Method>();

  constructor() {
    const prototype = Array.prototype as unknown as Record<string, Method>;
    const count = (length: number) => void (this.elements += length);
    for (const name of METHODS) {
      const method = prototype[name]!;
      this.#methods.set(name, method);
      prototype[name] = function (this: unknown[], ...args) {
        count(this.length);
        return method.apply(this, args);
      };
    }
  }

  [Symbol.dispose](): void {
    Object.assign(Array.prototype, Object.fromEntries(this.#methods));
  }
}
