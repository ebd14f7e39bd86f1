/**
 * Real nats-server processes: one by itself, or a cluster.
 *
 * Each listens on 127.0.0.1 only, and keeps its configuration, its log and its JetStream store in a
 * temporary folder of its own, which goes with it. Ports and files stay when it is started again.
 *
 * ```
 *   Deno ── sh: nats-server                     ended by its id
 *     └──── sh: guard, whose input is this end  when that closes, Deno is dead: ends the server
 * ```
 */
import { freePorts, withOtherPorts } from "./free_ports.ts";
import { killIfAlive } from "./kill.ts";
import { programAt } from "./program_at.ts";
import { until } from "./until.ts";

const HOST = "127.0.0.1";
/** A server that is stopped accepts, and says nothing. */
const ANSWER_MS = 1000;
const SERVER_MS = 10_000;
const CLUSTER_MS = 20_000;
const LOG_LINES = 20;

/** The program. */
const PROGRAM: string | undefined = programAt("nats-server");

/** Whether nats-server is installed. */
export const hasNatsServer: boolean = PROGRAM !== undefined;

/** The place of a server in a cluster. */
export interface NatsClusterPlace {
  /** The name of the cluster. */
  readonly name: string;
  /** The port on which it listens for routes. */
  readonly port: number;
  /** The ports for routes of all nodes. */
  readonly routes: readonly number[];
}

/** Options of {@linkcode NatsCluster.start}. */
export interface NatsClusterOptions {
  /**
   * Whether it stores streams.
   *
   * @default {false}
   */
  readonly jetstream?: boolean;
  /**
   * More lines of configuration: authorization, tls, max_payload …
   *
   * @default {""}
   */
  readonly config?: string;
}

/** Options of {@linkcode NatsServer.start}. */
export interface NatsServerOptions extends NatsClusterOptions {
  /**
   * Its name.
   *
   * @default {a name that no other server has}
   */
  readonly name?: string;
  /**
   * Where it is in a cluster; {@linkcode NatsCluster} sees to that.
   *
   * @default {it is in none}
   */
  readonly cluster?: NatsClusterPlace;
}

/** A nats-server in a process of its own. */
export class NatsServer implements AsyncDisposable {
  readonly name: string;
  /** The port for clients. */
  readonly port: number;
  /** The port on which it answers `GET /varz`, `/connz`, `/jsz` and so on. */
  readonly monitorPort: number;
  /** Where its files are. */
  readonly folder: string;
  readonly #options: NatsServerOptions;
  #process: GuardedProcess | undefined;
  #isPaused = false;
  #disposing: Promise<void> | undefined;

  private constructor(options: NatsServerOptions, name: string, folder: string) {
    [this.port, this.monitorPort] = freePorts(2) as [number, number];
    this.name = name;
    this.folder = folder;
    this.#options = options;
  }

  /**
   * Starts one.
   *
   * @returns The server, once it answers; in a cluster it may still lack routes and a leader.
   * @throws {Error} If it does not start, with the end of its log.
   * @throws {Deno.errors.AddrInUse} If somebody takes every port that was free, or the one for routes.
   */
  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const { name = uniqueName("nats") } = options;
    return await withOtherPorts(async () => {
      const folder = await Deno.makeTempDir({ prefix: "nats-server-" });
      const server = new NatsServer(options, name, folder);
      try {
        await Deno.writeTextFile(`${folder}/nats.conf`, server.#config());
        await server.#launch();
        return server;
      } catch (error) {
        await server[Symbol.asyncDispose]();
        throw error;
      }
    });
  }

  /** Where clients connect. */
  get url(): string {
    return `nats://${HOST}:${this.port}`;
  }

  /** Its process id, also if that has ended. */
  get pid(): number {
    return this.#process!.pid;
  }

