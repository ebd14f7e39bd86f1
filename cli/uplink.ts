/**
 * The uplink of the broker as a program, which joins it to others through NATS: its options, the files
 * that they name, and what is logged.
 */
import type { Uplink } from "../broker.ts";
import type { NatsUplinkOptions } from "../nats/options.ts";
import type { NatsUplinkEvent } from "../nats/uplink_events.ts";
import { type Arguments, doing, messageOf, type Option, UsageError } from "./command.ts";
import { certificatesIn, readSecretText } from "./files.ts";
import type { Level, Log } from "./log.ts";

/** The options of an uplink. */
export const UPLINK: readonly Option[] = [
  {
    name: "uplink",
    value: "URL",
    isMany: true,
    about: "Join brokers by NATS, nats://host (no password here)",
  },
  { name: "bus", value: "NAME", about: "Brokers of the same bus are joined [default]" },
  {
    name: "uplink-stream",
    value: "NAME",
    about: "Catch up after a cut, through this JetStream stream",
  },
  {
    name: "uplink-creds",
    value: "PATH",
    about: "Its user:password or credentials, in a private file",
  },
  {
    name: "uplink-ca",
    value: "PATH",
    about: "Certificates to trust (PEM), with tls://host",
    both: "Its credentials; whom to trust (PEM)",
  },
];

/** The values of these options. */
export interface UplinkArguments {
  readonly servers: readonly string[];
  readonly bus: string | undefined;
  readonly stream: string | undefined;
  readonly credsFile: string | undefined;
  readonly caFile: string | undefined;
}

/**
 * What the program uses of `nats.ts`. As the type of an import, too, it would make NATS's client a part
 * of every command.
 */
export interface NatsModule {
  readonly NatsUplink: new (options: NatsUplinkOptions) => Uplink;
}

const LEVELS: Readonly<Record<NatsUplinkEvent["type"], Level>> = {
  connected: "info",
  disconnected: "warn",
  unreachable: "warn",
  joined: "info",
  left: "info",
  warning: "warn",
};
const HOW_TO_DOWNLOAD = "the first uplink downloads it from npm: see that its registry can be " +
  "reached, or name another one in NPM_CONFIG_REGISTRY; the compiled program has it";
const CREDENTIALS = "-----BEGIN NATS USER JWT-----";

/** The values of the uplink options, if there is an uplink. */
export function uplinkArguments(args: Arguments): UplinkArguments | undefined {
  const servers = args.texts("uplink");
  const [bus, stream, credsFile, caFile] = UPLINK.slice(1).map(({ name }) => {
    const value = args.text(name);
    if (value === undefined || servers.length > 0) return value;
    throw new UsageError(`Cannot use --${name} alone: give --uplink nats://host:4222, too`);
  });
  if (servers.length === 0) return undefined;
  const hasUser = servers.some((server) => Boolean(URL.parse(server)?.username));
  if (credsFile !== undefined && hasUser) {
    throw new UsageError("Cannot use both --uplink-creds and a user in --uplink");
  }
  return { servers, bus, stream, credsFile, caFile };
}

/** Makes the uplink, and loads what it needs, including NATS's client. */
export async function uplinkOf(uplink: UplinkArguments, log: Log): Promise<Uplink> {
  const { bus, stream, credsFile, caFile } = uplink;
  const login = credsFile === undefined ? {} : await readLogin(credsFile);
  const ca = caFile && await doing(`read ${caFile}`, Deno.readTextFile(caFile));
  const caCerts = ca === undefined ? undefined : [certificatesIn(caFile!, ca)];
  const { NatsUplink } = await loadNats();
  try {
    return new NatsUplink({
      servers: uplink.servers.map((server) => withUser(server, login.user)),
      ...(bus !== undefined && { bus }),
      ...(stream !== undefined && { stream }),
      ...(login.credentials !== undefined && { credentials: login.credentials }),
      ...(caCerts !== undefined && { tls: { caCerts } }),
      onEvent({ type, message }) {
        log.say(LEVELS[type], `uplink-${type}`, messageOf(message));
      },
    });
  } catch (error) { // TypeError or RangeError: what is wrong with the options.
    throw new UsageError(messageOf(error), { cause: error });
  }
}

/** Loads what joins brokers; Deno downloads NATS's client when that is done for the first time. */
async function loadNats(): Promise<NatsModule> {
  try {
    // Imported by name: without an uplink, NATS's client is neither downloaded nor loaded.
    return await import(import.meta.resolve("../nats.ts"));
  } catch (error) { // npm cannot be reached, or lacks a package; or a permission is missing.
    const why = messageOf(error).replace(/ at (file|https?):\S+$/, "");
    const help = /\bpackage\b/.test(why) ? `; ${HOW_TO_DOWNLOAD}` : "";
    throw new Error(`Cannot load the client of NATS: ${why}${help}`, { cause: error });
  }
}

/** The content of a private file: credentials, or a user as in a URL. */
async function readLogin(path: string): Promise<{ credentials?: string; user?: string }> {
  const text = await doing(`read ${path}`, readSecretText(path));
  if (text.includes(CREDENTIALS)) return { credentials: text };
  const [, user, password] = /^([^:\r\n]+)(?::([^\r\n]+))?\r?\n?$/.exec(text) ?? [];
  if (user === undefined) {
    throw new TypeError(
      `Cannot use ${path}: it must hold credentials of NATS, or one line user:password or token`,
    );
  }
  const parts = password === undefined ? [user] : [user, password];
  return { user: parts.map(encodeURIComponent).join(":") };
}

function withUser(server: string, user: string | undefined): string {
  return user === undefined ? server : server.replace("//", `//${user}@`);
}
