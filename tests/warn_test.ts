/** A console that cannot write ends nothing in a program that uses the library. */
import { assertEquals } from "@std/assert";
import { warn } from "../base/warn.ts";
import { PubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import { Scene } from "./helpers/scene.ts";

/** A console whose errors go to a disk that is full, while it lives. */
class FullConsole implements Disposable {
  /** What it could not write. */
  readonly texts: string[] = [];
  readonly #before = console.warn;

  constructor() {
    console.warn = (text: string) => {
      this.texts.push(text);
      throw new Error("No space left on device (os error 28)");
    };
  }

  [Symbol.dispose](): void {
    console.warn = this.#before;
  }
}

/** What no text can be made of. */
const TEXTLESS = { toString: null, valueOf: null };

Deno.test("warn never throws", () => {
  using console = new FullConsole();
  warn("a\nb");
  assertEquals(console.texts, ["mpubsub: a\\u000ab"]);
});

Deno.test("a subscriber that throws keeps nobody from a message, though that cannot be written", () => {
  using console = new FullConsole();
  const bus = new PubSub();
  const taken: unknown[] = [];
  bus.addSubscriber("a", () => {
    throw new Error("one");
  });
  bus.addSubscriber("a", (_topic, { n }) => taken.push(n));
  bus.addSubscriber("a", () => Promise.reject(TEXTLESS));
  bus.publish("a", { n: 1 });
  bus.publish("a", { n: 2 });
  assertEquals(taken, [1, 2]);
  assertEquals(console.texts[0], 'mpubsub: ["a"]: Error: one');
});

Deno.test("a client connects again, though nothing of that can be written", async () => {
  using console = new FullConsole();
  await using scene = await Scene.start({ address: "127.0.0.1:0" });
  const [client, other] = [await scene.connected(), await scene.connected()];
  const taken: unknown[] = [];
  client.addSubscriber("a", (_topic, { n }) => taken.push(n));
  await client.flush();
  const { address } = scene.broker;
  await scene.broker.shutdown();
  await until(() => console.texts.some((text) => text.includes("No connection to the broker")));
  await using again = await Scene.start({ address, authkey: scene.broker.authkey });
  await Promise.all([client, other].map((bus) => bus.flush()));
  other.publish("a", { n: 1 });
  await until(() => taken.length === 1);
  assertEquals(taken, [1]);
  assertEquals(again.broker.stats().sessions, 2);
});

Deno.test("callbacks of a broker may throw anything, though that cannot be written", async () => {
  using console = new FullConsole();
  const fail = () => {
    throw TEXTLESS;
  };
  await using scene = await Scene.start({ onListen: fail, onClient: fail, onError: fail });
  const client = await scene.connected();
  await client.disconnect();
  await until(() => console.texts.length >= 3);
  assertEquals(
    new Set(console.texts),
    new Set([
      "mpubsub: onListen of the broker failed: object that has no text",
      "mpubsub: onClient of the broker failed: object that has no text",
    ]),
  );
});
