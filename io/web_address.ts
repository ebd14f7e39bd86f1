/**
 * Addresses for the platform's `WebSocket`, which in a page may leave out the page's own host.
 */
import {
  type Address,
  type Endpoint,
  formatEndpoint,
  isExposed,
  isWeb,
  parseAddress,
} from "./address.ts";
import { page } from "./page.ts";

/** The page's own host: what stands for an address that is left out. */
export const HOME = "/";

/**
 * Takes an address apart; see `Outside.endpointOf`. What begins with `/` is a path of the page's own host.
 */
export function webEndpointOf(address: Address): Endpoint | string {
  const isPath = typeof address === "string" && address.startsWith("/");
  const endpoint = parseAddress(isPath ? ownHost(address) + address : address);
  const shown = formatEndpoint(endpoint);
  if (!isWeb(endpoint)) {
    return `${shown}: a WebSocket needs an address that begins with ws:// or wss://; ` +
      "let the broker listen at one, too";
  }
  if (page().location?.protocol !== "https:" || !isExposed(endpoint)) return endpoint;
  return `${shown}: a page that came by https:// may use wss:// only`;
}

/** The beginning of an address on the page's own host. */
function ownHost(path: string): string {
  const { protocol, host } = page().location ?? {};
  if (host && (protocol === "http:" || protocol === "https:")) {
    return `${protocol === "http:" ? "ws" : "wss"}://${host}`;
  }
  throw new TypeError(
    `Cannot use address ${path}: ` +
      (protocol === undefined ? "this is not a page" : `this page has no host (${protocol})`) +
      '; write the whole address, such as "wss://host/bus"',
  );
}
