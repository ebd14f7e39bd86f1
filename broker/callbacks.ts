/**
 * The functions that the program gave to its broker. What one of them throws is written to the console,
 * and ends no connection.
 */
import { textOf, WarningLines } from "../base/warn.ts";
import type { CheckedOptions, ClientEvent } from "./options.ts";

/** Calls the program's own functions. */
export class Callbacks {
  readonly #options: Pick<CheckedOptions, "onListen" | "onClient" | "onError">;
  readonly #lines = new WarningLines("other problems");

  /** Calls those of these options that are there. */
  constructor(options: Pick<CheckedOptions, "onListen" | "onClient" | "onError">) {
    this.#options = options;
  }

  /** The broker listens. */
  listens(addresses: readonly string[]): void {
    const [address] = addresses;
    if (address === undefined) return; // It listens nowhere.
    this.#call("onListen", () => this.#options.onListen?.({ address, addresses }));
  }

  /** Something happened to a client. */
  client(event: ClientEvent): void {
    this.#call("onClient", () => this.#options.onClient?.(event));
  }

  /** Something went wrong with one connection; not shown without `onError`. */
  error(error: unknown): void {
    this.#call("onError", () => this.#options.onError?.(error));
  }

  /** Something deserves a warning; without `onError` it is written to the console. */
  warn(problem: unknown): void {
    if (this.#options.onError !== undefined) return this.error(problem);
    this.#lines.write(problem instanceof Error ? problem.message : textOf(problem));
  }

  async #call(name: string, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (thrown) { // Whatever the program throws or rejects with.
      this.#lines.write(`${name} of the broker failed: ${textOf(thrown)}`);
    }
  }
}
