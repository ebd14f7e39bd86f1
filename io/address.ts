/**
 * Addresses: how they are written, and who can reach a broker there.
 */

import { printable } from "../base/printable.ts";
import { operatingSystem, workingFolder } from "./process.ts";

/**
 * Where a broker listens.
 *
 * - `"unix:///run/bus.sock"`: a Unix socket.
 * - `"tcp://127.0.0.1:7411"`, `"127.0.0.1:7411"` or `["127.0.0.1", 7411]`: TCP.
 * - `"tls://bus.example.org:7411"`: TCP with TLS.
 * - `"ws://127.0.0.1:8080/bus"` and `"wss://bus.example.org/bus"`: a WebSocket, without and with TLS. The
 *   path is `/` if there is none, the port 80 or 443.
 * - In a string, an IPv6 address is in brackets. A broker that listens at port 0 gets any free port.
 */
export type Address = string | readonly [hostname: string, port: number];

/** One address, or several: an array whose second element is a number is one. */
export type Addresses = Address | readonly Address[];

/** An address, taken apart. */
export type Endpoint =
  | { readonly transport: "unix"; readonly path: string }
  | { readonly transport: "tcp" | "tls"; readonly hostname: string; readonly port: number }
  | WebEndpoint;

/** The address of a WebSocket, taken apart. */
export interface WebEndpoint {
  readonly transport: "ws" | "wss";
  readonly hostname: string;
  readonly port: number;
  readonly path: string;
}

/** Where a WebSocket connects that names no port. */
export const WEB_PORTS = { ws: 80, wss: 443 } as const;

const SHOWN_UNITS_MAX = 160;
/** An address of this machine. With a number over 255 it is a name, which a resolver may take anywhere. */
const LOOPBACK = /^(?:::ffff:)?127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}$/i;
/** The longest path of a Unix socket, in bytes: what Linux allows, and what other systems do. */
const LINUX_PATH_BYTES_MAX = 107;
const PATH_BYTES_MAX = 103;

/**
 * Takes an address apart.
 *
 * @throws {TypeError} If it is not a valid address.
 * @throws {RangeError} If its port is over 65535, or its path is too long for a socket.
 */
export function parseAddress(address: Address): Endpoint {
  if (Array.isArray(address)) return netEndpoint("tcp", address, address[0], address[1]);
  if (typeof address !== "string") throw badAddress(address);
  if (address.startsWith("unix://")) return unixEndpoint(address.slice("unix://".length));
  if (/^wss?:/.test(address)) return webEndpoint(address);
  const match = /^(?:(tcp|tls):\/\/)?(\[[^\s/[\]]+\]|[^\s:/[\]]+):(\d+)$/.exec(address);
  if (match === null) throw badAddress(address);
  const transport = match[1] === "tls" ? "tls" : "tcp";
  return netEndpoint(transport, address, match[2], Number(match[3]));
}

/**
 * Takes one address or several apart.
 *
 * @throws What {@linkcode parseAddress} throws.
 */
export function parseAddresses(addresses: Addresses): Endpoint[] {
  return listAddresses(addresses).map(parseAddress);
}

/** The addresses one by one. */
export function listAddresses(addresses: Addresses): readonly Address[] {
  if (!Array.isArray(addresses) || typeof addresses[1] === "number") return [addresses as Address];
  return addresses;
}

