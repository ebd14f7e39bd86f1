/**
 * Upgrades a request of somebody else's server to a WebSocket.
 */
import { isLoopback } from "./address.ts";
import { Connection } from "./connection.ts";
import { SocketObject } from "./socket_object.ts";
import { isAllowed, NO_BUS } from "./websocket_upgrade.ts";

/** A connection, and what the server must answer for it to open. */
export interface Upgraded {
  readonly connection: Connection;
  readonly response: Response;
}

/** Upgrades a request, or says why not; pages of these origins may connect besides those of the same host. */
export function upgradeRequest(
  request: Request,
  origins: readonly string[],
): Upgraded | Response {
  const { hostname, host } = new URL(request.url);
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const headers = { upgrade: "websocket" };
    return new Response(`${NO_BUS}\n`, { status: 426, headers });
  }
  const origin = request.headers.get("origin");
  const isLocal = isLoopback({ transport: "tcp", hostname, port: 0 });
  if (
    origin !== null && !isAllowed(origin, request.headers.get("host") ?? host, origins, isLocal)
  ) {
    return new Response(`Pages of this origin may not connect: ${origin}\n`, { status: 403 });
  }
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
  return { connection: new Connection(new SocketObject(socket)), response };
}
