/**
 * What a client needs of the world outside its program; the doors give it to their class.
 */
import type { Address, Endpoint } from "./address.ts";
import type { Connection } from "./connection.ts";
import type { PageListener } from "./page_events.ts";

/** How a client reaches its broker. */
export interface Outside {
  /** Connects; see `dial` in `dial.ts`. */
  dial(endpoint: Endpoint, signal: AbortSignal, caCerts: readonly string[]): Promise<Connection>;
  /**
   * Takes an address apart.
   *
   * @returns Why nobody can be reached there from here, as a text, if that is so.
   * @throws {TypeError} If it is not a valid address.
   * @throws {RangeError} If its port is over 65535, or its path is too long for a socket.
   */
  endpointOf(address: Address): Endpoint | string;
  /** The address of a broker of which none is told; absent where there must be one. */
  readonly home?: string;
  /** Follows the life of the page; see `watchPage` in `page_events.ts`. Absent where there is none. */
  readonly watchPage?: (listener: PageListener) => () => void;
  /** The name of the program, in so many bytes of UTF-8; absent where there are no programs. */
  programName?(bytesMax: number): string;
}
