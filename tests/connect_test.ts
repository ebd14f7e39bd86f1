/** How `connect()` fails and waits, and what a program is told that has no callbacks. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { writeConnectionFile } from "../io/connection_file.ts";
import {
  AuthError,
  Broker,
  ConnectionLostError,
  MessageError,
  NetPubSub,
  type NetPubSubOptions,
} from "../mod.ts";
import { Reason } from "../protocol/frame.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { MockBroker } from "./helpers/mock_broker.ts";
import { Warnings } from "./helpers/warnings.ts";

const MOD = JSON.stringify(new URL("../mod.ts", import.meta.url).href);

/** Runs a program with a broker that listens, and a bus that is to connect. */
async function run(
  { address = "broker.address", key = "broker.authkey", script }: {
    address?: string;
    key?: string;
    script: string;
  },
): Promise<{ code: number; out: string; err: string }> {
  const code = `
    import { Broker, NetPubSub } from ${MOD};
    const broker = new Broker();
    await broker.start();
    broker.unref();
    const bus = new NetPubSub(${address}, ${key});
    ${script}
    await bus.closed.catch(() => {});
    console.log("end");
  `;
  // A broker that is not shut down leaves the folder of its socket.
  await using folder = await TempFolder.make();
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", code],
    cwd: new URL("../", import.meta.url),
    env: { NO_COLOR: "1", TMPDIR: folder.path },
    signal: AbortSignal.timeout(20_000),
  }).output();
  const [out, err] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code: output.code, out: out!, err: err! };
}

const NOBODY = { address: `"unix:///tmp/mpubsub-nobody.sock"` };

for (
  const [what, program, error] of [
    ["nobody is there", { ...NOBODY, script: "bus.connect();" }, "no broker answers"],
    ["the key is another", { key: `"another"`, script: "bus.connect();" }, "AuthError"],
    [
      "the file is missing",
      { script: `(await NetPubSub.fromFile("/tmp/mpubsub-none.json")).connect();` },
      "there is no connection file /tmp/mpubsub-none.json",
    ],
    [
      "disconnect() is called",
      { script: "bus.connect(); await bus.disconnect();" },
      "disconnect() was called meanwhile",
    ],
    [
      "its signal aborts",
      { script: `bus.connect({ signal: AbortSignal.timeout(0) });`, ...NOBODY },
      "Error",
    ],
    [
      "another call is handled",
      { ...NOBODY, script: "bus.connect().catch(() => {}); bus.connect();" },
      "no broker answers",
    ],
    [
      "a call that came later is handled",
      { ...NOBODY, script: "bus.connect(); bus.connect().catch(() => {});" },
      "no broker answers",
    ],
  ] as const
) {
  Deno.test(`NetPubSub.connect that nobody awaits ends the program when ${what}`, async () => {
    const { code, err } = await run(program);
    assertEquals(code, 1, err);
    assertStringIncludes(err, "(in promise)");
    assertStringIncludes(err, error);
    assertEquals(err.split("(in promise)").length, 2, "it is told once");
  });
}

for (
  const [what, script] of [
    ["one call is handled", "await bus.connect().catch(() => {});"],
    [
      "two calls are handled",
      "await Promise.allSettled([bus.connect(), bus.connect({ signal: new AbortController().signal })]);",
    ],
    [
      "disconnect() is called and the calls are handled",
      "await Promise.allSettled([bus.connect(), bus.disconnect(), bus.connect()]);",
    ],
    [
      "nobody looks at closed",
      "bus.closed; await bus.connect().catch(() => {}); bus.flush().catch(() => {});",
    ],
  ] as const
) {
  Deno.test(`NetPubSub.connect that fails leaves no rejection behind when ${what}`, async () => {
    assertEquals(await run({ ...NOBODY, script }), { code: 0, out: "end\n", err: "" });
  });
}

/** A folder for a connection file, and buses that read it. */
class Place implements AsyncDisposable {
  readonly file: string;
  readonly #stack = new AsyncDisposableStack();

  private constructor(folder: TempFolder) {
    this.file = `${folder.path}/x.json`;
    this.#stack.use(folder);
  }

