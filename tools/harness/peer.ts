/** A client that does what a test wants, right or wrong, with the wire's own words. */
import { writeAll } from "../../base/bytes.ts";
import { parseAddress } from "../../io/address.ts";
import { dial } from "../../io/dial.ts";
import { encodeFrame, type FrameLimits, FrameType } from "../../protocol/frame.ts";
import {
  decodeOpened,
  encodeOpening,
  type Opened,
  type Opening,
} from "../../protocol/frame_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import { ClientHandshake, keyBytes } from "../../protocol/handshake.ts";
import { encodeNumber } from "../../protocol/job_bodies.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";

/** Every kind of frame, of any length. */
const ANYTHING: FrameLimits = new Array(256).fill(2 ** 31);

/** A broker, of this process or another. */
export interface Reachable {
  readonly address: string;
  readonly authkey: string | Uint8Array;
  /** Who vouches for it, with TLS. */
  readonly caCerts?: readonly string[];
}

/** What is needed of a connection, whatever the transport. */
export type PeerConn = Pick<Deno.Conn, "read" | "write" | "close">;

/** Reads exactly so many bytes, or fewer at the end. */
export async function readUpTo(
  conn: Pick<Deno.Conn, "read">,
  count: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(count);
  let at = 0;
  while (at < count) {
    const read = await conn.read(bytes.subarray(at)).catch(() => null);
    if (read === null) break;
    at += read;
  }
  return bytes.subarray(0, at);
}

/** Connects to a broker, without a word. */
export async function dialBroker(broker: Reachable): Promise<Deno.Conn> {
  const endpoint = parseAddress(broker.address);
  if (endpoint.transport === "unix") {
    return await Deno.connect({ transport: "unix", path: endpoint.path });
  }
  const { hostname, port } = endpoint;
  return await Deno.connect({ hostname, port });
}

/** An authenticated connection that sends and reads frames one by one. */
export class Peer implements AsyncDisposable {
  readonly conn: PeerConn;
  readonly #reader = new FrameReader(ANYTHING);

  private constructor(conn: PeerConn) {
    this.conn = conn;
  }

  /** Authenticates; opens with these topics. */
  static async open(broker: Reachable, topics: readonly string[][] = []): Promise<Peer> {
    const peer = await Peer.authenticate(broker);
    await peer.sendOpen(topics);
    return peer;
  }

  /** Authenticates, and sends no frame yet. */
  static async authenticate(
    broker: Reachable,
    key: string | Uint8Array = broker.authkey,
    keyName = "",
  ): Promise<Peer> {
    const conn = await dial(broker.address, new AbortController().signal, broker.caCerts);
    const handshake = new ClientHandshake(keyBytes(key), keyName);
    await writeAll(conn, handshake.hello);
    await writeAll(conn, await handshake.prove(await readUpTo(conn, 58)));
    await readUpTo(conn, 33);
    return new Peer(conn);
  }

  /** Opens a session, or goes on with one. */
  async sendOpen(
    topics: readonly string[][] = [],
    opening: Partial<Opening> = {},
  ): Promise<Opened> {
    const head = {
      session: undefined,
      taken: 0,
      calls: 0,
      wait: false,
      patience: 0,
      name: "",
      ...opening,
    };
    const blocks = topics.map(encodeTopic);
    await this.send(FrameType.OPEN, encodeOpening(head), encodeNumber(blocks.length), ...blocks);
    return decodeOpened(await this.expect(FrameType.OPENED));
  }

  async send(type: number, ...parts: readonly Uint8Array[]): Promise<void> {
    await writeAll(this.conn, encodeFrame(type as FrameType, ...parts));
  }

  async publish(topic: readonly string[], payload: Uint8Array): Promise<void> {
    await this.send(FrameType.PUBLISH, encodeTopic(topic), payload);
  }

  /** The next frame, or `undefined` at the end. */
  async next(): Promise<{ type: number; body: Uint8Array } | undefined> {
    while (!this.#reader.next()) {
      const count = await this.conn.read(this.#reader.space()).catch(() => null);
      if (count === null) return undefined;
      this.#reader.wrote(count);
    }
    const { type, buffer, body, end } = this.#reader;
    return { type, body: buffer.slice(body, end) };
  }

  /** The body of the next frame, which must be of this type; passes over other frames' ACKs. */
  async expect(type: number): Promise<Uint8Array> {
    let frame = await this.next();
    while (frame?.type === FrameType.ACK && type !== FrameType.ACK) frame = await this.next();
    if (frame?.type === type) return frame.body;
    throw new Error(`expected a frame of type ${type}, got ${frame?.type}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.conn.close();
    return Promise.resolve();
  }
}

/** The body of an OPEN for a new session: topics, as blocks, and no members of groups. */
export function openOf(...topics: readonly Uint8Array[]): Uint8Array[] {
  const head = { session: undefined, taken: 0, calls: 0, wait: false, patience: 0, name: "" };
  return [encodeOpening(head), encodeNumber(topics.length), ...topics];
}
