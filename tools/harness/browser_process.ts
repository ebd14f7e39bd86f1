/** The process of a browser, and what is common to those that are driven from here. */
import { TextLineStream } from "@std/streams/text-line-stream";
import { killIfAlive } from "./kill.ts";

/** How long a browser may take to begin, and to end in order. */
const START_MS = 20_000;
const END_MS = 5000;

/** A browser that opens pages. */
export interface Browser extends AsyncDisposable {
  /** Its name and version. */
  readonly version: string;
  open(url: string, options?: PageOptions): Promise<AsyncDisposable>;
}

/** What a page tells. */
export interface PageOptions {
  /** Told what it logs, and what it does not catch. */
  onLine?(line: string): void;
  /**
   * Whether it has a window of its own; otherwise it is a tab before those that are there.
   *
   * @default {false}
   */
  readonly hasWindow?: boolean;
}

/** The first of these commands that runs; `undefined` if none does. */
export async function findCommand(
  commands: readonly (string | undefined)[],
): Promise<string | undefined> {
  for (const command of commands) {
    if (command === undefined) continue;
    try {
      const { success } = await new Deno.Command(command, {
        args: ["--version"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return command;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** A value of a page. */
export interface RemoteValue {
  readonly value?: unknown;
  readonly unserializableValue?: string;
  readonly description?: string;
}

/** What a page would log of it. */
export function textOf({ value, unserializableValue, description }: RemoteValue): string {
  return String(value ?? unserializableValue ?? description);
}

/** The process of a browser. */
export class BrowserProcess implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #address = Promise.withResolvers<string>();

  /**
   * Starts it.
   *
   * @param home What it keeps lies there.
   * @param listens The line in which it says where it can be driven, with that as a group.
   */
  constructor(command: string, home: string, listens: RegExp, args: readonly string[]) {
    this.#process = new Deno.Command(command, {
      args: [...args],
      env: { HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read(listens);
  }

  async #read(listens: RegExp): Promise<void> {
    const lines = this.#process.stderr.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    const said: string[] = [];
    for await (const line of lines) {
      const address = listens.exec(line)?.[1];
      if (address !== undefined) this.#address.resolve(address);
      if (said.length < 20) said.push(line);
    }
    this.#address.reject(new Error(`The browser ended: ${said.join("\n")}`));
  }

  /** Where it can be driven. */
  get address(): Promise<string> {
    const timer = setTimeout(
      () => this.#address.reject(new Error(`The browser did not begin within ${START_MS} ms`)),
      START_MS,
    );
    return this.#address.promise.finally(() => clearTimeout(timer));
  }

  /** Waits for its end, and kills it if it does not come. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#address.promise.catch(() => {}); // Nobody waits for it any more.
    const timer = setTimeout(() => killIfAlive(this.#process, "SIGKILL"), END_MS);
    await this.#reading;
    await this.#process.status;
    clearTimeout(timer);
  }
}
