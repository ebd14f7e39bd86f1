/**
 * Finds the broker of a client: at the address that it was given, or where a source says, such as a
 * connection file.
 */
import {
  type Address,
  type Addresses,
  type Endpoint,
  formatEndpoint,
  listAddresses,
  safeOf,
} from "../io/address.ts";
import type { ConnectionInfo } from "../io/connection_info.ts";
import type { Outside } from "../io/outside.ts";
import { keyBytes, keyNameBytes } from "../protocol/handshake.ts";
import type { NetPubSubOptions } from "./options.ts";

/** Where a broker is, and its key. */
export interface Target {
  /** What to try, in this order; at least one. */
  readonly endpoints: readonly Endpoint[];
  /** Which addresses are not tried, each with the reason. */
  readonly skipped: readonly string[];
  readonly key: Uint8Array;
  /** The name of the key. */
  readonly keyName: string;
  /** Certificates to trust besides those that the system trusts, in PEM. */
  readonly caCerts: readonly string[];
}

/** What a program, or a source, says about a broker. */
export type BrokerInfo = Pick<ConnectionInfo, "keyName" | "ca"> & {
  readonly address: Addresses;
  readonly authkey: string | Uint8Array;
};

/** How a broker is looked for. */
export interface FindOptions {
  /** Whether the caller waits for what is not there. */
  readonly waits: boolean;
  /** Ends the search; it then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/** What says where a broker is, anew for each attempt to connect. */
export type Source = (options: FindOptions) => Promise<BrokerInfo>;

/** Finds the broker of one client, anew for each attempt to connect. */
export class BrokerFinder {
  /** How it is reached. */
  readonly outside: Outside;
  readonly #options: NetPubSubOptions;
  /** Where it is, if that is given. */
  #target: Target | undefined;
  /** Says where it is, if that is not given. */
  #source: Source | undefined;
  #isSpared = false;

  /**
   * Makes one that does not know its broker yet.
   *
   * @throws {TypeError} If the name of the key is of the wrong kind.
   * @throws {RangeError} If it is too long.
   */
  constructor(options: NetPubSubOptions, outside: Outside) {
    this.outside = outside;
    this.#options = options;
    if (options.keyName !== undefined) keyNameBytes(options.keyName);
  }

  /**
   * Finds this broker from now on.
   *
   * @throws {TypeError} If no address is a valid one that can be used here, or the key is of the wrong kind.
   * @throws {RangeError} If the key is empty.
   */
  set(broker: BrokerInfo): void {
    this.#target = this.check(broker);
  }

  /**
   * Finds the broker where a source says from now on.
   *
   * @param isSpared Whether it is work for others to say that.
   */
  follow(source: Source, isSpared = false): void {
    this.#target = undefined;
    this.#source = source;
    this.#isSpared = isSpared;
  }

  /** Whether it is work for others to say where the broker is, so that it is not to be asked in haste. */
  get isSpared(): boolean {
    return this.#target === undefined && this.#isSpared;
  }

  /** What `set` would find; throws what it throws. */
  check({ address, authkey, keyName = "", ca }: BrokerInfo): Target {
    const usable: Endpoint[] = [];
    const skipped: string[] = [];
    for (const one of listAddresses(address)) {
      const endpoint = this.outside.endpointOf(one);
      if (typeof endpoint === "string") skipped.push(endpoint);
      else usable.push(endpoint);
    }
    const endpoints = safeOf(usable);
    if (endpoints.length === 0) {
      throw new TypeError(`Cannot use the address: ${skipped.join("; ") || "there is none"}`);
    }
    const unsafe = usable.filter((endpoint) => !endpoints.includes(endpoint));
    skipped.push(
      ...unsafe.map((one) => `${formatEndpoint(one)}: not tried without TLS after one with TLS`),
    );
    const { keyName: name = keyName, tls } = this.#options;
    keyNameBytes(name);
    const caCerts = [...tls?.caCerts ?? [], ...ca === undefined ? [] : [ca]];
    return { endpoints, skipped, key: keyBytes(authkey), keyName: name, caCerts };
  }

  /**
   * Where the broker is now.
   *
   * @throws {ConnectionLostError} If the source cannot say it now.
   * @throws {Error} If what it says cannot be used.
   */
  async find(options: FindOptions): Promise<Target> {
    return this.#target ?? this.check(await this.#source!(options));
  }
}

/**
 * The finder of a new object; what makes one otherwise than by an address passes it as the address.
 *
 * @throws What `BrokerFinder.set` throws.
 */
export function finderOf(
  address: Addresses | BrokerFinder,
  authkey: string | Uint8Array,
  make: () => BrokerFinder,
): BrokerFinder {
  if (address instanceof BrokerFinder) return address;
  const finder = make();
  finder.set({ address, authkey });
  return finder;
}

/** A finder as the address of a new object; see {@linkcode finderOf}. */
export function asAddress(finder: BrokerFinder): Address {
  return finder as unknown as Address;
}
