/**
 * Dials: connects to an address, over TCP, TLS or a Unix socket.
 */
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import {
  type Address,
  type Endpoint,
  formatEndpoint,
  isSecured,
  isWeb,
  parseAddress,
  type WebEndpoint,
} from "./address.ts";
import { type Conn, Connection, secure } from "./connection.ts";
import { isNoDeno, needDeno } from "./runtime.ts";
import { tlsError } from "./tls_errors.ts";
import { NoUpgradeError } from "./websocket_upgrade.ts";

/** What is passed on as it is: it says what is wrong. */
const CLEAR = [AuthError, ConnectionLostError, ProtocolError, TypeError];

/** Whether something can never succeed in this program: it lacks a permission, or this is not Deno. */
export function isHopeless(error: unknown): boolean {
  return error instanceof Error && (error.name === "NotCapable" || isNoDeno(error));
}

/** Nobody answers at an address: another may be tried. */
export class UnreachableError extends ConnectionLostError {
  /** The same where it is said of which address. */
  readonly why: string;

  /** Says where and why. */
  constructor(endpoint: Endpoint, why: string, cause?: unknown) {
    super(`Cannot connect to ${formatEndpoint(endpoint)}: ${why}`, { cause });
    this.why = why;
  }
}

/**
 * Connects to an address.
 *
 * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
 * @throws {UnreachableError} If nobody answers there.
 * @throws {ConnectionLostError} If the connection is lost before it can be used.
 * @throws {AuthError} If the other side's certificate cannot be used.
 * @throws {ProtocolError} If it does not speak TLS, and has to.
 * @throws {TypeError} If a certificate to trust cannot be used.
 * @throws {DOMException} If there is no Deno; see {@linkcode needDeno}.
 * @throws The signal's reason, when it aborts before.
 */
export async function dial(
  address: Address | Endpoint,
  signal: AbortSignal,
  caCerts: readonly string[] = [],
): Promise<Connection> {
  const endpoint = isEndpoint(address) ? address : parseAddress(address);
  needDeno(`connect to ${formatEndpoint(endpoint)}`);
  signal.throwIfAborted();
  try {
    const conn = await connect(endpoint, signal, caCerts);
    const connection = new Connection(conn);
    if (signal.aborted) connection.close();
    signal.throwIfAborted();
    return isWeb(endpoint) ? await upgraded(connection, endpoint, signal) : connection;
  } catch (error) { // Refused, not found, unreachable, aborted; or a missing permission of Deno's.
    signal.throwIfAborted();
    if (error instanceof NoUpgradeError) {
      throw new UnreachableError(endpoint, `no broker answers (${error.message})`, error);
    }
    if (isHopeless(error) || CLEAR.some((kind) => error instanceof kind)) throw error;
    const what = error instanceof Error ? error.message : error;
    throw new UnreachableError(endpoint, `no broker answers (${what})`, error);
  }
}

function isEndpoint(address: Address | Endpoint): address is Endpoint {
  return typeof address === "object" && "transport" in address;
}

/** Asks for a WebSocket over a connection. */
async function upgraded(
  connection: Connection,
  endpoint: WebEndpoint,
  signal: AbortSignal,
): Promise<Connection> {
  const close = () => connection.close();
  signal.addEventListener("abort", close);
  try {
    await connection.upgrade(endpoint);
    return connection;
  } catch (error) { // What is no upgrade; or the connection is gone: but somebody was there.
    connection.close();
    if (error instanceof Error && CLEAR.some((kind) => error instanceof kind)) throw error;
    const what = error instanceof Error ? error.message : error;
    throw new ConnectionLostError(
      `Cannot connect to ${formatEndpoint(endpoint)}: the connection was lost (${what})`,
      { cause: error },
    );
  } finally {
    signal.removeEventListener("abort", close);
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
  const { hostname, port } = endpoint;
  const conn = await Deno.connect({ hostname, port, signal: lenient(signal) });
  if (!isSecured(endpoint)) return conn;
  try {
    return await secure(conn, hostname, signal, caCerts);
  } catch (error) { // The certificate, or what answers; a TypeError: what is to be trusted.
    signal.throwIfAborted();
    throw error instanceof TypeError ? error : tlsError(endpoint, error);
  }
}

/**
 * A signal that aborts with another, but throws nothing. Deno throws the reason of its signal also if
 * there is a connection already, which nobody could close then (seen on 2.9.6 and 2.6.8).
 */
function lenient(signal: AbortSignal): AbortSignal {
  const own = AbortSignal.any([signal]);
  own.throwIfAborted = () => {};
  return own;
}
