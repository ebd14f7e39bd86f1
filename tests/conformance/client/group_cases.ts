/** Groups: each message to one member, wherever the members are, and what becomes of it when one goes. */
import { ForbiddenError, MessageError } from "../../../errors.ts";
import { check, ofKind, same } from "./check.ts";
import { type Case, type Stage, take, until } from "./context.ts";

/** Messages with these numbers. */
function numbered(count: number, from = 0): { n: number }[] {
  return Array.from({ length: count }, (_, i) => ({ n: from + i }));
}

/** The numbers of the jobs that a client of the test's process noted. */
async function numbersAt(stage: Stage, name: string): Promise<number[]> {
  return (await stage.call("worked", name)).map(([text]) => Number(/\d+/.exec(text)![0]));
}

/** A promise that is settled from outside. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open: () => open() };
}

/** Two keys: one may be a member, the other may only hear. */
const KEYS = [
  { name: "worker", key: "the worker's", publish: [[]], subscribe: [[]], serve: ["jobs"] },
  { name: "screen", key: "the screen's", publish: [[]], subscribe: [[]], serve: ["others"] },
];

export const GROUPS: readonly Case[] = [
  {
    name: "members in several processes share the messages: each goes to one, and to all without",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const numbers: number[] = [];
      const plain: number[] = [];
      const bus = await stage.connected();
      bus.addSubscriber("jobs", (_topic, { n }) => numbers.push(n), { group: "workers" });
      bus.addSubscriber("jobs", (_topic, { n }) => plain.push(n));
      await bus.flush();
      for (const name of ["deno", "other"]) {
        await stage.call("join", name);
        await stage.call("work", name, "jobs", { group: "workers", ms: 0 });
      }
      await stage.call("join", "publisher");
      await stage.call("publish", "publisher", "jobs", numbered(300));
      const elsewhere = async () => [
        await numbersAt(stage, "deno"),
        await numbersAt(stage, "other"),
      ];
      await until(async () =>
        numbers.length + (await elsewhere()).flat().length >= 300 && plain.length >= 300
      );
      const all = [numbers, ...await elsewhere()];
      for (const own of all) {
        check(own.length > 0, "each has a part");
        same(own, own.toSorted((a, b) => a - b), "in order");
      }
      same(all.flat().toSorted((a, b) => a - b), plain, "each once");
    },
  },
  {
    name: "a publisher's own member gets its messages from the broker, as one of all members",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const own: number[] = [];
      const plain: number[] = [];
      bus.addSubscriber("jobs", (_topic, { n }) => own.push(n), { group: "workers" });
      bus.addSubscriber("jobs", (_topic, { n }) => plain.push(n));
      await stage.call("join", "deno");
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      await bus.flush();
      for (const message of numbered(100)) bus.publish("jobs", message);
      same([own.length, plain.length], [0, 100]);
      await until(async () => own.length + (await numbersAt(stage, "deno")).length >= 100);
      const others = await numbersAt(stage, "deno");
      check(own.length > 0 && others.length > 0, "both have a part");
      same([...own, ...others].toSorted((a, b) => a - b), plain);
    },
  },
  {
    name: "what is published locally goes to a member here, and is no business of the broker's",
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const own: number[] = [];
      bus.addSubscriber("jobs", (_topic, { n }) => own.push(n), { group: "workers" });
      await stage.call("join", "deno");
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      await bus.flush();
      for (const message of numbered(10)) bus.publish("jobs", message, { local: true });
      same(own, numbered(10).map(({ n }) => n));
      await bus.flush();
      same((await stage.call("stats")).broker.received, 0);
      await bus.disconnect();
      bus.publish("jobs", { n: 10 });
      same(own.at(-1), 10, "disconnected, it decides itself");
    },
  },
  {
    name: "a loop is a member that gets the next message when it asks for it",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const jobs = bus.subscribe("jobs", { group: "workers", limit: 1 });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", numbered(4));
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      await stage.call("publish", "deno", "jobs", numbered(6, 4));
      await until(async () => (await numbersAt(stage, "deno")).length > 0);
      const taken = await take(jobs, 1); // The loop ends, and its member leaves.
      await until(async () => (await numbersAt(stage, "deno")).length === 9);
      const all = [
        ...taken.map(({ message }) => message.n as number),
        ...await numbersAt(stage, "deno"),
      ];
      same(all.toSorted((a, b) => a - b), numbered(10).map(({ n }) => n));
    },
  },
  {
    name: "with once, a member leaves after one message",
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const own: number[] = [];
      bus.addSubscriber("jobs", (_topic, { n }) => own.push(n), { group: "workers", once: true });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", numbered(10));
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      await until(async () => own.length + (await numbersAt(stage, "deno")).length >= 10);
      same(own, [0]);
      same((await numbersAt(stage, "deno")).toSorted(), numbered(9, 1).map(({ n }) => n));
    },
  },
  {
    name: "what a member had when its session ended goes to another, which learns of that",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      await stage.call("join", "deno");
      await stage.call("work", "deno", "jobs", { group: "workers", concurrency: 3 });
      const bus = await stage.connected();
      for (const message of numbered(3)) bus.publish("jobs", message);
      await until(async () => (await numbersAt(stage, "deno")).length === 3);
      const got: [number, number | undefined][] = [];
      bus.addSubscriber("jobs", (_topic, { n }, { redelivered }) => got.push([n, redelivered]), {
        group: "workers",
      });
      await bus.flush();
      bus.publish("jobs", { n: 3 });
      await until(() => got.length === 1);
      await stage.call("leave", "deno", true);
      await until(() => got.length === 4);
      same(got.toSorted(([a], [b]) => a - b), [[0, 1], [1, 1], [2, 1], [3, undefined]]);
    },
  },
  {
    name: "a member that disconnects finishes what runs, and gives back what has not begun",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const jobs = bus.subscribe("jobs", { group: "workers", limit: 5 });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", numbered(5));
      const loop = jobs[Symbol.asyncIterator]();
      same((await loop.next()).value!.message, { n: 0 });
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      let isGone = false;
      const gone = bus.disconnect().then(() => isGone = true);
      await until(async () => (await numbersAt(stage, "deno")).length === 4);
      check(!isGone, "it waits for what runs");
      await loop.return!();
      await gone;
      const worked = await stage.call("worked", "deno");
      const texts = numbered(4, 1).map(({ n }) => [`Object {"n": ${n}}`, 0]);
      same(worked.toSorted(), texts, "they were not lost");
    },
  },
  {
    name: "a member that is removed finishes what runs, and others get the rest",
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      const { opened, open } = gate();
      const begun: number[] = [];
      const handle = bus.addSubscriber("jobs", async (_topic, { n }) => {
        begun.push(n);
        await opened;
      }, { group: "workers", concurrency: 2 });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", numbered(5));
      await until(() => begun.length === 2);
      handle.remove();
      await stage.call("work", "deno", "jobs", { group: "workers", ms: 0 });
      await until(async () => (await numbersAt(stage, "deno")).length === 3);
      open();
      await bus.flush();
      await bus.disconnect();
      same([begun, await numbersAt(stage, "deno")], [[0, 1], [2, 3, 4]]);
    },
  },
  {
    name: "over a cut, a job goes on, and is finished after it",
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const bus = await stage.connected();
      const { opened, open } = gate();
      const begun: number[] = [];
      bus.addSubscriber("jobs", async (_topic, { n }) => {
        begun.push(n);
        await opened;
      }, { group: "workers", concurrency: 1 });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", numbered(3));
      await until(() => begun.length === 1);
      await stage.call("refuse", 100);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      open();
      await until(() => begun.length === 3);
      await bus.flush();
      await bus.disconnect();
      same([begun, (await stage.call("stats")).broker.resumed], [[0, 1, 2], 1]);
    },
  },
  {
    name: "a message that does not fit, or whose member throws, is told, and finished",
    async run(context) {
      const stage = await context.stage();
      const errors: unknown[] = [];
      const bus = await stage.connected({ onError: (error) => errors.push(error) });
      const got: number[] = [];
      bus.addSubscriber("jobs", (_topic, { n }) => {
        got.push(n);
        if (n === 1) throw new RangeError("thrown");
        return n === 2 ? Promise.reject(new RangeError("rejected")) : undefined;
      }, { group: "workers", concurrency: 1, accepts: ["n"] });
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("publish", "deno", "jobs", [{ m: 0 }, ...numbered(3, 1)]);
      await until(() => got.length === 3);
      same(got, [1, 2, 3]);
      ofKind(errors[0], MessageError, "m");
      ofKind(errors[1], RangeError, "thrown");
      ofKind(errors[2], RangeError, "rejected");
      same(errors.length, 3);
    },
  },
  {
    name: "a message that three members lose is told to its publisher, with its topic",
    async run(context) {
      const stage = await context.stage();
      const errors: unknown[] = [];
      const bus = await stage.connected({ onError: (error) => errors.push(error) });
      for (const name of ["a", "b", "c", "d"]) {
        await stage.call("join", name);
        await stage.call("work", name, ["jobs", "poison"], { group: "workers" });
        if (name === "a") bus.publish(["jobs", "poison"], { n: 1 });
        if (name === "d") break;
        await until(async () => (await stage.call("worked", name)).length === 1);
        const [[, redelivered]] = await stage.call("worked", name) as [[string, number]];
        same(redelivered, "abc".indexOf(name));
        await stage.call("leave", name, true);
      }
      await until(() => errors.length > 0);
      same(ofKind(errors[0], MessageError, "three members").topic, ["jobs", "poison"]);
      same([errors.length, await stage.call("worked", "d")], [1, []]);
    },
  },
  {
    name: "a key that does not grant to serve is no member",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const errors: unknown[] = [];
      const got: string[] = [];
      const note = (who: string) => () => got.push(who);
      const screen = stage.client({
        keyName: "screen",
        authkey: "the screen's",
        onError: (error) => errors.push(error),
      });
      await screen.connect();
      screen.addSubscriber("jobs", note("screen"), { group: "workers" });
      screen.addSubscriber("jobs", note("plain"));
      await screen.flush().catch((error) => ofKind(error, ForbiddenError));
      same(errors.map((error) => ofKind(error, ForbiddenError).topic), [["jobs"]]);
      const worker = stage.client({ keyName: "worker", authkey: "the worker's" });
      worker.addSubscriber("jobs", note("worker"), { group: "workers" });
      await worker.connect();
      worker.publish("jobs");
      await until(() => got.length === 2);
      same(got.toSorted(), ["plain", "worker"]);
    },
  },
];
