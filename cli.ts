/**
 * `mpubsub-broker`: a broker as a program of its own.
 *
 * ```sh
 * deno run --allow-net --allow-read --allow-write --allow-env=HOME,MPUBSUB_FILE \
 *   jsr:@mpubsub/mpubsub/cli FILE
 * ```
 *
 * It writes its address and its key to FILE, where `NetPubSub.fromFile(FILE)` finds them, and removes
 * FILE and its socket when SIGINT or SIGTERM ends it. `--help` lists the options. The exit status is
 * 0, 1 when something failed, 2 when the arguments are wrong.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import {
  addressBeside,
  CONFIG_FILE_BYTES_MAX,
  type ConnectionFile,
  formatConnectionFile,
  KEY_FILE_BYTES_MAX,
  parseAddress,
  readConnectionFile,
  readSecret,
  takeLock,
  writeConnectionFile,
} from "./address.ts";
import { Broker, type BrokerKey, type BrokerOptions } from "./broker.ts";
import manifest from "./deno.json" with { type: "json" };
import { AuthError, ConnectionLostError } from "./errors.ts";
import { parseKeys } from "./keys.ts";
import { removeDeadSocket } from "./transport.ts";

const HELP = `Usage: mpubsub-broker [OPTIONS] [FILE]
       mpubsub-broker key NAME --keys KEYS [--address ADDRESS] [FILE]

Passes messages between programs. Its address and key stand in FILE while it runs: clients are made
with NetPubSub.fromFile(FILE). Without FILE it is $MPUBSUB_FILE, else ~/.mpubsub.json.

Options:
  --address ADDRESS    Listen at unix:///path/to.sock, tcp://127.0.0.1:7411 or tls://host:7411
                       (port 0: any free one) [default: a new Unix socket beside FILE]
  --authkey-file PATH  Take the key from a file that only you can read: its bytes, at most 65536,
                       without a newline at the end [default: a new random key]
  --keys PATH          Take keys with names and rights from a JSON file that only you can read; FILE
                       then holds no key. SIGHUP reads it again
  --max-patience MS    For how long a key with the right to "wait" may hold publishers back
                       [default: 60000 with --keys, else 0]
  --tls-cert PATH      The certificate for a tls:// address, with those between it and its root (PEM)
  --tls-key PATH       Its private key (PEM), which only you can read
  --overwrite          Replace FILE whatever it is, even when a broker answers
  --quiet              Print only warnings and errors
  -h, --help           Print this
  --version            Print the version

"key" prints a connection file for the key called NAME: with the key, the address that stands in FILE
or is given, and the certificate that stands in FILE.

SIGINT (Ctrl-C), SIGTERM, and SIGHUP when the terminal it prints to is closed, end it after it has
sent what is queued; once more, a second or more later, at once.`;

/** How long the broker of a file that is there may take to answer. */
const PROBE_MS = 2000;
/** For how long a key with the right to wait may hold others back. */
const MAX_PATIENCE_MS = 60_000;
/** Signals closer together are one: under `deno task` a Ctrl-C arrives twice. */
const SAME_SIGNAL_MS = 1000;

/** The arguments are wrong; the exit status is 2. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A file is in the way that `--overwrite` replaces. */
class InTheWayError extends Error {
  override readonly name = "InTheWayError";
}

/** What a broker is started with. */
interface ServeOptions {
  readonly file: string;
  readonly address: string | undefined;
  readonly authkeyFile: string | undefined;
  readonly keysFile: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly maxPatience: number | undefined;
  readonly overwrite: boolean;
  readonly quiet: boolean;
}

/**
 * Runs the program until a signal ends it, or an error, which it prints.
 *
 * @param args The command line, without the program's name.
 * @returns The exit status: 0, 1 when something failed, 2 when the arguments are wrong.
 */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const flags = parseFlags(args);
    if (flags.help === true) console.log(HELP);
    else if (flags.version === true) console.log(`mpubsub-broker ${manifest.version}`);
    else if (flags._[0] === "key") await printKey(flags);
    else await serve(serveOptions(flags));
    return 0;
  } catch (error) { // Whatever it is, it is for a person to read.
    const isUsage = error instanceof UsageError;
    console.error(
      `mpubsub-broker: ${messageOf(error)}${isUsage ? " (mpubsub-broker --help tells more)" : ""}`,
    );
    return isUsage ? 2 : 1;
  }
}