  static async make(): Promise<Place> {
    return new Place(await TempFolder.make());
  }

  async bus(options: NetPubSubOptions = {}): Promise<NetPubSub> {
    const bus = await NetPubSub.fromFile(this.file, options);
    this.#stack.defer(() =>
      bus.disconnect({ signal: AbortSignal.abort("the test is over") }).catch(() => {})
    );
    return bus;
  }

  /** Starts a broker and writes its file, with another key if there is one. */
  async broker(authkey?: Uint8Array): Promise<Broker> {
    const broker = this.#stack.use(new Broker());
    await broker.start();
    const content = { address: broker.address, authkey: authkey ?? broker.authkey };
    await writeConnectionFile(this.file, content, { replace: true });
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("NetPubSub.connect says which connection file is missing, and what helps", async () => {
  await using place = await Place.make();
  const bus = await place.bus();
  const error = await assertRejects(() => bus.connect(), ConnectionLostError);
  assertInstanceOf(error.cause, Deno.errors.NotFound);
  for (const text of [place.file, "start a broker with it", "connect({ wait: true })"]) {
    assertStringIncludes(error.message, text);
  }
  assertEquals(bus.state, "disconnected");
  await place.broker();
  await bus.connect();
});

Deno.test("NetPubSub.fromFile refuses at once a file that cannot be used, and connect one that came later", async () => {
  await using place = await Place.make();
  const bus = await place.bus();
  const good = JSON.stringify({ version: 1, address: "127.0.0.1:1", authkey: "AAAA" });
  for (
    const [text, mode, kind] of [
      [good, 0o644, Deno.errors.PermissionDenied],
      ["{}", 0o600, TypeError],
    ] as const
  ) {
    await Deno.writeTextFile(place.file, text);
    await Deno.chmod(place.file, mode);
    await assertRejects(() => NetPubSub.fromFile(place.file), kind);
    await assertRejects(() => bus.connect(), kind);
    assertEquals(bus.state, "disconnected");
  }
});

Deno.test("NetPubSub.fromFile refuses what is not a path, and does not wait for such a file", async () => {
  for (const path of [undefined, null, 5, "", {}, ["x.json"]]) {
    await assertRejects(
      () => NetPubSub.fromFile(path as string),
      TypeError,
      "must be a text or a URL",
    );
  }
});

Deno.test("NetPubSub.fromFile checks its options although there is no file", async () => {
  await using place = await Place.make();
  await assertRejects(() => place.bus({ keyName: "n".repeat(65) }), RangeError, "limit is 64");
  await assertRejects(() => place.bus({ backlog: 0 }), RangeError, "backlog");
});

Deno.test("NetPubSub.connect with wait waits for the file and for the broker, and so do messages", async () => {
  await using place = await Place.make();
  const reasons: string[] = [];
  const bus = await place.bus({
    onState: (state, reason) => reasons.push(`${state} ${reason?.name ?? ""}`.trim()),
  });
  const connecting = bus.connect({ wait: true });
  bus.publish("t", { n: 1 });
  await until(() => reasons.length === 2);
  assertEquals(reasons, ["connecting", "connecting ConnectionLostError"]);
  const { pending } = bus;
  assert(pending > 0);
  const dead = await place.broker();
  await dead.shutdown(); // Its file is there still.
  await until(() => bus.state === "connecting");
  const broker = await place.broker();
  await connecting;
  await bus.flush();
  assertEquals([bus.state, bus.pending, broker.stats().received], ["connected", 0, 1]);
});

Deno.test("NetPubSub.connect with wait ends with its signal, and with disconnect()", async () => {
  await using place = await Place.make();
  const errors: unknown[] = [];
  const bus = await place.bus({ onError: (error) => errors.push(error), onState() {} });
  const controller = new AbortController();
  const aborted = bus.connect({ wait: true, signal: controller.signal });
  bus.publish("t");
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await assertRejects(() => aborted), reason);
  assertInstanceOf(errors[0], ConnectionLostError);
  assertEquals([errors.length, errors[0].undelivered, bus.state], [1, 1, "disconnected"]);
  const left = assertRejects(
    () => bus.connect({ wait: true }),
    ConnectionLostError,
    "disconnect()",
  );
  await bus.disconnect();
  await left;
  assertEquals([errors.length, bus.state], [1, "disconnected"]);
});

