/**
 * Deno's sockets and files, for a client.
 */
import { isSecured } from "./address.ts";
import type { Conn } from "./conn.ts";
import type { Connection } from "./connection.ts";
import type { FileStatus, Runtime } from "./runtime.ts";
import { cannotBeginTls, tlsError } from "./tls_errors.ts";

/** Deno, if this is it. */
export function deno(): Runtime | undefined {
  return typeof Deno === "undefined" ? undefined : DENO;
}

const DENO: Runtime = {
  async connect(endpoint, signal, caCerts): Promise<Conn> {
    if (endpoint.transport === "unix") {
      return await Deno.connect({ transport: "unix", path: endpoint.path });
    }
    const { hostname, port } = endpoint;
    const conn = await Deno.connect({ hostname, port, signal: lenient(signal) });
    if (!isSecured(endpoint)) return conn;
    try {
      return await secure(conn, hostname, signal, caCerts);
    } catch (error) { // The certificate, or what answers; a TypeError: what is to be trusted.
      signal.throwIfAborted();
      throw error instanceof TypeError ? error : tlsError(endpoint, error);
    }
  },
  async stat(path) {
    return statusOf(await Deno.stat(path));
  },
  async open(path) {
    const file = await Deno.open(path);
    return {
      async stat() {
        return statusOf(await file.stat());
      },
      read: (into) => file.read(into),
      close: () => file.close(),
    };
  },
  async user() {
    // It tells with `--allow-sys`; and a file that is made with `--allow-write` has it.
    if (isGranted({ name: "sys", kind: "uid" })) return Deno.uid() ?? undefined;
    if (!isGranted({ name: "write" })) return undefined;
    try {
      const path = await Deno.makeTempFile({ prefix: "mpubsub-" });
      try {
        return (await Deno.lstat(path)).uid ?? undefined;
      } finally {
        await Deno.remove(path);
      }
    } catch { // There is no temporary folder, or it is full, or read-only.
      return undefined;
    }
  },
  fileError(name, message) {
    return new Deno.errors[name](message);
  },
};

function statusOf({ isFile, isDirectory, mode, uid }: Deno.FileInfo): FileStatus {
  return { isFile, isDirectory, mode, uid };
}

function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

/**
 * A signal that aborts with another, but throws nothing. Deno throws the reason of its signal also if
 * there is a connection already, which nobody could close then (seen on 2.9.6 and 2.6.8).
 */
function lenient(signal: AbortSignal): AbortSignal {
  const own = AbortSignal.any([signal]);
  own.throwIfAborted = () => {};
  return own;
}

/**
 * Begins TLS on a connection over TCP; from then on use only what is returned.
 *
 * @param hostname The name that the certificate must have.
 * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
 * @throws {Deno.errors.InvalidData} If the certificate is not trusted.
 */
export function beginTls(
  connection: Connection,
  hostname: string,
  caCerts: readonly string[],
  signal: AbortSignal,
): Promise<Connection> {
  return connection.over((conn) => secure(conn as Deno.TcpConn, hostname, signal, caCerts));
}

async function secure(
  conn: Deno.TcpConn,
  hostname: string,
  signal: AbortSignal,
  caCerts: readonly string[],
): Promise<Deno.TlsConn> {
  conn.setNoDelay(true);
  const secured = await startTls(conn, hostname, caCerts);
  const close = () => secured.close();
  signal.addEventListener("abort", close);
  try {
    await secured.handshake();
    return secured;
  } catch (error) {
    if (!signal.aborted) secured.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}

async function startTls(
  conn: Deno.TcpConn,
  hostname: string,
  caCerts: readonly string[],
): Promise<Deno.TlsConn> {
  try {
    return await Deno.startTls(conn, { hostname, caCerts: [...caCerts] });
  } catch (error) { // One of the certificates cannot be read, or the name is not one for TLS.
    closeIfOpen(conn);
    throw cannotBeginTls(hostname, error);
  }
}

function closeIfOpen(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch (error) { // It became part of TLS before that failed.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
