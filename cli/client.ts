/**
 * What all commands that connect to a broker share: how they find it, what they print when something
 * happens to the connection, and how a signal ends them.
 */
import { AuthError, ConnectionLostError, ForbiddenError } from "../errors.ts";
import { type Addresses, isSecured, parseAddresses } from "../io/address.ts";
import { readConnectionFile } from "../io/connection_file.ts";
import { withKey } from "../io/connection_info.ts";
import { type Gap, NetPubSub, type NetPubSubOptions, type State } from "../net.ts";
import { CLIENT_NAME_BYTES_MAX } from "../protocol/frame_bodies.ts";
import {
  type Arguments,
  doing,
  messageOf,
  type Option,
  PROGRAM,
  timeText,
  UsageError,
} from "./command.ts";
import { addressesOf, certificatesIn, defaultFile, readKey } from "./files.ts";
import { complain, giveUpOutput } from "./output.ts";
import { StopSignals } from "./signals.ts";

/** How a command finds its broker. */
export const CONNECTION: readonly Option[] = [
  {
    name: "connect",
    short: "c",
    value: "FILE",
    about: "The broker's FILE [$MPUBSUB_FILE, ~/.mpubsub.json]",
  },
  {
    name: "address",
    value: "ADDRESS",
    isMany: true,
    about: "Instead of FILE: where the broker listens",
  },
  { name: "authkey-file", value: "PATH", about: "Its key for --address, in a private file" },
  { name: "key-name", value: "NAME", about: "The name of that key" },
  {
    name: "tls-ca",
    value: "PATH",
    about: "Certificates to trust (PEM)",
    both: "Name of that key; whom to trust (PEM)",
  },
  { name: "name", value: "NAME", about: "What the broker calls this client" },
  {
    name: "wait",
    about: "Wait until the broker is there",
    both: "Name in the broker's lists; wait for a broker",
  },
];

/** The status of a command that a signal has interrupted. */
export const INTERRUPTED = 130;
/** How long the broker may take to acknowledge what is left when a command was interrupted. */
const HURRY_MS = 1000;
/** For how long gaps are added up before they are printed. */
const GAPS_MS = 1000;

/** What a command does with its broker. */
export interface Client {
  /** The connected bus. */
  readonly bus: NetPubSub;
  /** Aborts with the first signal. */
  readonly signal: AbortSignal;
  /** How many problems were printed to standard error. */
  readonly problems: { count: number };
}

/** What a command may add. */
export interface ClientOptions {
  /** Called with each gap, which is also printed to standard error. */
  onGap?(gap: Gap): void;
  /** Subscribes, before the connection is made. */
  prepare?(bus: NetPubSub): void;
  /** How long connecting may take, in milliseconds; by default as long as an attempt does. */
  patience?: number | undefined;
  /** Shows what happens to the connection; by default prints it to standard error. */
  tell?(text: string): void;
}

/**
 * Connects to the broker that the arguments name, does `work`, and disconnects; see
 * {@linkcode interruptible}.
 */
export async function withBroker(
  args: Arguments,
  work: (client: Client) => Promise<number | void>,
  options: ClientOptions = {},
): Promise<number> {
  return await interruptible((signal) => connected(args, signal, work, options));
}

/**
 * Does `work` until it ends, or a signal aborts it. Another signal, a second or more later, ends the
 * program at once.
 *
 * @returns The status: that of `work`, or 130 when it was interrupted.
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<number | void>,
): Promise<number> {
  using stop = new StopSignals();
  stop.onAgain = () => Deno.exit(INTERRUPTED);
  const { signal } = stop;
  signal.addEventListener("abort", () => giveUpOutput(signal.reason));
  try {
    const status = await work(signal) ?? 0;
    return signal.aborted ? INTERRUPTED : status;
  } catch (error) { // Aborting is how interrupted work ends.
    if (signal.aborted && error === signal.reason) return INTERRUPTED;
    throw error;
  }
}

async function connected(
  args: Arguments,
  signal: AbortSignal,
  work: (client: Client) => Promise<number | void>,
  { onGap, prepare, patience, tell = complain }: ClientOptions,
): Promise<number | void> {
  const problems = { count: 0 };
  const leaving: Leaving = { isUnderWay: false, undelivered: 0 };
  using gaps = new GapTeller();
  const bus = await busOf(args, {
    onGap(gap) {
      gaps.take(gap);
      onGap?.(gap);
    },
    onError(error) {
      problems.count++;
      // Disconnecting ends with the same error.
      if (leaving.isUnderWay && error instanceof ConnectionLostError) {
        leaving.undelivered = error.undelivered;
        return;
      }
      // While connecting, connect() rejects with the same error.
      if (!(error instanceof ForbiddenError && bus.state === "connecting")) tell(messageOf(error));
    },
    onState: tellState(tell),
  });
  try {
    prepare?.(bus);
    await connect(bus, { signal, wait: args.has("wait"), patience });
    return await work({ bus, signal, problems });
  } catch (error) { // Whatever it is, what was published before is still sent.
    await leave(bus, signal, leaving).catch((other) => complain(messageOf(other)));
    throw error;
  } finally {
    await leave(bus, signal, leaving);
  }
}

/** What is known while a command disconnects. */
interface Leaving {
  isUnderWay: boolean;
  /** How many messages the broker did not get. */
  undelivered: number;
}

