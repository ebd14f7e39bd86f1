/** The command `bench`, and the histogram that it keeps. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Result, resultOf, tableOf } from "../cli/bench_report.ts";
import { Counts } from "../cli/bench_worker.ts";
import { quantile } from "../cli/format.ts";
import { Histogram } from "../cli/histogram.ts";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, Program } from "./helpers/program.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 32));
const ANN = { authkey: new TextEncoder().encode("secret"), keyName: "ann" };

/** Runs `bench` to its end. */
async function benched(file: string, ...args: string[]): Promise<string> {
  await using program = new Program({ args: ["bench", "-c", file, ...args] });
  const { code, out, err } = await program.end();
  assertEquals([code, err], [0, ""]);
  return out;
}

Deno.test("cli bench --json tells exactly what passed between several clients, on one line", async () => {
  await using bus = await Bus.start();
  const clients = ["--publishers", "2", "--subscribers", "3"];
  const out = await benched(bus.file, ...clients, "--messages", "20001", "--size", "33", "--json");
  assertEquals(out.indexOf("\n"), out.length - 1);
  const result: Result = JSON.parse(out);
  assertEquals(
    [result.publishers, result.subscribers, result.size, result.rate],
    [2, 3, 33, null],
  );
  assertEquals(
    [result.published, result.received, result.missed, result.lost],
    [20_001, 60_003, 0, 0],
  );
  assertEquals([result.publishing.each.length, result.receiving.each.length], [2, 3]);
  const { ms, messagesPerSecond, bytesPerSecond } = result.receiving;
  assertEquals(Math.round(messagesPerSecond * ms), 60_003_000);
  assertEquals(Math.round(bytesPerSecond * ms), 33 * 60_003_000);
  const { min, median, p90, p99, p999, max, buckets } = result.latency!;
  const ordered = [min, median, p90, p99, p999, max];
  assertEquals(ordered, ordered.toSorted((a, b) => a - b));
  assertEquals(buckets.reduce((sum, { count }) => sum + count, 0), 60_003);
});

Deno.test("cli bench prints a table and a histogram, and nothing else where there is no terminal", async () => {
  await using bus = await Bus.start();
  const out = await benched(bus.file, "--messages", "1000", "--publishers", "2");
  assertMatch(out, /^Published +1,000 +\S/m);
  assertMatch(out, /^Received +1,000 +\S/m);
  assertMatch(out, /^Missed +0$/m);
  assertMatch(out, /^2 publishers +\S/m);
  assertMatch(out, /^Latency +\d/m);
  assertMatch(out, /^< .* [µm]s +[\d.]+ % +█/m);
  assert(out.split("\n").every((line) => line.length <= 80), out);
  // deno-lint-ignore no-control-regex
  assertEquals(out.match(/[\r\x1b]/), null);
});

Deno.test("cli bench keeps to its rate, and ends after its seconds", async () => {
  await using bus = await Bus.start();
  const { file } = bus;
  const args = ["--rate", "100", "--publishers", "3", "--seconds", "1", "--json"];
  const result: Result = JSON.parse(await benched(file, ...args));
  assert(result.published <= 100, `${result.published}`);
  assert(result.publishing.ms >= 1000, `${result.publishing.ms}`);
  assertEquals([result.rate, result.received], [100, result.published]);
});

Deno.test("cli bench needs no subscriber, and then tells of none", async () => {
  await using bus = await Bus.start();
  const out = await benched(bus.file, "--subscribers", "0", "--messages", "10");
  assertMatch(out, /^Published +10 /m);
  assertEquals(out.match(/Received|Latency|%/), null);
});

