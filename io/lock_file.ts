/**
 * Locks that are files: held by one process at a time, gone when it lets go.
 */

/**
 * Waits until nobody else holds the lock at `path`, and holds it. Whoever makes room where a broker
 * died holds one from the look at what is there until its own is in place, and whoever ends while it
 * takes its own away: otherwise each of two can remove what the other has just put there.
 *
 * @returns Releases the lock; no file is left.
 */
export async function takeLock(path: string): Promise<Disposable> {
  for (;;) {
    // Opened for both, since to open a FIFO for one of them is to wait for its other end.
    const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    let isHeld = false;
    try {
      await file.lock(true);
      // Who held it before has removed its file; the lock is the file that the next one finds.
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
  } catch (error) { // It was removed, and none has come since.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

function releaseLock(path: string, file: Deno.FsFile): void {
  try {
    Deno.removeSync(path);
  } catch (error) { // It went with its folder.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  } finally {
    file.close();
  }
}
