/** The program `mpubsub-broker`, run as users run it. */
import { assertMatch } from "@std/assert";

const CLI = new URL("../cli.ts", import.meta.url).pathname;
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
  args: string[];
  env?: Record<string, string>;
  permissions?: string[];
  /** A program, with arguments, that runs the broker. */
  under?: string[];
  /** Whether it prints to a terminal, that of the program `script`. */
  onTerminal?: boolean;
}

/** A broker program that is running. */
export class Program implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #errors: ReadableStreamDefaultReader<string>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #said = "";
  #complained = "";

  constructor({ args, env = {}, permissions = PERMISSIONS, under = [], onTerminal = false }: Run) {
    const command = [Deno.execPath(), "run", "--no-prompt", ...permissions, CLI, ...args];
    const [program, ...rest] = onTerminal
      ? ["script", "--quiet", "--command", command.join(" "), "/dev/null"]
      : [...under, ...command];
    this.#process = new Deno.Command(program!, {
      args: rest,
      // Another HOME must not mean another cache.
      env: { DENO_DIR, ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#errors = this.#process.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#lines = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Reads what it prints until it contains `text`. */
  async until(text: string): Promise<void> {
    while (!this.#said.includes(text)) {
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
    try {
      this.#process.kill("SIGKILL");
    } catch (error) { // It has ended.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.end();
  }
}

/** Runs a broker, and waits until it listens. */
export async function started(run: Run): Promise<Program> {
  const program = new Program(run);
  await program.until("Listening at");
  return program;
}

/** Runs a program that says in one line why it fails. */
export async function fails(run: Run): Promise<{ code: number; err: string }> {
  await using program = new Program(run);
  const { code, err } = await program.end();
  assertMatch(err, /^mpubsub-broker: [^\n]+\n$/, "one line and no stack trace");
  return { code, err };
}
