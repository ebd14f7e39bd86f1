/** `bench/path.ts`: the streams in memory that it measures with, and how it judges. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { MemoryNet } from "../tools/harness/memory_net.ts";
import { judge, type Pair } from "../bench/path.ts";

const HOSTNAME = "127.0.0.1";
/** More than is held on the way. */
const LARGE_BYTES = 1024 * 1024;

/** Both ends of a connection in memory; `Deno` has its own functions again afterwards. */
async function connected(): Promise<[Deno.Conn, Deno.Conn]> {
  const net = new MemoryNet();
  using _installed = net.install();
  using listener = Deno.listen({ hostname: HOSTNAME, port: 0 });
  const conn = await Deno.connect({ hostname: HOSTNAME, port: listener.addr.port });
  return [conn, await listener.accept()];
}

async function readAll(conn: Deno.Conn, step: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(LARGE_BYTES);
  for (let size = 0;;) {
    const count = await conn.read(bytes.subarray(size, size + step));
    if (count === null) return bytes.subarray(0, size);
    size += count;
  }
}

for (const step of [1000, 65_536, LARGE_BYTES]) {
  Deno.test(`MemoryNet passes on what is written, in order, to reads of ${step} bytes`, async () => {
    const [from, to] = await connected();
    const sent = Uint8Array.from({ length: LARGE_BYTES }, (_, i) => i * i >> 8);
    const received = readAll(to, step);
    for (let at = 0; at < sent.length;) at += await from.write(sent.subarray(at, at + 100_000));
    await from.closeWrite();
    assertEquals(await received, sent);
  });
}

Deno.test("MemoryNet holds a writer back until something is read", async () => {
  const [from, to] = await connected();
  assertEquals(await from.write(new Uint8Array(LARGE_BYTES)) < LARGE_BYTES, true);
  let written = 0;
  const writing = from.write(new Uint8Array(1000)).then((count) => written = count);
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(written, 0);
  assertEquals(await to.read(new Uint8Array(300)), 300);
  assertEquals(await writing, 300);
});

Deno.test("MemoryNet ends what waits when a side closes, and refuses what comes then", async () => {
  const [from, to] = await connected();
  const reading = from.read(new Uint8Array(1));
  from.close();
  await assertRejects(() => reading, Deno.errors.Interrupted);
  assertEquals(await to.read(new Uint8Array(1)), null);
  await assertRejects(() => to.write(new Uint8Array(1)), Deno.errors.BrokenPipe);
  await assertRejects(() => from.read(new Uint8Array(1)), Deno.errors.BadResource);
});

Deno.test("MemoryNet refuses a port that is taken, and one at which nobody listens", async () => {
  const net = new MemoryNet();
  using _installed = net.install();
  const listener = Deno.listen({ hostname: HOSTNAME, port: 0 });
  const { port } = listener.addr;
  assertThrows(() => Deno.listen({ hostname: HOSTNAME, port }), Deno.errors.AddrInUse);
  listener.close();
  await assertRejects(
    () => Deno.connect({ hostname: HOSTNAME, port }),
    Deno.errors.ConnectionRefused,
  );
});

/** What was measured of messages that usually take so long, and are slow in one batch of 200. */
function measured(usual: number, slow: number): Pair[] {
  return Array.from({ length: 100 }, (_, i) => [usual, i === 50 ? slow : usual]);
}

for (
  const [says, base, again, change] of [
    ["PASS", 1, 1, 1.04],
    ["PASS", 1, 1, 0.5],
    ["FAIL", 1, 1.02, 1.07],
    ["FAIL", 1, 1.06, 2],
    ["noise", 1, 1.06, 1],
    ["noise", 1.06, 1, 1],
  ] as const
) {
  Deno.test(`judge says ${says} of ${change} to ${base} and ${again}, whatever slow runs there are`, () => {
    const loading = {
      base: measured(base, 90),
      again: measured(again, 20),
      change: measured(change, 50),
    };
    assertEquals(judge([loading, loading]).says, says);
  });
}

/** What was measured of messages that take 1 µs but in bursts. */
function inBursts(mean: number): Pair[] {
  return Array.from({ length: 100 }, (_, i) => [1, i % 5 === 0 ? 1 + 10 * (mean - 1) : 1]);
}

for (
  const [says, base, again, change] of [
    ["PASS", 1, 1, 1.1],
    ["PASS", 1.1, 1.2, 1.2],
    ["FAIL", 1, 1, 1.2],
    ["noise", 1, 1.2, 1.2],
    ["noise", 1.2, 1, 1],
  ] as const
) {
  Deno.test(`judge says ${says} of ${change} to ${base} and ${again} when that is a mean`, () => {
    const loading = { base: inBursts(base), again: inBursts(again), change: inBursts(change) };
    const { usual, mean } = judge([loading, loading]);
    assertEquals([usual.says, mean.says], ["PASS", says]);
  });
}

Deno.test("judge says FAIL of what one comparison finds, though the other sees only noise", () => {
  const loading = { base: inBursts(1), again: inBursts(1.5), change: measured(1.1, 1.1) };
  const { usual, mean, says } = judge([loading]);
  assertEquals([usual.says, mean.says, says], ["FAIL", "noise", "FAIL"]);
});

Deno.test("judge says what most loadings say, whatever one of them does", () => {
  const loading = (change: number) => ({
    base: measured(1, 1),
    again: measured(1, 1),
    change: measured(change, change),
  });
  assertEquals(judge([1.1, 0.5, 1.1, 1.1].map(loading)).usual.says, "FAIL");
  assertEquals(judge([1, 1, 2, 1].map(loading)).usual.says, "PASS");
});
