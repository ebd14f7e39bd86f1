/** What passes between a client and the connection at which Deno does TLS. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { TlsPumps } from "../io/tls_pumps.ts";
import { ClientRecords } from "../io/tls_records.ts";
import { concat } from "../tools/harness/bytes.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { randomOf } from "../tools/harness/random.ts";
import { quiet } from "./helpers/quiet.ts";

const AHEAD = Uint8Array.of(0x17, 3, 3);

/** A record of a client, with so many bytes behind its header. */
function recordOf(length: number, type = 0x17): Uint8Array {
  const bytes = new Uint8Array(5 + length).fill(length);
  bytes.set([type, 3, 3, length >> 8, length & 0xff]);
  return bytes;
}

Deno.test("ClientRecords passes the same bytes wherever they are cut and whatever goes ahead of them", () => {
  const random = randomOf(20_26);
  let ahead = 0;
  for (let round = 0; round < 200; round++) {
    const sizes = Array.from({ length: 30 }, () => random.pick([0, 1, 5, 255, 300, 16_401]));
    const stream = concat(recordOf(512, 0x16), recordOf(1, 0x14), ...sizes.map((n) => recordOf(n)));
    const records = new ClientRecords();
    const passed: Uint8Array[] = [];
    let isSecure = false;
    let start = 0;
    const ends = [512, 1, ...sizes].map((size) => start += 5 + size);
    for (let at = 0; at < stream.length;) {
      const end = ends.find((end) => end > at)!;
      const count = random.int(2) === 0 ? end - at : 1 + random.int(random.pick([3, 30, 40_000]));
      passed.push(records.pass(stream.subarray(at, at + count))!);
      at += count;
      isSecure ||= at >= 517 + 6;
      for (let n = random.int(6); isSecure && n > 0; n--) {
        const byte = records.ahead();
        if (byte === undefined) continue;
        passed.push(byte);
        ahead++;
      }
    }
    const rest = concat(...passed).subarray(stream.length);
    assertEquals(concat(...passed).subarray(0, stream.length), stream, `round ${round}`);
    assertEquals(rest, AHEAD.subarray(0, rest.length));
  }
  assert(ahead > 1000, `${ahead} bytes went ahead`);
});

Deno.test("ClientRecords sends nothing ahead in the middle of a record or of a header, and three bytes after one", () => {
  const records = new ClientRecords();
  const record = recordOf(10);
  for (let at = 0; at < record.length; at++) {
    records.pass(record.subarray(at, at + 1));
    if (at < record.length - 1) assertEquals(records.ahead(), undefined, `after ${at + 1} bytes`);
  }
  const ahead = Array.from({ length: 5 }, () => records.ahead());
  assertEquals(ahead, [...Array.from(AHEAD, (byte) => Uint8Array.of(byte)), undefined, undefined]);
  assertEquals(records.pass(record), record.subarray(3));
  assertEquals(records.ahead(), AHEAD.subarray(0, 1));
});

Deno.test("ClientRecords says that a client ends which sends another record than went ahead", () => {
  for (const bytes of [recordOf(2, 0x15), Uint8Array.of(0x17, 2), Uint8Array.of(0)]) {
    const records = new ClientRecords();
    for (let n = 0; n < 3; n++) records.ahead();
    assertEquals(records.pass(bytes), undefined);
  }
});

/** Pumps between a client and a server, which the test plays. */
function setUp() {
  const [client, outer] = streamPair();
  const [inner, server] = streamPair();
  const pumps = new TlsPumps(outer, inner);
  const incoming = pumps.incoming(new Uint8Array(0));
  const outgoing = pumps.outgoing();
  const close = async () => {
    for (const stream of [client, server, outer, inner]) stream.close();
    await Promise.allSettled([incoming, outgoing]);
  };
  const send = async (stream: typeof client, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await stream.write(bytes.subarray(at));
  };
  const read = async (stream: typeof client) => {
    const into = new Uint8Array(100_000);
    const count = await stream.read(into);
    return count === null ? null : into.subarray(0, count);
  };
  return { pumps, client, server, incoming, outgoing, close, send, read };
}

