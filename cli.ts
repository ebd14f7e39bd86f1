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
  type ConnectionFile,
  KEY_FILE_BYTES_MAX,
  parseAddress,
  readConnectionFile,
  readSecret,
  takeLock,
  writeConnectionFile,
} from "./address.ts";
import { Broker } from "./broker.ts";
import manifest from "./deno.json" with { type: "json" };
import { ConnectionLostError } from "./errors.ts";
import { removeDeadSocket } from "./transport.ts";

const HELP = `Usage: mpubsub-broker [OPTIONS] [FILE]

Passes messages between programs. Its address and key stand in FILE while it runs: clients are made
with NetPubSub.fromFile(FILE). Without FILE it is $MPUBSUB_FILE, else ~/.mpubsub.json.

Options:
  --address ADDRESS    Listen at unix:///path/to.sock or tcp://127.0.0.1:7411 (port 0: any free one)
                       [default: a new Unix socket beside FILE]
  --authkey-file PATH  Take the key from a file that only you can read: its bytes, at most 65536,
                       without a newline at the end [default: a new random key]
  --overwrite          Replace FILE whatever it is, even when a broker answers
  --quiet              Print only warnings and errors
  -h, --help           Print this
  --version            Print the version

SIGINT (Ctrl-C), SIGTERM, and SIGHUP when it prints to a terminal, end it after it has sent what is
queued; once more, a second or more later, at once.`;

/** How long the broker of a file that is there may take to answer. */
const PROBE_MS = 2000;
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
    string: ["_", "address", "authkey-file"],
    alias: { h: "help" },
    unknown: (arg, key) => {
      if (key !== undefined) throw new UsageError(`Unknown option ${arg}`);
    },
  });
}

function serveOptions(flags: Record<string, unknown> & { _: unknown[] }): ServeOptions {
  if (flags._.length > 1) {
    throw new UsageError(`Cannot use ${flags._.length} files: give one FILE`);
  }
  const address = valueOf(flags, "address");
  const authkeyFile = valueOf(flags, "authkey-file");
  if (address !== undefined) checkAddress(address);
  const file = flags._.length === 0 ? defaultFile() : String(flags._[0]);
  if (file === "") throw new UsageError("Cannot use FILE: it is empty");
  return {
    file,
    address,
    authkeyFile,
    overwrite: flags.overwrite === true,
    quiet: flags.quiet === true,
  };
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
  const { file } = options;
  const tell = (line: string) => {
    if (!options.quiet) console.log(line);
  };
  using stop = new StopSignals();
  const authkey = options.authkeyFile && await readKey(options.authkeyFile);
  const address = options.address ?? addressBeside(file);
  await using broker = new Broker({ ...(address && { address }), ...(authkey && { authkey }) });
  stop.onAgain = () => broker.shutdown();
  const removeFile = await start(broker, options, stop, tell);
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

/**
 * Starts the broker and writes its file, while nobody else does so with the same file.
 *
 * @returns Removes the file; nothing when it was stopped meanwhile.
 */
async function start(
  broker: Broker,
  { file, address, overwrite }: ServeOptions,
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
  const content = { address: broker.address, authkey: broker.authkey, pid: Deno.pid };
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
  const bus = new NetPubSub(found.address, found.authkey);
  try {
    await bus.connect({ signal: AbortSignal.any([stop, timeout]) });
    return true;
  } catch (error) { // Nobody there; or somebody, but perhaps not a broker, or another one.
    if (error instanceof ConnectionLostError && isNobody(error.cause)) return false;
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

  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[] = Deno.build.os === "windows"
    ? [["SIGINT", this.#take], ["SIGBREAK", this.#take]]
    // Once it listens to any signal, Deno ends at SIGHUP, even where nohup has that ignored; and
    // nohup lets nothing print to a terminal.
    : [
      ["SIGINT", this.#take],
      ["SIGTERM", this.#take],
      ["SIGHUP", Deno.stdout.isTerminal() ? this.#take : () => {}],
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
