/**
 * The file of a listening Unix socket: replaces that of a dead broker, is removed at the end, and never
 * harms another's.
 */
import { takeLock } from "./lock_file.ts";

/** The path of a socket for which `listen()` made a folder, and that folder. */
const MADE_PATH = /^(.*\/mpubsub-[^/]*)\/bus\.sock$/;

/**
 * Removes the socket of a dead broker, with the folder that `listen()` made for it. Leaves other files,
 * and a socket at which somebody answers.
 */
export async function removeDeadSocket(path: string): Promise<void> {
  try {
    {
      using _lock = await takeLock(lockOf(path));
      if (await lookAt(path) !== "dead") return;
      await Deno.remove(path);
    }
    const folder = MADE_PATH.exec(path)?.[1];
    // A folder that somebody else made may have such a name, but is not empty.
    if (folder && [...Deno.readDirSync(folder)].length === 0) await Deno.remove(folder);
  } catch (error) { // The folder is gone.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The lock of a socket. Its name differs from a connection file's, whose holder may take both. */
export function lockOf(path: string): string {
  return `${path}.socket-lock`;
}

/** Makes room for a socket, by removing that of a dead broker. */
export async function makeRoom(path: string): Promise<void> {
  const found = await lookAt(path);
  if (found === "dead") await Deno.remove(path);
  if (found === "file") {
    throw new Deno.errors.AlreadyExists(
      `Cannot listen at unix://${path}: a file that is not a socket is there`,
    );
  }
  if (found === "alive") {
    throw new Deno.errors.AddrInUse(`Cannot listen at unix://${path}: a live broker listens there`);
  }
}

/** What is at the path of a socket; reliable only while its lock is held. */
async function lookAt(path: string): Promise<"nothing" | "file" | "dead" | "alive"> {
  try {
    if (!(await Deno.lstat(path)).isSocket) return "file";
    (await Deno.connect({ transport: "unix", path })).close();
    return "alive";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    if (error instanceof Deno.errors.ConnectionRefused) return "dead";
    throw error;
  }
}

/**
 * The file of a listening Unix socket. Closing the listener unlinks its path, even if another listener
 * has bound it since; so the other's file is moved aside for that moment.
 */
export class SocketFile {
  readonly #path: string;
  readonly #folder: string | undefined;
  readonly #identity: string;

  constructor(path: string, folder: string | undefined) {
    this.#path = path;
    this.#folder = folder;
    Deno.chmodSync(path, 0o600);
    this.#identity = identify(path);
  }

  /** Keeps others from checking the path meanwhile. */
  lock(): Promise<Disposable> {
    return takeLock(lockOf(this.#path));
  }

  /** Call before the listener is closed; dispose of what it returns afterwards. */
  release(): Disposable {
    if (!this.#isForeign()) {
      return {
        [Symbol.dispose]: () => {
          if (this.#folder !== undefined) Deno.removeSync(this.#folder, { recursive: true });
        },
      };
    }
    const aside = `${this.#path}.${crypto.randomUUID().slice(0, 8)}`;
    Deno.renameSync(this.#path, aside);
    return { [Symbol.dispose]: () => Deno.renameSync(aside, this.#path) };
  }

  #isForeign(): boolean {
    try {
      return identify(this.#path) !== this.#identity;
    } catch (error) { // It is gone: there is nothing to save.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return false;
    }
  }
}

/** Tells a file from another that took its path; the inode number alone may be used again. */
function identify(path: string): string {
  const { dev, ino, mtime } = Deno.lstatSync(path);
  return `${dev} ${ino} ${mtime?.getTime()}`;
}
