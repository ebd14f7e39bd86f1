/**
 * `mpubsub [FILE]`: the broker as a program.
 */
import { Broker, type BrokerKey, type BrokerOptions } from "../broker.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { addressBeside, isSecured, parseAddress, parseAddresses } from "../io/address.ts";
import { readConnectionFile, writeConnectionFile } from "../io/connection_file.ts";
import type { ConnectionInfo } from "../io/connection_info.ts";
import { dial } from "../io/dial.ts";
import { groupsOf } from "../io/listener.ts";
import { takeLock } from "../io/lock_file.ts";
import { removeDeadSocket } from "../io/socket_file.ts";
import { askForId } from "../protocol/authenticate.ts";
import { VersionError } from "../protocol/handshake.ts";
import { BrokerEvents } from "./broker_events.ts";
import {
  type Arguments,
  asSentence,
  type Command,
  doing,
  messageOf,
  timeText,
  UsageError,
} from "./command.ts";
import {
  addressesOf,
  certificatesIn,
  fileOf,
  originsOf,
  readKey,
  readKeys,
  readSecretText,
} from "./files.ts";
import { grantsOf, grantsText } from "./grants.ts";
import { Log } from "./log.ts";
import { StopSignals } from "./signals.ts";
import { UPLINK, type UplinkArguments, uplinkArguments, uplinkOf } from "./uplink.ts";

/** How long the broker of an existing file may take to answer. */
const PROBE_MS = 2000;
/** For how long a key with the right to wait may hold others back. */
const MAX_PATIENCE_MS = 60_000;
/** Runs a broker. */
export const broker: Command = {
  usage: ["[OPTIONS] [FILE]"],
  about: `
Passes messages between programs. While it runs, its address and key are in FILE
[$MPUBSUB_FILE, or else ~/.mpubsub.json]. Ctrl-C ends it.`,
  options: [
    {
      name: "address",
      value: "ADDRESS",
      isMany: true,
      about: "unix:///path, tcp|tls|ws|wss://host:port [a socket]",
    },
    {
      name: "origin",
      value: "URL",
      isMany: true,
      about: "Let pages of this origin connect, too",
    },
    {
      name: "authkey-file",
      value: "PATH",
      about: "Take the key from a private file [a random key]",
    },
    {
      name: "keys",
      value: "PATH",
      about: "Keys with names and rights; SIGHUP reads them again",
    },
    {
      name: "max-patience",
      value: "TIME",
      about: "How long clients may hold publishers back [0]",
    },
    { name: "tls-cert", value: "PATH", about: "The certificates for tls:// (PEM)" },
    {
      name: "tls-key",
      value: "PATH",
      about: "Their private key (PEM), in a private file",
      both: "Certificates and private key for tls:// (PEM)",
    },
    ...UPLINK,
    { name: "overwrite", about: "Replace FILE, whatever it is" },
    { name: "log", value: "FORMAT", about: "One line for each event: text or json [text]" },
    { name: "quiet", about: "Print only warnings and errors" },
    {
      name: "verbose",
      about: "Also print which clients come and go, and what each key may do",
      both: "Print only warnings, or also keys and who comes",
    },
  ],
  examples: [
    ["x.json", "for this machine"],
    ["--uplink nats://n1 --bus plant x.json", "one of several"],
  ],
  async run(args) {
    const options = serveOptions(args);
    try {
      await serve(options);
    } catch (error) { // Whatever it is, it is for a person to read.
      if (error instanceof UsageError) throw error;
      options.log.say("error", "failed", messageOf(error));
      return 1;
    }
  },
};

/** A file is in the way, which `--overwrite` replaces. */
class InTheWayError extends Error {
  override readonly name = "InTheWayError";
}

/** What a broker is started with. */
interface ServeOptions {
  readonly file: string;
  readonly addresses: readonly string[];
  readonly origins: readonly string[];
  readonly authkeyFile: string | undefined;
  readonly keysFile: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly maxPatience: number | undefined;
  readonly uplink: UplinkArguments | undefined;
  readonly overwrite: boolean;
  readonly log: Log;
}

function serveOptions(args: Arguments): ServeOptions {
  const options = {
    file: fileOf(args.operands),
    addresses: addressesOf(args),
    origins: originsOf(args),
    authkeyFile: args.text("authkey-file"),
    keysFile: args.text("keys"),
    tlsCert: args.text("tls-cert"),
    tlsKey: args.text("tls-key"),
    maxPatience: args.time("max-patience"),
    uplink: uplinkArguments(args),
    overwrite: args.has("overwrite"),
    log: logOf(args),
  };
  if (options.authkeyFile !== undefined && options.keysFile !== undefined) {
    throw new UsageError(
      "Cannot use both --authkey-file and --keys: with --keys each key has a name",
    );
  }
  const endpoints = parseAddresses(options.addresses);
  try {
    groupsOf(endpoints);
  } catch (error) { // TypeError: one port would be with TLS and without.
    throw new UsageError(messageOf(error), { cause: error });
  }
  const isTls = endpoints.some(isSecured);
  if (isTls !== (options.tlsCert !== undefined) || isTls !== (options.tlsKey !== undefined)) {
    throw new UsageError(
      "Give --tls-cert and --tls-key with an --address that begins with tls:// or wss://",
    );
  }
  return options;
}

