/**
 * The connections that are not authenticated yet; and, in another of these, those that have no session
 * yet, find no place, or lost theirs and are about to end. Their number is limited, in all and for one
 * address, so that whoever only connects takes little from the broker and nothing from the others. At the limit a new one replaces the oldest: a client that knows its key is through in
 * a moment, one that sends nothing stays. The limits are in options.ts.
 */
import { later } from "../base/timers.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { BusyError } from "../protocol/authenticate.ts";
import type { Refusals } from "./stats.ts";

/** A connection as it is seen here. */
export interface Caller {
  /** The IP address that it comes from; `undefined` for a Unix socket. */
  readonly remoteAddress: string | undefined;
  /** Ends it. */
  close(): void;
}

/** How many connections may be without a session at a time. */
export interface AdmissionLimits {
  /** In all. */
  readonly halfOpen: number;
  /** From one address. */
  readonly halfOpenPerAddress: number;
}

/** One connection without a session. */
export class Entrant<C extends Caller> {
  /** The connection. */
  readonly caller: C;
  /** What counts as one address; see {@linkcode networkOf}. */
  readonly network: string | undefined;
  readonly #gone = Promise.withResolvers<void>();
  #refusal: { readonly kind: keyof Refusals; readonly error: Error } | undefined;

  /** Use {@linkcode Admission.enter}. */
  constructor(caller: C) {
    this.caller = caller;
    this.network = caller.remoteAddress && networkOf(caller.remoteAddress);
  }

  /** Closes it, for a reason of the broker's. */
  refuse(kind: keyof Refusals, text: string): void {
    this.#refusal ??= { kind, error: new ProtocolError(`Cannot authenticate a client: ${text}`) };
    this.#gone.resolve();
    this.caller.close();
  }

  /** Whether the broker closed it. */
  get isRefused(): boolean {
    return this.#refusal !== undefined;
  }

  /** Why it was refused, when its handshake ended with `error`. */
  refusal(error: unknown): { readonly kind: keyof Refusals; readonly error: Error } {
    if (this.#refusal !== undefined) return this.#refusal;
    if (error instanceof AuthError) return { kind: error.expired ? "expired" : "key", error };
    if (error instanceof BusyError) return { kind: "busy", error };
    if (error instanceof ProtocolError) return { kind: "protocol", error };
    if (error instanceof ConnectionLostError) return { kind: "lost", error };
    const why = error instanceof Error ? error.message : error;
    const lost = new ConnectionLostError(`Cannot authenticate a client: ${why}`, { cause: error });
    return { kind: "lost", error: lost };
  }

  /** Waits for `ms`, or until it is refused. */
  async pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = later(resolve, ms);
    await Promise.race([promise, this.#gone.promise]);
    timer.cancel();
  }
}

/** Limits the number of connections without a session. */
export class Admission<C extends Caller> {
  readonly #limits: AdmissionLimits;
  /** The oldest first. */
  readonly #all = new Set<Entrant<C>>();
  readonly #byNetwork = new Map<string, Set<Entrant<C>>>();

  /** Makes one without connections. */
  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** How many there are. */
  get size(): number {
    return this.#all.size;
  }

  /** All of them, the oldest first. */
  entrants(): Iterable<Entrant<C>> {
    return this.#all;
  }

  /** Takes a new one; the oldest goes if there are too many. */
  enter(caller: C): Entrant<C> {
    const entrant = new Entrant(caller);
    const { network } = entrant;
    const { halfOpen, halfOpenPerAddress } = this.#limits;
    if (network !== undefined) {
      let neighbours = this.#byNetwork.get(network);
      if (neighbours === undefined) this.#byNetwork.set(network, neighbours = new Set());
      neighbours.add(entrant);
      this.#bound(neighbours, halfOpenPerAddress, `from ${network}`);
    }
    this.#all.add(entrant);
    this.#bound(this.#all, halfOpen, "in all");
    return entrant;
  }

  #bound(entrants: Set<Entrant<C>>, limit: number, which: string): void {
    if (entrants.size <= limit) return;
    const [oldest] = entrants;
    oldest!.refuse("crowded", `it was the oldest of more than ${limit} ${which}`);
    this.leave(oldest!);
  }

  /** Closes the older half: no descriptors are left for new connections. */
  shed(): void {
    let count = Math.ceil(this.#all.size / 2);
    for (const entrant of this.#all) {
      if (count-- === 0) return;
      entrant.refuse("crowded", "there are no descriptors left");
      this.leave(entrant);
    }
  }

  /** Forgets one that has a session or has ended; twice is once. */
  leave(entrant: Entrant<C>): void {
    this.#all.delete(entrant);
    const { network } = entrant;
    if (network === undefined) return;
    const neighbours = this.#byNetwork.get(network);
    neighbours?.delete(entrant);
    if (neighbours?.size === 0) this.#byNetwork.delete(network);
  }
}

/**
 * What counts as one address: of IPv6 the first 64 bits, because whoever has one address of such a
 * network has them all.
 */
function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const { hostname } = new URL(`http://[${address.replace(/%.*/, "")}]/`);
  const [left = "", right] = hostname.slice(1, -1).split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const zeros = new Array<string>(8 - head.length - tail.length).fill("0");
  const groups = [...head, ...zeros, ...tail];
  if (groups.slice(0, 6).join(":") !== "0:0:0:0:0:ffff") {
    return groups.slice(0, 4).join(":") + "::/64";
  }
  const [high, low] = [parseInt(groups[6]!, 16), parseInt(groups[7]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
