/**
 * Finds the broker of a client: at the address that it was given, or at that in a connection file.
 */
import { ConnectionLostError } from "../errors.ts";
import { absolute, type Address, formatEndpoint, isExposed, parseAddress } from "../io/address.ts";
import {
  type ConnectionFile,
  isMissing,
  readConnectionFile,
  withKey,
} from "../io/connection_file.ts";
import { keyBytes, keyNameBytes } from "../protocol/handshake.ts";
import type { NetPubSubOptions } from "./options.ts";

/** Where a broker is, and its key. */
export interface Target {
  readonly address: Address;
  readonly key: Uint8Array<ArrayBuffer>;
  /** The name of the key. */
  readonly keyName: string;
  /** Certificates to trust besides those that the system trusts, in PEM. */
  readonly caCerts: readonly string[];
}

/** What a program, or a connection file, says about a broker. */
type BrokerInfo = Omit<ConnectionFile, "address" | "authkey"> & {
  readonly address: Address;
  readonly authkey: string | Uint8Array;
};

/** Finds the broker of one client, anew for each attempt to connect. */
export class BrokerFinder {
  readonly #options: NetPubSubOptions;
  #target: Target;
  /** The connection file to read each time, if there is one. */
  #file: string | URL | undefined;
  /** Whether it has warned of a connection without TLS. */
  #warned = false;

  /**
   * Makes one that finds this broker.
   *
   * @throws {TypeError} If the address is not a valid one, or the key is of the wrong kind.
   * @throws {RangeError} If the key is empty.
   */
  constructor(broker: BrokerInfo, options: NetPubSubOptions) {
    this.#options = options;
    this.#target = this.#targetOf(broker);
  }

  /** Finds another broker from now on, for which no file is read. */
  set(broker: BrokerInfo): void {
    this.#target = this.#targetOf(broker);
    this.#file = undefined;
  }

  /** Finds the broker of a connection file from now on; `broker` is what it says now. */
  follow(file: string | URL, broker: BrokerInfo): void {
    this.#target = this.#targetOf(broker);
    this.#file = absolute(file);
  }

  #targetOf({ address, authkey, keyName = "", ca }: BrokerInfo): Target {
    parseAddress(address);
    const { keyName: name = keyName, tls } = this.#options;
    keyNameBytes(name);
    const caCerts = [...tls?.caCerts ?? [], ...ca === undefined ? [] : [ca]];
    return { address, key: keyBytes(authkey), keyName: name, caCerts };
  }

  /**
   * Where the broker is now.
   *
   * @param warn Called once if messages can be read on the way.
   * @throws {ConnectionLostError} If there is no connection file.
   */
  async find(warn: (warning: Error) => void): Promise<Target> {
    if (this.#file !== undefined) await this.#read(this.#file);
    const endpoint = parseAddress(this.#target.address);
    if (!this.#warned && isExposed(endpoint)) {
      this.#warned = true;
      const shown = formatEndpoint(endpoint);
      warn(
        new Error(
          `Connecting to ${shown} without TLS: messages can be read and changed on the way`,
        ),
      );
    }
    return this.#target;
  }

  async #read(file: string | URL): Promise<void> {
    try {
      this.#target = this.#targetOf(withKey(file, await readConnectionFile(file)));
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new ConnectionLostError(
        `Cannot connect: there is no connection file ${file}; start a broker with it`,
        { cause: error },
      );
    }
  }
}
