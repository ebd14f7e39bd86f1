/**
 * The files and addresses that are named on the command line.
 */
import type { BrokerKey } from "../broker.ts";
import { parseKeys } from "../broker/keys.ts";
import { isOrigin } from "../broker/options.ts";
import { parseAddress } from "../io/address.ts";
import { CONFIG_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX, readSecret } from "../io/secret_file.ts";
import { type Arguments, asSentence, doing, messageOf, UsageError } from "./command.ts";

/** The usual connection file. */
export function defaultFile(): string {
  const file = Deno.env.get("MPUBSUB_FILE");
  if (file) return file;
  const home = Deno.env.get("HOME");
  if (home) return `${home}/.mpubsub.json`;
  throw new UsageError("Cannot choose a FILE: neither MPUBSUB_FILE nor HOME is set; give one");
}

/** The connection file that the operands name, or the usual one. */
export function fileOf(operands: readonly string[]): string {
  if (operands.length > 1) {
    throw new UsageError(`Cannot use ${operands.length} files: give one FILE`);
  }
  const [file = defaultFile()] = operands;
  if (file === "") throw new UsageError("Cannot use FILE: it is empty");
  return file;
}

/** Whether somebody gives this program something to read: a pipe, or a file that is not empty. */
export async function hasInput(): Promise<boolean> {
  const { fstatSync } = await import("node:fs"); // Not loaded at each start of a broker.
  try {
    const input = fstatSync(0);
    return input.isFIFO() || input.isFile() && input.size > 0;
  } catch { // EBADF: it is closed.
    return false;
  }
}

/** The bytes of a file that a value `@path` names. */
export function readValue(path: string): Uint8Array {
  try {
    return Deno.readFileSync(path);
  } catch (error) { // It is not there, or whatever else; perhaps no file is meant.
    throw new Error(
      `${asSentence(`read ${path}`, error)}; for a text that begins with @ write key='"@…"'`,
      { cause: error },
    );
  }
}

/** The mode of the file to which standard output goes; `undefined` if it is no file. */
export async function outputMode(): Promise<number | undefined> {
  if (Deno.build.os === "windows") return undefined;
  const { fstatSync } = await import("node:fs");
  const output = fstatSync(1);
  return output.isFile() ? output.mode & 0o777 : undefined;
}

/** What `--address` says, checked; empty if it is not given. */
export function addressesOf(args: Arguments): readonly string[] {
  const addresses = args.texts("address");
  for (const address of addresses) checkAddress(address);
  return addresses;
}

function checkAddress(address: string): void {
  try {
    parseAddress(address);
  } catch (error) { // TypeError: not an address; RangeError: an impossible one.
    const why = error instanceof TypeError
      ? `Cannot use --address ${address}: write unix:///path/to.sock, tcp://127.0.0.1:7411 or ` +
        "ws://127.0.0.1:8080/bus"
      : messageOf(error);
    throw new UsageError(why, { cause: error });
  }
}

/** What `--origin` says, checked. */
export function originsOf(args: Arguments): readonly string[] {
  const origins = args.texts("origin");
  const bad = origins.find((origin) => !isOrigin(origin));
  if (bad === undefined) return origins;
  // What was meant, as far as that can be told.
  const { origin = "null" } = URL.parse(bad) ?? {};
  throw new UsageError(
    `Cannot use --origin ${bad}: write ${
      isOrigin(origin) ? origin : "scheme, host and port alone, such as https://app.example.org"
    }`,
  );
}

/** The key that a file holds. */
export async function readKey(path: string): Promise<Uint8Array> {
  const bytes = await doing(`read ${path}`, readSecret(path, KEY_FILE_BYTES_MAX, (bytes) => bytes));
  if (BOM.every((byte, at) => bytes[at] === byte)) {
    throw new TypeError(
      `Cannot use ${path}: it begins with a byte order mark, which would be part of the key; ` +
        "write it without one",
    );
  }
  const key = bytes.subarray(0, bytes.length - newlineBytes(bytes));
  if (key.length === 0) throw new RangeError(`Cannot use ${path}: the key is empty`);
  return key;
}

/** What editors on Windows put before a text. */
const BOM = [0xef, 0xbb, 0xbf];

/** How many bytes of newline end a key: editors and echo put one there, on Windows with a return. */
function newlineBytes(bytes: Uint8Array): number {
  if (bytes.at(-1) !== 0x0a) return 0;
  return bytes.at(-2) === 0x0d ? 2 : 1;
}

/** The keys that a keys file holds. */
export async function readKeys(path: string): Promise<BrokerKey[]> {
  const keysIn = (bytes: Uint8Array) => {
    try {
      return parseKeys(new TextDecoder().decode(bytes));
    } catch (error) { // What is wrong with them.
      throw new Error(`Cannot use ${path}: ${messageOf(error)}`, { cause: error });
    }
  };
  return await doing(`read ${path}`, readSecret(path, CONFIG_FILE_BYTES_MAX, keysIn));
}

/** The text of a file that only this user can read. */
export async function readSecretText(path: string): Promise<string> {
  return await readSecret(path, CONFIG_FILE_BYTES_MAX, (bytes) => new TextDecoder().decode(bytes));
}

/** The certificates in a text, without anything else that is there. */
export function certificatesIn(path: string, text: string): string {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw new TypeError(`Cannot use ${path}: there is no certificate in it`);
  return found.join("\n") + "\n";
}
