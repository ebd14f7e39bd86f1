/** Streams that refuse: a packet for good, and then all that comes after it passes; or everything. */
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  type StreamConfig,
} from "@nats-io/jetstream";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { refusalOf } from "../nats/jetstream_errors.ts";
import { RefusedError } from "../nats/jetstream_sender.ts";
import { streamProblem } from "../nats/jetstream_setup.ts";
import { PAYLOAD_BYTES_MIN } from "../nats/packet.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import type { TopicPath } from "../topic.ts";
import { simulateTimes } from "./helpers/exchange.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { connected, makeStream, natsTest } from "./helpers/nats.ts";
import { drain, FakeStream, Node } from "./helpers/stream_nodes.ts";

const LONG = 5000;

function refuseLong(_subject: string, { length }: Uint8Array): void {
  if (length > LONG) throw new RefusedError("too long", { isSubject: false });
}

Deno.test("JetStreamExchange tells those who want it of a packet that is refused for good, and passes on the others", async () => {
  const stream = new FakeStream(randomOf(1), 0);
  stream.refuse = refuseLong;
  const nodes = [0, 1, 2].map((index) => new Node(stream, index, { isFiltered: true }));
  const [sender, reader, other] = nodes;
  reader!.wants(["a"], true);
  other!.wants(["b"], true);
  sender!.connect();
  for (let id = 0; id < 500; id++) {
    const message = { path: [id % 2 === 0 ? "a" : "b"], from: "p", id };
    sender!.take(message, id % 100 === 2 ? LONG : 0);
    await drain(stream, [sender!]);
  }
  await drain(stream, [sender!, reader!, other!]);
  const ids = Array.from({ length: 500 }, (_, id) => id).filter((id) => id % 100 !== 2);
  assertEquals(reader!.delivered.map(({ id }) => id), ids.filter((id) => id % 2 === 0));
  assertEquals(reader!.lost, Array(5).fill({ path: ["a"], messages: 1 }));
  assertEquals(other!.delivered.map(({ id }) => id), ids.filter((id) => id % 2 === 1));
  assertEquals(other!.lost, []);
  assertEquals([sender!.counts.sent, sender!.counts.dropped], [495, 5]);
  assertEquals(sender!.exchange.queuedBytes, 0);
  assertEquals(nodes.map(({ timers }) => timers.length), [0, 0, 0]);
});

Deno.test("JetStreamExchange tells all of a packet whose topic is refused, and of one that is refused even then nobody before NATS takes it", async () => {
  for (const [refusesBroadcasts, told] of [[false, 1], [true, 0]] as const) {
    const stream = new FakeStream(randomOf(1), 0);
    stream.refuse = (subject) => {
      if (subject.includes(".secret.") || refusesBroadcasts && subject.endsWith(".b")) {
        throw new RefusedError("not allowed", { isSubject: true });
      }
    };
    const sender = new Node(stream, 0);
    const reader = new Node(stream, 1, { isFiltered: true });
    reader.wants(["open"], true);
    sender.connect();
    for (const [id, topic] of ["open", "secret", "open"].entries()) {
      sender.take({ path: [topic], from: "p", id });
    }
    await drain(stream, [sender, reader]);
    assertEquals(reader.delivered.map(({ id }) => id), [0, 2]);
    assertEquals(reader.missed, told);
    assertEquals([sender.counts.sent, sender.counts.dropped], [2, 1]);
    assertEquals(sender.exchange.queuedBytes, 0);
  }
});

Deno.test("JetStreamExchange tells later of what it could not even tell, in one packet", async () => {
  const stream = new FakeStream(randomOf(1), 0);
  stream.refuse = () => {
    throw new RefusedError("not allowed", { isSubject: true });
  };
  const sender = new Node(stream, 0);
  const reader = new Node(stream, 1, { isFiltered: true });
  reader.wants(["a"], true);
  sender.connect();
  for (let id = 0; id < 3; id++) {
    sender.take({ path: ["a"], from: "p", id });
    await drain(stream, [sender, reader]);
  }
  for (let times = 0; times < 2; times++) { // Not sooner, and not more than once at a time.
    assertEquals([sender.timers.length, reader.missed], [1, 0]);
    sender.timers.shift()!();
    await drain(stream, [sender, reader]);
  }
  stream.refuse = () => {};
  sender.timers.shift()!();
  await drain(stream, [sender, reader]);
  assertEquals([sender.timers.length, reader.missed, stream.stored.length], [0, 3, 1]);
  assertEquals([sender.counts.sent, sender.counts.dropped], [0, 3]);
});

