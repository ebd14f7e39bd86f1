/**
 * Dials: connects to an address, over TCP, TLS or a Unix socket.
 */
import { printable } from "../base/printable.ts";
import { AuthError, ConnectionLostError } from "../errors.ts";
import { type Address, type Endpoint, formatEndpoint, parseAddress } from "./address.ts";
import { type Conn, Connection, secure } from "./connection.ts";
import { needDeno } from "./runtime.ts";

/** How much is shown of why a certificate is not trusted, which may list its names. */
const REASON_CHARS_MAX = 500;

/** Whether something failed because the program was not given a permission. */
export function isNotPermitted(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable;
}

/**
 * Connects to an address.
 *
 * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
 * @throws {ConnectionLostError} If nobody answers there.
 * @throws {AuthError} If the other side's certificate is not trusted.
 * @throws {DOMException} If there is no Deno; see {@linkcode needDeno}.
 * @throws The signal's reason, when it aborts before.
 */
export async function dial(
  address: Address,
  signal: AbortSignal,
  caCerts: readonly string[] = [],
): Promise<Connection> {
  const endpoint = parseAddress(address);
  needDeno(`connect to ${formatEndpoint(endpoint)}`);
  signal.throwIfAborted();
  try {
    const conn = await connect(endpoint, signal, caCerts);
    const connection = new Connection(conn);
    if (signal.aborted) connection.close();
    signal.throwIfAborted();
    return connection;
  } catch (error) { // Refused, not found, unreachable, aborted; or a missing permission of Deno's.
    signal.throwIfAborted();
    if (isNotPermitted(error)) throw error;
    const what = error instanceof Error ? error.message : error;
    if (error instanceof Deno.errors.InvalidData) throw notTrusted(endpoint, error);
    throw new ConnectionLostError(
      `Cannot connect to ${formatEndpoint(endpoint)}: no broker answers (${what})`,
      { cause: error },
    );
  }
}

async function connect(
  endpoint: Endpoint,
  signal: AbortSignal,
  caCerts: readonly string[],
): Promise<Conn> {
  if (endpoint.transport === "unix") {
    return await Deno.connect({ transport: "unix", path: endpoint.path });
  }
  const { transport, hostname, port } = endpoint;
  const conn = await Deno.connect({ hostname, port, signal });
  return transport === "tcp" ? conn : await secure(conn, hostname, signal, caCerts);
}

function notTrusted(endpoint: Endpoint, cause: Error): AuthError {
  return new AuthError(
    `Cannot connect to ${formatEndpoint(endpoint)}: its certificate is not trusted ` +
      `(${
        printable(cause.message, REASON_CHARS_MAX)
      }); to trust it, give it or its authority as tls: { caCerts }`,
    { cause },
  );
}
