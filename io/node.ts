/**
 * The sockets and files of Node and Bun, for a client.
 *
 * A socket there pushes what comes; here it is asked for. So it is paused while nobody asks, and holds
 * one piece, of at most 64 KiB, until somebody does:
 *
 * ```
 *  socket ── "data" ──▶ who reads, if there is somebody
 *                └────▶ held, and the socket is paused ──▶ the next reads
 * ```
 *
 * The modules are asked for by name when they are needed, because bundlers for pages would else look for
 * them. Their types are written here as far as they are used, so that nobody needs those of Node.
 */
import { ConnectionLostError } from "../errors.ts";
import { type Endpoint, formatEndpoint, isSecured } from "./address.ts";
import type { Conn } from "./conn.ts";
import { notSupported } from "./dial_errors.ts";
import { type NodeProcess, nodeProcess } from "./process.ts";
import type { FileErrorName, FileStatus, Runtime } from "./runtime.ts";
import { cannotBeginTls, tlsError } from "./tls_errors.ts";

/**
 * Node or Bun, if this is one of them.
 *
 * @param process What it tells of itself.
 */
export function node(process: NodeProcess | undefined = nodeProcess()): Runtime | undefined {
  return process?.getBuiltinModule === undefined ? undefined : new NodeRuntime(process);
}

/** A socket of Node's, as far as it is used. */
interface Socket {
  readonly remoteAddress?: string;
  readonly destroyed: boolean;
  on(event: "data", listener: (bytes: Uint8Array) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  on(event: "connect" | "secureConnect" | "end" | "close", listener: () => void): this;
  pause(): void;
  resume(): void;
  write(bytes: Uint8Array, written: (error?: Error | null) => void): boolean;
  end(ended: () => void): void;
  destroy(error?: Error): void;
  ref(): void;
  unref(): void;
}

/** The same after TLS has begun. */
interface TlsSocket extends Socket {
  /** In older versions of Bun there is none if TLS could not begin. */
  getPeerCertificate(): object | undefined;
}

interface NetModule {
  connect(options: object): Socket;
  isIP(text: string): number;
}

interface TlsModule {
  readonly rootCertificates: readonly string[];
  connect(options: object): TlsSocket;
  /** What is wrong with the names in a certificate. */
  checkServerIdentity(hostname: string, certificate: object): Error | undefined;
  /** Newer than Node 22.0. */
  getCACertificates?(type: "default"): readonly string[];
}

interface CryptoModule {
  /** Throws if the text is not that of a certificate in PEM. */
  readonly X509Certificate: new (pem: string) => object;
}

interface Stats {
  readonly mode: number;
  readonly uid: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

interface FileHandle {
  stat(): Promise<Stats>;
  read(into: Uint8Array): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

interface FilesModule {
  stat(path: string | URL): Promise<Stats>;
  open(path: string | URL): Promise<FileHandle>;
}

/** The names of errors about files by their codes. */
const FILE_ERRORS: Readonly<Record<string, FileErrorName>> = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EISDIR: "IsADirectory",
  ENOTDIR: "NotADirectory",
  ELOOP: "FilesystemLoop",
};

/** One certificate in PEM. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** An error about a file, with the name that Deno's class for it has. */
class FileError extends Error {
  constructor(name: FileErrorName, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = name;
  }
}

class NodeRuntime implements Runtime {
  readonly #process: NodeProcess;

  constructor(process: NodeProcess) {
    this.#process = process;
  }

  #module<T>(name: string): T {
    return this.#process.getBuiltinModule!(name) as T;
  }