Deno.test("JetStreamExchange tells once of a message of several packets, whichever of them are refused", async () => {
  const message = { path: ["a"], from: "p", id: 0 };
  for (const refused of [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]) {
    const stream = new FakeStream(randomOf(1), 0);
    let parts = 0;
    stream.refuse = (_subject, { length }) => {
      if (length > LONG && refused.includes(parts++)) {
        throw new RefusedError("too long", { isSubject: false });
      }
    };
    const sender = new Node(stream, 0);
    const reader = new Node(stream, 1);
    reader.wants(["a"], true);
    sender.connect();
    sender.take(message, 700_000);
    sender.take({ ...message, id: 1 });
    await drain(stream, [sender, reader]);
    assertEquals(parts, 3);
    assertEquals(reader.delivered.map(({ id }) => id), [1], `parts ${refused}`);
    assertEquals(reader.lost, [{ path: ["a"], messages: 1 }], `parts ${refused}`);
    assertEquals(reader.timers.length, 0);
  }
});

Deno.test("JetStreamExchange delivers each message or tells of it, whatever is refused and sent again", async () => {
  await simulateTimes(100, simulate);
});

async function simulate(random: Random): Promise<void> {
  const stream = new FakeStream(random, random.pick([0, 10]));
  stream.refuse = refuseLong;
  const sender = new Node(stream, 0);
  const reader = new Node(stream, 1);
  reader.wants([], true);
  sender.connect();
  const publishers = [{}, {}];
  const topics: readonly TopicPath[] = [["a"], ["a", "b"], ["z"], []];
  let [id, long] = [0, 0];
  for (let step = 0; step < 150; step++) {
    const kind = random.int(20);
    const publisher = random.int(2);
    const isLong = kind === 0;
    if (isLong) long++;
    const message = { path: random.pick(topics), from: `p${publisher}`, id: id++ };
    sender.take(message, isLong ? LONG : 0, publishers[publisher]!);
    if (kind > 15) {
      sender.disconnect();
      sender.connect();
    }
    if (kind < 10) await drain(stream, [sender]);
  }
  await drain(stream, [sender, reader]);
  assert(reader.missed >= long);
  assertEquals(reader.delivered.length + reader.missed, id);
  assertEquals(new Set(reader.delivered.map(({ id }) => id)).size, reader.delivered.length);
  assertEquals(sender.counts.sent + sender.counts.dropped, id);
  assertEquals(reader.timers.length, 0, "it waits for a packet that never comes");
}

Deno.test("refusalOf takes for refused for good what concerns one packet, and nothing else", () => {
  const errorOf = (err_code: number) =>
    new JetStreamApiError({ code: 503, err_code, description: "it is so" });
  assertEquals(refusalOf(errorOf(10054), "BUS")?.isSubject, false);
  // No room, no resources, sealed, not there, without a leader.
  for (const code of [10077, 10023, 10047, 10028, 10002, 10109, 10059, 10008]) {
    assertEquals(refusalOf(errorOf(code), "BUS"), undefined, String(code));
  }
  assertEquals(refusalOf(new Error("timeout"), "BUS"), undefined);
});

natsTest(
  "Brokers in stream mode are told of each packet that a stream refuses, and pass on the others",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    const one = { uplink: { servers: server.url, stream: "BUS" } };
    await using machines = await Machines.start([one, one]);
    await machines.subscriber("there", 1, [["a"]]);
    const alice = await machines.all[0]!.client();
    await using nc = await connected(server.url);
    const manager = await jetstreamManager(nc.connection);
    await manager.streams.update("BUS", { max_msg_size: 2000 });
    machines.published.alice = [];
    const { uplink } = machines.all[0]!;
    assertEquals(uplink.sent, 0);
    for (let id = 1; id <= 50; id++) {
      // One by one: messages that wait are gathered, and a long packet is refused whole.
      alice.publish("a", { publisher: "alice", id, data: id % 10 === 3 ? "x".repeat(3000) : "" });
      machines.published.alice.push(id);
      const { all } = machines;
      await until(() => all[0]!.uplink.sent + all[0]!.uplink.dropped === id);
    }
    await until(() => machines.seen.there!.length === 45 && machines.missed("there") === 5);
    assertEquals(machines.all[0]!.uplink.dropped, 5);
    assertEquals(machines.all[0]!.uplink.queuedBytes, 0);
    assertEquals(machines.faults().filter(({ kind }) => kind !== "lost"), []);
    assertEquals(
      machines.all[0]!.events.filter((event) => event.startsWith("warning")),
      [
        "warning: The stream BUS refuses long packets: message size exceeds maximum allowed; set " +
        `its max_msg_size to ${PAYLOAD_BYTES_MIN} or more, or to -1`,
      ],
    );
  },
);

