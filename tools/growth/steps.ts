/**
 * Counts what is run of some modules: V8 tells how often each part of a function was run. Each character
 * of source counts each time, so the count does not depend on the machine, and hardly on what else it
 * does. What builtins do is not in it (builtins.ts).
 */
import { Session } from "node:inspector";

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly functionName: string;
      readonly isBlockCoverage: boolean;
      readonly ranges: readonly Range[];
    }[];
  }[];
}

/** Counts the steps of the modules that it is told of; only one at a time can do so. */
export class Steps {
  readonly #session = new Session();
  readonly #isCounted: (url: string) => boolean;

  private constructor(isCounted: (url: string) => boolean) {
    this.#isCounted = isCounted;
  }

  /** Begins; the modules must be imported after this. */
  static async begin(isCounted: (url: string) => boolean): Promise<Steps> {
    const steps = new Steps(isCounted);
    steps.#session.connect();
    await steps.#post("Profiler.enable");
    await steps.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    return steps;
  }

  #post(method: string, options: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#session.post(method, options, (error: Error | null, result?: object) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
  }

  /**
   * How many characters of source were run since the last call.
   *
   * @throws {Error} If V8 counts whole functions only: it had them compiled already.
   */
  async take(): Promise<number> {
    const { result } = await this.#post("Profiler.takePreciseCoverage") as Coverage;
    let steps = 0;
    for (const { url, functions } of result) {
      if (!this.#isCounted(url)) continue;
      for (const { ranges, isBlockCoverage, functionName } of functions) {
        if (!isBlockCoverage && ranges[0]!.count > 0) {
          throw new Error(
            `Cannot count the steps of ${functionName} in ${url}: it was compiled before; ` +
              `run this with --no-code-cache`,
          );
        }
        steps += stepsOf(ranges);
      }
    }
    return steps;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}

/** The characters of a function that were run: ranges are in others, and each has its own count. */
function stepsOf(ranges: readonly Range[]): number {
  const open: Range[] = [];
  let steps = 0;
  for (const range of ranges) {
    const length = range.endOffset - range.startOffset;
    while (open.length > 0 && open.at(-1)!.endOffset <= range.startOffset) open.pop();
    steps += (range.count - (open.at(-1)?.count ?? 0)) * length;
    open.push(range);
  }
  return steps;
}
