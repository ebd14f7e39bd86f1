/**
 * A client's members of groups, and a broker that notes what it is told of them: who they are, which
 * jobs have finished, and which are given back.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { encodeMessage } from "../codec/codec.ts";
import { ConnectionLostError, NetPubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import { MockBroker } from "./helpers/mock_broker.ts";

const GONE = new Error("the test gives up");
/** What takes one message at a time. */
const ONE = { group: "workers", concurrency: 1 };

/** A bus, its broker, and what the program was told. */
class Stage implements AsyncDisposable {
  readonly broker: MockBroker;
  readonly bus: NetPubSub;
  readonly errors: Error[] = [];
  /** The messages that members have begun with, and what ends them. */
  readonly begun: { n: number; redelivered: number | undefined; end: () => void }[] = [];

  private constructor(broker: MockBroker) {
    this.broker = broker;
    this.bus = new NetPubSub(broker.address, "k", {
      onError: (error) => this.errors.push(error as Error),
      onState() {},
      onGap() {},
    });
  }

  static async start(): Promise<Stage> {
    return new Stage(await MockBroker.start());
  }

  /** Joins, and notes with what it begins. */
  join(topic: string, options: { group: string; concurrency?: number }) {
    return this.bus.addSubscriber(topic, (_topic, { n }, { redelivered }) => {
      const { promise, resolve: end } = Promise.withResolvers<void>();
      this.begun.push({ n, redelivered, end });
      return promise;
    }, options);
  }

  /** Has the broker give jobs with these numbers to a member. */
  give(member: number, numbers: readonly number[], redelivered = 0): void {
    for (const n of numbers) {
      this.broker.give(member, ["jobs"], encodeMessage({ n }, 1000), redelivered);
    }
  }

  /** The number of the only member that the broker knows. */
  async member(): Promise<number> {
    await until(() => this.broker.members.size === 1);
    return [...this.broker.members.keys()][0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus.disconnect({ signal: AbortSignal.abort(GONE) }).catch(() => {});
    await this.broker.close();
  }
}

Deno.test("NetPubSub tells its members in OPEN, and who comes and goes meanwhile and later", async () => {
  await using stage = await Stage.start();
  const { bus, broker } = stage;
  const known = () => [...broker.members.values()].toSorted();
  stage.join("a", ONE);
  const b = stage.join("b", { group: "others" });
  bus.addSubscriber("plain", () => {});
  broker.hold("OPENED");
  const connected = bus.connect();
  await until(() => broker.members.size > 0);
  assertEquals([known(), broker.topics], [["others of b: 16", "workers of a: 1"], ["plain"]]);
  b.remove();
  stage.join("c", { group: "others", concurrency: 7 });
  broker.letIn();
  await connected;
  await until(() => known().includes("others of c: 7"));
  assertEquals(known(), ["others of c: 7", "workers of a: 1"]);
  stage.join("d", ONE).remove();
  await bus.flush();
  assertEquals(known(), ["others of c: 7", "workers of a: 1"]);
  broker.cut();
  await until(() => bus.state === "reconnecting");
  stage.join("e", ONE);
  await bus.connect();
  assertEquals(known(), ["others of c: 7", "workers of a: 1", "workers of e: 1"]);
});

Deno.test("NetPubSub tells what its members have finished, and flush covers that", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", { group: "workers", concurrency: 3 });
  await bus.connect();
  const member = await stage.member();
  stage.give(member, [0, 1]);
  stage.give(member, [2], 2);
  await until(() => begun.length === 3);
  assertEquals(begun.map(({ redelivered }) => redelivered), [undefined, undefined, 2]);
  begun[2]!.end();
  begun[0]!.end();
  await until(() => broker.ended.length > 0);
  assertEquals(broker.ended, ["F 1-1 3-3"]);
  begun[1]!.end();
  await Promise.resolve();
  await bus.flush();
  assertEquals(broker.ended, ["F 1-1 3-3", "F 2-2"]);
});

Deno.test("a job that cannot be decoded is told, and finished", async () => {
  await using stage = await Stage.start();
  const { bus, broker, errors } = stage;
  stage.join("jobs", ONE);
  await bus.connect();
  broker.give(await stage.member(), ["jobs"], new Uint8Array([255]));
  await until(() => broker.ended.length > 0);
  assertEquals([broker.ended, errors.map(({ name }) => name)], [["F 1-1"], ["ProtocolError"]]);
});

