/**
 * What is compared: how each server is started, and which module of `clients/` speaks to it. All of
 * them ask for a password (ZeroMQ has none here), listen on loopback or a Unix socket only, and keep
 * nothing on disk.
 */
import manifest from "../deno.json" with { type: "json" };
import { freePorts } from "../tools/harness/free_ports.ts";
import { CLIENT_RUNTIMES, type ClientRuntime } from "./client_runtimes.ts";
import { AUTH, isWeb, portOf, type Target, urlOf } from "./target.ts";

/** As `deno task broker` starts a broker. */
const BROKER = manifest.tasks.broker.command;
const BROKER_V8_FLAGS = /--v8-flags=\S+/.exec(BROKER)![0];

/** How a server is started, and where it then listens. */
export interface Plan {
  readonly command: string;
  readonly args: readonly string[];
  readonly target: Target;
  /** Servers that it needs: they start before it, in this order. */
  readonly after?: readonly Plan[];
}

/** A server with the client that goes with it. */
export interface System {
  /** The name on the command line. */
  readonly name: string;
  /** The name for readers. */
  readonly title: string;
  /** The module of `clients/`, without its ending; none: nobody connects but to see that it listens. */
  readonly client?: string;
  /** The program that must be installed. */
  readonly program?: string;
  /** The script of this folder that runs the server. */
  readonly script?: string;
  /** What runs its clients, if not Deno; only what is measured of those is measured with it. */
  readonly runtime?: ClientRuntime;
  /** It holds back who writes too fast, so that nobody else need. */
  readonly holdsBack?: boolean;
  /** Its clients connect by WebSockets, and only what is measured of those is measured with it. */
  readonly isWeb?: boolean;
  /** It has a near port, then a far one: who subscribes or answers is given the far one first. */
  readonly isJoined?: boolean;
  /** Plans a start that keeps its files in this folder. */
  plan(folder: string): Promise<Plan>;
}

function local(module: string): string {
  return new URL(module, import.meta.url).pathname;
}

/** A server that is a script of this folder, for Deno or its program, which is given its target as arguments. */
function scripted(
  { makeTarget, ...system }: Omit<System, "plan"> & {
    readonly script: string;
    makeTarget(folder: string): Target;
  },
): System {
  return {
    ...system,
    plan(folder) {
      const target = makeTarget(folder);
      const where = "path" in target ? [target.path] : target.ports.map(String);
      const args = [local(system.script), ...where];
      if (system.program !== undefined) {
        return Promise.resolve({ command: system.program, args, target });
      }
      args.unshift("run", "--allow-all", "--quiet");
      return Promise.resolve({ command: Deno.execPath(), args, target });
    },
  };
}

async function mpubsub(folder: string, target: Target): Promise<Plan> {
  const keyFile = `${folder}/key`;
  await Deno.writeTextFile(keyFile, AUTH, { mode: 0o600 });
  // As `deno task broker` starts it.
  const [, ...args] = BROKER.replace("cli.ts", local("../cli.ts")).split(" ");
  args.push(
    "--quiet",
    "--address",
    urlOf(target),
    "--authkey-file",
    keyFile,
    `${folder}/broker.json`,
  );
  return { command: Deno.execPath(), args, target };
}

/** Two brokers joined through NATS: publishers are at the near one, subscribers at the far one. */
function joined(name: string, title: string, stream?: string): System {
  return {
    name,
    title,
    client: "joined",
    program: "nats-server",
    isJoined: true,
    plan(folder) {
      const nats = natsPlan(stream === undefined ? [] : jetstreamArgs(folder));
      const uplink = `nats://${AUTH}:${AUTH}@127.0.0.1:${portOf(nats.target)}`;
      const [near, far] = freePorts(2) as [number, number];
      const broker = (port: number, target: Target): Plan => {
        const args = ["run", BROKER_V8_FLAGS, "--allow-all", "--quiet"];
        args.push(local("servers/joined.ts"), uplink, String(port), ...(stream ? [stream] : []));
        return { command: Deno.execPath(), args, target };
      };
      const after = [nats, broker(near, { ports: [near] })];
      return Promise.resolve({ ...broker(far, { ports: [near, far] }), after });
    },
  };
}

const onTcp = (): Target => ({ ports: freePorts(1) });
const onWeb = (): Target => ({ ports: freePorts(1), isWeb: true });
const onUnix = (folder: string): Target => ({ path: `${folder}/socket` });

/** This project's broker by itself. */
export const MPUBSUB: readonly System[] = [
  {
    name: "mpubsub-tcp",
    title: "mpubsub, TCP",
    client: "mpubsub",
    plan: (folder) => mpubsub(folder, onTcp()),
  },
  {
    name: "mpubsub-unix",
    title: "mpubsub, Unix socket",
    client: "mpubsub",
    plan: (folder) => mpubsub(folder, onUnix(folder)),
  },
];

/** NATS by itself. */
export const NATS: System = {
  name: "nats",
  title: "NATS",
  client: "nats",
  program: "nats-server",
  plan: () => Promise.resolve(natsPlan()),
};

/** Two brokers that NATS joins, and the like of NATS alone. */
export const JOINED: readonly System[] = [
  joined("joined", "two brokers through NATS"),
  { ...NATS, name: "uplink", title: "the brokers' uplinks alone", client: "uplink" },
  NATS,
  joined("joined-stream", "two brokers through JetStream", "BENCH"),
  {
    name: "jetstream",
    title: "JetStream",
    client: "jetstream",
    program: "nats-server",
    plan: (folder) => Promise.resolve(natsPlan(jetstreamArgs(folder))),
  },
];

