/**
 * A WebSocket that says what an attack wants, right or wrong. It was written against RFC 6455 and
 * `docs/protocol.md`, and shares no code with the library.
 *
 * ```
 * const web = await RawWeb.dial(endpoint);                   // a connection, without a word
 * await web.send(upgradeHead());
 * await web.head();                                          // "HTTP/1.1 101 …"
 * const client = RawClient.over(web);                        // the bus's own protocol in its messages
 * ```
 */
import { bytesOf, type Endpoint, join, random } from "./raw_client.ts";

/** The path at which brokers that are attacked have the bus. */
export const PATH = "/bus";

/** What a frame is; section 5.2. */
export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Why a server closes; section 7.4.1. */
export const CloseCode = { PROTOCOL: 1002, TOO_BIG: 1009 } as const;

const FIN = 0x80;
const MASKED = 0x80;
const READ_BYTES = 64 * 1024;
const EMPTY = new Uint8Array(0);

/** What may be wrong in a frame. */
export interface FrameParts {
  readonly isFinal?: boolean;
  readonly isMasked?: boolean;
  /** The length that it announces. */
  readonly length?: number | bigint;
}

/** A frame of a client. */
export function webFrame(
  opcode: number,
  payload: Uint8Array = EMPTY,
  parts: FrameParts = {},
): Uint8Array<ArrayBuffer> {
  const { isFinal = true, isMasked = true, length = payload.length } = parts;
  const first = Uint8Array.of((isFinal ? FIN : 0) | opcode);
  const size = sizeOf(BigInt(length));
  if (!isMasked) return join(first, size, payload);
  size[0]! |= MASKED;
  const mask = random(4);
  return join(first, size, mask, payload.map((byte, i) => byte ^ mask[i % 4]!));
}

function sizeOf(length: bigint): Uint8Array {
  const all = new DataView(new ArrayBuffer(9));
  all.setUint8(0, length < 126n ? Number(length) : length < 65_536n ? 126 : 127);
  if (length < 126n) return new Uint8Array(all.buffer, 0, 1);
  if (length < 65_536n) {
    all.setUint16(1, Number(length));
    return new Uint8Array(all.buffer, 0, 3);
  }
  all.setBigUint64(1, length);
  return new Uint8Array(all.buffer);
}

/** The head of a request that upgrades, with further lines. */
export function upgradeHead(...lines: readonly string[]): Uint8Array<ArrayBuffer> {
  const key = btoa(String.fromCharCode(...random(16)));
  return bytesOf([
    `GET ${PATH} HTTP/1.1`,
    "Host: localhost",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
    ...lines,
    "",
    "",
  ].join("\r\n"));
}

/** A frame as the broker sent it. */
export interface WebFrame {
  readonly opcode: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** One connection, which may become a WebSocket. */
export class RawWeb {
  readonly #conn: Deno.TcpConn;
  #bytes: Uint8Array<ArrayBuffer> = EMPTY;
  /** What is left of the current message. */
  #message: Uint8Array = EMPTY;
  #isClosed = false;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects, without a word. */
  static async dial({ hostname, port }: Endpoint): Promise<RawWeb> {
    const conn = await Deno.connect({ hostname, port });
    conn.setNoDelay(true);
    return new RawWeb(conn);
  }

  /** Connects and upgrades. */
  static async upgraded(endpoint: Endpoint): Promise<RawWeb> {
    const web = await RawWeb.dial(endpoint);
    await web.send(upgradeHead());
    if (statusOf(await web.head()) === 101) return web;
    web.close();
    throw new Error("The broker did not upgrade");
  }

  /** Writes bytes as they stand; whether the connection took them. */
  async send(bytes: Uint8Array): Promise<boolean> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      return true;
    } catch (_error) { // Reset, a broken pipe, or closed here meanwhile.
      return false;
    }
  }

  /** The head of the answer, or what came before the end. */
  async head(): Promise<string> {
    for (;;) {
      const text = new TextDecoder("latin1").decode(this.#bytes);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#bytes = this.#bytes.slice(end + 4);
        return text.slice(0, end);
      }
      if (!await this.#more()) return text;
    }
  }

  async #more(): Promise<boolean> {
    const room = new Uint8Array(READ_BYTES);
    try {
      const count = await this.#conn.read(room);
      if (count === null) return false;
      this.#bytes = join(this.#bytes, room.subarray(0, count));
      return true;
    } catch (_error) { // Reset, or closed here meanwhile.
      return false;
    }
  }

  async #take(count: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#bytes.length < count) if (!await this.#more()) return undefined;
    const taken = this.#bytes.slice(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  /** The next frame; none at the end. */
  async frame(): Promise<WebFrame | undefined> {
    const head = await this.#take(2);
    if (head === undefined) return undefined;
    const [first, short] = head as unknown as [number, number];
    const long = short < 126 ? EMPTY : await this.#take(short === 126 ? 2 : 8);
    if (long === undefined) return undefined;
    const length = short < 126 ? short : long.reduce((sum, byte) => sum * 256 + byte, 0);
    const payload = await this.#take(length);
    return payload && { opcode: first & 15, payload };
  }

  /** Reads to the end; the code of the broker's close, none if it closed without one. */
  async closeCode(): Promise<number | undefined> {
    for (;;) {
      const next = await this.frame();
      if (next === undefined) return undefined;
      if (next.opcode === Opcode.CLOSE) return next.payload[0]! << 8 | next.payload[1]!;
    }
  }

  /** Reads to the end, and forgets what comes. */
  async ended(): Promise<void> {
    do this.#bytes = EMPTY; while (await this.#more());
  }

  /** Reads what messages bring, as `Deno.Conn` does. */
  async read(into: Uint8Array): Promise<number | null> {
    while (this.#message.length === 0) {
      const next = await this.frame();
      if (next === undefined || next.opcode === Opcode.CLOSE) return null;
      if (next.opcode === Opcode.BINARY) this.#message = next.payload;
    }
    const part = this.#message.subarray(0, into.length);
    into.set(part);
    this.#message = this.#message.subarray(part.length);
    return part.length;
  }

  /** Writes all bytes as one message. */
  async write(bytes: Uint8Array): Promise<number> {
    if (!await this.send(webFrame(Opcode.BINARY, bytes))) throw new Error("The broker is gone");
    return bytes.length;
  }

  /** Ends the connection; twice is once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The status of a head; `NaN` if it has none. */
export function statusOf(head: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? NaN);
}
