/**
 * Upgrades a request of somebody else's server to a WebSocket.
 */
import { Connection } from "./connection.ts";
import { SocketObject } from "./socket_object.ts";
import {
  isAllowed,
  NO_BUS,
  NO_GET,
  notAllowed,
  UPGRADE,
  VERSION,
  WRONG_VERSION,
} from "./websocket_upgrade.ts";

/** A connection, and what the server must answer for it to open. */
export interface Upgraded {
  readonly connection: Connection;
  readonly response: Response;
}

/**
 * Upgrades a request, or says why not.
 *
 * @param origins Whose pages may connect besides those of the same host.
 * @param messageBytes The largest message that may come.
 */
export function upgradeRequest(
  request: Request,
  origins: readonly string[],
  messageBytes: number,
): Upgraded | Response {
  const { host } = new URL(request.url);
  if (!/(?:^|[\s,])websocket(?:$|[\s,])/i.test(request.headers.get("upgrade") ?? "")) {
    return refusal(426, NO_BUS, UPGRADE);
  }
  // Deno looks at neither.
  if (request.method !== "GET") return refusal(405, NO_GET, { allow: "GET" });
  if (request.headers.get("sec-websocket-version") !== VERSION) {
    return refusal(426, WRONG_VERSION, { ...UPGRADE, "sec-websocket-version": VERSION });
  }
  const origin = request.headers.get("origin");
  // Where the server listens is not known here, but by what name it was asked.
  if (origin !== null && !isAllowed(origin, request.headers.get("host") ?? host, origins, true)) {
    return refusal(403, notAllowed(origin));
  }
  try {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    return { connection: new Connection(new SocketObject(socket, messageBytes)), response };
  } catch (error) { // The request is not one of RFC 6455, or was answered.
    return refusal(400, `Cannot open a WebSocket: ${(error as Error).message}`);
  }
}

/** An answer in words. */
export function refusal(status: number, text: string, headers = {}): Response {
  return new Response(`${text}\n`, { status, headers });
}
