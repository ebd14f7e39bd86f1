/**
 * What all commands that connect to a broker share: how they find it, what they print when something
 * happens to the connection, and how a signal ends them.
 */
import { AuthError, ConnectionLostError, ForbiddenError } from "../errors.ts";
import { readConnectionFile, withKey } from "../io/connection_file.ts";
import { type Gap, NetPubSub, type NetPubSubOptions, type State } from "../net.ts";
import { type Arguments, doing, messageOf, type Option, timeText, UsageError } from "./command.ts";
import { addressOf, defaultFile, readKey } from "./files.ts";
import { complain } from "./output.ts";
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
    about: "Instead of FILE: where the broker listens",
  },
  { name: "authkey-file", value: "PATH", about: "Its key for --address, in a private file" },
];

/** The status of a command that a signal has interrupted. */
export const INTERRUPTED = 130;
/** How long the first connection may take. */
const CONNECT_MS = 10_000;
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
  { onGap, prepare, tell = complain }: ClientOptions,
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
    await connect(bus, signal);
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

/** Says when the connection is lost and made again. */
function tellState(tell: (text: string) => void): (state: State, reason?: Error) => void {
  let told: string | undefined;
  return (state, reason) => {
    if (state === "connected" && told !== undefined) tell("Connected again");
    if (state !== "reconnecting") {
      told = undefined;
      return;
    }
    const why = messageOf(reason);
    // Later reasons only say that nobody answers yet; but a key that is refused is news.
    const isNews = told === undefined || reason instanceof AuthError && why !== told;
    if (!isNews) return;
    tell(`Lost the connection; trying again (${why})`);
    told = why;
  };
}

/** Connects, if a broker answers in time. */
export async function connect(bus: NetPubSub, signal?: AbortSignal): Promise<void> {
  await inTime(
    CONNECT_MS,
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
  const named = await namedBy(args);
  if (typeof named === "string") {
    await reading(named, readConnectionFile(named)); // Without a file there is nothing to wait for.
    return await reading(named, NetPubSub.fromFile(named, options));
  }
  return new NetPubSub(named.address, named.authkey, options);
}

/** The address of a broker, and a key for it. */
export interface BrokerAccess {
  readonly address: string;
  readonly authkey: Uint8Array;
  /** The name of the key. */
  readonly keyName: string;
  /** The certificate to trust for the broker, in PEM. */
  readonly ca: string | undefined;
}

/** What it takes to connect to the broker that the arguments name, in a form for other threads. */
export async function accessOf(args: Arguments): Promise<BrokerAccess> {
  const named = await namedBy(args);
  if (typeof named !== "string") return named;
  const { address, authkey, keyName = "", ca } = await reading(
    named,
    readConnectionFile(named).then((content) => withKey(named, content)),
  );
  return { address, authkey, keyName, ca };
}

/** The connection file that the arguments name, or the broker itself. */
async function namedBy(args: Arguments): Promise<string | BrokerAccess> {
  const file = args.text("connect");
  const address = addressOf(args);
  const keyFile = args.text("authkey-file");
  if (address === undefined && keyFile === undefined) return file ?? defaultFile();
  if (file !== undefined || address === undefined || keyFile === undefined) {
    throw new UsageError("Give --connect FILE, or both --address and --authkey-file");
  }
  return { address, authkey: await readKey(keyFile), keyName: "", ca: undefined };
}

/** Waits for what reads a connection file. */
async function reading<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await doing(`read ${path}`, work);
  } catch (error) { // Whatever it is; most often, the file is not there.
    if (!((error as Error).cause instanceof Deno.errors.NotFound)) throw error;
    throw new Error(
      `Cannot read ${path}: there is no such file; start a broker with it, or give the file of a ` +
        "running one with --connect",
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
