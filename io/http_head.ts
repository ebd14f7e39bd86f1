/**
 * The heads of HTTP/1.1 messages, as far as a bus needs them: bounded, and by the letter of RFC 9112.
 *
 * ```
 *  GET /bus HTTP/1.1 ⏎ host: … ⏎ upgrade: websocket ⏎ … ⏎ ⏎ what follows
 *  └──────── start ─┘ └──────────── fields ────────────────┘ └─ rest ──┘
 * ```
 */
import { NO_BYTES } from "../base/bytes.ts";
import { printable } from "../base/printable.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import type { Conn } from "./conn.ts";

/** How long a head may be: browsers send the cookies of all ports of localhost. */
export const HEAD_BYTES_MAX = 16 * 1024;
/** How many fields a head may have: browsers send about twenty. */
export const FIELDS_MAX = 100;
const READ_BYTES = 1024;
/** With these a record of TLS begins that is no data: an alert, and the first of a client. */
const TLS_ALERT = 21;
const TLS_HANDSHAKE = 22;
const SHOWN_UNITS_MAX = 80;
/** Names of fields and methods; RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** What a field may hold besides spaces and tabs; bytes over 127 have no meaning of their own. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** A head, taken apart. */
export interface Head {
  /** Its first line: a request, or a status. */
  readonly start: string;
  /** The values of each field by its name in small letters, in their order. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  /** What was read behind it. */
  readonly rest: Uint8Array;
}

/** A head that is too long, with status 431, or is none, with 400. */
export class HeadError extends ProtocolError {
  /** The status that says so. */
  readonly status: number;

  /** Says what is wrong. */
  constructor(status: number, what: string) {
    super(`Cannot read an HTTP head: ${what}`);
    this.status = status;
  }
}

/**
 * Reads a head.
 *
 * @param first What was read before.
 * @throws {HeadError} If it is longer than {@linkcode HEAD_BYTES_MAX}, or is none.
 * @throws {ConnectionLostError} If the stream ends before it does.
 */
export async function readHead(
  stream: Pick<Conn, "read">,
  first: Uint8Array = NO_BYTES,
): Promise<Head> {
  let bytes = new Uint8Array(Math.max(READ_BYTES, first.length));
  bytes.set(first);
  let filled = first.length;
  for (let searched = 0;;) {
    // The end of a head would never come; who waits for it is told at once.
    if (bytes[0] === TLS_ALERT || bytes[0] === TLS_HANDSHAKE) {
      throw new HeadError(
        400,
        "TLS came; use an address that begins with wss:// at both ends, or at neither",
      );
    }
    const end = endOfHead(bytes, Math.max(0, searched - 3), filled);
    if (end > HEAD_BYTES_MAX || end < 0 && filled >= HEAD_BYTES_MAX) {
      throw new HeadError(431, `it has more than ${HEAD_BYTES_MAX} bytes`);
    }
    if (end >= 0) return parse(bytes.subarray(0, end), bytes.slice(end, filled));
    searched = filled;
    if (filled === bytes.length) {
      const larger = new Uint8Array(Math.min(2 * filled, HEAD_BYTES_MAX));
      larger.set(bytes);
      bytes = larger;
    }
    const count = await stream.read(bytes.subarray(filled));
    if (count === null) {
      throw new ConnectionLostError(
        `Cannot read an HTTP head: the other side closed after ${filled} bytes`,
      );
    }
    filled += count;
  }
}

/** Where the empty line ends that ends a head; below 0 if there is none yet. */
function endOfHead(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at + 3 < end; at++) {
    if (
      bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10
    ) return at + 4;
  }
  return -1;
}

function parse(bytes: Uint8Array, rest: Uint8Array): Head {
  const text = String.fromCharCode(...bytes.subarray(0, -4));
  // An empty line before it is to be ignored; RFC 9112, section 2.2.
  const [start, ...lines] = text.replace(/^\r\n/, "").split("\r\n");
  if (lines.length > FIELDS_MAX) {
    throw new HeadError(431, `it has more than ${FIELDS_MAX} fields`);
  }
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    if (!TOKEN.test(name)) throw new HeadError(400, "one of its lines is no field");
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
    if (!FIELD_VALUE.test(value)) {
      const shown = printable(name, SHOWN_UNITS_MAX);
      throw new HeadError(400, `the field ${shown} has characters that no field may have`);
    }
    const key = name.toLowerCase();
    const values = fields.get(key);
    if (values === undefined) fields.set(key, [value]);
    else values.push(value);
  }
  // Copied, so that the head is not held as long as the connection.
  return { start: start!, fields, rest: rest.length > 0 ? rest.slice() : NO_BYTES };
}

/** The members of a field that is a list, in small letters. */
export function listOf({ fields }: Pick<Head, "fields">, name: string): string[] {
  return (fields.get(name) ?? []).flatMap((value) => value.split(","))
    .map((member) => member.trim().toLowerCase()).filter((member) => member !== "");
}

/** The request of a head. */
export interface Request {
  readonly method: string;
  /** The path, without a query; what else may stand there, `*` say, is no path of ours. */
  readonly path: string;
  /** The host and port that were asked for. */
  readonly host: string;
}

/** What stands before the path where a whole URL is asked for; RFC 9112, section 3.2.2. */
const ABSOLUTE = /^(?:https?|wss?):\/\/([^/?#]*)/i;
/** A host, perhaps with a port; RFC 9110, section 7.2. */
const HOST = /^(?:\[[0-9a-f:.]+\]|[\w\-.~!$&'()*+,;=%]*)(?::\d*)?$/i;

/**
 * Reads the first line of a request, and its host.
 *
 * @throws {HeadError} If it is none of HTTP/1.1.
 */
export function requestOf({ start, fields }: Head): Request {
  const [, method, target, version] = /^(\S+) ([\x21-\x7e]+) (HTTP\/\d\.\d)$/.exec(start) ?? [];
  if (method === undefined || target === undefined || !TOKEN.test(method)) {
    throw new HeadError(400, "it is no request");
  }
  if (!/^HTTP\/1\.[1-9]$/.test(version!)) {
    throw new HeadError(505, `it is of ${version}, not of HTTP/1.1`);
  }
  const [named, another] = fields.get("host") ?? [];
  if (named === undefined || another !== undefined || !HOST.test(named)) {
    throw new HeadError(400, "it does not name one host");
  }
  const [before = "", host = named] = ABSOLUTE.exec(target) ?? [];
  const path = target.slice(before.length).replace(/[?#].*$/, "");
  return { method, path: before !== "" && path === "" ? "/" : path, host };
}
