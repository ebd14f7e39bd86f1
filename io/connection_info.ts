/**
 * What stands in a connection file: that of a broker as a program (cli/broker.ts), with its address and
 * key; or what a web server tells its pages. Here are no files; `connection_file.ts` reads and writes them.
 *
 * It is JSON, `{ version, address, authkey, id, pid }` with the key in base64. It has `addresses` if there
 * are several, `keyName` if the key has a name, `expires` if it is that of a ticket, `ca` if the broker has
 * a certificate, and no `authkey` if each client has a key of its own.
 */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { parseAddress } from "./address.ts";

/**
 * How a client reaches its broker, as JSON: what `mpubsub FILE` writes into a connection file, and what a
 * web server tells its pages. A ticket of `createTicket` is one, with an `address`.
 */
export interface ConnectionFile {
  /** Which kind of connection file it is: 1. */
  readonly version?: number | undefined;
  /**
   * Where the broker listens. In a page it may be left out, for the page's own host, or begin with `/`,
   * such as `/bus`, for a path there.
   */
  readonly address?: string | undefined;
  /** All addresses, in the order in which they are tried, if there are several. */
  readonly addresses?: readonly string[] | undefined;
  /** The key, in base64. */
  readonly authkey: string;
  /** The name of the key. */
  readonly keyName?: string | undefined;
  /** When the key ends, in milliseconds since 1970, if it is that of a ticket. */
  readonly expires?: number | undefined;
  /** The certificate to trust for the broker, in PEM; a page trusts what its browser trusts. */
  readonly ca?: string | undefined;
}

/** What a connection file says. */
export interface ConnectionInfo {
  /** Where the broker listens; the first of several. */
  readonly address: string;
  /** All addresses, in the order in which clients try them; absent if there is one. */
  readonly addresses?: readonly string[] | undefined;
  /** The key; absent if each client has a key of its own. */
  readonly authkey?: Uint8Array;
  /** The name of the key. */
  readonly keyName?: string;
  /** When the key ends, in milliseconds since 1970, if it is that of a ticket; for who reads the file. */
  readonly expires?: number;
  /** The certificate to trust for the broker, in PEM. */
  readonly ca?: string;
  /** What tells the broker from all others; absent if it is not known. */
  readonly id?: string;
  /** The number of the broker's process; absent if it is not known. */
  readonly pid?: number;
}

const FILE_VERSION = 1;

/** Whether a file could not be read because it is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === "NotFound";
}

/** Makes sure that the content of a connection file has a key. */
export function withKey(
  path: string | URL,
  content: ConnectionInfo,
): ConnectionInfo & { authkey: Uint8Array } {
  const { authkey } = content;
  if (authkey !== undefined) return { ...content, authkey };
  throw new TypeError(
    `Cannot use "${path}": it holds no key, because each client of that broker has its own; ` +
      "mpubsub key file NAME prints a file that holds one",
  );
}

/**
 * Reads the text of a connection file.
 *
 * @param path Where it was, for what is said of it.
 * @throws {TypeError} If it is not that of a connection file.
 */
export function parseConnectionFile(path: string | URL, text: string): ConnectionInfo {
  try {
    const fields = JSON.parse(text);
    const { address, ...info } = connectionInfo(fields, parseAddress);
    if (fields.version === undefined) throw new TypeError("it has no version");
    if (address === undefined) throw new TypeError("it has no address");
    return { address, ...info };
  } catch (error) { // JSON.parse, or one of the checks.
    // The messages of a SyntaxError quote what may be a key.
    const what = error instanceof SyntaxError ? "it is not JSON" : (error as Error).message;
    throw new TypeError(`Cannot use "${path}": it is not a connection file (${what})`);
  }
}

/**
 * Checks what stands in a connection file.
 *
 * @param check Checks an address.
 * @throws {TypeError} If something is missing, or of the wrong kind. No message quotes a key.
 * @throws What `check` throws.
 */
export function connectionInfo(
  fields: unknown,
  check: (address: string) => unknown,
): Partial<ConnectionInfo> {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new TypeError("it is not an object");
  }
  const { version, address, addresses, authkey, keyName, expires, ca, id, pid } = fields as Record<
    string,
    unknown
  >;
  if (version !== undefined && version !== FILE_VERSION) {
    throw new TypeError(`its version is ${version}`);
  }
  checkText("address", address);
  if (address !== undefined) check(address);
  checkAddresses(addresses, check);
  const key = authkey === undefined ? undefined : keyOf(authkey);
  checkNumber("expires", expires);
  checkNumber("pid", pid);
  checkText("keyName", keyName);
  checkText("ca", ca);
  checkText("id", id);
  return {
    ...(address !== undefined && { address }),
    ...(addresses !== undefined && { addresses }),
    ...(key && { authkey: key }),
    ...(keyName !== undefined && { keyName }),
    ...(expires !== undefined && { expires }),
    ...(ca !== undefined && { ca }),
    ...(id !== undefined && { id }),
    ...(pid !== undefined && { pid }),
  };
}

function keyOf(authkey: unknown): Uint8Array {
  let key: Uint8Array;
  try {
    key = fromBase64(authkey);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError("its authkey is not base64");
  }
  if (key.length === 0) throw new TypeError("its authkey is empty");
  return key;
}

function checkAddresses(
  addresses: unknown,
  check: (address: string) => unknown,
): asserts addresses is readonly string[] | undefined {
  if (addresses === undefined) return;
  if (!Array.isArray(addresses) || addresses.length === 0) {
    throw new TypeError("its addresses are no list");
  }
  for (const address of addresses) {
    if (typeof address !== "string") throw new TypeError("one of its addresses is not a text");
    check(address);
  }
}

function checkText(field: string, value: unknown): asserts value is string | undefined {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(`its ${field} is not a text`);
}

function checkNumber(field: string, value: unknown): asserts value is number | undefined {
  if (value === undefined || Number.isInteger(value)) return;
  throw new TypeError(`its ${field} is not a number`);
}

/** The text of a connection file. */
export function formatConnectionFile(content: ConnectionInfo): string {
  const { address, addresses, authkey, keyName, expires, ca, id, pid } = content;
  const fields = {
    version: FILE_VERSION,
    address,
    addresses,
    authkey: authkey && toBase64(authkey),
    keyName,
    expires,
    ca,
    id,
    pid,
  };
  return JSON.stringify(fields) + "\n";
}
