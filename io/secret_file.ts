/**
 * Files that hold a secret: they are written for one user, and refused if other users can read or change
 * them.
 *
 * - Other users must have no rights to it. So who can open it owns it, or is root; root also looks at the
 *   owner, since it can open the files of all others.
 * - The folder does not matter: who may write there can take the file away, but not put another in its
 *   place, which would be a file of theirs.
 */
import { type FileStatus, type Runtime, runtimeFor } from "./runtime.ts";

const ROOT = 0;
/** The longest key that is read from a file, in bytes. */
export const KEY_FILE_BYTES_MAX = 64 * 1024;
/** The longest file of certificates or keys that is read, in bytes. */
export const CONFIG_FILE_BYTES_MAX = 1024 * 1024;

/**
 * Reads a file with a secret, unless other users can read or change it.
 *
 * @param read Makes of the bytes what is returned. What it throws comes before what is said of the mode:
 * somebody who named the wrong file must not be told to make that private.
 * @param userOf Tells who this process runs as, if that can be known.
 * @throws {Error} Its name is `PermissionDenied`, if others can read or change it, or this user cannot
 * read it; `IsADirectory`, if it is a directory; `NotFound`, if it is not there.
 * @throws {TypeError} If it is not a file, or has more than `limit` bytes.
 * @throws {DOMException} If this runtime has no files; see {@linkcode runtimeFor}.
 */
export async function readSecret<T>(
  path: string | URL,
  limit: number,
  read: (bytes: Uint8Array<ArrayBuffer>) => T,
  userOf?: () => Promise<number | undefined>,
): Promise<T> {
  const runtime = runtimeFor(`read "${path}"`);
  // Checked before it is opened: opening a FIFO waits for its other end.
  const { isFile, isDirectory } = await runtime.stat(path);
  if (isDirectory) {
    throw runtime.fileError("IsADirectory", `Cannot use "${path}": it is a directory`);
  }
  if (!isFile) throw new TypeError(`Cannot use "${path}": it is not a file`);
  const file = await runtime.open(path);
  try {
    const info = await file.stat();
    await checkOwner(path, info, runtime, userOf ?? (() => runtime.user()));
    const bytes = new Uint8Array(limit + 1);
    let size = 0;
    for (let count: number | null = 1; count !== null && size <= limit; size += count ?? 0) {
      count = await file.read(bytes.subarray(size));
    }
    if (size > limit) throw new TypeError(`Cannot use "${path}": it has more than ${limit} bytes`);
    const secret = read(bytes.subarray(0, size));
    checkMode(path, info, runtime);
    return secret;
  } finally {
    await file.close();
  }
}

/**
 * Writes a file with a secret, whole or not at all, with mode 0600.
 *
 * @param replace Whether a file that is there may be replaced.
 * @throws {Deno.errors.AlreadyExists} If there is one, and `replace` is false.
 */
export async function writeSecret(
  path: string,
  text: string,
  { replace }: { replace: boolean },
): Promise<void> {
  const draft = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeTextFile(draft, text, { mode: 0o600, createNew: true });
    // Unlike a rename, a link never replaces a file that was made in the meantime.
    if (replace) await Deno.rename(draft, path);
    else await Deno.link(draft, path);
  } finally {
    await removeIfThere(draft);
  }
}

/** Removes a file, unless somebody else did. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) { // It is gone already, which is what was wanted.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Where there are no users, as on Windows, mode and uid are `null`. */
function checkMode(path: string | URL, { mode }: FileStatus, runtime: Runtime): void {
  if (mode !== null && (mode & 0o077) !== 0) {
    throw runtime.fileError(
      "PermissionDenied",
      `Cannot use "${path}": others can read or change it (mode ${
        (mode & 0o777).toString(8)
      }); make it private with chmod 600`,
    );
  }
}

async function checkOwner(
  path: string | URL,
  { uid }: FileStatus,
  runtime: Runtime,
  userOf: () => Promise<number | undefined>,
): Promise<void> {
  if (uid === null || uid === ROOT) return;
  const user = await userOf();
  if (user === undefined || user === uid) return;
  throw runtime.fileError(
    "PermissionDenied",
    `Cannot use "${path}": it belongs to another user (uid ${uid}), who can change it; ` +
      "take it over with chown, or run this as that user",
  );
}