/** Disconnects; when the command was interrupted, does not wait long. */
async function leave(bus: NetPubSub, signal: AbortSignal, leaving: Leaving): Promise<void> {
  leaving.isUnderWay = true;
  try {
    await bus.disconnect({ signal: signal.aborted ? AbortSignal.timeout(HURRY_MS) : signal });
  } catch (error) { // Interrupted, and perhaps the broker is away.
    if (!signal.aborted) throw error;
    const missing = counted(leaving.undelivered);
    complain(`Left before the broker had everything: it did not acknowledge ${missing}`);
  }
}

/** Says when the connection is lost and made again, or waited for. */
function tellState(tell: (text: string) => void): (state: State, reason?: Error) => void {
  let told: string | undefined;
  let again = "";
  return (state, reason) => {
    if (state === "connected") {
      if (told !== undefined) tell(`Connected${again}`);
      again = " again";
    }
    if (state !== "reconnecting" && (state !== "connecting" || reason === undefined)) {
      told = undefined;
      return;
    }
    const why = messageOf(reason);
    // Later reasons only say that nobody answers yet; but a key that is refused is news.
    const isNews = told === undefined || reason instanceof AuthError && why !== told;
    if (!isNews) return;
    const what = state === "connecting"
      ? "Waiting for a broker"
      : "Lost the connection; trying again";
    tell(`${what} (${why})`);
    told = why;
  };
}

/** How a command connects. */
export interface ConnectOptions {
  readonly signal?: AbortSignal;
  /** Whether it waits until there is a broker, for ever. */
  readonly wait?: boolean;
  /** How long that may take without `wait`, in milliseconds; by default as long as an attempt does. */
  readonly patience?: number | undefined;
}

/** Connects, if a broker answers in time. */
export async function connect(
  bus: NetPubSub,
  { signal, wait = false, patience }: ConnectOptions = {},
): Promise<void> {
  if (wait || patience === undefined) {
    return await bus.connect({ wait, ...(signal && { signal }) });
  }
  await inTime(
    patience,
    "Cannot connect: no answer",
    (late) => bus.connect({ signal: AbortSignal.any([late, ...signal ? [signal] : []]) }),
  );
}

/**
 * Does something with a signal that aborts after `ms`.
 *
 * @throws {Error} If it takes longer; says what is `missing`, and after how long.
 */