Deno.test("TlsPumps sends a byte ahead of the client, once the handshake is complete, when the server has written", async () => {
  const { pumps, client, server, close, send, read } = setUp();
  const [sent] = [send(server, recordOf(100, 0x16))];
  assertEquals(await read(client), recordOf(100, 0x16));
  await sent;
  send(client, recordOf(50, 0x16));
  assertEquals(await read(server), recordOf(50, 0x16), "nothing went ahead in the handshake");
  pumps.isSecure = true;
  for (let n = 0; n < 5; n++) {
    send(server, recordOf(20));
    assertEquals(await read(client), recordOf(20));
    if (n < 3) assertEquals(await read(server), AHEAD.subarray(n, n + 1));
  }
  send(client, recordOf(7));
  assertEquals(await read(server), recordOf(7).subarray(3));
  await close();
});

Deno.test("TlsPumps sends nothing ahead while it passes on what the client has sent", async () => {
  const { pumps, client, server, close, send, read } = setUp();
  pumps.isSecure = true;
  send(client, recordOf(1000)); // The server does not read it yet.
  await quiet();
  send(server, recordOf(20));
  assertEquals(await read(client), recordOf(20));
  assertEquals(await read(server), recordOf(1000));
  await close();
});

Deno.test("TlsPumps sends what the client sends behind the byte that is going ahead of it", async () => {
  const { pumps, client, server, close, send, read } = setUp();
  pumps.isSecure = true;
  send(server, recordOf(20));
  await read(client);
  send(client, recordOf(9)); // The server has not read the byte that went ahead.
  await quiet();
  assertEquals(await read(server), recordOf(9).subarray(0, 1));
  assertEquals(await read(server), recordOf(9).subarray(1));
  await close();
});

Deno.test("TlsPumps passes all bytes in their order in both directions at once", async () => {
  const random = randomOf(20_26);
  const { pumps, client, server, incoming, outgoing, close, send, read } = setUp();
  pumps.isSecure = true;
  const streamOf = () =>
    concat(...Array.from({ length: 300 }, () => recordOf(random.int(random.pick([20, 16_000])))));
  const [up, down] = [streamOf(), streamOf()];
  const sendAll = async (stream: typeof client, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) {
      const count = 1 + random.int(random.pick([10, 50_000]));
      await send(stream, bytes.subarray(at, at + count));
      at += count;
      if (random.int(10) === 0) await quiet();
    }
    await stream.closeWrite();
  };
  const readAll = async (stream: typeof client) => {
    const parts: Uint8Array[] = [];
    for (let part = await read(stream); part !== null; part = await read(stream)) parts.push(part);
    return concat(...parts);
  };
  const [, , atServer, atClient] = await Promise.all([
    sendAll(client, up),
    sendAll(server, down),
    readAll(server),
    readAll(client),
  ]);
  assertEquals(atClient, down);
  assertEquals(atServer.subarray(0, up.length), up);
  assert(atServer.length <= up.length + 3, "at most the start of a record is left");
  await Promise.all([incoming, outgoing]);
  await close();
});

Deno.test("TlsPumps ends what the server reads when the client ends in another way than went ahead", async () => {
  const { pumps, client, server, incoming, close, send, read } = setUp();
  pumps.isSecure = true;
  send(server, recordOf(20));
  await read(client);
  assertEquals(await read(server), AHEAD.subarray(0, 1));
  send(client, recordOf(2, 0x15));
  assertEquals(await read(server), null);
  await incoming;
  await close();
});

Deno.test("TlsPumps rejects when an end is gone", async () => {
  const { client, server, incoming, outgoing, close, send } = setUp();
  server.close();
  await assertRejects(async () => {
    await send(client, recordOf(10));
    await incoming;
  });
  await close();
  await Promise.allSettled([incoming, outgoing]);
});

Deno.test("TlsPumps leaves turns to everything else while bytes pass without end", async () => {
  let [others, reads] = [0, 0];
  const flood = {
    read: (into: Uint8Array) => Promise.resolve(reads++ < 2000 ? into.length : null),
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
  };
  const timer = setInterval(() => others++, 0);
  await new TlsPumps(flood, flood).outgoing();
  clearInterval(timer);
  assert(others >= 5, `others had ${others} turns during 128 MB`);
});
