/** Bytes through a relay, which knows no messages: so messages are pushed and counted by their size. */
import { endpointOf, type Target } from "../target.ts";
import type { Client, Topic } from "./client.ts";

/** The first byte of a connection that is read, and of one that is written. */
export const READS = 1;
export const WRITES = 2;

const READ_BYTES = 256 * 1024;
const CHANNELS = ["data", "ask", "answer"];

/** Writes all of it. */
export async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
}

async function open(target: Target, way: number, topic: Topic): Promise<Deno.Conn> {
  const endpoint = endpointOf(target);
  let connection: Deno.Conn;
  if (endpoint.transport === "unix") connection = await Deno.connect(endpoint);
  else {
    const onTcp = await Deno.connect(endpoint);
    onTcp.setNoDelay(true);
    connection = onTcp;
  }
  await writeAll(connection, Uint8Array.of(way, CHANNELS.indexOf(topic[0]!)));
  return connection;
}

async function countBytes(
  connection: Deno.Conn,
  size: number,
  take: (data: Uint8Array, count: number) => void,
): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  for (let left = 0;;) {
    const length = await connection.read(buffer);
    if (length === null) return;
    left += length;
    const count = Math.floor(left / size);
    left -= count * size;
    take(buffer, count);
  }
}

export function connect(target: Target): Promise<Client> {
  return Promise.resolve({
    bytesPublisher(topic, data) {
      const opened = open(target, WRITES, topic);
      let prepared = data;
      return async (count) => {
        const length = data.length * count;
        if (prepared.length < length) prepared = new Uint8Array(length);
        await writeAll(await opened, prepared.subarray(0, length));
      };
    },
    rowPublisher() {
      throw new TypeError("A relay passes on bytes, not rows");
    },
    async onBytes(topic, take, size) {
      const connection = await open(target, READS, topic);
      await connection.read(new Uint8Array(2)); // The relay knows.
      void countBytes(connection, size, take);
    },
    onRows() {
      throw new TypeError("A relay passes on bytes, not rows");
    },
    drain() {},
  });
}