  async connect(
    endpoint: Endpoint,
    signal: AbortSignal,
    caCerts: readonly string[],
  ): Promise<Conn> {
    const net = this.#module<NetModule>("node:net");
    // Otherwise the end of one direction would end the other.
    const options = { allowHalfOpen: true };
    if (endpoint.transport === "unix") {
      if (this.#process.platform === "win32") { // What has a path there is a named pipe.
        throw notSupported(
          `Cannot connect to ${formatEndpoint(endpoint)}: Node and Bun have no Unix sockets on ` +
            "Windows; have the broker listen at tcp://127.0.0.1:7411, say",
        );
      }
      return await opened(net.connect({ ...options, path: endpoint.path }), signal);
    }
    const { hostname, port } = endpoint;
    const at = { ...options, host: hostname, port, noDelay: true };
    if (!isSecured(endpoint)) return await opened(net.connect(at), signal);
    const socket = await connected(net.connect(at), "connect", signal);
    const tls = this.#module<TlsModule>("node:tls");
    // No certificate names the zone of an IPv6 address.
    const host = hostname.replace(/%.*/, "");
    let secured: TlsSocket;
    try {
      this.#check(caCerts);
      secured = tls.connect({
        ...options,
        socket,
        // A server is asked for a name, and not for an IP address; the certificate is checked for either.
        ...net.isIP(hostname) === 0 && { servername: hostname },
        host,
        ...caCerts.length > 0 && { ca: [...systemCerts(tls), ...caCerts] },
        // Whatever the environment says.
        rejectUnauthorized: true,
      });
    } catch (error) { // A certificate to trust cannot be read.
      socket.destroy();
      throw cannotBeginTls(hostname, error);
    }
    try {
      await connected(secured, "secureConnect", signal);
      checkCertificate(tls, host, secured.getPeerCertificate());
      return new NodeConn(secured);
    } catch (error) { // The certificate, or what answers.
      secured.destroy();
      socket.destroy();
      signal.throwIfAborted();
      throw tlsError(endpoint, error);
    }
  }

  /** Certificates that are none would be left out in silence. */
  #check(caCerts: readonly string[]): void {
    if (caCerts.length === 0) return;
    const { X509Certificate } = this.#module<CryptoModule>("node:crypto");
    for (const text of caCerts) {
      const certs = text.match(CERTIFICATE);
      if (certs === null) throw new Error("one of them has no end");
      for (const cert of certs) new X509Certificate(cert);
    }
  }

  async stat(path: string | URL): Promise<FileStatus> {
    return this.#statusOf(await filing(this.#files.stat(path)));
  }

  async open(path: string | URL): ReturnType<Runtime["open"]> {
    const file = await filing(this.#files.open(path));
    return {
      stat: async () => this.#statusOf(await file.stat()),
      async read(into) {
        const { bytesRead } = await file.read(into);
        return bytesRead === 0 && into.length > 0 ? null : bytesRead;
      },
      close: () => file.close(),
    };
  }

  user(): Promise<number | undefined> {
    return Promise.resolve(this.#process.getuid?.());
  }

  fileError(name: FileErrorName, message: string): Error {
    return new FileError(name, message);
  }

  get #files(): FilesModule {
    return this.#module<FilesModule>("node:fs/promises");
  }

  #statusOf(stats: Stats): FileStatus {
    const hasUsers = this.#process.getuid !== undefined;
    return {
      isFile: stats.isFile(),
      isDirectory: stats.isDirectory(),
      mode: hasUsers ? stats.mode : null,
      uid: hasUsers ? stats.uid : null,
    };
  }
}

/** What is trusted when nothing else is said; with `ca` only what is given would be. */
function systemCerts(tls: TlsModule): readonly string[] {
  return tls.getCACertificates?.("default") ?? tls.rootCertificates;
}

/** What a promise about a file gives; errors have the names that Deno gives them. */
async function filing<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }; // It has the path.
    const name = FILE_ERRORS[code ?? ""];
    if (name === undefined) throw error;
    throw new FileError(name, message, error);
  }
}

/**
 * Checks what TLS has checked already, but not in Bun before 1.4: there a certificate for no IP address
 * will do for any, and a TLS that could not begin looks like one that has.
 *
 * @throws What is wrong with the certificate.
 */