function parseFlags(args: readonly string[]): Record<string, unknown> & { _: unknown[] } {
  return parseArgs([...args], {
    boolean: ["help", "overwrite", "quiet", "version"],
    // A FILE named 7 is not a number.
    string: ["_", "address", "authkey-file", "keys", "max-patience", "tls-cert", "tls-key"],
    alias: { h: "help" },
    unknown: (arg, key) => {
      if (key !== undefined) throw new UsageError(`Unknown option ${arg}`);
    },
  });
}

function serveOptions(flags: Record<string, unknown> & { _: unknown[] }): ServeOptions {
  const options = {
    file: fileOf(flags._),
    address: addressOf(flags),
    authkeyFile: valueOf(flags, "authkey-file"),
    keysFile: valueOf(flags, "keys"),
    tlsCert: valueOf(flags, "tls-cert"),
    tlsKey: valueOf(flags, "tls-key"),
    maxPatience: numberOf(flags, "max-patience"),
    overwrite: flags.overwrite === true,
    quiet: flags.quiet === true,
  };
  if (options.authkeyFile !== undefined && options.keysFile !== undefined) {
    throw new UsageError(
      "Cannot use both --authkey-file and --keys: with --keys each key has a name",
    );
  }
  const isTls = options.address?.startsWith("tls://") === true;
  if (isTls !== (options.tlsCert !== undefined) || isTls !== (options.tlsKey !== undefined)) {
    throw new UsageError("Give --tls-cert and --tls-key with an --address that begins with tls://");
  }
  return options;
}

/** The connection file that is named, or the usual one. */
function fileOf(files: unknown[]): string {
  if (files.length > 1) throw new UsageError(`Cannot use ${files.length} files: give one FILE`);
  const file = files.length === 0 ? defaultFile() : String(files[0]);
  if (file === "") throw new UsageError("Cannot use FILE: it is empty");
  return file;
}

function addressOf(flags: Record<string, unknown>): string | undefined {
  const address = valueOf(flags, "address");
  if (address !== undefined) checkAddress(address);
  return address;
}

function numberOf(flags: Record<string, unknown>, name: string): number | undefined {
  const value = valueOf(flags, name);
  if (value === undefined) return undefined;
  if (!/^\d{1,9}$/.test(value)) throw new UsageError(`Option --${name} needs a whole number`);
  return Number(value);
}

function valueOf(flags: Record<string, unknown>, name: string): string | undefined {
  const value = flags[name];
  if (value === "") throw new UsageError(`Option --${name} needs a value`);
  return typeof value === "string" ? value : undefined;
}

function checkAddress(address: string): void {
  try {
    parseAddress(address);
  } catch (error) { // TypeError: no address; RangeError: one that cannot be.
    const why = error instanceof TypeError
      ? `Cannot use --address ${address}: write unix:///path/to.sock or tcp://127.0.0.1:7411`
      : messageOf(error);
    throw new UsageError(why, { cause: error });
  }
}

function defaultFile(): string {
  const file = Deno.env.get("MPUBSUB_FILE");
  if (file) return file;
  const home = Deno.env.get("HOME");
  if (home) return `${home}/.mpubsub.json`;
  throw new UsageError("Cannot choose a FILE: neither MPUBSUB_FILE nor HOME is set, give one");
}

async function serve(options: ServeOptions): Promise<void> {
  const { file, keysFile } = options;
  const tell = (line: string) => {
    if (!options.quiet) console.log(line);
  };
  using stop = new StopSignals();
  const { ca, ...settings } = await brokerOptions(options);
  await using broker = new Broker(settings);
  stop.onAgain = () => broker.shutdown();
  if (keysFile !== undefined) {
    let reloading = Promise.resolve();
    stop.onHangup = () => reloading = reloading.then(() => reload(broker, keysFile, tell));
  }
  const removeFile = await start(broker, options, ca, stop, tell);
  if (removeFile === undefined) return;
  try {
    tell(`Listening at ${broker.address}, connection file ${file}`);
    await stop.happened;
    tell("Shutting down");
    await broker.shutdown();
  } finally {
    using _lock = await takeLock(lockOf(file)).catch(() => undefined); // As Listener.close() does.
    await removeFile();
  }
}