Deno.test("NetPubSub.connect waits for all who wait as soon as one of them says so", async () => {
  await using place = await Place.make();
  const bus = await place.bus({ onState() {} });
  const both = [bus.connect(), bus.connect({ wait: true })];
  await place.broker();
  await Promise.all(both);
});

Deno.test("NetPubSub.connect with wait tells of a refused key, and goes on", async () => {
  await using place = await Place.make();
  await place.broker(new Uint8Array(32));
  const reasons: (Error | undefined)[] = [];
  const bus = await place.bus({ onState: (_state, reason) => reasons.push(reason) });
  const connecting = bus.connect({ wait: true });
  await until(() => reasons.some((reason) => reason instanceof AuthError));
  assertEquals(bus.state, "connecting");
  await Promise.all([assertRejects(() => connecting, ConnectionLostError), bus.disconnect()]);
});

Deno.test("NetPubSub.connect with wait does not wait for a permission", async () => {
  const script = `await bus.connect({ wait: true }).catch(({ name }) => console.log(name));`;
  const code = `
    import { NetPubSub } from ${MOD};
    const bus = new NetPubSub("127.0.0.1:1", "key");
    ${script}
  `;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", `data:text/typescript,${encodeURIComponent(code)}`],
    cwd: new URL("../", import.meta.url),
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals(new TextDecoder().decode(stdout), "NotCapable\n");
});

const LOW = { messageBytes: 100, topicElements: 2, elementBytes: 5, subscriptions: 10 };
const FIT = ["one", "two", "three"];

/** Publishes what fits the limits above, and between it what does not. */
function publishMixed(bus: NetPubSub): void {
  bus.publish(FIT[0]!);
  bus.publish("big", { data: new Uint8Array(150) });
  bus.publish([FIT[1]!, "b"], { data: new Uint8Array(50) });
  bus.publish(["a", "b", "c"]);
  bus.publish("longer than five");
  bus.publish(FIT[2]!);
}

/** What `onError` got for messages that did not fit. */
function misfits(errors: readonly unknown[]): unknown[] {
  return errors.map((error) => {
    assertInstanceOf(error, MessageError);
    assertStringIncludes(error.message, JSON.stringify(error.topic));
    return [error.topic, error.issues];
  });
}

const MISFITS = [
  [["big"], ["the message is 158 bytes; the broker's limit is 100"]],
  [["a", "b", "c"], ["the broker's limit is 2 elements"]],
  [["longer than five"], ["the broker's limit is 5 bytes for an element"]],
];

Deno.test("NetPubSub checks what waits for its first connection against the broker's limits", async () => {
  await using broker = await MockBroker.start();
  broker.limits = LOW;
  broker.hold("handshake");
  const errors: unknown[] = [];
  await using bus = new NetPubSub(broker.address, "k", { onError: (error) => errors.push(error) });
  const connecting = bus.connect();
  publishMixed(bus);
  const flushed = bus.flush().then(() => broker.received.slice());
  broker.letIn();
  await connecting;
  assertEquals(await flushed, FIT, "flush resolves when the broker has all that fits");
  assertEquals(misfits(errors), MISFITS);
  assertEquals([bus.state, bus.pending], ["connected", 0]);
});

Deno.test("NetPubSub checks what waits against the limits of each broker that begins a session", async () => {
  await using broker = await MockBroker.start();
  const errors: unknown[] = [];
  const resent: (number | undefined)[] = [];
  await using bus = new NetPubSub(broker.address, "k", {
    onError: (error) => errors.push(error),
    onState() {},
    onGap: (gap) => resent.push(gap.resent),
  });
  await bus.connect();
  broker.isDeaf = true;
  publishMixed(bus); // Three of them fit; all may have come.
  await until(() => broker.unheard === 6);
  broker.hold("handshake");
  broker.cut();
  await until(() => bus.state === "reconnecting");
  bus.publish("big");
  bus.publish("big", { data: new Uint8Array(150) });
  broker.limits = LOW;
  broker.isDeaf = false;
  broker.letIn();
  await bus.flush();
  assertEquals(broker.received, [...FIT, "big"]);
  assertEquals(misfits(errors), [...MISFITS, MISFITS[0]]);
  assertEquals([resent, bus.state], [[3], "connected"]);
});

