/**
 * What runs this library. A bus within a process works anywhere; what reaches outside the process is
 * each runtime's own: `deno.ts` has that of Deno, `node.ts` that of Node and Bun.
 */
import type { Endpoint } from "./address.ts";
import type { Conn } from "./conn.ts";
import { deno } from "./deno.ts";
import { notSupported } from "./dial_errors.ts";
import { node } from "./node.ts";
import { nodeName } from "./process.ts";

/** The oldest versions that have sockets and files for a client. */
const OLDEST = "Node 22.3, Bun 1.3 or Deno 2.6";

/** What a runtime knows of a path or of an open file. */
export interface FileStatus {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  /** Its mode, and its owner's number; `null` where there are no users, as on Windows. */
  readonly mode: number | null;
  readonly uid: number | null;
}

/** An open file. */
export interface OpenFile {
  stat(): Promise<FileStatus>;
  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  close(): void | Promise<void>;
}

/** Names of errors, as Deno has them; in every runtime an error has such a name. */
export type FileErrorName =
  | "NotFound"
  | "PermissionDenied"
  | "IsADirectory"
  | "NotADirectory"
  | "FilesystemLoop";

/** A runtime with sockets and files. */
export interface Runtime {
  /**
   * Connects, without the WebSocket that is spoken over it.
   *
   * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
   * @throws {TypeError} If a certificate to trust cannot be used.
   * @throws {AuthError | ProtocolError | ConnectionLostError} If TLS could not begin.
   * @throws Whatever it throws if nobody answers; or the signal's reason.
   */
  connect(endpoint: Endpoint, signal: AbortSignal, caCerts: readonly string[]): Promise<Conn>;
  /** What is at a path, links followed. */
  stat(path: string | URL): Promise<FileStatus>;
  /** Opens a file for reading. */
  open(path: string | URL): Promise<OpenFile>;
  /** The number of the user that this process runs as, if it can be known without asking. */
  user(): Promise<number | undefined>;
  /** Makes an error about a file. */
  fileError(name: FileErrorName, message: string): Error;
}

/**
 * The runtime that this is.
 *
 * @param action What is about to be done, after "Cannot".
 * @throws {DOMException} Its name is `NotSupportedError`, if it is none that has sockets and files, or
 * too old.
 */
export function runtimeFor(action: string): Runtime {
  const runtime = deno() ?? node();
  if (runtime !== undefined) return runtime;
  const old = nodeName();
  throw notSupported(
    `Cannot ${action}: ` +
      (old === undefined
        ? "this needs Deno, Node or Bun; in a page, use the NetPubSub of @mpubsub/mpubsub/web, and " +
          "addresses that begin with ws:// or wss://"
        : `${old} is too old; this needs ${OLDEST}, or a later version`),
  );
}

/**
 * Makes sure that there is Deno; a broker calls this before it does anything else.
 *
 * @param action What is about to be done, after "Cannot".
 * @throws {DOMException} Its name is `NotSupportedError`, if there is no Deno.
 */
export function needDeno(action: string): void {
  if (deno() !== undefined) return;
  throw notSupported(
    `Cannot ${action}: Broker and Proxy need Deno; without it, run the program mpubsub-broker, ` +
      "and connect to that",
  );
}
