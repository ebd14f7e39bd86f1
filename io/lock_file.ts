/**
 * Lock files: each is held by one process at a time, and removed when that process releases it.
 *
 * - Who holds a lock has made its file, and written its number into it. What is there already is never
 *   written to, and no link is followed: others may have put it there, where they can. A file that
 *   nobody holds is removed, since the process that made it died.
 */
import { clock } from "../base/clock.ts";
import { later, pause } from "../base/timers.ts";

/**
 * How long to wait for a lock. A broker that replaces the files of a dead one holds it longest, while it
 * looks whether anybody answers there.
 */
const PATIENCE_MS = 5000;
/** After how long somebody should know what is waited for. */
const NOTICE_MS = 1000;
/** How often to try. */
const TRY_MS = 10;
/** How often to look for the number of the process that holds a lock. */
const NUMBER_TRIES = 20;
/** Longer than the number of any process. */
const PID_BYTES = 16;

/** What may be said about waiting for a lock. */
export interface LockOptions {
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds. */
  readonly patience?: number;
  /** Called once when the wait takes long, with who holds the lock. */
  readonly onWait?: OnWait | undefined;
}

/** What is called when a wait takes long, with a sentence that says what is waited for. */
export type OnWait = (text: string) => void;

/**
 * Waits until nobody else holds the lock at `path`, and takes it.
 *
 * - A broker that replaces the files of a dead one holds it from the look at them until its own files
 *   are in place, and a broker that ends holds it while it removes its files. Otherwise, of two brokers
 *   each could remove what the other has just made.
 *
 * @returns Releases the lock; no file is left.
 * @throws {Deno.errors.Busy} If another process holds it for longer than `patience`.
 * @throws {Deno.errors.AlreadyExists} If something that is not a file is there, a link for example.
 */
export async function takeLock(path: string, options: LockOptions = {}): Promise<Disposable> {
  const { patience = PATIENCE_MS, onWait } = options;
  if (onWait === undefined) return await take(path, options);
  let isDone = false;
  const say = async (tries: number) => {
    const pid = await holderOf(path);
    if (isDone) return;
    // Whoever has just taken it has not written its number yet.
    if (pid === undefined && tries < NUMBER_TRIES) later(() => say(tries + 1), TRY_MS);
    else onWait(`Waiting for ${called(pid)}, which holds the lock "${path}", up to ${patience} ms`);
  };
  const notice = later(() => say(1), NOTICE_MS);
  try {
    return await take(path, options);
  } finally {
    isDone = true;
    notice.cancel();
  }
}

async function take(
  path: string,
  { signal = new AbortController().signal, patience = PATIENCE_MS }: LockOptions,
): Promise<Disposable> {
  const deadline = clock.now() + patience;
  for (;;) {
    signal.throwIfAborted();
    const made = await make(path);
    const file = made ?? await openThere(path);
    let isHeld = false;
    try {
      const isLocked = file !== undefined && await lockUntil(file, deadline, signal);
      if (isLocked && isAt(path, file)) {
        if (file === made && !signal.aborted) {
          await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
          isHeld = true;
          return { [Symbol.dispose]: () => releaseLock(path, file) };
        }
        // It is that of a dead process, or not wanted any more.
        Deno.removeSync(path);
      } else if (!signal.aborted && clock.now() >= deadline) {
        throw await heldError(path, patience);
      }
    } finally {
      if (!isHeld) file?.close();
    }
  }
}

/** Makes the file of a lock; `undefined` if something is there. */
async function make(path: string): Promise<Deno.FsFile | undefined> {
  try {
    // This follows no link, not even one that leads nowhere.
    return await Deno.open(path, { read: true, write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

/** Opens the file that is there; `undefined` if there is none any more, or another one. */
async function openThere(path: string): Promise<Deno.FsFile | undefined> {
  try {
    const { isFile } = await Deno.lstat(path);
    if (!isFile) {
      throw new Deno.errors.AlreadyExists(
        `Cannot take the lock "${path}": something that is not a file is there; remove it`,
      );
    }
    // For reading and writing: opening a FIFO for only one of them waits for its other end.
    const file = await Deno.open(path, { read: true, write: true });
    // A link may have taken its place before it was opened.
    if (isAt(path, file)) return file;
    file.close();
  } catch (error) { // It was removed.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Whether what is at the path is this file, and no link to it. */
function isAt(path: string, file: Deno.FsFile): boolean {
  const { dev, ino } = file.statSync();
  try {
    const found = Deno.lstatSync(path);
    return found.dev === dev && found.ino === ino;
  } catch (error) { // It was removed, and not made again.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

/** What newer versions of Deno have, too. */
type Lockable = Pick<Deno.FsFile, "lock"> & { tryLock?(exclusive: boolean): Promise<boolean> };

/** Locks a file, unless somebody else has locked it until then; returns whether it did. */
async function lockUntil(
  file: Lockable,
  deadline: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (file.tryLock === undefined) return await lockBlocking(file, deadline, signal);
  while (!await file.tryLock(true)) {
    const left = deadline - clock.now();
    if (signal.aborted || left <= 0) return false;
    await pause(Math.min(TRY_MS, left), signal);
  }
  return true;
}

/**
 * The same on Deno 2.6, where nothing ends the wait for a lock: a thread waits on, and closing the file
 * gives up the lock that it gets.
 */
async function lockBlocking(
  file: Lockable,
  deadline: number,
  signal: AbortSignal,
): Promise<boolean> {
  const done = new AbortController();
  const late = pause(deadline - clock.now(), AbortSignal.any([signal, done.signal]));
  try {
    return await Promise.race([file.lock(true).then(() => true), late.then(() => false)]);
  } finally {
    done.abort();
  }
}

/** Says who holds a lock. */
async function heldError(path: string, patience: number): Promise<Error> {
  const who = called(await holderOf(path));
  return new Deno.errors.Busy(
    `Cannot take the lock "${path}": ${who} has held it for ${patience} ms; ` +
      "end that process, or try again",
  );
}

function called(pid: string | undefined): string {
  return pid === undefined ? "another process" : `process ${pid}`;
}

/** The number of the process that holds a lock, if it is known. */
async function holderOf(path: string): Promise<string | undefined> {
  // Opened anew: before Deno 2.9 a file cannot be read while a lock of it is waited for.
  const file = await openThere(path).catch(() => undefined); // Perhaps it is gone, or not a file.
  const bytes = new Uint8Array(PID_BYTES);
  const count = await file?.read(bytes).catch(() => null); // Windows lets nobody read what is locked.
  file?.close();
  return /^\d+/.exec(new TextDecoder().decode(bytes.subarray(0, count ?? 0)))?.[0];
}

function releaseLock(path: string, file: Deno.FsFile): void {
  try {
    if (isAt(path, file)) Deno.removeSync(path);
  } finally {
    file.close();
  }
}
