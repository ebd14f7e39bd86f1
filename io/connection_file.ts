/**
 * Connection files, in which a broker as a program (cli/broker.ts) writes its address and key.
 *
 * Whoever can read one can do all that a client can; so it is written with mode 0600, and refused unless
 * it is private.
 */
import {
  type ConnectionInfo,
  formatConnectionFile,
  parseConnectionFile,
} from "./connection_info.ts";
import {
  CONFIG_FILE_BYTES_MAX,
  KEY_FILE_BYTES_MAX,
  readSecret,
  removeIfThere,
  writeSecret,
} from "./secret_file.ts";

/** The longest connection file that is read, in bytes: a key in base64, a certificate, and the rest. */
const CONNECTION_FILE_BYTES_MAX = 2 * KEY_FILE_BYTES_MAX + CONFIG_FILE_BYTES_MAX;

/**
 * Reads a broker's connection file.
 *
 * @throws {Error} Its name is `NotFound`, if it is not there; `PermissionDenied`, if it is not private, or
 * this user may not read it; `IsADirectory`, if it is a directory.
 * @throws {TypeError} If it is not a connection file.
 */
export async function readConnectionFile(path: string | URL): Promise<ConnectionInfo> {
  return await readSecret(
    path,
    CONNECTION_FILE_BYTES_MAX,
    (bytes) => parseConnectionFile(path, new TextDecoder().decode(bytes)),
  );
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
  content: ConnectionInfo,
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