/** What the broker is made with, and what vouches for its certificate. */
async function brokerOptions(options: ServeOptions): Promise<BrokerOptions & { ca?: string }> {
  const { file, authkeyFile, keysFile, tlsCert, tlsKey, maxPatience } = options;
  const address = options.address ?? addressBeside(file);
  const cert = tlsCert && await readText(tlsCert, Deno.readTextFile(tlsCert));
  const key = tlsKey && await readText(tlsKey, readSecretText(tlsKey));
  const patience = maxPatience ?? (keysFile && MAX_PATIENCE_MS);
  return {
    ...(address && { address }),
    ...(authkeyFile && { authkey: await readKey(authkeyFile) }),
    ...(keysFile && { keys: await readKeys(keysFile) }),
    ...(patience && { maxPatience: patience }),
    ...(cert && key && { tls: { cert, key }, ca: certificatesIn(tlsCert!, cert) }),
  };
}

/** The certificates that stand in a text, and nothing else that may stand beside them. */
function certificatesIn(path: string, text: string): string {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw new TypeError(`Cannot use ${path}: there is no certificate in it`);
  return found.join("\n") + "\n";
}

/** Takes the keys that stand in the file now; those before stay when it cannot be used. */
async function reload(broker: Broker, path: string, tell: (line: string) => void): Promise<void> {
  try {
    const keys = await readKeys(path);
    broker.setKeys(keys);
    tell(`Read ${path} again: ${keys.length} keys`);
  } catch (error) { // Whatever it is, it is for a person to read.
    console.error(`mpubsub-broker: ${messageOf(error)}; the keys stay as they were`);
  }
}

