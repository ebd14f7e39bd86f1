/** Child processes of this project's own scripts that tell what happens, a line of JSON each. */
import { TextLineStream } from "@std/streams/text-line-stream";

/** A script of this project in a process of its own. */
export class Process<Report> implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #onReport: (report: Report) => void;
  readonly #reading: Promise<void>;

  /** Starts `module` with these arguments; `onReport` is given each line that it prints. */
  constructor(module: string, args: readonly string[], onReport: (report: Report) => void) {
    this.#onReport = onReport;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-all", module, ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#reading = this.#read();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  async #read(): Promise<void> {
    const lines = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.#onReport(line.startsWith("{") ? JSON.parse(line) : { line });
    }
  }

  /** Sends it a signal. */
  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Its exit status, once all that it printed was given to `onReport`. */
  async status(): Promise<number> {
    await this.#reading;
    return (await this.#process.status).code;
  }

  /** Ends it, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.kill("SIGKILL");
    } catch (error) { // It has ended.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.status();
  }
}

/** What a child tells its parent. */
export function tell(report: unknown): void {
  console.log(JSON.stringify(report));
}

/** A broker as a program of its own, which can be killed and started again on the same file. */
export class BrokerProcess implements AsyncDisposable {
  readonly file: string;
  readonly #args: readonly string[];
  #process: Process<{ line: string }> | undefined;

  /** Will use this connection file. */
  constructor(file: string, ...args: readonly string[]) {
    this.file = file;
    this.#args = args;
  }

  /** Starts it; resolves when it listens. */
  async start(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cli = new URL("../cli.ts", import.meta.url).href;
    this.#process = new Process(cli, [...this.#args, this.file], ({ line }) => {
      if (line.startsWith("Listening")) resolve();
    });
    await promise;
  }

  /** The process id of the latest start. */
  get pid(): number {
    return this.#process!.pid;
  }

  /** Kills it, so that it can tell nobody. */
  async kill(): Promise<void> {
    this.#process!.kill("SIGKILL");
    await this.#process!.status();
  }

  /** Ends it in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process?.kill("SIGTERM");
    await this.#process?.status();
  }
}
