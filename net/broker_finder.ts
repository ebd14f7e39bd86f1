/**
 * Finds the broker of a client: at the address that it was given, or at that in a connection file.
 */
import { printable } from "../base/printable.ts";
import { ConnectionLostError } from "../errors.ts";
import { absolute, type Addresses, type Endpoint, parseAddresses, safeOf } from "../io/address.ts";
import { type ConnectionFile, isMissing, withKey } from "../io/connection_info.ts";
import type { Outside } from "../io/outside.ts";
import { checkCaCerts } from "../io/tls_errors.ts";
import { keyBytes, keyNameBytes } from "../protocol/handshake.ts";
import type { NetPubSubOptions } from "./options.ts";

/** Where a broker is, and its key. */
export interface Target {
  /** What to try, in this order; at least one. */
  readonly endpoints: readonly Endpoint[];
  /** What must not be tried after these: others could read what is sent there. */
  readonly unsafe: readonly Endpoint[];
  readonly key: Uint8Array;
  /** The name of the key. */
  readonly keyName: string;
  /** Certificates to trust besides those that the system trusts, in PEM. */
  readonly caCerts: readonly string[];
}

/** What a program, or a connection file, says about a broker. */
type BrokerInfo = Omit<ConnectionFile, "address" | "addresses" | "authkey"> & {
  readonly address: Addresses;
  readonly authkey: string | Uint8Array;
};

/** Finds the broker of one client, anew for each attempt to connect. */
export class BrokerFinder {
  /** How it is reached. */
  readonly outside: Outside;
  readonly #options: NetPubSubOptions;
  /** Where it is, as far as that is known. */
  #target: Target | undefined;
  /** The connection file to read each time, if there is one. */
  #file: string | URL | undefined;

  /**
   * Makes one that does not know its broker yet.
   *
   * @throws {TypeError} If the name of the key, or a certificate to trust, is of the wrong kind.
   * @throws {RangeError} If it is too long.
   */
  constructor(options: NetPubSubOptions, outside: Outside) {
    this.outside = outside;
    this.#options = options;
    if (options.keyName !== undefined) keyNameBytes(options.keyName);
    checkCaCerts(options.tls?.caCerts ?? []);
  }

  /**
   * Finds this broker from now on, for which no file is read.
   *
   * @throws {TypeError} If the address is not a valid one, or the key is of the wrong kind.
   * @throws {RangeError} If the key is empty.
   */
  set(broker: BrokerInfo): void {
    this.#target = this.#targetOf(broker);
    this.#file = undefined;
  }

  /**
   * Finds the broker of a connection file from now on. The file need not be there yet.
   *
   * @throws {TypeError} If it is not a path.
   * @throws {Error} If there is a file, and it cannot be used, as `readConnectionFile` says.
   */
  async follow(file: string | URL): Promise<void> {
    checkPath(file);
    try {
      this.#target = await this.#read(file);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.#file = absolute(file);
  }

  async #read(file: string | URL): Promise<Target> {
    const content = withKey(file, await this.outside.readConnectionFile(file));
    return this.#targetOf({ ...content, address: content.addresses ?? content.address });
  }

  #targetOf({ address, authkey, keyName = "", ca }: BrokerInfo): Target {
    const all = parseAddresses(address);
    const endpoints = safeOf(all);
    const unsafe = all.filter((endpoint) => !endpoints.includes(endpoint));
    if (endpoints.length === 0) throw new TypeError("Cannot use the address: there is none");
    const { keyName: name = keyName, tls } = this.#options;
    keyNameBytes(name);
    const caCerts = [...tls?.caCerts ?? [], ...ca === undefined ? [] : [ca]];
    return { endpoints, unsafe, key: keyBytes(authkey), keyName: name, caCerts };
  }

  /**
   * Where the broker is now.
   *
   * @param waits Whether the caller waits for a file that is not there.
   * @throws {ConnectionLostError} If there is no connection file.
   * @throws {Error} If it cannot be used, as `readConnectionFile` says.
   */
  async find({ waits }: { readonly waits: boolean }): Promise<Target> {
    const file = this.#file;
    if (file === undefined) return this.#target!;
    try {
      return this.#target = await this.#read(file);
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new ConnectionLostError(
        `Cannot connect: there is no connection file ${file}; start a broker with it` +
          (waits ? "" : ", or wait for one with connect({ wait: true })"),
        { cause: error },
      );
    }
  }
}

/** Some runtimes look for a file of the name "undefined" when they are given `undefined`. */
function checkPath(file: unknown): void {
  if (typeof file === "string" && file !== "" || file instanceof Object && "href" in file) return;
  const what = typeof file === "string" ? "empty" : printable(String(file), 80);
  throw new TypeError(
    `Cannot read the connection file: its path is ${what}; it must be a text or a URL`,
  );
}
