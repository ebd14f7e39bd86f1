/**
 * Where a broker is: addresses, and the file in which a broker tells its address and key.
 *
 * The file is JSON, `{ version, address, authkey, pid }` with the key in base64; `keyName` where the
 * key has a name, `ca` where the broker has a certificate, and no `authkey` where each client brings
 * its own. Whoever can read it can do all that a client can; so it is written with mode 0600, and not
 * read when others may.
 */

/**
 * Where a broker listens.
 *
 * - `"unix:///run/bus.sock"`: a Unix socket.
 * - `"tcp://127.0.0.1:7411"`, `"127.0.0.1:7411"` or `["127.0.0.1", 7411]`: TCP.
 * - `"tls://bus.example.org:7411"`: TCP with TLS.
 * - An IPv6 address stands in brackets in a string. Port 0 is any free one, for a broker.
 */
export type Address = string | readonly [hostname: string, port: number];

/** An address, taken apart. */
export type Endpoint =
  | { readonly transport: "unix"; readonly path: string }
  | { readonly transport: "tcp" | "tls"; readonly hostname: string; readonly port: number };

/** What a connection file says. */
export interface ConnectionFile {
  /** Where the broker listens. */
  readonly address: string;
  /** The key; none where each client brings its own. */
  readonly authkey?: Uint8Array;
  /** The name of the key. */
  readonly keyName?: string;
  /** What vouches for the broker's certificate, in PEM. */
  readonly ca?: string;
  /** The broker's process; none where it is not known. */
  readonly pid?: number;
}

/** The longest path of a Unix socket, in bytes: what the system has room for. */
const SOCKET_PATH_BYTES_MAX = Deno.build.os === "linux" ? 107 : 103;
const FILE_VERSION = 1;
/** The longest key that is read from a file, in bytes. */
export const KEY_FILE_BYTES_MAX = 64 * 1024;
/** The longest file with a certificate, or with keys, that is read, in bytes. */
export const CONFIG_FILE_BYTES_MAX = 1024 * 1024;
/** Room for a key in base64, a certificate, and the rest. */
const CONNECTION_FILE_BYTES_MAX = 2 * KEY_FILE_BYTES_MAX + CONFIG_FILE_BYTES_MAX;

/**
 * Takes an address apart.
 *
 * @throws {TypeError} When it is no address.
 * @throws {RangeError} When its port is none, or its path too long for a socket.
 */
export function parseAddress(address: Address): Endpoint {
  if (Array.isArray(address)) return netEndpoint("tcp", address, address[0], address[1]);
  if (typeof address !== "string") throw badAddress(address);
  if (address.startsWith("unix://")) return unixEndpoint(address.slice("unix://".length));
  const match = /^(?:(tcp|tls):\/\/)?(\[[^\s/[\]]+\]|[^\s:/[\]]+):(\d+)$/.exec(address);
  if (match === null) throw badAddress(address);
  const transport = match[1] === "tls" ? "tls" : "tcp";
  return netEndpoint(transport, address, match[2], Number(match[3]));
}

function unixEndpoint(path: string): Endpoint {
  if (path === "" || path.includes("\0")) throw badAddress(`unix://${path}`);
  if (new TextEncoder().encode(path).length > SOCKET_PATH_BYTES_MAX) {
    throw new RangeError(
      `Cannot use address "unix://${path}": its path has more than ${SOCKET_PATH_BYTES_MAX} bytes`,
    );
  }
  return { transport: "unix", path };
}

function netEndpoint(
  transport: "tcp" | "tls",
  address: Address,
  hostname: unknown,
  port: unknown,
): Endpoint {
  if (typeof hostname !== "string" || hostname === "") throw badAddress(address);
  if (typeof port !== "number") throw badAddress(address);
  const literal = hostname.startsWith("[") ? ipv6InBrackets(hostname) : hostname;
  if (literal === undefined) throw badAddress(address);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(
      `Cannot use address ${JSON.stringify(address)}: the port must be from 0 to 65535`,
    );
  }
  return { transport, hostname: literal, port };
}

/** The IPv6 address that stands in brackets, with its zone if it has one: `[fe80::1%eth0]`. */
function ipv6InBrackets(hostname: string): string | undefined {
  const [, ip, zone = ""] = /^\[([0-9a-fA-F:.]+)(%[\w.-]+)?\]$/.exec(hostname) ?? [];
  return ip !== undefined && URL.canParse(`http://[${ip}]/`) ? ip + zone : undefined;
}

function badAddress(address: unknown): TypeError {
  return new TypeError(
    `Cannot use address ${JSON.stringify(address)}: ` +
      `write "unix:///path/to.sock", "tcp://127.0.0.1:7411", "tls://host:7411" or ["127.0.0.1", 7411]`,
  );
}

/** An endpoint as an address. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.transport === "unix") return `unix://${endpoint.path}`;
  const { transport, hostname, port } = endpoint;
  return `${transport}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Whether only this machine can reach the endpoint. */
function isLoopback(endpoint: Endpoint): boolean {
  if (endpoint.transport === "unix") return true;
  return endpoint.hostname === "localhost" || endpoint.hostname === "::1" ||
    /^127\.\d+\.\d+\.\d+$/.test(endpoint.hostname);
}