export async function inTime<T>(
  ms: number,
  missing: string,
  act: (late: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(ms);
  try {
    return await act(late);
  } catch (error) { // It failed, or took too long.
    if (!late.aborted) throw error;
    throw new Error(`${missing} within ${timeText(ms)}`, { cause: error });
  }
}

/** A bus for the broker that the arguments name, not connected yet. */
async function busOf(args: Arguments, options: NetPubSubOptions): Promise<NetPubSub> {
  const { file, access, caCerts } = await namedBy(args);
  const own = { ...options, name: clientName(args), tls: { caCerts } };
  if (access !== undefined) {
    const { address, authkey, keyName } = access;
    return new NetPubSub(address, authkey, { ...own, ...(keyName !== undefined && { keyName }) });
  }
  // Without a file there is nothing to connect to.
  if (!args.has("wait")) await reading(file, readConnectionFile(file));
  return await reading(file, NetPubSub.fromFile(file, own));
}

/** The address of a broker, a key for it, and how the client is called, in a form for other threads. */
export interface BrokerAccess {
  readonly address: Addresses;
  readonly authkey: Uint8Array;
  /** The name of the key. */
  readonly keyName: string;
  /** Certificates to trust for the broker, in PEM. */
  readonly caCerts: string[];
  readonly name: string;
}

/** What it takes to connect to the broker that the arguments name. */
export async function accessOf(args: Arguments, signal: AbortSignal): Promise<BrokerAccess> {
  if (args.has("wait")) await waitForBroker(args, signal);
  const { file, access, caCerts } = await namedBy(args);
  const name = clientName(args);
  if (access !== undefined) return { keyName: "", ...access, caCerts, name };
  const { ca, keyName = "", ...content } = await reading(
    file,
    readConnectionFile(file).then((content) => withKey(file, content)),
  );
  const all = [...caCerts, ...ca === undefined ? [] : [ca]];
  const { address, addresses, authkey } = content;
  return { address: addresses ?? address, authkey, keyName, caCerts: all, name };
}

/** Waits until the broker that the arguments name is there. */
async function waitForBroker(args: Arguments, signal: AbortSignal): Promise<void> {
  const bus = await busOf(args, { onState: tellState(complain) });
  try {
    await connect(bus, { signal, wait: true });
  } finally {
    await bus.disconnect();
  }
}

/** What this client is called in the lists of the broker. */
export function clientName(args: Arguments): string {
  const name = args.text("name");
  if (name === undefined) {
    const usual = `${PROGRAM} ${args.command} ${Deno.pid}`;
    return isTooLong(usual) ? `${args.command} ${Deno.pid}` : usual;
  }
  if (!isTooLong(name)) return name;
  throw new UsageError(`Option --name needs at most ${CLIENT_NAME_BYTES_MAX} bytes, not ${name}`);
}

function isTooLong(name: string): boolean {
  return new TextEncoder().encode(name).length > CLIENT_NAME_BYTES_MAX;
}

/** What the arguments say about the broker. */
interface Named {
  /** Its connection file; not used with `access`. */
  readonly file: string;
  /** Where it is, if the arguments say so. */
  readonly access: Pick<BrokerAccess, "address" | "authkey"> & { keyName?: string } | undefined;
  /** More certificates to trust, in PEM. */
  readonly caCerts: string[];
}

async function namedBy(args: Arguments): Promise<Named> {
  const file = args.text("connect");
  const addresses = addressesOf(args);
  const keyFile = args.text("authkey-file");
  const keyName = args.text("key-name");
  const caFile = args.text("tls-ca");
  const isByAddress = ["address", "authkey-file", "key-name"].some((name) => args.isGiven(name));
  if (isByAddress && (file !== undefined || addresses.length === 0 || keyFile === undefined)) {
    throw new UsageError(
      "Give --connect FILE, or both --address and --authkey-file, and --key-name if the key has one",
    );
  }
  if (caFile !== undefined && isByAddress && !parseAddresses(addresses).some(isSecured)) {
    const listed = addresses.join(", ");
    throw new UsageError(`Cannot use --tls-ca: there is no tls:// or wss:// address in ${listed}`);
  }
  const pem = caFile && await doing(`read ${caFile}`, Deno.readTextFile(caFile));
  const caCerts = pem === undefined ? [] : [certificatesIn(caFile!, pem)];
  if (!isByAddress) return { file: file ?? defaultFile(), access: undefined, caCerts };
  const authkey = await readKey(keyFile!);
  const access = { address: addresses, authkey, ...(keyName !== undefined && { keyName }) };
  return { file: "", access, caCerts };
}

/** Waits for what reads a connection file. */
async function reading<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await doing(`read ${path}`, work);
  } catch (error) { // Whatever it is; most often, the file is not there.
    if (!((error as Error).cause instanceof Deno.errors.NotFound)) throw error;
    throw new Error(
      `Cannot read ${path}: there is no such file; start a broker with it, give the file of a ` +
        "running one with --connect, or wait for one with --wait",
      { cause: error },
    );
  }
}

/** Says that messages are missing: the first time at once, then in sums, at most every second. */
class GapTeller implements Disposable {
  readonly #sums = new Map<string, { count: number; isKnown: boolean; resent: number }>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  take({ direction, reason, missed, resent = 0 }: Gap): void {
    const what = `${direction === "in" ? "Missed" : "May have lost"}:${reason}`;
    const sum = this.#sums.get(what) ?? { count: 0, isKnown: true, resent: 0 };
    sum.count += missed ?? 0;
    sum.isKnown &&= missed !== undefined;
    sum.resent += resent;
    this.#sums.set(what, sum);
    if (this.#timer === undefined) this.#tell();
  }

  #tell(): void {
    for (const [what, { count, isKnown, resent }] of this.#sums) {
      const [verb, reason] = what.split(":");
      const messages = isKnown ? counted(count) : "an unknown number of messages";
      const again = resent > 0 ? `; ${counted(resent)} may come twice` : "";
      complain(`${verb} ${messages} (${reason})${again}`);
    }
    this.#timer = this.#sums.size === 0 ? undefined : setTimeout(() => this.#tell(), GAPS_MS);
    this.#sums.clear();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#tell();
    clearTimeout(this.#timer);
  }
}

function counted(messages: number): string {
  return messages === 1 ? "1 message" : `${messages} messages`;
}