/** The others. */
export const PEERS: readonly System[] = [
  NATS,
  { name: "redis", title: "Redis (redis)", client: "redis", program: "redis-server", plan: redis },
  {
    name: "ioredis",
    title: "Redis (ioredis)",
    client: "ioredis",
    program: "redis-server",
    plan: redis,
  },
  {
    name: "mosquitto",
    title: "Mosquitto",
    client: "mqtt",
    program: "mosquitto",
    plan: (folder) => mosquitto(folder),
  },
  scripted({
    name: "aedes",
    title: "aedes",
    client: "mqtt",
    script: "servers/aedes.ts",
    makeTarget: onTcp,
  }),
  scripted({
    name: "zeromq",
    title: "ZeroMQ",
    client: "zeromq",
    script: "servers/zeromq.ts",
    makeTarget: () => ({ ports: freePorts(2) }),
  }),
];

/** All by WebSockets. */
export const WEB: readonly System[] = [
  {
    name: "mpubsub-ws",
    title: "mpubsub, WebSocket",
    client: "mpubsub",
    isWeb: true,
    plan: (folder) => mpubsub(folder, onWeb()),
  },
  {
    ...NATS,
    name: "nats-ws",
    title: "NATS, WebSocket",
    isWeb: true,
    plan: natsWeb,
  },
  {
    name: "mosquitto-ws",
    title: "Mosquitto, WebSocket",
    client: "mqtt",
    program: "mosquitto",
    isWeb: true,
    plan: (folder) => mosquitto(folder, onWeb()),
  },
  scripted({
    name: "socket.io",
    title: "socket.io",
    client: "socket_io",
    script: "servers/socket_io.ts",
    isWeb: true,
    makeTarget: onWeb,
  }),
  scripted({
    name: "bun",
    title: "publish of Bun",
    client: "bun",
    script: "servers/bun.ts",
    program: Deno.env.get("BUN") || "bun",
    isWeb: true,
    makeTarget: onWeb,
  }),
];

/** The same servers, with clients in other runtimes than Deno. */
export const ELSEWHERE: readonly System[] = CLIENT_RUNTIMES.flatMap((runtime) =>
  [...MPUBSUB, NATS].map((system) => ({
    ...system,
    name: `${runtime.name}-${system.name}`,
    title: `${system.title}, ${runtime.title}`,
    runtime,
  }))
);

const RELAY = { client: "relay", script: "servers/relay.ts", holdsBack: true };

/** Programs that only pass on bytes. */
export const RELAYS: readonly System[] = [
  scripted({ ...RELAY, name: "relay-tcp", title: "bare relay, TCP", makeTarget: onTcp }),
  scripted({ ...RELAY, name: "relay-unix", title: "bare relay, Unix socket", makeTarget: onUnix }),
];

/** A Deno program that listens and does nothing else. */
export const LISTEN: System = scripted({
  name: "listen",
  title: "Deno.listen alone",
  script: "servers/listen.ts",
  makeTarget: onTcp,
});

function natsPlan(more: readonly string[] = []): Plan {
  const target = onTcp();
  const args = ["--addr", "127.0.0.1", "--port", `${portOf(target)}`];
  args.push("--user", AUTH, "--pass", AUTH, ...more);
  return { command: "nats-server", args, target };
}

async function natsWeb(folder: string): Promise<Plan> {
  const target = onWeb();
  const config = `${folder}/nats.conf`;
  // By default it takes nothing without TLS.
  const web = `{ host: "127.0.0.1", port: ${portOf(target)}, no_tls: true }`;
  await Deno.writeTextFile(config, `websocket ${web}`);
  const [port] = freePorts(1);
  const args = ["--config", config, "--addr", "127.0.0.1", "--port", `${port}`];
  return { command: "nats-server", args: [...args, "--user", AUTH, "--pass", AUTH], target };
}

function jetstreamArgs(folder: string): string[] {
  return ["--jetstream", "--store_dir", `${folder}/streams`];
}

function redis(folder: string): Promise<Plan> {
  const target = onTcp();
  const args = ["--bind", "127.0.0.1", "--port", `${portOf(target)}`, "--requirepass", AUTH];
  args.push("--save", "", "--appendonly", "no", "--dir", folder);
  // By default it hangs up on a subscriber for which 32 MB wait.
  args.push("--client-output-buffer-limit", "pubsub 0 0 0");
  return Promise.resolve({ command: "redis-server", args, target });
}

async function mosquitto(folder: string, target = onTcp()): Promise<Plan> {
  const passwords = `${folder}/passwords`;
  const config = `${folder}/mosquitto.conf`;
  await new Deno.Command("mosquitto_passwd", { args: ["-c", "-b", passwords, AUTH, AUTH] })
    .output();
  await Deno.writeTextFile(
    config,
    [
      // It ends when it has none that is not for WebSockets.
      ...isWeb(target) ? [`listener ${freePorts(1)[0]} 127.0.0.1`] : [],
      `listener ${portOf(target)} 127.0.0.1`,
      `protocol ${isWeb(target) ? "websockets" : "mqtt"}`,
      "allow_anonymous false",
      `password_file ${passwords}`,
      "set_tcp_nodelay true",
      "max_queued_messages 0", // By default it drops when 1000 wait.
      "persistence false",
      "log_dest none",
      "user root", // Else it gives up root, and then cannot read these files.
    ].join("\n"),
  );
  return { command: "mosquitto", args: ["-c", config], target };
}
