/**
 * Files that hold a secret: they are refused if other users can read them.
 */

/** The longest key that is read from a file, in bytes. */
export const KEY_FILE_BYTES_MAX = 64 * 1024;
/** The longest file of certificates or keys that is read, in bytes. */
export const CONFIG_FILE_BYTES_MAX = 1024 * 1024;

/**
 * Reads a file with a secret, unless other users can read or change it, as ssh does.
 *
 * @throws {Deno.errors.PermissionDenied} If others can read or change it, or this user cannot.
 * @throws {Deno.errors.IsADirectory} If it is a directory.
 * @throws {TypeError} If it is not a file, or has more than `limit` bytes.
 */
export async function readSecret(
  path: string | URL,
  limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // Checked before it is opened: opening a FIFO waits for its other end.
  const { isFile, isDirectory } = await Deno.stat(path);
  if (isDirectory) {
    throw new Deno.errors.IsADirectory(`Cannot use "${path}": it is a directory`);
  }
  if (!isFile) throw new TypeError(`Cannot use "${path}": it is not a file`);
  using file = await Deno.open(path);
  checkPrivate(path, await file.stat());
  const bytes = new Uint8Array(limit + 1);
  for (let size = 0; size <= limit;) {
    const count = await file.read(bytes.subarray(size));
    if (count === null) return bytes.subarray(0, size);
    size += count;
  }
  throw new TypeError(`Cannot use "${path}": it has more than ${limit} bytes`);
}

function checkPrivate(path: string | URL, { mode }: Deno.FileInfo): void {
  if (mode === null || (mode & 0o077) === 0) return;
  throw new Deno.errors.PermissionDenied(
    `Cannot use "${path}": others can read or change it (mode ${
      (mode & 0o777).toString(8)
    }); make it private with chmod 600`,
  );
}
