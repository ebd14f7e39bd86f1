/**
 * What a client needs of the world outside its program; the doors give it to their class.
 */
import type { Endpoint } from "./address.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionFile } from "./connection_info.ts";
import type { PageListener } from "./page_events.ts";

/** How a client reaches its broker. */
export interface Outside {
  /** Connects; see `dial` in `dial.ts`. */
  dial(endpoint: Endpoint, signal: AbortSignal, caCerts: readonly string[]): Promise<Connection>;
  /** Reads a broker's connection file; see `readConnectionFile` in `connection_file.ts`. */
  readConnectionFile(path: string | URL): Promise<ConnectionFile>;
  /** Follows the life of the page; see `watchPage` in `page_events.ts`. There in browsers only. */
  readonly watchPage?: ((listener: PageListener) => () => void) | undefined;
}