function logOf(args: Arguments): Log {
  const format = args.text("log") ?? "text";
  if (format !== "text" && format !== "json") {
    throw new UsageError(`Option --log takes text or json, not ${format}`);
  }
  if (args.has("quiet") && args.has("verbose")) {
    throw new UsageError("Cannot use both --quiet and --verbose");
  }
  return new Log(
    format === "json",
    args.has("quiet") ? "warn" : args.has("verbose") ? "debug" : "info",
  );
}

async function serve(options: ServeOptions): Promise<void> {
  const { file, keysFile, log } = options;
  using stop = new StopSignals();
  const events = new BrokerEvents(log);
  const made = Promise.withResolvers<Broker>();
  if (keysFile !== undefined) {
    let reloading = Promise.resolve();
    stop.onHangup = () =>
      reloading = reloading.then(async () => reload(await made.promise, keysFile, log));
  }
  const { ca, ...settings } = await brokerOptions(options);
  await using broker = new Broker({ ...settings, ...events.options });
  made.resolve(broker);
  stop.onAgain = () => broker.shutdown();
  const onWait = waiting(options);
  const removeFile = await start(broker, options, ca, stop);
  if (removeFile === undefined) return;
  try {
    const { address, addresses } = broker;
    log.say("info", "listening", `Listening at ${addresses.join(", ")}, connection file ${file}`, {
      address,
      ...(addresses.length > 1 && { addresses }),
      file,
      pid: Deno.pid,
    });
    sayKeys(settings.keys, log);
    {
      using _summaries = events.watch(broker);
      await stop.happened;
    }
    log.say("info", "stopping", "Shutting down");
    await broker.shutdown();
  } finally {
    // As Listener.close() does.
    using _lock = await takeLock(lockOf(file), { onWait }).catch(() => undefined);
    await removeFile();
  }
}

/** Says what each of the named keys may do. */
function sayKeys(keys: readonly BrokerKey[] = [], log: Log): void {
  for (const key of keys) {
    const { name } = key;
    const { publish, subscribe } = grantsOf(key);
    log.say("debug", "key", `Key "${name}" ${grantsText(key)}`, { name, publish, subscribe });
  }
}

/** The options of the broker, and the certificates that clients need to trust. */
async function brokerOptions(options: ServeOptions): Promise<BrokerOptions & { ca?: string }> {
  const { file, authkeyFile, keysFile, tlsCert, tlsKey, maxPatience, uplink, log } = options;
  const beside = addressBeside(file);
  const address = options.addresses.length > 0 ? options.addresses : beside;
  const cert = tlsCert && await doing(`read ${tlsCert}`, Deno.readTextFile(tlsCert));
  const key = tlsKey && await doing(`read ${tlsKey}`, readSecretText(tlsKey));
  const patience = maxPatience ?? (keysFile && MAX_PATIENCE_MS);
  return {
    ...(address && { address }),
    origins: options.origins,
    ...(authkeyFile && { authkey: await readKey(authkeyFile) }),
    ...(keysFile && { keys: await readKeys(keysFile) }),
    ...(patience && { maxPatience: patience }),
    ...(uplink && { uplink: await uplinkOf(uplink, log) }),
    ...(cert !== undefined && key !== undefined &&
      { tls: { cert, key }, ca: certificatesIn(tlsCert!, cert) }),
  };
}

/** Takes the keys that are in the file now; if it cannot be used, the keys stay as they were. */
async function reload(broker: Broker, path: string, log: Log): Promise<void> {
  try {
    const keys = await readKeys(path);
    broker.setKeys(keys);
    const count = keys.length;
    log.say("info", "keys", `Read ${path} again: ${count} keys`, { file: path, count });
    sayKeys(keys, log);
  } catch (error) { // Whatever it is, it is for a person to read.
    log.say("error", "keys", `${messageOf(error)}; the keys stay as they were`, { file: path });
  }
}

/**
 * Starts the broker and writes its file, while nobody else does so with the same file.
 *
 * @returns Removes the file; `undefined` if it was stopped meanwhile.
 */