function checkCertificate(tls: TlsModule, host: string, certificate: object | undefined): void {
  if (certificate === undefined) throw new Error("no certificate came");
  const problem = tls.checkServerIdentity(host, certificate);
  if (problem !== undefined) throw problem;
}

async function opened(socket: Socket, signal: AbortSignal): Promise<Conn> {
  return new NodeConn(await connected(socket, "connect", signal));
}

/**
 * Waits until a socket is connected.
 *
 * @throws What the socket says if it cannot be, or the signal's reason.
 */
function connected(
  socket: Socket,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const abort = () => {
    reject(signal.reason);
    socket.destroy();
  };
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  // The handler of errors stays: one that nobody handles would end the program.
  socket.on("error", (error) => reject(withMessage(error)));
  socket.on("close", () => reject(new ConnectionLostError("the other side closed the connection")));
  socket.on(event, () => resolve(socket));
  return promise.finally(() => signal.removeEventListener("abort", abort));
}

/** Where a name stands for several addresses, there is an error for each, and none says anything. */
function withMessage(error: Error & { code?: string }): Error {
  if (error.message === "") error.message = error.code ?? error.name;
  return error;
}

interface Reader {
  readonly into: Uint8Array;
  resolve(count: number | null): void;
  reject(error: Error): void;
}

/** A connected socket that is read when somebody asks. */
class NodeConn implements Conn {
  readonly remoteAddr: { readonly hostname?: string };
  readonly #socket: Socket;
  /** What came while nobody read. */
  readonly #held: Uint8Array[] = [];
  #reader: Reader | undefined;
  /** Reject what is being written, and the end: older versions of Bun leave them without an answer. */
  readonly #failWrites = new Set<(error: Error) => void>();
  #isPaused = false;
  #hasEnded = false;
  #error: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { remoteAddress } = socket;
    this.remoteAddr = { ...remoteAddress !== undefined && { hostname: remoteAddress } };
    socket.on("data", (bytes) => this.#take(bytes));
    socket.on("end", () => this.#end());
    socket.on("error", (error) => this.#fail(error));
    const isClosed = () => this.#fail(new Error("the connection is closed"));
    socket.on("close", isClosed);
    if (socket.destroyed) isClosed(); // It says so no more.
  }

  #take(bytes: Uint8Array): void {
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      const count = Math.min(bytes.length, reader.into.length);
      reader.into.set(count === bytes.length ? bytes : bytes.subarray(0, count));
      if (count < bytes.length) this.#held.push(bytes.subarray(count));
      reader.resolve(count);
    } else {
      this.#held.push(bytes);
    }
    if (this.#held.length === 0 || this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#reader?.resolve(null);
    this.#reader = undefined;
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#reader?.reject(error);
    this.#reader = undefined;
    for (const reject of this.#failWrites) reject(error);
    this.#failWrites.clear();
  }

  read(into: Uint8Array): Promise<number | null> {
    const [first] = this.#held;
    if (first !== undefined) {
      const count = Math.min(first.length, into.length);
      into.set(first.subarray(0, count));
      if (count < first.length) this.#held[0] = first.subarray(count);
      else this.#held.shift();
      return Promise.resolve(count);
    }
    if (this.#hasEnded) return Promise.resolve(null);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    this.#reader = { into, resolve, reject };
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    return promise;
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#failWrites.add(reject);
    this.#socket.write(bytes, (error) => {
      this.#failWrites.delete(reject);
      if (error) reject(error);
      else resolve(bytes.length);
    });
    return promise;
  }

  closeWrite(): Promise<void> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#failWrites.add(reject);
    this.#socket.end(() => {
      this.#failWrites.delete(reject);
      resolve();
    });
    return promise;
  }

  close(): void {
    this.#socket.destroy();
    this.#fail(new Error("the connection was closed here"));
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}