Deno.test("cli bench draws its progress on a terminal, and takes it away", async () => {
  await using bus = await Bus.start();
  await using program = new Program({
    args: ["bench", "-c", bus.file, "--seconds", "1"],
    onTerminal: true,
  });
  const { code, out } = await program.end();
  assertEquals(code, 0);
  assertMatch(out, /\r█*[▏▎▍▌▋▊▉]?░+ +\d+ % {2}published \S+( \S)?\/s, received \S+( \S)?\/s/);
  // deno-lint-ignore no-control-regex
  assertMatch(out, /\r\x1b\[K +messages/);
});

for (const [signal, rate] of [["SIGINT", ["--rate", "1"]], ["SIGTERM", []]] as const) {
  Deno.test(`cli bench ends with status 130 after ${signal}, and prints what it has`, async () => {
    await using bus = await Bus.start();
    await using client = await bus.client();
    using messages = client.subscribe("bench", { limit: 1 });
    await client.flush();
    await using program = new Program({
      args: ["bench", "-c", bus.file, "--seconds", "600", "--publishers", "2", "--json", ...rate],
    });
    await messages[Symbol.asyncIterator]().next();
    program.kill(signal);
    const { code, out, err } = await program.end();
    assertEquals([code, err], [130, ""]);
    const { published, received, missed, lost } = JSON.parse(out);
    assert(published > 0);
    assertEquals([received + missed, lost], [published, 0]);
  });
}

Deno.test("cli bench that is interrupted before it measures prints nothing", async () => {
  await using folder = await TempFolder.make();
  const args = ["bench", "--wait", "-c", `${folder.path}/x.json`];
  await using program = new Program({ args });
  await program.untilError("Waiting for a broker");
  program.kill("SIGINT");
  const { code, out } = await program.end();
  assertEquals([code, out], [130, ""]);
});

Deno.test("cli bench refuses wrong arguments with one line and status 2", async () => {
  for (
    const args of [
      ["--messages", "1", "--seconds", "1"],
      ["--publishers", "0"],
      ["--publishers", "500", "--subscribers", "501"],
      ["--size", "x"],
      ["--size", "1073741825"],
      ["--rate", "0"],
      ["--topic", ""],
      ["--publisher", "2"],
      ["more"],
    ]
  ) {
    const { code, err } = await fails({ args: ["bench", ...args] });
    assertEquals(code, 2, err);
    assertMatch(err, /bench --help/);
  }
});

Deno.test("cli bench says in one line, with status 1, what is in its way", async () => {
  await using bus = await Bus.start();
  const { file, broker } = bus;
  const large = await fails({ args: ["bench", "-c", file, "--size", "2000000"] });
  assertEquals(large.code, 1);
  assertMatch(large.err, /limit is 1048576/);
  const missing = await fails({ args: ["bench", "-c", `${file}.none`] });
  assertEquals(missing.code, 1);
  assertMatch(missing.err, /no such file/);
  await broker.shutdown();
  const gone = await fails({ args: ["bench", "-c", file] });
  assertEquals(gone.code, 1);
  assertMatch(gone.err, /Cannot connect/);
});

for (const right of ["publish", "subscribe"] as const) {
  Deno.test(`cli bench ends with status 1 without the right to ${right}`, async () => {
    await using bus = await Bus.start({
      keys: [{
        name: ANN.keyName,
        key: ANN.authkey,
        [right === "publish" ? "subscribe" : "publish"]: [null],
      }],
    }, ANN);
    const { file } = bus;
    const { code, err } = await fails({ args: ["bench", "-c", file] });
    assertEquals(code, 1);
    assertMatch(err, new RegExp(`Cannot ${right} to \\["bench",`));
  });
}

Deno.test("cli bench ends with status 1 when the broker goes", async () => {
  await using bus = await Bus.start();
  await using client = await bus.client();
  using messages = client.subscribe("bench", { limit: 1 });
  await client.flush();
  const failing = fails({ args: ["bench", "-c", bus.file, "--seconds", "600", "--rate", "10"] });
  await messages[Symbol.asyncIterator]().next();
  await client.disconnect();
  await bus.broker.shutdown();
  const { code, err } = await failing;
  assertEquals(code, 1);
  assertMatch(err, /Lost the connection/);
});

Deno.test("tableOf and resultOf tell what was missed and what was lost", () => {
  const load = {
    topic: ["bench"],
    publishers: 1,
    subscribers: 2,
    size: 10,
    rate: 50,
    messages: 100,
    seconds: 5,
  };
  const times = new Histogram();
  times.add(1);
  const result = resultOf(load, [{ messages: 100, from: 1000, to: 3000 }], [
    { messages: 90, bytes: 900, missed: 10, to: 4000 },
    { messages: 80, bytes: 800, missed: 13, to: 5000 },
  ], times);
  assertEquals([result.received, result.missed, result.lost], [170, 23, 7]);
  assertEquals(result.publishing, {
    ms: 2000,
    messagesPerSecond: 50,
    bytesPerSecond: 500,
    each: [50],
  });
  assertEquals(result.receiving, {
    ms: 4000,
    messagesPerSecond: 42.5,
    bytesPerSecond: 425,
    each: [30, 20],
  });
  const table = tableOf(result, times);
  assertMatch(table, /^Missed +23$/m);
  assertMatch(table, /^Lost +7$/m);
});

Deno.test("Counts tells what is on its way to the slowest subscriber, over 2³² messages, too", () => {
  const load = { publishers: 2, subscribers: 2 };
  const counts = new Counts(load);
  const others = new Counts(load, counts.buffer);
  counts.publish(0, 2 ** 32 + 5);
  counts.publish(1, 2 ** 31);
  counts.take(0, 2 ** 32 + 2 ** 31);
  counts.take(1, 2 ** 32 + 2 ** 31 - 7);
  assertEquals(others.onTheirWay, 12);
});

/** Times over many orders of magnitude, some of them at the bounds of buckets. */
function someTimes(): number[] {
  const random = randomOf(SEED);
  return Array.from({ length: 5000 }, () => {
    const power = 2 ** random.int(30) / 1000;
    return random.pick([0, power, power * (1 + random.int(1000) / 1000)]);
  });
}

Deno.test(`Histogram is at most 1/32, or 1 µs, above the quantiles of all times (SEED=${SEED})`, () => {
  const values = someTimes();
  const histogram = new Histogram();
  for (const value of values) histogram.add(value);
  assertEquals(histogram.count, values.length);
  assertEquals([histogram.min, histogram.max], [Math.min(...values), Math.max(...values)]);
  for (const part of [0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1]) {
    const [exact, told] = [quantile(values, part), histogram.quantile(part)];
    assert(
      told >= exact && told <= exact * (1 + 1 / 32) + 0.001 + 1e-9,
      `${part}: ${exact} ${told}`,
    );
  }
});

Deno.test(`Histogram has each time in the one bucket and the one row around it (SEED=${SEED})`, () => {
  const values = someTimes();
  const [histogram, half] = [new Histogram(), new Histogram()];
  values.forEach((value, i) => (i % 2 === 0 ? histogram : half).add(value));
  histogram.merge(structuredClone(half));
  for (const rows of [histogram.buckets(), histogram.rows(10), histogram.rows(3)]) {
    assertEquals(
      rows.map(({ count }) => count),
      rows.map(({ from, to }) => values.filter((value) => from <= value && value < to).length),
    );
    assertEquals(rows.reduce((sum, { count }) => sum + count, 0), values.length);
  }
  assertEquals(histogram.rows(10).length, 10);
});

Deno.test("Histogram takes no time, times below 0, and times beyond its last bucket", () => {
  const histogram = new Histogram();
  assertEquals([histogram.count, histogram.quantile(0.5)], [0, NaN]);
  assertEquals([histogram.buckets(), histogram.rows(10)], [[], []]);
  for (const value of [-1, 1e12]) histogram.add(value);
  assertEquals([histogram.min, histogram.max, histogram.quantile(0)], [0, 1e12, 0.001]);
  assertEquals(histogram.quantile(1), 2 ** 32 / 1000);
});