/** Whether what passes can be read and changed on its way. */
export function isExposed(endpoint: Endpoint): boolean {
  return endpoint.transport !== "tls" && !isLoopback(endpoint);
}

/**
 * An address for a broker that has none of its own: a socket beside its connection file. None where
 * that path would be too long, or there are no sockets: the broker then makes up its own address.
 */
export function addressBeside(file: string): string | undefined {
  if (Deno.build.os === "windows") return undefined;
  const path = `${absolute(file)}.${crypto.randomUUID().slice(0, 8)}.sock`;
  const { length } = new TextEncoder().encode(path);
  return length <= SOCKET_PATH_BYTES_MAX ? `unix://${path}` : undefined;
}

/** A path that stays the same when the working directory changes. */
export function absolute(path: string | URL): string | URL {
  return typeof path !== "string" || path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** Whether a file could not be read because there is none. */
export function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound;
}

/**
 * Reads a broker's connection file.
 *
 * @throws {Deno.errors.NotFound} When there is none.
 * @throws {Deno.errors.PermissionDenied} When others may read it, or this user may not.
 * @throws {Deno.errors.IsADirectory} When it is a directory.
 * @throws {TypeError} When it is not a connection file.
 */
export async function readConnectionFile(path: string | URL): Promise<ConnectionFile> {
  const bytes = await readSecret(path, CONNECTION_FILE_BYTES_MAX);
  return parseConnectionFile(path, new TextDecoder().decode(bytes));
}

/** What a connection file says, when it holds a key. */
export function withKey(
  path: string | URL,
  content: ConnectionFile,
): ConnectionFile & { authkey: Uint8Array } {
  const { authkey } = content;
  if (authkey !== undefined) return { ...content, authkey };
  throw new TypeError(
    `Cannot use "${path}": it holds no key, since each client of that broker has its own; ` +
      "mpubsub-broker key NAME prints a file that holds one",
  );
}

/**
 * Reads a file with a secret; refuses one that is not secret, as ssh does.
 *
 * @throws {Deno.errors.PermissionDenied} When others may read or change it, or this user may not.
 * @throws {Deno.errors.IsADirectory} When it is a directory.
 * @throws {TypeError} When it is not a file, or has more than `limit` bytes.
 */
export async function readSecret(
  path: string | URL,
  limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // Looked at first: to open a FIFO is to wait for its other end.
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
    `Cannot use "${path}": others may read or change it (mode ${
      (mode & 0o777).toString(8)
    }), make it private with chmod 600`,
  );
}

function parseConnectionFile(path: string | URL, text: string): ConnectionFile {
  try {
    const { version, address, authkey, keyName, ca, pid } = JSON.parse(text);
    if (version !== FILE_VERSION) throw new TypeError(`its version is ${version}`);
    if (typeof address !== "string") throw new TypeError("its address is not a text");
    parseAddress(address);
    const key = authkey === undefined ? undefined : Uint8Array.fromBase64(authkey);
    if (key?.length === 0) throw new TypeError("its authkey is empty");
    if (pid !== undefined && !Number.isInteger(pid)) throw new TypeError("its pid is not a number");
    checkText("keyName", keyName);
    checkText("ca", ca);
    return {
      address,
      ...(key && { authkey: key }),
      ...(keyName !== undefined && { keyName }),
      ...(ca !== undefined && { ca }),
      ...(pid !== undefined && { pid }),
    };
  } catch (error) { // JSON.parse, fromBase64, or one of the checks.
    // The messages of a SyntaxError quote what may be a key.
    const isSyntax = error instanceof SyntaxError;
    const what = isSyntax ? "it is not JSON, or its key not base64" : (error as Error).message;
    throw new TypeError(`Cannot use "${path}": it is not a connection file (${what})`);
  }
}

function checkText(field: string, value: unknown): void {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(`its ${field} is not a text`);
}

/** What stands in a connection file. */
export function formatConnectionFile(content: ConnectionFile): string {
  const { address, authkey, keyName, ca, pid } = content;
  const fields = { version: FILE_VERSION, address, authkey: authkey?.toBase64(), keyName, ca, pid };
  return JSON.stringify(fields) + "\n";
}

/**
 * Writes a connection file, whole or not at all, with mode 0600.
 *
 * @param replace Whether a file that is there may be replaced.
 * @returns Removes the file, if it is still the one that was written.
 * @throws {Deno.errors.AlreadyExists} When there is one, and `replace` is false.
 */
export async function writeConnectionFile(
  path: string,
  content: ConnectionFile,
  options: { replace: boolean },
): Promise<() => Promise<void>> {
  const text = formatConnectionFile(content);
  const draft = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeTextFile(draft, text, { mode: 0o600, createNew: true });
    // Unlike a rename, a link never takes the place of a file that came in the meantime.
    if (options.replace) await Deno.rename(draft, path);
    else await Deno.link(draft, path);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new Deno.errors.AlreadyExists(
      `Cannot write "${path}": another broker, or another program, has made it meanwhile`,
      { cause: error },
    );
  } finally {
    await removeIfThere(draft);
  }
  return async () => {
    if (await readIfThere(path) === text) await removeIfThere(path);
  };
}

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

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) { // It is gone already, which is what was wanted.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) { // Somebody else removed it.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
