/**
 * The least that a broker can be: it hands on the bytes that come, to all who read the same channel,
 * and waits until the slowest has taken them. Argument: the port, or the path of a socket.
 *
 * The first two bytes of a connection say whether it is to be read or written, and the channel.
 */
import { READS, writeAll } from "../clients/relay.ts";

const READ_BYTES = 256 * 1024;

const channels = new Map<number, Set<Deno.Conn>>();

function readersOf(channel: number): Set<Deno.Conn> {
  const readers = channels.get(channel) ?? new Set();
  channels.set(channel, readers);
  return readers;
}

async function serve(connection: Deno.Conn): Promise<void> {
  const hello = new Uint8Array(2);
  if (await connection.read(hello) === null) return; // Who only looked whether somebody listens.
  const readers = readersOf(hello[1]!);
  if (hello[0] === READS) {
    readers.add(connection);
    await writeAll(connection, hello);
    return;
  }
  // Two buffers: one is read into while the other is written.
  const buffers = [new Uint8Array(READ_BYTES), new Uint8Array(READ_BYTES)];
  let written: Promise<unknown> = Promise.resolve();
  for (let turn = 0;; turn = 1 - turn) {
    const length = await connection.read(buffers[turn]!);
    await written;
    if (length === null) return;
    const bytes = buffers[turn]!.subarray(0, length);
    written = Promise.all([...readers].map((reader) => writeAll(reader, bytes)));
  }
}

const where = Deno.args[0]!;
if (where.startsWith("/")) {
  for await (const connection of Deno.listen({ transport: "unix", path: where })) {
    void serve(connection);
  }
} else {
  for await (const connection of Deno.listen({ hostname: "127.0.0.1", port: Number(where) })) {
    connection.setNoDelay(true);
    void serve(connection);
  }
}
