/**
 * What the commands that speak to a broker have in common: how they find it, what they say when
 * something happens to the connection, and how a signal ends them.
 */
import { readConnectionFile, withKey } from "./address.ts";
import {
  type Arguments,
  complain,
  doing,
  messageOf,
  type Option,
  UsageError,
} from "./cli_command.ts";
import { addressOf, defaultFile, readKey } from "./cli_files.ts";
import { StopSignals } from "./cli_signals.ts";
import { ForbiddenError } from "./errors.ts";
import { type Gap, NetPubSub, type NetPubSubOptions, type State } from "./net.ts";

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
    about: "Instead: where it listens",
  },
  { name: "authkey-file", value: "PATH", about: "and its key, in a file that only you can read" },
];

/** The status of a command that a signal has interrupted. */
export const INTERRUPTED = 130;
/** How long a first answer may take. */
const CONNECT_MS = 10_000;

/** What a command does with its broker. */
export interface Client {
  /** The connected bus. */
  readonly bus: NetPubSub;
  /** Aborts with the first signal. */
  readonly signal: AbortSignal;
  /** How many problems were told on standard error. */
  readonly problems: { count: number };
}

/** What a command may add. */
export interface ClientOptions {
  /** Takes a gap; otherwise it is told on standard error. */
  onGap?(gap: Gap): void;
  /** Subscribes, before the connection is made. */
  prepare?(bus: NetPubSub): void;
  /** Says what happens to the connection; otherwise on standard error. */
  tell?(text: string): void;
}

/**
 * Connects to the broker that the arguments name, does `work`, and disconnects.
 *
 * - A second signal, a second or more after the first, ends the program at once.
 *
 * @returns The status: that of `work`, or 130 when it was interrupted.
 */
export async function withBroker(
  args: Arguments,
  work: (client: Client) => Promise<number | void>,
  { onGap = tellGap, prepare, tell = complain }: ClientOptions = {},
): Promise<number> {
  using stop = new StopSignals();
  stop.onAgain = () => Deno.exit(INTERRUPTED);
  const { signal } = stop;
  const problems = { count: 0 };
  const bus = await busOf(args, {
    onGap,
    onError(error) {
      problems.count++;
      // That is what connect() then rejects with.
      if (!(error instanceof ForbiddenError && bus.state === "connecting")) tell(messageOf(error));
    },
    onState: tellState(tell),
  });
  try {
    prepare?.(bus);
    await connect(bus, signal);
    const status = await work({ bus, signal, problems });
    return signal.aborted ? INTERRUPTED : status ?? 0;
  } catch (error) { // Aborting is how an interrupted command ends.
    if (signal.aborted && error === signal.reason) return INTERRUPTED;
    throw error;
  } finally {
    // What was published goes out, whatever happened.
    await bus.disconnect();
  }
}

/** Tells when the connection is lost and made again. */
function tellState(tell: (text: string) => void): (state: State, reason?: Error) => void {
  let isLost = false;
  return (state, reason) => {
    if (state === "reconnecting" && !isLost) {
      tell(`Lost the connection, trying again (${messageOf(reason)})`);
    }
    if (state === "connected" && isLost) tell("Connected again");
    isLost = state === "reconnecting";
  };
}

/** Connects, if a broker answers in time. */
export async function connect(bus: NetPubSub, signal?: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(CONNECT_MS);
  try {
    await bus.connect({ signal: AbortSignal.any([timeout, ...signal ? [signal] : []]) });
  } catch (error) { // Whatever is in the way, or nothing happened.
    if (!timeout.aborted) throw error;
    throw new Error(`Cannot connect: no answer within ${CONNECT_MS} ms`, { cause: error });
  }
}

/** A bus for the broker that the arguments name, not connected yet. */
export async function busOf(args: Arguments, options: NetPubSubOptions): Promise<NetPubSub> {
  const named = await namedBy(args);
  if (typeof named === "string") return await reading(named, NetPubSub.fromFile(named, options));
  return new NetPubSub(named.address, named.authkey, options);
}

/** Where a broker is, and the key with which it lets a client in. */
export interface BrokerAccess {
  readonly address: string;
  readonly authkey: Uint8Array;
  /** The name of the key. */
  readonly keyName: string;
  /** What vouches for the broker's certificate, in PEM. */
  readonly ca: string | undefined;
}

/** What it takes to connect to the broker that the arguments name, now; other threads can have it. */
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
  } catch (error) { // Whatever it is; one that is not there is the usual one.
    if (!((error as Error).cause instanceof Deno.errors.NotFound)) throw error;
    throw new Error(
      `Cannot read ${path}: there is no such file; start a broker with it, or name that of one ` +
        "with --connect",
      { cause: error },
    );
  }
}

/** Says that messages are missing. */
export function tellGap({ direction, reason, missed, resent }: Gap): void {
  const count = missed === undefined ? "an unknown number of messages" : `${missed} messages`;
  const again = resent ? `; ${resent} were sent again` : "";
  const verb = direction === "in" ? "Missed" : "May have lost";
  complain(`${verb} ${count} (${reason})${again}`);
}
