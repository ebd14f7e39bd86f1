/**
 * Lock files: each is held by one process at a time, and removed when that process releases it.
 */

/**
 * Waits until nobody else holds the lock at `path`, and takes it.
 *
 * - A broker that replaces the files of a dead one holds it from the look at them until its own files
 *   are in place, and a broker that ends holds it while it removes its files. Otherwise, of two brokers
 *   each could remove what the other has just made.
 *
 * @returns Releases the lock; no file is left.
 */
export async function takeLock(path: string): Promise<Disposable> {
  for (;;) {
    // For reading and writing: opening a FIFO for only one of them waits for its other end.
    const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    let isHeld = false;
    try {
      await file.lock(true);
      // The holder before has removed its file; only the file that is at the path now is the lock.
      isHeld = await isAt(path, file);
      if (isHeld) return { [Symbol.dispose]: () => releaseLock(path, file) };
    } finally {
      if (!isHeld) file.close();
    }
  }
}

async function isAt(path: string, file: Deno.FsFile): Promise<boolean> {
  const { dev, ino } = await file.stat();
  try {
    const found = await Deno.stat(path);
    return found.dev === dev && found.ino === ino;
  } catch (error) { // It was removed, and not made again.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

function releaseLock(path: string, file: Deno.FsFile): void {
  try {
    Deno.removeSync(path);
  } catch (error) { // It was removed with its folder.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  } finally {
    file.close();
  }
}
