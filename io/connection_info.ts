/**
 * What stands in a connection file: that of a broker as a program (cli/broker.ts), with its address and
 * key. Here are no files; `connection_file.ts` reads and writes them.
 *
 * It is JSON, `{ version, address, authkey, id, pid }` with the key in base64. It has `addresses` if there
 * are several, `keyName` if the key has a name, `expires` if it is that of a ticket, `ca` if the broker has
 * a certificate, and no `authkey` if each client has a key of its own.
 */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { parseAddress } from "./address.ts";

/** What a connection file says. */
export interface ConnectionFile {
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
  content: ConnectionFile,
): ConnectionFile & { authkey: Uint8Array } {
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
export function parseConnectionFile(path: string | URL, text: string): ConnectionFile {
  try {
    const { version, address, addresses, authkey, keyName, ca, id, pid } = JSON.parse(text);
    if (version !== FILE_VERSION) throw new TypeError(`its version is ${version}`);
    if (typeof address !== "string") throw new TypeError("its address is not a text");
    parseAddress(address);
    checkAddresses(addresses);
    const key = authkey === undefined ? undefined : fromBase64(authkey);
    if (key?.length === 0) throw new TypeError("its authkey is empty");
    if (pid !== undefined && !Number.isInteger(pid)) throw new TypeError("its pid is not a number");
    checkText("keyName", keyName);
    checkText("ca", ca);
    checkText("id", id);
    return {
      address,
      ...(addresses !== undefined && { addresses }),
      ...(key && { authkey: key }),
      ...(keyName !== undefined && { keyName }),
      ...(ca !== undefined && { ca }),
      ...(id !== undefined && { id }),
      ...(pid !== undefined && { pid }),
    };
  } catch (error) { // JSON.parse, fromBase64, or one of the checks.
    // The messages of a SyntaxError quote what may be a key.
    const isSyntax = error instanceof SyntaxError;
    const what = isSyntax ? "it is not JSON, or its key not base64" : (error as Error).message;
    throw new TypeError(`Cannot use "${path}": it is not a connection file (${what})`);
  }
}

function checkAddresses(addresses: unknown): void {
  if (addresses === undefined) return;
  if (!Array.isArray(addresses) || addresses.length === 0) {
    throw new TypeError("its addresses are no list");
  }
  for (const address of addresses) {
    if (typeof address !== "string") throw new TypeError("one of its addresses is not a text");
    parseAddress(address);
  }
}

function checkText(field: string, value: unknown): void {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(`its ${field} is not a text`);
}

/** The text of a connection file. */
export function formatConnectionFile(content: ConnectionFile): string {
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
