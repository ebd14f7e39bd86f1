/**
 * The upgrade from HTTP/1.1 to a WebSocket, at both ends; section 4 of RFC 6455.
 */
import { toBase64 } from "../base/base64.ts";
import { concat } from "../base/bytes.ts";
import { printable } from "../base/printable.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { isLoopback } from "./address.ts";
import type { Conn } from "./conn.ts";
import { type Head, listOf, readHead, requestOf } from "./http_head.ts";

/** The version of the protocol. */
export const VERSION = "13";
/** From section 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const NONCE_BYTES = 16;
const SHOWN_UNITS_MAX = 160;

/** What has to be with status 426; RFC 9110, sections 7.8 and 15.5.22. */
export const UPGRADE = { upgrade: "websocket", connection: "upgrade" };

/** What a server answers that does not upgrade. */
export interface Refusal {
  readonly status: number;
  /** In words, for people. */
  readonly text: string;
  /** Further fields. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** What is said to those who ask for something else than a WebSocket. */
export const NO_BUS = "Here is a bus of mpubsub: connect a WebSocket to it";

/** The same to those who ask for it in another way. */
export const NO_GET = "A WebSocket begins with GET";
/** The same to those who speak another version. */
export const WRONG_VERSION = `Only version ${VERSION} of WebSockets is spoken here`;

/** An origin of pages that have a host; that of an extension has a name there. */
const WEB_PAGE = /^https?:\/\//i;

/** Whether pages of an origin may connect, over a request for this host. */
export type IsAllowed = (origin: string, host: string) => boolean;

/**
 * Whether pages of an origin may connect: those of the same host, whatever its port, and those that are
 * listed; and files, whose origin is `null`, where only this machine can connect, and under a name of
 * its own: behind a proxy all come from this machine, but by the proxy's name.
 */
export function isAllowed(
  origin: string,
  host: string,
  origins: readonly string[],
  isLocal: boolean,
): boolean {
  if (origins.includes(origin)) return true;
  const own = hostOf(`http://${host}`);
  if (origin === "null") return isLocal && own !== undefined && isOfThisMachine(own);
  return own !== undefined && WEB_PAGE.test(origin) && hostOf(origin) === own;
}

/** What is said to a page of another origin. */
export function notAllowed(origin: string): string {
  const shown = printable(origin, SHOWN_UNITS_MAX);
  return `Pages of this origin may not connect: ${shown}; the broker's option origins lists those that may`;
}

function hostOf(url: string): string | undefined {
  return URL.parse(url)?.hostname;
}

function isOfThisMachine(hostname: string): boolean {
  const bare = hostname.replace(/^\[(.*)\]$/, "$1"); // Of an IPv6 address.
  return isLoopback({ transport: "tcp", hostname: bare, port: 0 });
}

/**
 * Checks the head of a request for an upgrade.
 *
 * @param paths The paths at which there is the bus.
 * @returns The value of `Sec-WebSocket-Accept`, or why not.
 */
export async function checkUpgrade(
  head: Head,
  paths: readonly string[],
  mayConnect: IsAllowed,
): Promise<string | Refusal> {
  const request = requestOf(head);
  const { fields } = head;
  if (!paths.includes(request.path)) {
    return {
      status: 404,
      text: `There is nothing at this path; the bus is at ${paths.join(", ")}`,
    };
  }
  if (!listOf(head, "upgrade").includes("websocket")) {
    return {
      status: 426,
      text: NO_BUS,
      fields: UPGRADE,
    };
  }
  if (request.method !== "GET") {
    return { status: 405, text: NO_GET, fields: { allow: "GET" } };
  }
  const bad = (text: string): Refusal => ({ status: 400, text });
  if (!listOf(head, "connection").includes("upgrade")) return bad("Connection is not upgrade");
  const [version, anotherVersion] = fields.get("sec-websocket-version") ?? [];
  if (version !== VERSION || anotherVersion !== undefined) {
    return {
      status: 426,
      text: WRONG_VERSION,
      fields: { ...UPGRADE, "sec-websocket-version": VERSION },
    };
  }
  const [key = "", anotherKey] = fields.get("sec-websocket-key") ?? [];
  if (anotherKey !== undefined || !isNonce(key)) {
    return bad("Sec-WebSocket-Key is not one of 16 bytes in base64");
  }
  if (fields.has("transfer-encoding") || fields.get("content-length")?.some((n) => n !== "0")) {
    return bad("A WebSocket begins without a body");
  }
  const refused = fields.get("origin")?.find((origin) => !mayConnect(origin, request.host));
  if (refused !== undefined) return { status: 403, text: notAllowed(refused) };
  return await acceptOf(key);
}

/** The answer that upgrades. */
export function switching(accept: string): Uint8Array<ArrayBuffer> {
  return ascii([
    "HTTP/1.1 101 Switching Protocols",
    "upgrade: websocket",
    "connection: Upgrade",
    `sec-websocket-accept: ${accept}`,
  ]);
}

/**
 * An answer in words, after which the connection is closed.
 *
 * @param now When that is.
 * @param isBare Whether the body is left out, as it must be where HEAD was asked.
 */
export function refusing(
  { status, text, fields = {} }: Refusal,
  now: Date,
  isBare: boolean,
): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(text + "\n");
  const head = ascii([
    `HTTP/1.1 ${status} ${PHRASES[status] ?? ""}`,
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    `date: ${now.toUTCString()}`,
    "content-type: text/plain; charset=utf-8",
    `content-length: ${body.length}`,
    "connection: close",
  ]);
  return isBare ? head : concat(head, body);
}

