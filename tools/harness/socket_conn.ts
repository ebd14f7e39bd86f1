/**
 * WebSockets of others as connections: what is read is the bytes of their messages, one behind the
 * other. It needs nothing of Deno, so it runs wherever there are WebSockets.
 */

/** What the WebSockets of all runtimes have, and those of the package ws. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: SocketClose) => void): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
}

/** How a WebSocket was closed. */
export interface SocketClose {
  readonly code: number;
  readonly reason: string;
}

const OPEN = 1;

/** A connection over a WebSocket; it reads nothing but binary messages. */
export class SocketConn {
  /** How it was closed, once it is. */
  readonly closed: Promise<SocketClose>;
  readonly #socket: SocketLike;
  readonly #opened: Promise<void>;
  #chunks: Uint8Array[] = [];
  #isClosed = false;
  #wake = () => {};

  /** Takes over a WebSocket that was just made. */
  constructor(socket: SocketLike) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    this.closed = new Promise((resolve) => socket.addEventListener("close", resolve));
    this.#opened = socket.readyState === OPEN
      ? Promise.resolve()
      : new Promise((resolve) => socket.addEventListener("open", resolve));
    socket.addEventListener("error", () => {}); // It closes then.
    socket.addEventListener("message", ({ data }) => {
      if (!(data instanceof ArrayBuffer)) throw new TypeError("The message is not binary");
      this.#chunks.push(new Uint8Array(data));
      this.#wake();
    });
    this.closed.then(() => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    while (this.#chunks.length === 0) {
      if (this.#isClosed) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const first = this.#chunks[0]!;
    const count = Math.min(first.length, into.length);
    into.set(first.subarray(0, count));
    if (count < first.length) this.#chunks[0] = first.subarray(count);
    else this.#chunks.shift();
    return count;
  }

  /** Writes all of `bytes` as one message, once it is open; fails if it is not then. */
  async write(bytes: Uint8Array): Promise<number> {
    await Promise.race([this.#opened, this.closed]);
    if (this.#socket.readyState !== OPEN) throw new Error("The WebSocket is closed");
    this.#socket.send(bytes.slice());
    return bytes.length;
  }

  /** Closes it. */
  close(): void {
    this.#socket.close();
  }
}

/** The same over two streams of messages. */
export class StreamConn {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array | string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer> | string>;
  #chunk = new Uint8Array(0);

  /** Takes over the streams of a WebSocket that is open. */
  constructor(
    reader: ReadableStreamDefaultReader<Uint8Array | string>,
    writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer> | string>,
  ) {
    this.#reader = reader;
    this.#writer = writer;
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) return null;
      if (typeof value === "string") throw new TypeError("The message is not binary");
      this.#chunk = new Uint8Array(value);
    }
    const count = Math.min(this.#chunk.length, into.length);
    into.set(this.#chunk.subarray(0, count));
    this.#chunk = this.#chunk.subarray(count);
    return count;
  }

  /** Writes all of `bytes` as one message. */
  async write(bytes: Uint8Array): Promise<number> {
    await this.#writer.write(bytes.slice());
    return bytes.length;
  }

  /** Closes it. */
  close(): void {
    this.#writer.close().catch(() => {}); // It is closed already.
  }
}
