/** Servers as processes that are measured from outside. */
import { endpointOf, type Plan, type Target } from "./systems.ts";

const POLL_MS = 1;
const PATIENCE_MS = 15_000;
const LEAVE_MS = 2000;

/** A server that accepts connections. */
export class Server implements AsyncDisposable {
  readonly target: Target;
  /** Milliseconds from its start until it accepted a connection. */
  readonly startMs: number;
  readonly #process: Deno.ChildProcess;

  private constructor(process: Deno.ChildProcess, target: Target, startMs: number) {
    this.#process = process;
    this.target = target;
    this.startMs = startMs;
  }

  /** Starts it, and waits until it accepts. */
  static async start({ command, args, target }: Plan): Promise<Server> {
    const start = performance.now();
    const process = new Deno.Command(command, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let ended = false;
    process.status.then(() => ended = true);
    while (!await accepts(target)) {
      if (ended) throw new Error(`${command} ${args.join(" ")} ended before it accepted`);
      if (performance.now() - start > PATIENCE_MS) {
        process.kill("SIGKILL");
        throw new Error(`${command} ${args.join(" ")} does not accept after ${PATIENCE_MS} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return new Server(process, target, performance.now() - start);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const kill = (signal: Deno.Signal) => {
      try {
        this.#process.kill(signal);
      } catch (error) { // It has ended.
        if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
      }
    };
    kill("SIGTERM");
    const timer = setTimeout(() => kill("SIGKILL"), LEAVE_MS);
    await this.#process.status;
    clearTimeout(timer);
  }
}

async function accepts(target: Target): Promise<boolean> {
  try {
    const endpoint = endpointOf(target);
    (endpoint.transport === "unix" ? await Deno.connect(endpoint) : await Deno.connect(endpoint))
      .close();
    return true;
  } catch (error) { // Nobody listens yet.
    if (
      error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound
    ) return false;
    throw error;
  }
}
