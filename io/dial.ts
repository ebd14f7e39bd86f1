/**
 * Dials: connects to an address, over TCP, TLS or a Unix socket.
 */
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import {
  type Address,
  type Endpoint,
  formatEndpoint,
  isWeb,
  parseAddress,
  WEB_PORTS,
  type WebEndpoint,
} from "./address.ts";
import type { Conn } from "./conn.ts";
import { Connection } from "./connection.ts";
import { isHopeless, UnreachableError } from "./dial_errors.ts";
import { runtimeFor } from "./runtime.ts";
import { WebSocketStream } from "./websocket.ts";
import { askForUpgrade, NoUpgradeError } from "./websocket_upgrade.ts";

/** What is passed on as it is: it says what is wrong. */
const CLEAR = [AuthError, ConnectionLostError, ProtocolError, TypeError];

/**
 * Connects to an address.
 *
 * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
 * @throws {UnreachableError} If nobody answers there.
 * @throws {ConnectionLostError} If the connection is lost before it can be used.
 * @throws {AuthError} If the other side's certificate cannot be used.
 * @throws {ProtocolError} If it does not speak TLS, and has to.
 * @throws {TypeError} If a certificate to trust cannot be used.
 * @throws {DOMException} If this runtime has no sockets; see {@linkcode runtimeFor}.
 * @throws The signal's reason, when it aborts before.
 */
export async function dial(
  address: Address | Endpoint,
  signal: AbortSignal,
  caCerts: readonly string[] = [],
): Promise<Connection> {
  const endpoint = isEndpoint(address) ? address : parseAddress(address);
  const runtime = runtimeFor(`connect to ${formatEndpoint(endpoint)}`);
  signal.throwIfAborted();
  try {
    const conn = await runtime.connect(endpoint, signal, caCerts);
    if (signal.aborted) conn.close();
    signal.throwIfAborted();
    return isWeb(endpoint) ? await upgraded(conn, endpoint, signal) : new Connection(conn);
  } catch (error) { // Refused, not found, unreachable, aborted; or a missing permission.
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
  conn: Conn,
  endpoint: WebEndpoint,
  signal: AbortSignal,
): Promise<Connection> {
  const { transport, hostname, port, path } = endpoint;
  const name = hostname.includes(":") ? `[${hostname.replace(/%.*/, "")}]` : hostname;
  const host = port === WEB_PORTS[transport] ? name : `${name}:${port}`;
  const carrier = new Connection(conn);
  const close = () => carrier.close();
  signal.addEventListener("abort", close);
  try {
    const first = await askForUpgrade(conn, host, path);
    signal.throwIfAborted(); // It may have closed since.
    return new Connection(conn, new WebSocketStream(conn, true, first));
  } catch (error) { // What is no upgrade; or the connection is gone: but somebody was there.
    carrier.close();
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