/** What is printed while `act` runs with a bus that has no callbacks. */
async function printedBy(
  act: (broker: MockBroker, bus: NetPubSub, lines: readonly string[]) => Promise<void>,
): Promise<string[]> {
  using warnings = new Warnings();
  await using broker = await MockBroker.start();
  const bus = new NetPubSub(broker.address, "k");
  await act(broker, bus, warnings.lines);
  await bus.disconnect({ signal: AbortSignal.abort("the test is over") }).catch(() => {});
  return warnings.lines;
}

Deno.test("NetPubSub without callbacks prints nothing that a call rejects with, nor of an orderly end", async () => {
  const lines = await printedBy(async (broker, bus) => {
    await bus.connect();
    await bus.disconnect();
    await broker.close();
    await assertRejects(() => bus.connect(), ConnectionLostError);
    await assertRejects(() => bus.flush(), ConnectionLostError);
  });
  assertEquals(lines, []);
});

Deno.test("NetPubSub without callbacks prints a line for each gap", async () => {
  const lines = await printedBy(async (broker, bus) => {
    await bus.connect();
    for (const cut of [1, 2]) {
      if (cut === 2) bus.addSubscriber("t", () => {});
      broker.cut();
      await until(() => bus.state === "reconnecting");
      await bus.connect();
    }
  });
  // On a busy machine a connection may be away for long enough to be told.
  assertEquals(lines.filter((line) => !line.includes("broker")), [
    "mpubsub: Messages from here may be lost (expired)",
    "mpubsub: May have missed messages (expired)",
  ]);
});

Deno.test("NetPubSub without callbacks prints that its connection is lost for a while, and that it is back", async () => {
  const lines = await printedBy(async (broker, bus, printed) => {
    await bus.connect();
    broker.hold("handshake");
    broker.cut();
    await until(() => printed.length === 1);
    broker.letIn();
    await bus.connect();
  });
  assertEquals(lines.length, 3, lines.join("\n"));
  assertStringIncludes(lines[0]!, "mpubsub: No connection to the broker; trying again (The conn");
  assertEquals(lines[1], "mpubsub: Connected to the broker");
  assertStringIncludes(lines[2]!, "may be lost (expired)");
});

Deno.test("NetPubSub without callbacks prints why it waits for a broker", async () => {
  const lines = await printedBy(async (broker, bus, printed) => {
    await broker.close();
    const connecting = bus.connect({ wait: true });
    await until(() => printed.length > 0);
    await Promise.all([assertRejects(() => connecting), bus.disconnect()]);
  });
  assertEquals(lines.length, 1, lines.join("\n"));
  assertStringIncludes(lines[0]!, "mpubsub: Waiting for the broker; trying again (Cannot connect");
});

Deno.test("NetPubSub without callbacks prints that its broker has ended the session for good", async () => {
  const lines = await printedBy(async (broker, bus) => {
    await bus.connect();
    broker.end(Reason.REPLACED);
    await bus.closed.catch(() => {});
  });
  assertEquals(lines, [
    "mpubsub: Disconnected for good (The other side ended the session: as the test wants)",
  ]);
});

Deno.test("NetPubSub without callbacks prints once that a broker has begun to refuse its key", async () => {
  using warnings = new Warnings();
  await using place = await Place.make();
  const first = await place.broker();
  const bus = await place.bus();
  await bus.connect();
  await first.shutdown();
  await place.broker(new Uint8Array(32));
  const refusals = () => warnings.lines.filter((line) => line.includes("refused the key"));
  await until(() => refusals().length > 0);
  await place.broker();
  await bus.connect();
  assertEquals(refusals().length, 1, warnings.lines.join("\n"));
  assertStringIncludes(refusals()[0]!, "trying again (Cannot connect: the broker refused the key");
});