  /** What it does. */
  get state(): "running" | "paused" | "ended" {
    if (this.#process?.hasEnded !== false) return "ended";
    return this.#isPaused ? "paused" : "running";
  }

  /** Ends it without a chance to tell anybody; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#process?.signal("SIGKILL");
    await this.#process?.ended;
  }

  /**
   * Ends it in order, also while it is paused; resolves when the process is gone.
   *
   * @throws {Error} If it has not ended after 10 s; then it is killed.
   */
  async terminate(): Promise<void> {
    const process = this.#process;
    if (process === undefined || process.hasEnded) return;
    process.signal("SIGTERM");
    this.resume();
    try {
      await until(() => process.hasEnded, SERVER_MS, `the end of ${this.name}`);
    } finally {
      await this.kill();
    }
  }

  /**
   * Starts it again with the same ports, files and configuration; ends it in order before, if it runs.
   * Resolves when it answers; see {@linkcode NatsCluster.ready} for a node of a cluster.
   */
  async restart(): Promise<void> {
    await this.terminate();
    await this.#launch();
  }

  /** Stops it as it is: its connections stay, and nothing answers. */
  pause(): void {
    this.#process?.signal("SIGSTOP");
    this.#isPaused = true;
  }

  /** Lets it go on. */
  resume(): void {
    this.#process?.signal("SIGCONT");
    this.#isPaused = false;
  }

  /** All that it has logged. */
  async log(): Promise<string> {
    return await Deno.readTextFile(this.#logFile);
  }

  /**
   * What the monitoring port says to `GET path`.
   *
   * @returns Parsed JSON; `undefined` when it does not answer.
   */
  async monitor(path: string): Promise<unknown> {
    const answer = await ask(this.monitorPort, `GET ${path} HTTP/1.0\r\n\r\n`);
    const start = answer.indexOf("\r\n\r\n");
    return start < 0 ? undefined : JSON.parse(answer.slice(start));
  }

  /** Ends it, and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= (async () => {
      await this.kill();
      await Deno.remove(this.folder, { recursive: true });
    })();
    await this.#disposing;
  }

  get #logFile(): string {
    return `${this.folder}/log`;
  }

  #config(): string {
    const { jetstream = false, config = "", cluster } = this.#options;
    const lines = [
      `server_name: "${this.name}"`,
      `listen: "${HOST}:${this.port}"`,
      `http: "${HOST}:${this.monitorPort}"`,
    ];
    if (jetstream) lines.push(`jetstream { store_dir: "${this.folder}/store" }`);
    if (cluster !== undefined) {
      const routes = cluster.routes.map((port) => `"nats://${HOST}:${port}"`).join(", ");
      lines.push(
        `cluster { name: "${cluster.name}", listen: "${HOST}:${cluster.port}", routes: [${routes}] }`,
      );
    }
    return [...lines, config, ""].join("\n");
  }

  async #launch(): Promise<void> {
    if (this.#disposing !== undefined) throw new Error(`Cannot start ${this.name}: it is disposed`);
    if (PROGRAM === undefined) throw new Error("Cannot start nats-server: it is not installed");
    // With "exec" the process is the server itself.
    const process = new GuardedProcess(
      ["-c", 'exec "$0" -c "$1/nats.conf" >>"$1/log" 2>&1', PROGRAM, this.folder],
      this.folder,
    );
    this.#process = process;
    this.#isPaused = false;
    try {
      await until(
        async () => process.hasEnded || await this.#answers(),
        SERVER_MS,
        `an answer of ${this.name}`,
      );
      if (process.hasEnded) {
        throw new Error(`${this.name} ended with code ${await process.ended}`);
      }
    } catch (cause) {
      await this.kill();
      const log = (await this.log()).trimEnd().split("\n").slice(-LOG_LINES).join("\n");
      const Kind = log.includes("address already in use") ? Deno.errors.AddrInUse : Error;
      throw new Kind(`Cannot start nats-server: ${(cause as Error).message}:\n${log}`, { cause });
    }
  }

  /** Whether it is this server that answers, and with JetStream whether that is ready. */
  async #answers(): Promise<boolean> {
    const line = /^INFO (\{.*\})\s*$/.exec(await ask(this.port));
    if (line === null || JSON.parse(line[1]!).server_name !== this.name) return false;
    const { jetstream = false, cluster } = this.#options;
    // A node is not healthy before there is a leader.
    return !jetstream || cluster !== undefined || await this.isHealthy();
  }

  /** Whether it says that all is well: in a cluster with JetStream it knows a leader. */
  async isHealthy(): Promise<boolean> {
    const health = await this.monitor("/healthz") as { status: string } | undefined;
    return health?.status === "ok";
  }
}

/** Servers with routes from each to each. */
export class NatsCluster implements AsyncDisposable {
  readonly nodes: readonly NatsServer[];
  readonly #jetstream: boolean;

  private constructor(nodes: readonly NatsServer[], jetstream: boolean) {
    this.nodes = nodes;
    this.#jetstream = jetstream;
  }

  /**
   * Starts so many nodes, two at least.
   *
   * @returns The cluster, once it is {@linkcode NatsCluster.ready}.
   * @throws {Error} If it is not after 20 s, or when a node does not start.
   */
  static async start(count = 3, options: NatsClusterOptions = {}): Promise<NatsCluster> {
    if (!(count >= 2)) {
      throw new RangeError(`Cannot start a cluster: it would have ${count} nodes, 2 is the least`);
    }
    const name = uniqueName("cluster");
    return await withOtherPorts(async () => {
      const routes = freePorts(count);
      const started = await Promise.allSettled(
        routes.map((port, index) =>
          NatsServer.start({
            ...options,
            name: `${name}-${index + 1}`,
            cluster: { name, port, routes },
          })
        ),
      );
      const nodes = started.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
      const cluster = new NatsCluster(nodes, options.jetstream ?? false);
      try {
        for (const each of started) if (each.status === "rejected") throw each.reason;
        await cluster.ready();
        return cluster;
      } catch (error) {
        await cluster[Symbol.asyncDispose]();
        throw error;
      }
    });
  }

  /** Where clients connect, for each node. */
  get urls(): string[] {
    return this.nodes.map(({ url }) => url);
  }

