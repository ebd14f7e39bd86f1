/** What others make an uplink report is bounded, and what is left out is told. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type NatsUplinkEvent, UplinkEvents } from "../nats/uplink_events.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { until } from "../tools/harness/until.ts";
import { Machine } from "./helpers/machines.ts";
import { connected, natsTest } from "./helpers/nats.ts";

const MINUTE = 60_000;

/** Notes what is reported, in a time of its own. */
class Reported {
  readonly list: NatsUplinkEvent[] = [];
  now = 0;
  readonly events = new UplinkEvents((event) => this.list.push(event), () => this.now);

  /** A broker joins and leaves so many times. */
  flap(broker: string, times: number): void {
    for (let n = 0; n < times; n++) {
      this.events.change("joined", broker, `Broker ${broker} is on the bus`);
      this.events.change("left", broker, `Broker ${broker} said goodbye`);
    }
  }

  /** How many changes there were, reported or told as left out. */
  get told(): number {
    return this.list.reduce((sum, { type, message }) => {
      const left = Number(
        /(\d+) other changes of brokers were not reported/.exec(message)?.[1] ?? 0,
      );
      return sum + left + (type === "warning" ? 0 : 1);
    }, 0);
  }
}

Deno.test("UplinkEvents reports few changes of one broker, and tells how many it left out", () => {
  const reported = new Reported();
  reported.flap("a", 10_000);
  assertEquals(reported.list.map(({ type }) => type), ["joined", "left", "joined", "left"]);
  reported.events.change("joined", "b", "Broker b is on the bus");
  assertEquals(
    reported.list.at(-1)!.message,
    "Broker b is on the bus (19996 other changes of brokers were not reported)",
  );
  assertEquals(reported.told, 20_001);
});

Deno.test("UplinkEvents reports few changes of however many brokers, and tells all in the end", () => {
  const reported = new Reported();
  const minutes = 10;
  for (let n = 0; n < 1000 * minutes; n++) {
    reported.now = n * MINUTE / 1000;
    reported.flap(n.toString(16), 1);
    if (n % 30 === 0) reported.events.look();
  }
  assert(reported.list.length <= 100 + 10 * minutes + 1, `${reported.list.length} reports`);
  reported.now += MINUTE;
  reported.events.look();
  assertEquals(reported.told, 2000 * minutes);
  assertEquals(reported.list.at(-1)!.type, "warning");
  const reports = reported.list.length;
  reported.events.look();
  assertEquals(reported.list.length, reports, "there is nothing more to tell");
});

Deno.test("UplinkEvents reports the same warning once a minute, and few different ones", () => {
  const reported = new Reported();
  for (let n = 0; n < 1000; n++) reported.events.warn("always the same");
  assertEquals(reported.list.length, 1);
  reported.now += MINUTE + 1;
  reported.events.warn("always the same");
  assertEquals(reported.list.length, 2);
  for (let n = 0; n < 1000; n++) reported.events.warn(`number ${n}`);
  assertEquals(reported.list.length, 101);
  reported.now += MINUTE;
  reported.events.warn("one more");
  assertEquals(
    reported.list.at(-1)!.message,
    "one more (901 other warnings were not reported)",
  );
});

Deno.test("UplinkEvents cuts texts, and shows nothing in them that a terminal obeys", () => {
  const reported = new Reported();
  const long = `\x1b[31m\u202e\u200b${"x".repeat(1e6)}`;
  reported.events.warn(long);
  reported.events.tell("disconnected", long);
  reported.events.change("joined", "a", long);
  assertEquals(reported.list.length, 3);
  for (const { message } of reported.list) {
    assert(message.length <= 1000, `${message.length} characters`);
    assertStringIncludes(message, String.raw`\u001b[31m\u202e\u200bxxx`);
  }
});

natsTest("A broker that is none makes others report little, however much it says", async () => {
  await using server = await NatsServer.start();
  await using machine = new Machine({ uplink: { servers: server.url } });
  await machine.broker.start();
  await until(() => machine.uplink.state === "connected");
  await using nc = await connected(server.url);
  const encoder = new TextEncoder();
  const times = 1000;
  const say = (message: object) =>
    nc.connection.publish("mpubsub.default.c", encoder.encode(JSON.stringify(message)));
  for (let n = 0; n < times; n++) {
    const from = (n % 2 === 0 ? n : 0).toString(16).padStart(16, "f");
    const stream = `x${n}`.repeat(1000);
    say({ type: "beat", from, stream: null, sent: 0, wants: 0 });
    say({ type: "beat", from, stream, sent: 0, wants: 0 });
    say({ type: "bye", from });
  }
  await nc.connection.flush();
  await until(() => machine.uplink.invalid === times);
  const changes = machine.events.filter((event) => /^(joined|left): /.test(event));
  assert(changes.length > 50 && changes.length <= 110, `${changes.length} changes`);
  const length = machine.events.reduce((sum, event) => sum + event.length, 0);
  assert(length < 20_000, `${length} characters`);
});