Deno.test("a member that is removed gives back what has not begun, and what comes after it", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  const handle = stage.join("jobs", ONE);
  await bus.connect();
  const member = await stage.member();
  stage.give(member, [0, 1, 2]);
  await until(() => begun.length === 1);
  await bus.flush();
  handle.remove();
  await until(() => broker.ended.length > 0);
  assertEquals([broker.ended, broker.members.size], [["R 2-3"], 0]);
  stage.give(member, [3]);
  begun[0]!.end();
  await until(() => broker.ended.length === 3);
  assertEquals(broker.ended.toSorted(), ["F 1-1", "R 2-3", "R 4-4"]);
  assertEquals(begun.length, 1);
});

Deno.test("in a new session nothing is told of the jobs before, and what has not begun is dropped", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", ONE);
  await bus.connect();
  stage.give(await stage.member(), [0, 1]);
  await until(() => begun.length === 1);
  broker.cut();
  await until(() => bus.state === "reconnecting");
  await bus.connect();
  stage.give(await stage.member(), [2]);
  await bus.flush();
  begun[0]!.end();
  await until(() => begun.length === 2);
  begun[1]!.end();
  await until(() => broker.ended.length > 0);
  assertEquals([begun[1]!.n, broker.ended], [2, ["F 1-1"]]);
});

Deno.test("disconnect gives back what has not begun, and waits for what runs", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", ONE);
  await bus.connect();
  stage.give(await stage.member(), [0, 1]);
  await until(() => begun.length === 1);
  await bus.flush();
  const gone = bus.disconnect();
  await until(() => broker.ended.length > 0);
  assertEquals([broker.ended, broker.members.size, bus.state], [["R 2-2"], 0, "connected"]);
  begun[0]!.end();
  await gone;
  assertEquals([broker.ended, bus.state], [["R 2-2", "F 1-1"], "disconnected"]);
  assertEquals(stage.errors, []);
});

Deno.test("disconnect gives back what its members are given before the broker knows that they leave", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", { group: "workers", concurrency: 2 });
  await bus.connect();
  const member = await stage.member();
  stage.give(member, [0]);
  await until(() => begun.length === 1);
  const gone = bus.disconnect();
  stage.give(member, [1]);
  await until(() => broker.ended.length > 0 || begun.length > 1);
  for (const { end } of begun) end();
  await gone;
  assertEquals([begun.length, broker.ended], [1, ["R 2-2", "F 1-1"]]);
  assertEquals(stage.errors, []);
});

Deno.test("disconnect waits also for what runs while there is no connection", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", ONE);
  await bus.connect();
  stage.give(await stage.member(), [0]);
  await until(() => begun.length === 1);
  broker.hold("handshake");
  broker.cut();
  await until(() => bus.state === "reconnecting");
  const gone = bus.disconnect();
  broker.letIn();
  await gone; // It is a new session: others have the job.
  assertEquals([broker.members.size, broker.ended], [0, []]);
});

Deno.test("disconnect that is given up says that members had not finished", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun, errors } = stage;
  stage.join("jobs", ONE);
  await bus.connect();
  stage.give(await stage.member(), [0]);
  await until(() => begun.length === 1);
  await bus.flush();
  await assertRejects(() => bus.disconnect({ signal: AbortSignal.abort(GONE) }), Error, "gives up");
  assertEquals(errors.map(({ name }) => name), ["ConnectionLostError"]);
  assert(errors[0]!.message.startsWith("1 message of a group was not finished here"));
  await until(() => broker.connections === 0);
  begun[0]!.end();
  assert(errors[0] instanceof ConnectionLostError);
});

Deno.test("the broker decides which members get a message, from the call of connect on", async () => {
  await using stage = await Stage.start();
  const { bus, broker, begun } = stage;
  stage.join("jobs", { group: "workers", concurrency: 9 });
  bus.publish("jobs", { n: 0 });
  broker.hold("handshake");
  const connected = bus.connect();
  bus.publish("jobs", { n: 1 });
  bus.publish("jobs", { n: 2 }, { local: true });
  broker.letIn();
  await connected;
  bus.publish("jobs", { n: 3 });
  await bus.flush();
  assertEquals([begun.map(({ n }) => n), broker.received], [[0, 2], ["jobs", "jobs"]]);
  for (const { end } of begun) end();
  await bus.disconnect();
  bus.publish("jobs", { n: 4 });
  assertEquals(begun.map(({ n }) => n), [0, 2, 4]);
});

Deno.test("each member counts as a subscription", async () => {
  await using stage = await Stage.start();
  const { bus, broker } = stage;
  broker.limits = { ...broker.limits, subscriptions: 3 };
  bus.addSubscriber("plain", () => {});
  stage.join("jobs", ONE);
  await bus.connect();
  stage.join("jobs", ONE);
  assertThrows(() => stage.join("jobs", ONE), RangeError, "the broker's limit is 3");
  assertThrows(() => bus.addSubscriber("more", () => {}), RangeError, "the broker's limit is 3");
  await bus.flush();
  assertEquals(broker.members.size, 2);
});