const SECONDS = 1e9;
/** Streams that cannot serve, and what a broker says of them. */
const CANNOT: readonly (readonly [Partial<StreamConfig>, RegExp])[] = [
  [{ max_msg_size: 200_000 }, /it takes no message of more than 200000 bytes; set max_msg_size to/],
  [{ max_msg_size: PAYLOAD_BYTES_MIN - 1 }, /set max_msg_size to 278528 or more, or to -1$/],
  [{ max_bytes: 100_000 }, /it keeps no more than 100000 bytes; set max_bytes to/],
  [
    { max_age: 10 * SECONDS, duplicate_window: SECONDS },
    /it keeps messages for 10000 ms only; set max_age to 60 s or more, or to 0/,
  ],
  [{ max_msgs_per_subject: 5 }, /it keeps only 5 messages of a subject; set max_msgs_per_subject/],
  [
    { discard: DiscardPolicy.New },
    /when it is full it takes nothing more; set discard, which is new/,
  ],
  [{ retention: RetentionPolicy.Interest }, /retention is interest, and must be limits/],
  [{ retention: RetentionPolicy.Workqueue }, /retention is workqueue, and must be limits/],
  [{ no_ack: true }, /it confirms nothing; set no_ack to false/],
];

natsTest(
  "NatsUplink says at the start why a stream cannot serve, and sends it nothing",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    await using nc = await connected(server.url);
    const manager = await jetstreamManager(nc.connection);
    for (const [index, [config, text]] of CANNOT.entries()) {
      const [bus, stream] = [`bus${index}`, `S${index}`];
      const prefix = `mpubsub.${bus}`;
      await makeStream(server.url, stream, [`${prefix}.m.>`, `${prefix}.b`], config);
      await assertCannot(manager, server.url, bus, stream, text);
    }
    await makeStream(server.url, "SEALED", ["mpubsub.sealed.m.>", "mpubsub.sealed.b"]);
    await manager.streams.update("SEALED", { sealed: true } as Partial<StreamConfig>);
    await assertCannot(manager, server.url, "sealed", "SEALED", /it is sealed; make another one/);
    await makeStream(server.url, "ORIGIN", ["origin"]);
    await manager.streams.add({ name: "MIRROR", mirror: { name: "ORIGIN" } });
    await assertCannot(
      manager,
      server.url,
      "mirror",
      "MIRROR",
      /it mirrors another stream; give that one's name/,
    );
  },
);

async function assertCannot(
  manager: JetStreamManager,
  servers: string,
  bus: string,
  stream: string,
  text: RegExp,
): Promise<void> {
  await using machine = new Machine({ uplink: { servers, bus, stream } });
  await machine.broker.start();
  const client = await machine.client();
  client.publish("a", { n: 1 });
  const warning = () => machine.events.find((event) => event.startsWith("warning"));
  await until(() => warning() !== undefined);
  assertMatch(warning()!, text);
  assertMatch(warning()!, new RegExp(`^warning: The stream ${stream} cannot be used now: it `));
  await client.flush();
  assertEquals(machine.uplink.sent, 0);
  assert(machine.uplink.queuedBytes > 0);
  assertEquals((await manager.streams.info(stream)).state.messages, 0);
  await manager.streams.delete(stream); // Then it makes one that can.
  await until(() => machine.uplink.sent === 1);
}

natsTest("NatsUplink goes on by itself when a stream that could not serve can", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const subjects = ["mpubsub.default.m.>", "mpubsub.default.b"];
  await makeStream(server.url, "BUS", subjects, { max_msg_size: 1000 });
  const one = { uplink: { servers: server.url, stream: "BUS" } };
  await using machines = await Machines.start([one]);
  const publish = await machines.publisher("publisher", 0);
  publish(["a"]);
  await until(() => machines.all[0]!.events.some((event) => event.startsWith("warning")));
  await using nc = await connected(server.url);
  const manager = await jetstreamManager(nc.connection);
  await manager.streams.update("BUS", { max_msg_size: -1 });
  await until(() => machines.all[0]!.uplink.sent === 1);
});

