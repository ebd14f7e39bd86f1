/**
 * A function of the program, as what tells its client where the broker is: `NetPubSub.from`.
 */
import { clock } from "../base/clock.ts";
import { later } from "../base/timers.ts";
import { textOf } from "../base/warn.ts";
import { ConnectionLostError } from "../errors.ts";
import { type ConnectionFile, connectionInfo } from "../io/connection_info.ts";
import type { Outside } from "../io/outside.ts";
import type { BrokerInfo, FindOptions, Source } from "./broker_finder.ts";

/** How long the function may take. */
const ASK_MS = 10_000;

/** What a program gives. */
export type Ask = () => ConnectionFile | Promise<ConnectionFile>;

/**
 * A source that asks a function. If that has a ticket which has expired meanwhile, it is asked once more.
 *
 * @param ms How long the function may take.
 * @throws {TypeError} If it is not a function.
 */
export function askedOf(ask: Ask, outside: Outside, ms = ASK_MS): Source {
  if (typeof ask !== "function") {
    throw new TypeError(`Cannot use ${typeof ask} for NetPubSub.from: it must be given a function`);
  }
  return async (options) => {
    const { info, isOver } = await askOnce(ask, outside, options, ms);
    return isOver ? (await askOnce(ask, outside, options, ms)).info : info;
  };
}

async function askOnce(
  ask: Ask,
  outside: Outside,
  { signal }: FindOptions,
  ms: number,
): Promise<{ info: BrokerInfo; isOver: boolean }> {
  const fields = await answerOf(ask, signal, ms);
  try {
    if (fields instanceof Response) {
      throw new TypeError("it is a Response; return its content: response.json()");
    }
    const { authkey, address: first = outside.home, addresses, ...rest } = connectionInfo(
      fields,
      outside.endpointOf,
    );
    if (authkey === undefined) throw new TypeError("it has no authkey");
    if (rest.expires !== undefined && rest.keyName === undefined) {
      throw new TypeError("it has no keyName, which says all that a ticket grants");
    }
    const address = addresses ?? first;
    if (address === undefined) throw new TypeError("it has no address");
    const info = { ...rest, authkey, address };
    // A clock may be wrong: whether it has expired is for the broker to say.
    return { info, isOver: rest.expires !== undefined && rest.expires <= clock.date() };
  } catch (error) {
    const why = whyOf(error); // A getter of its own may throw anything.
    throw new TypeError(
      `Cannot connect: what the function of NetPubSub.from returned cannot be used (${why})`,
    );
  }
}

/** What the function answers, which may take a while, and may be for ever. */
async function answerOf(ask: Ask, signal: AbortSignal, ms: number): Promise<ConnectionFile> {
  const late = Promise.withResolvers<never>();
  const abort = () => late.reject(signal.reason);
  const tooLate = failed(`it did not answer within ${ms} ms`);
  const timer = later(() => late.reject(tooLate), ms, true);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([late.promise, (async () => await ask())()]);
  } catch (error) { // Whatever it throws: a TypeError of fetch says that there is no network.
    signal.throwIfAborted();
    if (error === tooLate) throw error;
    throw failed(whyOf(error), error);
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", abort);
  }
}

function whyOf(error: unknown): string {
  return textOf(error instanceof Error ? error.message : error);
}

function failed(why: string, cause?: unknown): ConnectionLostError {
  return new ConnectionLostError(
    `Cannot connect: the function of NetPubSub.from failed (${why})`,
    { cause },
  );
}
