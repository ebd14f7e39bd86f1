/** Who takes messages too slowly: what is dropped and told, and who is held back instead. */
import type { Gap } from "../../../net/options.ts";
import { check, same } from "./check.ts";
import { type Case, type Stage, until } from "./context.ts";
import { gapsInto } from "./session_cases.ts";

const MESSAGES = 300;
const BYTES = 20_000;
const SMALL_QUEUE = { limits: { queueBytes: 2 * 2 ** 20 } };
/** A subscription that does not take more unless it is asked. */
const SLOW = { limit: 10, overflow: "wait" } as const;

/** Has another client publish more than a queue holds. */
async function flood(stage: Stage): Promise<void> {
  await stage.call("flood", "deno", "flood", MESSAGES, BYTES);
}

/** The numbers of the messages that a subscription yields, up to the last. */
async function numbersUpTo(source: AsyncIterable<{ message: object }>, last: number) {
  const numbers: number[] = [];
  for await (const { message } of source) {
    numbers.push((message as { n: number }).n);
    if (numbers.at(-1) === last) break;
  }
  return numbers;
}

export const WAITING: readonly Case[] = [
  {
    name: 'who is too slow is told exactly how many messages were dropped, as a gap "overflow"',
    async run(context) {
      const stage = await context.stage({ broker: SMALL_QUEUE });
      const gaps: Gap[] = [];
      const bus = await stage.connected(gapsInto(gaps));
      const slow = bus.subscribe("flood", SLOW);
      await bus.flush();
      await stage.call("join", "deno");
      await flood(stage);
      const numbers = await numbersUpTo(slow, MESSAGES - 1);
      check(gaps.length > 0, "something was dropped");
      for (const { direction, reason } of gaps) same([direction, reason], ["in", "overflow"]);
      const missed = gaps.reduce((sum, gap) => sum + (gap.missed ?? 0), 0);
      same(numbers.length + missed, MESSAGES);
      same(numbers, numbers.toSorted((a, b) => a - b));
      same((await stage.call("stats")).broker.dropped, missed);
    },
  },
  {
    name: 'overflow: "wait" holds publishers back, and nothing is missed',
    async run(context) {
      const stage = await context.stage({ broker: { ...SMALL_QUEUE, maxPatience: 60_000 } });
      const bus = await stage.connected({ overflow: "wait" });
      const slow = bus.subscribe("flood", SLOW);
      await bus.flush();
      await stage.call("join", "deno");
      let isDone = false;
      const flooding = flood(stage).then(() => isDone = true);
      await until(async () => (await stage.call("stats")).broker.waiting === 1);
      check(!isDone, "the publisher is held back");
      same(await numbersUpTo(slow, MESSAGES - 1), [...Array(MESSAGES).keys()]);
      await flooding;
    },
  },
  {
    name: "a publisher that is held back has it pending, and sends it when it may",
    async run(context) {
      const stage = await context.stage({ broker: { ...SMALL_QUEUE, maxPatience: 60_000 } });
      const alice = await stage.connected();
      const bob = await stage.connected({ overflow: "wait" });
      const slow = bob.subscribe("flood", SLOW);
      await bob.flush();
      const data = new Uint8Array(BYTES);
      for (let n = 0; n < MESSAGES; n++) alice.publish("flood", { n, data });
      await until(async () => (await stage.call("stats")).broker.waiting === 1);
      check(alice.pending > 0, "it is held back");
      same(await numbersUpTo(slow, MESSAGES - 1), [...Array(MESSAGES).keys()]);
      await alice.flush();
      same(alice.pending, 0);
    },
  },
  {
    name: "who waits for longer than its patience is cut off, and told what it missed",
    async run(context) {
      const stage = await context.stage({
        isFragile: true,
        broker: { ...SMALL_QUEUE, maxPatience: 60_000 },
      });
      const gaps: Gap[] = [];
      const bus = await stage.connected({ overflow: "wait", patience: 50, ...gapsInto(gaps) });
      const slow = bus.subscribe("flood", SLOW);
      await bus.flush();
      await stage.call("join", "deno");
      // It does not come back before all is published.
      await stage.call("refuse", 60_000);
      await flood(stage);
      same((await stage.call("stats")).broker.cutOff, 1);
      await stage.call("refuse", 1);
      await until(() => gaps.length > 0 && bus.state === "connected");
      const [gap] = gaps;
      same([gaps.length, gap!.direction, gap!.reason], [1, "in", "cut off"]);
      await stage.call("publish", "deno", "flood", [{ n: MESSAGES }]);
      const numbers = await numbersUpTo(slow, MESSAGES);
      same(numbers.length + gap!.missed!, MESSAGES + 1);
    },
  },
];
