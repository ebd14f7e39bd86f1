/** The two lanes of a session: calls pass, whatever becomes of messages. */
import { assertEquals, assertRejects } from "@std/assert";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { encodeFrame, type Frame, FrameType, isCall } from "../protocol/frame.ts";
import { Link } from "../protocol/link.ts";
import { Session, type SessionHandler, WINDOW_BYTES } from "../protocol/session.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { until } from "../tools/harness/until.ts";
import { quiet } from "./helpers/quiet.ts";

const LIMITS = Array.from({ length: 18 }, () => 2 * WINDOW_BYTES);

/** One side of a session, which notes what it gets: the last byte of each frame. */
class Side implements SessionHandler {
  readonly messages: number[] = [];
  readonly calls: number[] = [];
  /** All of both, in the order in which they came. */
  readonly order: string[] = [];
  full = false;
  readonly session: Session = new Session(this);

  held({ bytes }: { readonly bytes: Uint8Array }): void {
    this.messages.push(bytes.at(-1)!);
  }

  frame({ type, buffer, end }: Frame): void {
    const last = buffer[end - 1]!;
    (isCall(type) ? this.calls : this.messages).push(last);
    this.order.push(isCall(type) ? "call" : "message");
  }

  publish(n: number, bytes = 1): void {
    const payload = new Uint8Array(bytes).fill(n);
    this.session.outbox.push(encodeFrame(FrameType.PUBLISH, encodeTopic(["t"]), payload), 1);
    this.session.pump();
  }

  call(n: number, bytes = 12): void {
    this.session.call(encodeFrame(FrameType.FINISHED, new Uint8Array(bytes).fill(n)));
    this.session.pump();
  }
}

/** Two sides, and how they are connected. */
class Pair implements AsyncDisposable {
  readonly here = new Side();
  readonly there = new Side();
  readonly #links: Link[] = [];

  connect(): this {
    const [a, b] = [this.here.session, this.there.session];
    a.detach();
    b.detach();
    a.outbox.rewind(b.taken);
    b.outbox.rewind(a.taken);
    a.resumeCalls(b.takenCalls);
    b.resumeCalls(a.takenCalls);
    const [ours, theirs] = streamPair().map((stream) => new Link(stream, LIMITS));
    this.#links.push(ours!, theirs!);
    a.attach(ours!);
    b.attach(theirs!);
    return this;
  }

  cut(): void {
    for (const link of this.#links) link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.here.session.end();
    this.there.session.end();
    await Promise.all(this.#links.map(({ finished }) => finished));
  }
}

Deno.test("Session passes calls while its other side takes no messages, and the window is closed", async () => {
  await using pair = new Pair().connect();
  const { here, there } = pair;
  there.full = true;
  for (let n = 0; n < 40; n++) here.publish(n, WINDOW_BYTES / 16);
  await quiet();
  assertEquals(there.messages, []);
  for (let n = 0; n < 3; n++) here.call(n);
  await until(() => there.calls.length === 3);
  assertEquals([there.calls, there.messages], [[0, 1, 2], []]);
  there.full = false;
  there.session.resume();
  await here.session.flush();
  assertEquals(there.messages, Array.from({ length: 40 }, (_, n) => n));
});

Deno.test("Session acknowledges calls while messages are withheld", async () => {
  await using pair = new Pair().connect();
  const { here, there } = pair;
  here.publish(1);
  await until(() => there.messages.length === 1);
  const release = there.session.withhold(1, 10);
  // More than a window of calls, which pass only if they are acknowledged.
  for (let n = 0; n < 40; n++) here.call(n, WINDOW_BYTES / 16);
  await until(() => there.calls.length === 40);
  assertEquals(here.session.outbox.unacknowledged, 1);
  release();
  await here.session.flush();
});

Deno.test("Session passes messages while calls fill their window", async () => {
  await using pair = new Pair().connect();
  const { here, there } = pair;
  for (let n = 0; n < 64; n++) here.call(n, WINDOW_BYTES / 32);
  for (let n = 0; n < 64; n++) here.publish(n, WINDOW_BYTES / 32);
  await here.session.flush();
  assertEquals([there.calls.length, there.messages.length], [64, 64]);
  const firstMessage = there.order.indexOf("message");
  const calls = there.order.slice(firstMessage).filter((what) => what === "call").length;
  assertEquals(calls > 0, true, "neither waits for all of the other");
});

Deno.test("Session.flush waits for calls, too", async () => {
  await using pair = new Pair();
  const { here, there } = pair;
  here.call(7);
  let isFlushed = false;
  const flushed = here.session.flush().then(() => isFlushed = true);
  await quiet();
  assertEquals([isFlushed, here.session.unacknowledged], [false, 1]);
  pair.connect();
  await flushed;
  assertEquals([there.calls, here.session.unacknowledged], [[7], 0]);
  // All of them do not fit into the window.
  for (let n = 0; n < 40; n++) here.call(n, WINDOW_BYTES / 4);
  await here.session.flush();
  assertEquals([there.calls.length, here.session.unacknowledged], [41, 0]);
});

Deno.test("Session sends calls again that were lost with a connection, each once", async () => {
  await using pair = new Pair().connect();
  const { here, there } = pair;
  for (let round = 0; round < 20; round++) {
    here.call(round);
    there.call(round);
    here.publish(round);
    if (round % 3 === 0) await quiet();
    pair.cut();
    pair.connect();
  }
  await Promise.all([here.session.flush(), there.session.flush()]);
  const all = Array.from({ length: 20 }, (_, n) => n);
  assertEquals([there.calls, here.calls, there.messages], [all, all, all]);
});

Deno.test("Session drops calls in a new session, and sends messages again", async () => {
  await using pair = new Pair();
  const { here, there } = pair;
  here.call(1);
  here.publish(2);
  const flushed = here.session.flush();
  here.session.restart();
  pair.connect();
  await flushed;
  assertEquals([there.calls, there.messages], [[], [2]]);
  here.call(3);
  await here.session.flush();
  assertEquals([there.calls, there.session.takenCalls], [[3], 1]);
});

Deno.test("Session refuses to resume after calls that it has not sent", async () => {
  await using pair = new Pair();
  const { session } = pair.here;
  session.resumeCalls(0);
  let problem: unknown;
  try {
    session.resumeCalls(1);
  } catch (error) {
    problem = error;
  }
  assertEquals(problem instanceof ProtocolError, true);
  session.call(encodeFrame(FrameType.FINISHED, new Uint8Array(12)));
  const flushed = assertRejects(() => session.flush(), ConnectionLostError);
  session.end();
  await flushed;
});
