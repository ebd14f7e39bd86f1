/**
 * Which version of what is wanted here each other broker is known to know. To ask whether all know a
 * version costs a look at each of them the first time only.
 */

/** What all other brokers are known to know. */
export class KnownVersions {
  readonly #versions = new Map<string, number>();
  /** The version that was asked for last, and how many do not know it. */
  #goal = 0;
  #behind = 0;

  /** A broker is there, and knows this version. */
  set(id: string, version: number): void {
    this.#behind += this.#isBehind(version) - this.#isBehind(this.#versions.get(id));
    this.#versions.set(id, version);
  }

  /** A broker is no longer there. */
  delete(id: string): void {
    this.#behind -= this.#isBehind(this.#versions.get(id));
    this.#versions.delete(id);
  }

  #isBehind(version: number | undefined): number {
    return version !== undefined && version < this.#goal ? 1 : 0;
  }

  /** Whether all know this version, or a later one. */
  reach(version: number): boolean {
    if (version !== this.#goal) {
      this.#goal = version;
      this.#behind = 0;
      for (const known of this.#versions.values()) this.#behind += this.#isBehind(known);
    }
    return this.#behind === 0;
  }
}
