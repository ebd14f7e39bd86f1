/**
 * The program `mpubsub`, run as users run it: by Deno or, with `MPUBSUB_BROKER`, the compiled one of
 * that path.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { killIfAlive } from "../../tools/harness/kill.ts";

/** The compiled program, if that is to be tested. */
export const COMPILED = Deno.env.get("MPUBSUB_BROKER");
/** What the program calls itself. */
export const NAME = COMPILED?.replace(/^.*\//, "") ?? "mpubsub";
const CLI = new URL("../../cli.ts", import.meta.url).pathname;
/** The permissions that the tasks and the compiled program have. */
export const PERMISSIONS = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env=HOME,MPUBSUB_FILE",
];
const DENO_DIR: string = await (async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
})();

/** How the program is run. */
export interface Run {
  args?: string[];
  env?: Record<string, string>;
  /** The folder in which it runs. */
  cwd?: string;
  permissions?: string[];
  /** A program, with arguments, that runs the program. */
  under?: string[];
  /** A line for the shell that runs the program, which is `mpubsub` there. */
  shell?: string;
  /** Whether it prints to a terminal, that of the program `script`. */
  onTerminal?: boolean;
  /** What it reads; `"open"`: what {@linkcode Program.write} gives it. */
  input?: string;
}

/** A broker program that is running. */
export class Program implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #errors: ReadableStreamDefaultReader<string>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #said = "";
  #complained = "";

  constructor(
    { args = [], env = {}, cwd, permissions = PERMISSIONS, under = [], onTerminal, input, shell }:
      Run,
  ) {
    const program = COMPILED === undefined
      ? [Deno.execPath(), "run", "--quiet", "--no-prompt", ...permissions, CLI]
      : [COMPILED];
    const command = [...under, ...program, ...args];
    const line = `mpubsub() { ${program.join(" ")} "$@"; }; ${shell}`;
    const [first, ...rest] = shell !== undefined
      ? ["bash", "-c", line]
      : onTerminal
      ? ["script", "--quiet", "--command", command.join(" "), "/dev/null"]
      : command;
    this.#process = new Deno.Command(first!, {
      args: rest,
      // Another HOME must not mean another cache.
      env: { DENO_DIR, ...env },
      ...(cwd !== undefined && { cwd }),
      stdin: input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    if (input !== undefined) {
      this.#input = this.#process.stdin.getWriter();
      if (input !== "open") this.write(input).then(() => this.finishInput());
    }
    this.#errors = this.#process.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#lines = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Gives it something to read. */
  async write(text: string): Promise<void> {
    await this.#input!.write(new TextEncoder().encode(text));
  }

  /** There is nothing more to read. */
  async finishInput(): Promise<void> {
    await this.#input?.close();
    this.#input = undefined;
  }

  /** What it has printed so far, as far as that was read. */
  get said(): string {
    return this.#said;
  }

  /** What it has complained of so far, as far as that was read. */
  get complained(): string {
    return this.#complained;
  }

  /** Reads what it prints until it contains a text, or something that a pattern matches. */
  async until(text: string | RegExp): Promise<void> {
    while (typeof text === "string" ? !this.#said.includes(text) : !text.test(this.#said)) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`ended after ${this.#said} ${await this.#allErrors()}`);
      this.#said += value;
    }
  }

  /** Reads what it complains of until it contains `text`. */
  async untilError(text: string): Promise<void> {
    while (!this.#complained.includes(text)) {
      const { value, done } = await this.#errors.read();
      if (done) throw new Error(`ended after ${this.#complained}`);
      this.#complained += value;
    }
  }

  async #allErrors(): Promise<string> {
    for (;;) {
      const { value, done } = await this.#errors.read();
      if (done) return this.#complained;
      this.#complained += value;
    }
  }

  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** How it ended. */
  async end(): Promise<{ code: number; out: string; err: string }> {
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) break;
      this.#said += value;
    }
    const { code } = await this.#process.status;
    return { code, out: this.#said, err: await this.#allErrors() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    killIfAlive(this.#process, "SIGKILL");
    await this.end();
    // The other end is gone.
    await this.#input?.close().catch(() => {});
  }
}

/** Runs a broker, and waits until it listens. */
export async function started(run: Run): Promise<Program> {
  const program = new Program(run);
  await program.until("Listening at");
  return program;
}

/** Runs a program to its end, which is to be a good one; what it printed. */
export async function output(run: Run): Promise<string> {
  await using program = new Program(run);
  const { code, out, err } = await program.end();
  assertEquals([code, err], [0, ""]);
  return out;
}

/** Runs a program that says in one line why it fails. */
export async function fails(run: Run): Promise<{ code: number; err: string }> {
  await using program = new Program(run);
  const { code, err } = await program.end();
  assertMatch(err, new RegExp(`^${NAME}: [^\\n]+\\n$`), "one line and no stack trace");
  return { code, err };
}