async function readKeys(path: string): Promise<BrokerKey[]> {
  const text = await readText(path, readSecretText(path));
  try {
    return parseKeys(text);
  } catch (error) { // What is wrong with them.
    throw new Error(`Cannot use ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function readSecretText(path: string): Promise<string> {
  return new TextDecoder().decode(await readSecret(path, CONFIG_FILE_BYTES_MAX));
}

function readText(path: string, reading: Promise<string>): Promise<string> {
  return doing(`read ${path}`, reading);
}

/** Prints a connection file for one key. */
async function printKey(flags: Record<string, unknown> & { _: unknown[] }): Promise<void> {
  const [, name, ...files] = flags._.map(String);
  if (!name) throw new UsageError("Cannot print a key: give its NAME");
  const keysFile = valueOf(flags, "keys");
  if (keysFile === undefined) throw new UsageError("Cannot print a key: give --keys PATH");
  const keys = await readKeys(keysFile);
  const found = keys.find((key) => key.name === name);
  if (found === undefined) {
    const names = keys.map((key) => key.name).join(", ");
    throw new Error(`Cannot find a key called "${name}" in ${keysFile}: there are ${names}`);
  }
  const address = addressOf(flags);
  const file = address === undefined || files.length > 0 ? fileOf(files) : undefined;
  const broker = file && await doing(`read ${file}`, readConnectionFile(file));
  const content = { ...broker, ...(address && { address }) } as ConnectionFile;
  const authkey = found.key as Uint8Array;
  Deno.stdout.writeSync(
    new TextEncoder().encode(formatConnectionFile({ ...content, authkey, keyName: name })),
  );
}

/**
 * Starts the broker and writes its file, while nobody else does so with the same file.
 *
 * @returns Removes the file; nothing when it was stopped meanwhile.
 */
async function start(
  broker: Broker,
  { file, address, keysFile, overwrite }: ServeOptions,
  ca: string | undefined,
  stop: StopSignals,
  tell: (line: string) => void,
): Promise<(() => Promise<void>) | undefined> {
  const locked = doing(`use ${file}`, takeLock(lockOf(file)));
  await Promise.race([locked, stop.happened]);
  if (stop.signal.aborted) return;
  using _lock = await locked;
  try {
    const removed = await makeRoom(file, stop.signal);
    if (removed !== undefined) tell(removed);
  } catch (error) { // Stopped meanwhile; or the file is to stay.
    if (stop.signal.aborted) return;
    if (!overwrite || !(error instanceof InTheWayError)) throw error;
    tell(`Replacing ${file}`);
  }
  await doing(`listen ${address ? `at ${address}` : `beside ${file}`}`, broker.start());
  const content = {
    address: broker.address,
    ...(keysFile === undefined && { authkey: broker.authkey }),
    ...(ca !== undefined && { ca }),
    pid: Deno.pid,
  };
  return await doing(
    `write ${file}`,
    writeConnectionFile(file, content, { replace: overwrite }),
  );
}

function lockOf(file: string): string {
  return `${file}.broker-lock`;
}

async function readKey(path: string): Promise<Uint8Array> {
  const bytes = await doing(`read ${path}`, readSecret(path, KEY_FILE_BYTES_MAX));
  // An editor, and echo, end a line that is a key as any other.
  const key = bytes.subarray(0, bytes.length - (bytes.at(-1) === 0x0a ? 1 : 0));
  if (key.length === 0) throw new RangeError(`Cannot use ${path}: the key is empty`);
  return key;
}

/**
 * Makes room for the connection file: removes that of a dead broker, and its socket.
 *
 * @returns What was removed.
 * @throws {InTheWayError} When the file is that of a live broker, or may be.
 */
async function makeRoom(file: string, signal: AbortSignal): Promise<string | undefined> {
  let found: ConnectionFile;
  try {
    found = await readConnectionFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return await checkNoLink(file);
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

/** Refuses a symbolic link to a file that is not there: it is not followed when the file is written. */
async function checkNoLink(file: string): Promise<undefined> {
  try {
    await Deno.lstat(file);
  } catch (error) { // There is nothing at all.
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  throw new InTheWayError(
    `Cannot use ${file}: it is a symbolic link to a file that is not there; --overwrite replaces it`,
  );
}

/** Whether the file's broker is alive; throws when that cannot be told. */
async function answers(file: string, found: ConnectionFile, stop: AbortSignal): Promise<boolean> {
  const timeout = AbortSignal.timeout(PROBE_MS);
  // Seldom needed, so not loaded at each start.
  const { NetPubSub } = await import("./net.ts");
  // Without a key it cannot be proved who answers, but whether somebody does.
  const bus = new NetPubSub(found.address, found.authkey ?? crypto.randomUUID(), {
    ...(found.keyName !== undefined && { keyName: found.keyName }),
    ...(found.ca !== undefined && { tls: { caCerts: [found.ca] } }),
    onError() {},
  });
  try {
    await bus.connect({ signal: AbortSignal.any([stop, timeout]) });
    return true;
  } catch (error) { // Nobody there; or somebody, but perhaps not a broker, or another one.
    if (error instanceof ConnectionLostError && isNobody(error.cause)) return false;
    if (found.authkey === undefined && error instanceof AuthError) return true;
    const why = timeout.aborted ? `no answer within ${PROBE_MS} ms` : messageOf(error);
    throw new InTheWayError(
      `Cannot tell whether the broker of ${file} is alive (${why}); --overwrite replaces it`,
      { cause: error },
    );
  } finally {
    await bus.disconnect();
  }
}

function isNobody(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound;
}

/** Removes what a dead broker left. */
async function removeDead(file: string, { address }: ConnectionFile): Promise<void> {
  const endpoint = parseAddress(address);
  if (endpoint.transport === "unix") await removeDeadSocket(endpoint.path);
  await Deno.remove(file);
}

/** The signals that end the program, from now until it is disposed. */
class StopSignals implements Disposable {
  /** Called by a later signal that is not the same as the first. */
  onAgain: () => void = () => {};
  /** Called by a SIGHUP that does not mean that the terminal is gone. */
  onHangup: () => void = () => {};
  readonly #controller = new AbortController();
  readonly #happened = Promise.withResolvers<void>();
  #firstAt = 0;

  readonly #take = () => {
    const now = performance.now();
    if (this.signal.aborted) {
      if (now - this.#firstAt >= SAME_SIGNAL_MS) this.onAgain();
      return;
    }
    this.#firstAt = now;
    this.#controller.abort();
    this.#happened.resolve();
  };

  readonly #isOnTerminal = Deno.stdout.isTerminal();

  /** A terminal that is closed is none any more. */
  readonly #hangup = () => {
    if (this.#isOnTerminal && !Deno.stdout.isTerminal()) this.#take();
    else this.onHangup();
  };

  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[] = Deno.build.os === "windows"
    ? [["SIGINT", this.#take], ["SIGBREAK", this.#take]]
    // Once it listens to any signal, Deno ends at SIGHUP, even where nohup has that ignored; and
    // nohup lets nothing print to a terminal.
    : [
      ["SIGINT", this.#take],
      ["SIGTERM", this.#take],
      ["SIGHUP", this.#hangup],
    ];

  constructor() {
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Aborts with the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves with the first signal. */
  get happened(): Promise<void> {
    return this.#happened.promise;
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}

/** Waits for `work`; when it fails, the error says what could not be done. */
async function doing<T>(action: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) { // Whatever it is, it is for a person to read.
    throw new Error(asSentence(action, error), { cause: error });
  }
}

/** What could not be done, and why; our own errors say it themselves. */
function asSentence(action: string, error: unknown): string {
  const message = messageOf(error);
  return message.startsWith("Cannot ") ? message : `Cannot ${action}: ${message}`;
}

/** An error's message, on one line. */
function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