  /**
   * Resolves when all nodes that run have routes to each other and, with JetStream, know the same
   * leader, which runs, too. After a leader was killed that takes 4 s to 9 s.
   *
   * @throws {Error} If that is not so after 20 s.
   */
  async ready(): Promise<void> {
    let lack: string | undefined;
    await until(
      async () => (lack = await this.#lack()) === undefined,
      CLUSTER_MS,
      () => `a cluster that is ready: ${lack}`,
    );
  }

  /** The node that leads JetStream, in the opinion of all nodes that run; `undefined` if they differ. */
  async leader(): Promise<NatsServer | undefined> {
    const running = this.#running;
    const names = new Set(
      await Promise.all(running.map(async (node) => {
        const stats = await node.monitor("/jsz") as
          | { meta_cluster?: { leader?: string } }
          | undefined;
        return stats?.meta_cluster?.leader;
      })),
    );
    const [name] = names;
    return names.size === 1 ? running.find((node) => node.name === name) : undefined;
  }

  /** Ends all nodes, and removes their folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
  }

  get #running(): NatsServer[] {
    return this.nodes.filter(({ state }) => state === "running");
  }

  /** What it lacks yet. */
  async #lack(): Promise<string | undefined> {
    const running = this.#running;
    const known = await Promise.all(running.map(routesOf));
    for (const [index, node] of running.entries()) {
      const far = known.findIndex(({ id }, other) =>
        other !== index && (id === undefined || !known[index]!.remoteIds.has(id))
      );
      if (far >= 0) return `${node.name} has no route to ${running[far]!.name}`;
    }
    if (!this.#jetstream) return;
    if (await this.leader() === undefined) return "there is no leader that all know";
    for (const node of running) if (!await node.isHealthy()) return `${node.name} is not healthy`;
  }
}

/** The id that a server has since its latest start, and those of the servers to which it has routes. */
async function routesOf(
  node: NatsServer,
): Promise<{ id: string | undefined; remoteIds: Set<string> }> {
  const stats = await node.monitor("/routez") as
    | { server_id: string; routes?: { remote_id: string }[] | null }
    | undefined;
  return {
    id: stats?.server_id,
    remoteIds: new Set(stats?.routes?.map(({ remote_id }) => remote_id)),
  };
}

/** Kills and cleans up, if its input ends; a line says that there is nothing to do. */
const GUARD = 'trap "" INT HUP; read -r _ || { kill -9 "$0"; rm -rf "$1"; }';

/** A shell, or what it becomes, that does not outlive this process. */
class GuardedProcess {
  /** Its exit code, once it is gone. */
  readonly ended: Promise<number>;
  readonly #process: Deno.ChildProcess;
  readonly #guard: Deno.ChildProcess;
  #hasEnded = false;

  /** Runs `sh` with these arguments; `folder` goes if it is orphaned. */
  constructor(args: readonly string[], folder: string) {
    // Detached: Ctrl-C in a terminal is for whoever started it, which ends it in its turn.
    const silent = { stdout: "null", stderr: "null", detached: true } as const;
    this.#process = new Deno.Command("sh", { args: [...args], stdin: "null", ...silent }).spawn();
    this.#guard = new Deno.Command("sh", {
      args: ["-c", GUARD, `${this.#process.pid}`, folder],
      stdin: "piped",
      ...silent,
    }).spawn();
    this.ended = this.#wait();
  }

  get pid(): number {
    return this.#process.pid;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Sends it a signal, unless it has ended. */
  signal(signal: Deno.Signal): void {
    killIfAlive(this.#process, signal);
  }

  async #wait(): Promise<number> {
    const { code } = await this.#process.status;
    this.#hasEnded = true;
    const input = this.#guard.stdin.getWriter();
    try {
      await input.write(new TextEncoder().encode("\n"));
      await input.close();
    } catch (error) { // Somebody ended the guard.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
    await this.#guard.status;
    return code;
  }
}

/**
 * Sends this to a port.
 *
 * @returns What it says: to a request all, else the first line; less if it says no more in time.
 */
async function ask(port: number, request?: string): Promise<string> {
  let answer = "";
  try {
    using connection = await Deno.connect({ hostname: HOST, port });
    const timer = setTimeout(() => connection[Symbol.dispose](), ANSWER_MS);
    try {
      if (request !== undefined) await connection.write(new TextEncoder().encode(request));
      const decoder = new TextDecoder();
      const bytes = new Uint8Array(16 * 1024);
      while (request !== undefined || !answer.includes("\n")) {
        const length = await connection.read(bytes);
        if (length === null) break;
        answer += decoder.decode(bytes.subarray(0, length), { stream: true });
      }
    } finally {
      clearTimeout(timer);
    }
  } catch (error) {
    const isExpected = error instanceof Deno.errors.ConnectionRefused || // Nobody listens.
      error instanceof Deno.errors.ConnectionReset || // It has been killed.
      error instanceof Deno.errors.BrokenPipe ||
      error instanceof Deno.errors.BadResource || // The time is over.
      error instanceof Deno.errors.Interrupted;
    if (!isExpected) throw error;
    if (request !== undefined) return ""; // A part is of no use.
  }
  return answer;
}

function uniqueName(kind: string): string {
  return `${kind}-${crypto.randomUUID().slice(0, 8)}`;
}
