/** Servers as processes that are measured from outside. */
import { delay } from "@std/async/delay";
import { killIfAlive } from "../tools/harness/kill.ts";
import type { Plan } from "./systems.ts";
import { endpointOf, type Target } from "./target.ts";

const POLL_MS = 1;
const PATIENCE_MS = 15_000;
const LEAVE_MS = 2000;

/** A server that accepts connections. */
export class Server implements AsyncDisposable {
  readonly target: Target;
  /** Milliseconds from its start until it accepted a connection. */
  readonly startMs: number;
  readonly #process: Deno.ChildProcess;
  /** Those that it needs. */
  readonly #others: readonly Server[];

  private constructor(
    process: Deno.ChildProcess,
    target: Target,
    startMs: number,
    others: readonly Server[],
  ) {
    this.#process = process;
    this.target = target;
    this.startMs = startMs;
    this.#others = others;
  }

  /** Starts it, after those that it needs, and waits until it accepts. */
  static async start({ after = [], ...plan }: Plan): Promise<Server> {
    const others: Server[] = [];
    try {
      for (const other of after) others.push(await Server.start(other));
      return await Server.#start(plan, others);
    } catch (error) {
      await endAll(others);
      throw error;
    }
  }

  static async #start({ command, args, target }: Plan, others: readonly Server[]): Promise<Server> {
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
      await delay(POLL_MS);
    }
    return new Server(process, target, performance.now() - start, others);
  }

  /** The processes of it and of those that it needs. */
  get pids(): readonly number[] {
    return [...this.#others.flatMap(({ pids }) => pids), this.#process.pid];
  }

  /** Ends it, and then those. */
  async [Symbol.asyncDispose](): Promise<void> {
    killIfAlive(this.#process, "SIGTERM");
    const timer = setTimeout(() => killIfAlive(this.#process, "SIGKILL"), LEAVE_MS);
    await this.#process.status;
    clearTimeout(timer);
    await endAll(this.#others);
  }
}

async function endAll(servers: readonly Server[]): Promise<void> {
  for (const server of servers.toReversed()) await server[Symbol.asyncDispose]();
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
