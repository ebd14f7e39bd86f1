/**
 * The file of a listening Unix socket: replaces that of a dead broker, is removed at the end, and never
 * harms another's.
 */
import { fitsSocket } from "./address.ts";
import { type LockOptions, takeLock } from "./lock_file.ts";

/** The socket in a folder beside its path, in which it is bound. As short as can be: paths are limited. */
const ASIDE_NAME = "s";
const ASIDE_LETTERS = 4;
/** The path of a socket for which `listen()` made a folder, and that folder. */
const MADE_PATH = /^(.*\/mpubsub-[^/]*)\/bus\.sock$/;

/**
 * Removes the socket of a dead broker, with the folder that `listen()` made for it. Leaves other files,
 * and a socket at which somebody answers.
 */
export async function removeDeadSocket(path: string): Promise<void> {
  try {
    const lock = await takeLock(lockOf(path));
    try {
      if (await lookAt(path) !== "dead") return;
      await Deno.remove(path);
    } finally {
      lock[Symbol.dispose]();
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
    // Too many wait to be accepted there.
    if (error instanceof Deno.errors.WouldBlock) return "alive";
    throw error;
  }
}

/**
 * Binds a socket that only this user can connect to, and brings it to its path.
 *
 * - It is bound in a folder that only this user can enter, since until its mode is set, it has the one
 *   that the umask gives. What appears at the path has mode 0600.
 * - Where such a folder cannot be, it is bound at its path: the path is too long for that, or the only
 *   permission is one for the path itself.
 *
 * @param folder The folder that was made for this socket, if one was; others cannot enter it anyway.
 * @throws {Deno.errors.AddrInUse} If something is at the path.
 */
export function bindSocket(
  path: string,
  folder?: string,
): { listener: Deno.UnixListener; file: SocketFile } {
  const aside = folder === undefined ? makeFolderBeside(path) : undefined;
  const bound = aside === undefined ? path : `${aside}/${ASIDE_NAME}`;
  try {
    const listener = Deno.listen({ transport: "unix", path: bound });
    try {
      Deno.chmodSync(bound, 0o600);
      // Unlike a rename, a link never replaces a file that was made in the meantime.
      if (bound !== path) Deno.linkSync(bound, path);
      return { listener, file: new SocketFile(path, bound, folder) };
    } catch (error) { // A missing permission, or a file that is there after all.
      listener.close();
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      throw new Deno.errors.AddrInUse(
        `Cannot listen at unix://${path}: another program has made it in the meantime`,
        { cause: error },
      );
    }
  } finally {
    if (aside !== undefined) Deno.removeSync(aside, { recursive: true });
  }
}

/** Makes a folder for this user alone beside a path; `undefined` if a socket cannot be bound in it. */
function makeFolderBeside(path: string): string | undefined {
  const beside = path.slice(0, path.lastIndexOf("/"));
  for (;;) {
    const folder = `${beside}/.${crypto.randomUUID().slice(0, ASIDE_LETTERS)}`;
    const bound = `${folder}/${ASIDE_NAME}`;
    if (!fitsSocket(bound)) return undefined;
    if (!mayListen(bound)) return undefined;
    try {
      Deno.mkdirSync(folder, { mode: 0o700 });
      return folder;
    } catch (error) { // One has that name already.
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

function mayListen(path: string): boolean {
  try {
    const permission = { name: "net", host: `unix:${path}` } as const;
    return Deno.permissions.querySync(permission).state === "granted";
  } catch (error) { // Before Deno 2.9 there is no such permission, and none is needed.
    if (!(error instanceof URIError)) throw error;
    return true;
  }
}

/** The file of a listening Unix socket. */
export class SocketFile {
  readonly #path: string;
  readonly #bound: string;
  readonly #folder: string | undefined;
  readonly #identity: string | undefined;

  /** Use {@linkcode bindSocket}. */
  constructor(path: string, bound: string, folder: string | undefined) {
    this.#path = path;
    this.#bound = bound;
    this.#folder = folder;
    this.#identity = identify(path);
  }

  /** Keeps others from checking the path meanwhile; see {@linkcode takeLock}. */
  lock(options: LockOptions): Promise<Disposable> {
    return takeLock(lockOf(this.#path), options);
  }

  /**
   * Removes the file if it is still this one's, with the folder that was made for it. Call it before the
   * listener is closed; dispose of what it returns afterwards.
   *
   * - Closing the listener unlinks the path at which it was bound, even if another listener has bound it
   *   since; so the other's file is moved aside for that moment.
   */
  release(): Disposable {
    const identity = identify(this.#path);
    if (identity === this.#identity || identity === undefined) {
      if (this.#folder === undefined) removeIfThere(this.#path);
      else removeIfThere(this.#folder, true);
    } else if (this.#bound === this.#path) {
      const aside = `${this.#path}.${crypto.randomUUID().slice(0, 8)}`;
      Deno.renameSync(this.#path, aside);
      return { [Symbol.dispose]: () => Deno.renameSync(aside, this.#path) };
    }
    return { [Symbol.dispose]() {} };
  }
}

function removeIfThere(path: string, recursive = false): void {
  try {
    Deno.removeSync(path, { recursive });
  } catch (error) { // It is gone already, which is what was wanted.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Tells a file from another that took its path; the inode number alone may be used again. `undefined` if
 * there is none.
 */
function identify(path: string): string | undefined {
  try {
    const { dev, ino, mtime } = Deno.lstatSync(path);
    return `${dev} ${ino} ${mtime?.getTime()}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
