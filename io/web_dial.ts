/**
 * Dials by the platform's `WebSocket`: what a page has to connect with.
 */
import { type Endpoint, formatEndpoint } from "./address.ts";
import { Connection } from "./connection.ts";
import { isHopeless, notSupported, UnreachableError } from "./dial_errors.ts";
import { page } from "./page.ts";
import { SocketObject } from "./socket_object.ts";

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
  const stream = new SocketObject(socketAt(endpoint, address), 0);
  const close = () => stream.close();
  signal.addEventListener("abort", close);
  try {
    await stream.opened;
    return new Connection(stream);
  } catch (error) { // It has closed before it was open.
    signal.throwIfAborted();
    throw new UnreachableError(endpoint, `no broker answers (${(error as Error).message})`, error);
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
