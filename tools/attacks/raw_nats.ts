/**
 * A client of NATS that says what an attack wants, and what brokers say there: written against NATS's
 * protocol and `docs/scaling.md`. It shares no code with the library.
 */
import {
  bytesOf,
  bytesValue,
  type Endpoint,
  frame,
  join,
  number,
  payload,
  small,
  topic,
  Type,
} from "./raw_client.ts";

/** What the subjects of the default bus begin with. */
const PREFIX = "mpubsub.default";
const VERSION = 1;

/** A connection to a NATS server that publishes only. */
export class RawNats implements Disposable {
  readonly #conn: Deno.TcpConn;
  readonly #reading: Promise<void>;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    this.#reading = this.#read();
  }

  /** Connects. */
  static async connect(endpoint: Endpoint): Promise<RawNats> {
    const conn = await Deno.connect({ ...endpoint });
    const client = new RawNats(conn);
    await client.#write(bytesOf('CONNECT {"verbose":false,"pedantic":false}\r\n'));
    return client;
  }

  /** Answers PING, which keeps the connection; forgets the rest. */
  async #read(): Promise<void> {
    const room = new Uint8Array(64 * 1024);
    const decoder = new TextDecoder();
    try {
      for (;;) {
        const count = await this.#conn.read(room);
        if (count === null) return;
        if (decoder.decode(room.subarray(0, count)).includes("PING\r\n")) {
          await this.#write(bytesOf("PONG\r\n"));
        }
      }
    } catch (_error) { // Closed here, or reset.
      return;
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** Publishes to a subject of the bus; `rest` is behind its prefix. */
  async publish(rest: string, bytes: Uint8Array): Promise<void> {
    const head = bytesOf(`PUB ${PREFIX}.${rest} ${bytes.length}\r\n`);
    await this.#write(join(head, bytes, bytesOf("\r\n")));
  }

  /** Says something to all brokers, as they talk to each other. */
  async say(said: object): Promise<void> {
    await this.publish("c", bytesOf(JSON.stringify(said)));
  }

  [Symbol.dispose](): void {
    this.#conn.close();
    void this.#reading;
  }
}

/** What stands in the header of a packet. */
export interface PacketParts {
  /** 16 hexadecimal digits. */
  readonly broker: string;
  /** 0, or the lane of a stream. */
  readonly lane: number;
  readonly number: number | bigint;
  readonly messages?: number;
  readonly counts?: readonly { readonly depth: number; readonly count: number | bigint }[];
  /** How many packets to the same topic are named that come before it. */
  readonly before?: number;
  /** Names packets to these topics instead. */
  readonly names?: readonly (readonly string[])[];
  /** How many bytes its message has besides. */
  readonly bytes?: number;
}

/** A packet with one message to `["pair", "forged"]`. */
export function packet(parts: PacketParts): Uint8Array<ArrayBuffer> {
  const { broker, lane, messages = 1, counts = [], before = 0, bytes } = parts;
  const block = topic("pair", "forged");
  const names = parts.names?.map((name) => topic(...name)) ??
    Array.from({ length: before }, () => block);
  const filling = bytes === undefined ? {} : { filling: bytesValue(new Uint8Array(bytes)) };
  return join(
    Uint8Array.of(VERSION, 0),
    Uint8Array.fromHex(broker),
    number(lane, 8).subarray(0, 2),
    number(parts.number, 8),
    number(messages, 4),
    Uint8Array.of(counts.length, names.length),
    ...counts.flatMap(({ depth, count }) => [number(depth, 1), number(count, 8)]),
    ...names,
    frame(Type.PUBLISH, block, payload({ n: small(1), ...filling })),
  );
}

/** The subject of that topic, behind the prefix. */
export const PACKET_SUBJECT = "m.pair.forged._";