const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  426: "Upgrade Required",
  431: "Request Header Fields Too Large",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

/**
 * Asks for an upgrade, as a client.
 *
 * @param host The host, with the port if that is not the usual one.
 * @returns What was read behind the head of the answer.
 * @throws {NoUpgradeError} If what answers is a server that has no broker now.
 * @throws {ProtocolError} If the other side answers something else.
 * @throws {ConnectionLostError} If it closes before it has answered.
 */
export async function askForUpgrade(
  carrier: Pick<Conn, "read" | "write">,
  host: string,
  path: string,
): Promise<Uint8Array> {
  const key = toBase64(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  const request = ascii([
    `GET ${path} HTTP/1.1`,
    `host: ${host}`,
    "upgrade: websocket",
    "connection: Upgrade",
    `sec-websocket-key: ${key}`,
    `sec-websocket-version: ${VERSION}`,
  ]);
  for (let at = 0; at < request.length;) at += await carrier.write(request.subarray(at));
  const head = await readHead(carrier).catch((error) => {
    if (!(error instanceof ConnectionLostError)) throw error;
    throw new ConnectionLostError(
      `Cannot open a WebSocket at ${host}${path}: the other side closed the connection before it ` +
        "answered; it may be a broker without WebSockets",
      { cause: error },
    );
  });
  const [, status] = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(head.start) ?? [];
  if (status?.startsWith("5")) throw new NoUpgradeError(status);
  const refused = (why: string) =>
    new ProtocolError(`Cannot open a WebSocket at ${host}${path}: ${why}`);
  if (status !== "101") {
    throw refused(status === undefined ? "the answer is not HTTP/1.1" : `the answer is ${status}`);
  }
  const [accept, another] = head.fields.get("sec-websocket-accept") ?? [];
  const isRight = listOf(head, "upgrade").includes("websocket") &&
    listOf(head, "connection").includes("upgrade") &&
    accept === await acceptOf(key) && another === undefined;
  if (!isRight) throw refused("the answer does not fit the request");
  if (head.fields.has("sec-websocket-extensions") || head.fields.has("sec-websocket-protocol")) {
    throw refused("the answer has an extension or a protocol that was not asked for");
  }
  return head.rest;
}

/** A server answers that its broker is not there: another address may be tried, or this one later. */
export class NoUpgradeError extends ConnectionLostError {
  /** Says what it answers. */
  constructor(status: string) {
    super(`Cannot open a WebSocket: the answer is ${status}`);
  }
}

function isNonce(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}

async function acceptOf(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key + GUID);
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-1", bytes)));
}

function ascii(lines: readonly string[]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode([...lines, "", ""].join("\r\n"));
}