function webEndpoint(address: string): WebEndpoint {
  const match =
    /^(wss?):\/\/(\[[^\s/[\]]+\]|[^\s:/?#@[\]]+)(?::(\d+))?(\/[\w\-.~!$&'()*+,;=:@%/]*)?$/
      .exec(address);
  if (match === null) throw badAddress(address);
  const transport = match[1] as "ws" | "wss";
  const port = match[3] === undefined ? WEB_PORTS[transport] : Number(match[3]);
  const { hostname } = netEndpoint("tcp", address, match[2], port);
  return { transport, hostname, port, path: match[4] ?? "/" };
}

function unixEndpoint(path: string): Endpoint {
  if (path === "" || path.includes("\0")) throw badAddress(`unix://${path}`);
  if (!fitsSocket(path)) {
    throw new RangeError(
      `Cannot use address ${show(`unix://${path}`)}: ` +
        `its path has more than ${socketPathBytesMax()} bytes`,
    );
  }
  return { transport: "unix", path };
}

/** The longest path that the system allows for a Unix socket, in bytes. */
export function socketPathBytesMax(): number {
  return operatingSystem() === "linux" ? LINUX_PATH_BYTES_MAX : PATH_BYTES_MAX;
}

/** Whether a path is short enough for a Unix socket. */
export function fitsSocket(path: string): boolean {
  return new TextEncoder().encode(path).length <= socketPathBytesMax();
}

function netEndpoint(
  transport: "tcp" | "tls",
  address: Address,
  hostname: unknown,
  port: unknown,
): Extract<Endpoint, { transport: "tcp" | "tls" }> {
  if (typeof hostname !== "string" || hostname === "") throw badAddress(address);
  if (typeof port !== "number") throw badAddress(address);
  const literal = hostname.startsWith("[") ? ipv6InBrackets(hostname) : hostname;
  if (literal === undefined) throw badAddress(address);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(
      `Cannot use address ${show(address)}: the port must be from 0 to 65535`,
    );
  }
  return { transport, hostname: literal, port };
}

/** The IPv6 address in brackets, with its zone if it has one: `[fe80::1%eth0]`. */
function ipv6InBrackets(hostname: string): string | undefined {
  const [, ip, zone = ""] = /^\[([0-9a-fA-F:.]+)(%[\w.-]+)?\]$/.exec(hostname) ?? [];
  return ip !== undefined && URL.canParse(`http://[${ip}]/`) ? ip + zone : undefined;
}

function badAddress(address: unknown): TypeError {
  return new TypeError(
    `Cannot use address ${show(address)}: ` +
      `write "unix:///path/to.sock", "tcp://127.0.0.1:7411", "tls://host:7411", ` +
      `"ws://127.0.0.1:8080/bus", "wss://host/bus" or ["127.0.0.1", 7411]`,
  );
}

/** What is not an address, as an error shows it; it may come from a file. */
function show(address: unknown): string {
  return printable(JSON.stringify(address) ?? String(address), SHOWN_UNITS_MAX);
}

/** An endpoint as an address. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.transport === "unix") return `unix://${endpoint.path}`;
  const { transport, hostname, port } = endpoint;
  const path = isWeb(endpoint) && endpoint.path !== "/" ? endpoint.path : "";
  return `${transport}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}${path}`;
}

/** Whether a WebSocket is spoken there. */
export function isWeb(endpoint: Endpoint): endpoint is WebEndpoint {
  return endpoint.transport === "ws" || endpoint.transport === "wss";
}

/** Whether TLS is spoken there. */
export function isSecured({ transport }: Endpoint): boolean {
  return transport === "tls" || transport === "wss";
}

/** Whether only this machine can reach the endpoint. */
export function isLoopback(endpoint: Endpoint): boolean {
  if (endpoint.transport === "unix") return true;
  return endpoint.hostname === "localhost" || endpoint.hostname === "::1" ||
    LOOPBACK.test(endpoint.hostname);
}

/**
 * Those of a broker's endpoints that a client may try, in their order: after one with TLS none at which
 * others can read, so that whoever blocks the first gains nothing by it.
 */
export function safeOf(endpoints: readonly Endpoint[]): Endpoint[] {
  const secured = endpoints.findIndex(isSecured);
  return endpoints.filter((one, i) => secured < 0 || i < secured || !isExposed(one));
}

/** Whether others can read and change what is sent there. */
export function isExposed(endpoint: Endpoint): boolean {
  return !isSecured(endpoint) && !isLoopback(endpoint);
}

/**
 * What a person may not expect of who can reach a broker that listens at an endpoint, as the end of a
 * sentence; `undefined` if there is nothing to say.
 *
 * @param ip What its name stands for on this machine; a Unix socket has none.
 */
export function reachNotice(endpoint: Endpoint, ip: string | undefined): string | undefined {
  if (endpoint.transport === "unix" || ip === undefined) return undefined;
  const actual = { ...endpoint, hostname: ip };
  if (isExposed(actual)) return " without TLS: messages can be read and changed on the way";
  if (isLoopback(endpoint) || !isLoopback(actual)) return undefined;
  return `, which is ${ip} on this machine: no other can connect; use 0.0.0.0 to let others`;
}

/**
 * An address for a broker that was given none: a socket beside its connection file. `undefined` if that
 * path would be too long, or there are no Unix sockets: the broker then chooses an address.
 */
export function addressBeside(file: string): string | undefined {
  if (operatingSystem() === "windows") return undefined;
  const path = `${absolute(file)}.${crypto.randomUUID().slice(0, 8)}.sock`;
  return fitsSocket(path) ? `unix://${path}` : undefined;
}

/** A path that stays the same when the working directory changes. */
export function absolute(path: string | URL): string | URL {
  if (typeof path !== "string") return path;
  // On Windows it begins with a drive, or with that of the working directory or a share.
  const begin = operatingSystem() === "windows" ? /^([A-Za-z]:)?[\\/]/ : /^\//;
  return begin.test(path) ? path : `${workingFolder()}/${path}`;
}