async function start(
  broker: Broker,
  options: ServeOptions,
  ca: string | undefined,
  stop: StopSignals,
): Promise<(() => Promise<void>) | undefined> {
  const { file, addresses, keysFile, overwrite, log } = options;
  const locking = takeLock(lockOf(file), { signal: stop.signal, onWait: waiting(options) });
  using _lock = await doing(`use ${file}`, locking).catch((error) => {
    if (stop.signal.aborted) return undefined;
    throw error;
  });
  if (stop.signal.aborted) return;
  try {
    const removed = await makeRoom(file, stop.signal);
    if (removed !== undefined) log.say("info", "replacing", removed, { file });
  } catch (error) { // Stopped meanwhile; or the file is to stay.
    if (stop.signal.aborted) return;
    if (!overwrite || !(error instanceof InTheWayError)) throw error;
    log.say("info", "replacing", `Replacing ${file}`, { file });
  }
  const where = addresses.length > 0 ? `at ${addresses.join(", ")}` : `beside ${file}`;
  await doing(`listen ${where}`, broker.start());
  const content = {
    address: broker.address,
    ...(broker.addresses.length > 1 && { addresses: broker.addresses }),
    ...(keysFile === undefined && { authkey: broker.authkey }),
    ...(ca !== undefined && { ca }),
    id: broker.id,
    pid: Deno.pid,
  };
  return await doing(
    `write ${file}`,
    writeConnectionFile(file, content, { replace: overwrite }),
  );
}

/** Says that another process keeps the broker waiting. */
function waiting({ file, log }: ServeOptions): (text: string) => void {
  return (text) => log.say("warn", "waiting", text, { file });
}

function lockOf(file: string): string {
  return `${file}.broker-lock`;
}

/**
 * Makes room for the connection file: removes that of a dead broker, and its socket.
 *
 * @returns What was removed, as a sentence; `undefined` if there was nothing.
 * @throws {InTheWayError} If the file is that of a live broker, or may be.
 */
async function makeRoom(file: string, signal: AbortSignal): Promise<string | undefined> {
  let found: ConnectionInfo;
  try {
    found = await readConnectionFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return await removeEmptyLink(file);
    const why = asSentence(`read ${file}`, error);
    const isHopeless = error instanceof Deno.errors.NotCapable ||
      error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.IsADirectory;
    if (isHopeless) throw new Error(why, { cause: error });
    throw new InTheWayError(`${why}; --overwrite replaces it`, { cause: error });
  }
  if (await answers(file, found, signal)) {
    throw new InTheWayError(
      `Cannot use ${file}: its broker is alive at ${found.address} (process ${found.pid})`,
    );
  }
  await doing(`replace ${file}`, removeDead(file, found));
  return `Replacing ${file}, whose broker is gone (process ${found.pid})`;
}

/** Removes a symbolic link to a file that is not there; writing would not follow it. */
async function removeEmptyLink(file: string): Promise<string | undefined> {
  try {
    await Deno.lstat(file);
  } catch (error) { // There is nothing at all.
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  await doing(`replace ${file}`, Deno.remove(file));
  return `Replacing ${file}, a symbolic link to a file that is not there`;
}

/**
 * Whether the file's broker is alive: whoever answers where it listened says the id of the file.
 *
 * @throws {InTheWayError} If that cannot be found out.
 */
async function answers(file: string, found: ConnectionInfo, stop: AbortSignal): Promise<boolean> {
  const timeout = AbortSignal.timeout(PROBE_MS);
  try {
    const id = await idAt(found, AbortSignal.any([stop, timeout]));
    return found.id === undefined || id === found.id;
  } catch (error) { // Nobody answers, or somebody who is no broker; or that is not known.
    if (error instanceof ConnectionLostError && isNobody(error.cause)) return false;
    if (error instanceof ProtocolError && !(error instanceof VersionError)) return false;
    const why = timeout.aborted
      ? `no answer within ${timeText(PROBE_MS)}`
      : messageOf(error).replace(/; to trust it, .*/, "");
    throw new InTheWayError(
      `Cannot tell whether the broker of ${file} is alive (${why}); --overwrite replaces it`,
      { cause: error },
    );
  }
}

async function idAt({ address, ca }: ConnectionInfo, signal: AbortSignal): Promise<string> {
  const stream = await dial(address, signal, ca === undefined ? [] : [ca]);
  const close = () => stream.close();
  signal.addEventListener("abort", close);
  try {
    signal.throwIfAborted(); // It may have been aborted since.
    return (await askForId(stream)).toHex();
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

function isNobody(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound;
}

/** Removes what a dead broker left. */
async function removeDead(
  file: string,
  { address, addresses = [address] }: ConnectionInfo,
): Promise<void> {
  for (const endpoint of addresses.map(parseAddress)) {
    if (endpoint.transport === "unix") await removeDeadSocket(endpoint.path);
  }
  await Deno.remove(file);
}
