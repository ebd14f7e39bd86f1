/**
 * Connection files, in which a broker as a program (cli/broker.ts) writes its address and key.
 *
 * The file is JSON, `{ version, address, authkey, id, pid }` with the key in base64. It has `addresses` if there
 * are several, `keyName` if the key has a name, `expires` if it is that of a ticket, `ca` if the broker has a certificate, and no `authkey` if each client has a key of its
 * own. Whoever can read it can do all that a client can; so it is written with mode 0600, and refused
 * unless it is private.
 */
import { fromBase64, toBase64 } from "../base/base64.ts";
import { parseAddress } from "./address.ts";
import {
  CONFIG_FILE_BYTES_MAX,
  KEY_FILE_BYTES_MAX,
  readSecret,
  removeIfThere,
  writeSecret,
} from "./secret_file.ts";

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

/** The longest connection file that is read, in bytes: a key in base64, a certificate, and the rest. */
const CONNECTION_FILE_BYTES_MAX = 2 * KEY_FILE_BYTES_MAX + CONFIG_FILE_BYTES_MAX;

/** Whether a file could not be read because it is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === "NotFound";
}

/**
 * Reads a broker's connection file.
 *
 * @throws {Error} Its name is `NotFound`, if it is not there; `PermissionDenied`, if it is not private, or
 * this user may not read it; `IsADirectory`, if it is a directory.
 * @throws {TypeError} If it is not a connection file.
 */
export async function readConnectionFile(path: string | URL): Promise<ConnectionFile> {
  return await readSecret(
    path,
    CONNECTION_FILE_BYTES_MAX,
    (bytes) => parseConnectionFile(path, new TextDecoder().decode(bytes)),
  );
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

function parseConnectionFile(path: string | URL, text: string): ConnectionFile {
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

/**
 * Writes a connection file, whole or not at all, with mode 0600.
 *
 * @param replace Whether a file that is there may be replaced.
 * @returns Removes the file, if it is still the one that was written.
 * @throws {Deno.errors.AlreadyExists} If there is one, and `replace` is false.
 */
export async function writeConnectionFile(
  path: string,
  content: ConnectionFile,
  options: { replace: boolean },
): Promise<() => Promise<void>> {
  const text = formatConnectionFile(content);
  try {
    await writeSecret(path, text, options);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new Deno.errors.AlreadyExists(
      `Cannot write "${path}": another broker or program has made it in the meantime`,
      { cause: error },
    );
  }
  return async () => {
    const { length } = new TextEncoder().encode(text);
    if (await readIfThere(path, length) === text) await removeIfThere(path);
  };
}

/** What a path holds, if that is a file of so many bytes; opening a FIFO would wait for its other end. */
async function readIfThere(path: string, size: number): Promise<string | undefined> {
  try {
    const found = await Deno.lstat(path);
    return found.isFile && found.size === size ? await Deno.readTextFile(path) : undefined;
  } catch (error) { // Somebody else removed it.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
