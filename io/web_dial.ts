/**
 * Dials by the platform's `WebSocket`: what a page has to connect with.
 */
import {
  type Endpoint,
  formatEndpoint,
  isLoopback,
  isSecured,
  type WebEndpoint,
} from "./address.ts";
import { Connection } from "./connection.ts";
import { isHopeless, notSupported, UnreachableError } from "./dial_errors.ts";
import { page } from "./page.ts";
import { SocketObject } from "./socket_object.ts";

/** The largest message that a broker may let pass. */
const MESSAGE_BYTES_MAX = 2 ** 30;

/**
 * Connects to the address of a WebSocket; which certificates are trusted is for the platform to say.
 *
 * @throws {UnreachableError} If nobody opens a WebSocket there; a page cannot know why.
 * @throws {DOMException} If this runtime has no `WebSocket`.
 * @throws The signal's reason, when it aborts before.
 */
export async function dialWeb(endpoint: Endpoint, signal: AbortSignal): Promise<Connection> {
  const address = formatEndpoint(endpoint);
  if (typeof WebSocket === "undefined") {
    throw notSupported(`Cannot connect to ${address}: this runtime has no WebSocket`);
  }
  signal.throwIfAborted();
  const stream = new SocketObject(socketAt(endpoint, address), MESSAGE_BYTES_MAX);
  const close = () => stream.close();
  signal.addEventListener("abort", close);
  try {
    await stream.opened;
    return new Connection(stream);
  } catch (error) { // It has closed before it was open.
    signal.throwIfAborted();
    const hint = hintFor(endpoint as WebEndpoint);
    const why = `no broker answers (${(error as Error).message})${hint}`;
    throw new UnreachableError(endpoint, why, error);
  } finally {
    signal.removeEventListener("abort", close);
  }
}

function socketAt(endpoint: Endpoint, address: string): WebSocket {
  try {
    return new WebSocket(address);
  } catch (error) { // What it cannot read, or is not to use; or a missing permission.
    if (isHopeless(error)) throw error;
    const { name, message } = error as Error;
    throw new UnreachableError(endpoint, `it cannot be used here (${name}: ${message})`, error);
  }
}

/** What to look at in a page, which is not told why; empty elsewhere. */
function hintFor(endpoint: WebEndpoint): string {
  const { location, origin } = page();
  if (location === undefined) return "";
  const hints = [
    "a broker listens there",
    isSecured(endpoint) && "this browser trusts its certificate",
    hintForOrigin(endpoint, location.hostname, origin),
    "connect-src of the page's Content-Security-Policy, if it has one, allows it",
  ];
  return `; a page is not told why: see that ${hints.filter(Boolean).join(", that ")}`;
}

function hintForOrigin(
  endpoint: WebEndpoint,
  own: string,
  origin: string | undefined,
): string | false {
  if (origin === "null") {
    return isLoopback(endpoint)
      ? "it listens on loopback only, as pages from disk, and in a sandbox, need it"
      : "this page has an origin: those from disk, and in a sandbox, may use a broker on this machine only";
  }
  return origin !== undefined && endpoint.hostname !== own &&
    `its option origins, or --origin, lists ${origin}`;
}