natsTest(
  "NatsUplink says when a stream was changed so that it cannot serve, and loses nothing when it is changed back",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    const one = { uplink: { servers: server.url, stream: "BUS" } };
    await using machines = await Machines.start([one, one]);
    await machines.subscriber("there", 1, [["a"]]);
    const publish = await machines.publisher("publisher", 0);
    await using nc = await connected(server.url);
    const manager = await jetstreamManager(nc.connection);
    publish(["a"]);
    await until(() => machines.seen.there!.length === 1);
    await manager.streams.update("BUS", { max_msgs: 1, discard: DiscardPolicy.New });
    for (let n = 0; n < 10; n++) publish(["a"]);
    const { events } = machines.all[0]!;
    await until(() => events.some((event) => event.includes("was changed")));
    assertMatch(
      events.find((event) => event.includes("did not confirm"))!,
      /The stream BUS did not confirm a packet: maximum messages exceeded/,
    );
    assertMatch(
      events.find((event) => event.includes("was changed"))!,
      /The stream BUS was changed: it cannot serve: when it is full it takes nothing more; set discard/,
    );
    await manager.streams.update("BUS", { max_msgs: -1, discard: DiscardPolicy.Old });
    await until(() => machines.seen.there!.length === 11);
    assertEquals(machines.faults(), []);
    assertEquals(machines.gaps.there, []);
  },
);

natsTest("Brokers in stream mode send again what a stream refuses only for now", async () => {
  const account = "A { jetstream { max_store: 8MB }, users: [{ user: u, password: p }] }";
  const config = `accounts { ${account} }\nno_auth_user: u`;
  await using server = await NatsServer.start({ jetstream: true, config });
  await makeStream(server.url, "BUS", ["mpubsub.default.m.>", "mpubsub.default.b"]);
  await makeStream(server.url, "FULL", ["full"]);
  await using nc = await connected(server.url);
  const manager = await jetstreamManager(nc.connection);
  for (let n = 0; n < 40; n++) nc.connection.publish("full", new Uint8Array(100_000));
  await until(async () => (await manager.streams.info("FULL")).state.messages === 40);
  const one = { uplink: { servers: server.url, stream: "BUS" } };
  await using machines = await Machines.start([one, one]);
  await machines.subscriber("there", 1, [["a"]]);
  const publish = await machines.publisher("publisher", 0, "x".repeat(100_000));
  for (let n = 0; n < 60; n++) publish(["a"]);
  const sender = machines.all[0]!;
  const text = "The stream BUS did not confirm a packet: resource limits exceeded for account";
  await until(() => sender.events.includes(`warning: ${text}`));
  assertEquals(sender.uplink.dropped, 0);
  await manager.streams.delete("FULL"); // There is room again.
  await until(() => machines.seen.there!.length === 60);
  assertEquals(machines.faults(), []);
  assertEquals(sender.uplink.dropped, 0);
});

natsTest("NatsUplink takes nothing for passed on that another stream has taken", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const one = { uplink: { servers: server.url, stream: "BUS" } };
  await using machines = await Machines.start([one, one]);
  await machines.subscriber("there", 1, [["a"]]);
  await using nc = await connected(server.url);
  const manager = await jetstreamManager(nc.connection);
  await manager.streams.delete("BUS");
  await makeStream(server.url, "OTHER", ["mpubsub.default.m.>", "mpubsub.default.b"]);
  const publish = await machines.publisher("publisher", 0);
  publish(["a"]);
  const { events } = machines.all[0]!;
  const text = "did not confirm a packet: the stream OTHER took it instead";
  await until(() => events.some((event) => event.includes(text)));
  assertEquals(machines.all[0]!.uplink.sent, 0);
  await manager.streams.delete("OTHER");
  await until(() => machines.seen.there!.length === 1);
});

Deno.test("streamProblem names all that is wrong, and nothing of limits that can serve", () => {
  const can = {
    name: "BUS",
    subjects: [],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_msg_size: -1,
    max_bytes: PAYLOAD_BYTES_MIN,
    max_age: 60 * SECONDS,
    max_msgs_per_subject: -1,
    max_msgs: 20,
    sealed: false,
  } as unknown as StreamConfig;
  assertEquals(streamProblem(can), undefined);
  assertEquals(streamProblem({ ...can, max_msg_size: PAYLOAD_BYTES_MIN, max_age: 0 }), undefined);
  const newer = { ...can, allow_msg_counter: true, subject_transform: { src: ">", dest: "x.>" } };
  assertEquals(
    streamProblem(newer),
    "it cannot serve: it renames subjects; take subject_transform away; it keeps counters, not " +
      "messages; make another one",
  );
});
