/** Who hears what, in which order, and what stays in the process. */
import { ForbiddenError } from "../../../errors.ts";
import { any, type Topic } from "../../../topic.ts";
import { check, same, throws } from "./check.ts";
import { type Case, take, until } from "./context.ts";
import { pair } from "./value_cases.ts";

export const DELIVERY: readonly Case[] = [
  {
    name: "a client connects and disconnects, and tells its states",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const states: string[] = [];
      const bus = stage.client({ onState: (state) => states.push(state) });
      same(bus.state, "disconnected");
      for (let round = 0; round < 2; round++) {
        await Promise.all([bus.connect(), bus.connect()]);
        const { closed } = bus;
        same([bus.state, bus.pending], ["connected", 0]);
        await Promise.all([bus.disconnect(), bus.disconnect()]);
        await closed;
      }
      const once = ["connecting", "connected", "disconnected"];
      same(states, [...once, ...once]);
    },
  },
  {
    name: "a client and one in Deno hear each other",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = stage.client();
      const answers = bus.subscribe(["answer"]);
      await bus.connect();
      await stage.call("join", "deno");
      await stage.call("listen", "deno", ["question"]);
      bus.publish(["question", "first"], { n: 1n });
      await until(async () => (await stage.call("heard", "deno")).length > 0);
      same(await stage.call("heard", "deno"), [[["question", "first"], 'Object {"n": 1n}']]);
      await stage.call("publish", "deno", ["answer", "日本"], [{ text: "yes" }]);
      same(await take(answers, 1), [{
        topic: ["answer", "日本"],
        message: { text: "yes" },
        info: {},
      }]);
    },
  },
  {
    name: "each publisher's order holds at every subscriber",
    isBrief: true,
    async run(context) {
      const { stage, alice, bob } = await pair(context);
      await stage.call("join", "deno");
      await stage.call("listen", "deno", "t");
      const subscriptions = [alice.subscribe("t"), bob.subscribe("t")];
      await Promise.all([alice.flush(), bob.flush()]);
      const numbers = Array.from({ length: 500 }, (_, n) => n);
      const others = numbers.map((n) => ({ who: "deno", n }));
      const publishing = stage.call("publish", "deno", "t", others);
      for (const n of numbers) {
        alice.publish(["t", `${n % 7}`], { who: "alice", n });
        if (n % 100 === 0) await alice.flush();
      }
      await publishing;
      for (const subscription of subscriptions) {
        const taken = (await take(subscription, 1000)).map(({ message }) => message) as {
          who: string;
          n: number;
        }[];
        for (const name of ["alice", "deno"]) {
          same(taken.filter(({ who }) => who === name).map(({ n }) => n), numbers, name);
        }
      }
      await until(async () => (await stage.call("heard", "deno")).length === 1000);
      const heard = await stage.call("heard", "deno");
      const ofAlice = heard.filter(([, text]) => text.includes('"alice"'));
      const expected = numbers.map((n) => `Object {"who": "alice","n": ${n}}`);
      same(ofAlice.map(([, text]) => text), expected);
    },
  },
  {
    name: "what a subscriber publishes follows what it hears, here and elsewhere",
    async run(context) {
      const { alice, bob } = await pair(context);
      const there = bob.subscribe(null);
      await bob.flush();
      const own: number[] = [];
      alice.addSubscriber("t", (_topic, { n }) => {
        if (n >= 8) return;
        alice.publish("t", { n: 2 * n });
        alice.publish("t", { n: 2 * n + 1 });
      });
      alice.addSubscriber("t", (_topic, { n }) => own.push(n));
      alice.publish("t", { n: 1 });
      const order = Array.from({ length: 15 }, (_, i) => i + 1);
      same(own, order);
      const taken = await take(there, 15);
      same(taken.map(({ message }) => (message as { n: number }).n), order);
    },
  },
  {
    name: "a message goes to its topic, to each parent, to the catch-all, and to no other",
    isBrief: true,
    async run(context) {
      const { alice, bob } = await pair(context);
      const heard: string[] = [];
      for (const topic of [[], ["a"], ["a", "b"], ["a", "c"], ["b"]]) {
        bob.addSubscriber(topic, (path) => heard.push(`${topic} < ${path}`));
      }
      await bob.flush();
      alice.publish(["a", "b"]);
      alice.publish("end");
      await until(() => heard.includes(" < end"));
      same(heard, ["a,b < a,b", "a < a,b", " < a,b", " < end"]);
    },
  },
  {
    name: "a broadcast reaches every subscription once",
    async run(context) {
      const { stage, alice, bob } = await pair(context);
      await stage.call("join", "deno");
      const heard: string[] = [];
      for (const topic of ["x", "y", null]) {
        for (const [name, bus] of [["alice", alice], ["bob", bob]] as const) {
          bus.addSubscriber(topic, (path) => heard.push(`${name} ${topic} ${path.length}`));
        }
        await stage.call("listen", "deno", topic);
      }
      await Promise.all([alice.flush(), bob.flush()]);
      alice.publish(null, { n: 1 });
      alice.publish("x");
      await until(() => heard.filter((text) => text.startsWith("bob")).length === 5);
      same(heard.filter((text) => text.endsWith("0")).sort(), [
        ...["alice null 0", "alice x 0", "alice y 0", "bob null 0", "bob x 0", "bob y 0"],
      ]);
      await until(async () => (await stage.call("heard", "deno")).length === 5);
      const broadcasts = (await stage.call("heard", "deno")).filter(([path]) => path.length === 0);
      same(broadcasts.length, 3);
    },
  },
  {
    name: "a client hears its own message at once, and never from the broker",
    async run(context) {
      const { alice, bob } = await pair(context);
      const heard: unknown[] = [];
      alice.addSubscriber("t", (_topic, message) => heard.push(message));
      const [there, answers] = [bob.subscribe("t"), alice.subscribe("answer")];
      await Promise.all([alice.flush(), bob.flush()]);
      alice.publish("t", { n: 1 });
      same(heard, [{ n: 1 }]);
      await take(there, 1);
      // It comes after whatever the broker could have sent back.
      bob.publish("answer");
      await take(answers, 1);
      same(heard, [{ n: 1 }]);
    },
  },
  {
    name: "what is local stays in the process",
    isBrief: true,
    async run(context) {
      const { alice, bob } = await pair(context);
      const heard: unknown[] = [];
      alice.addSubscriber(null, (topic, { n }) => heard.push([topic.join("/"), n]));
      const there = bob.subscribe(null);
      await bob.flush();
      alice.publish("t", { n: 1 }, { local: true });
      alice.publish(["t", "*local"], { n: 2 });
      alice.publish("*local", { n: 3 });
      alice.publish("end", { n: 4 });
      same((await take(there, 1)).map(({ message }) => message), [{ n: 4 }]);
      same(heard.map((one) => (one as unknown[])[1]), [1, 2, 3, 4]);
    },
  },
  {
    name: "before it connects and after it disconnects, a client is local",
    async run(context) {
      const stage = await context.stage();
      const bus = stage.client();
      let heard = 0;
      bus.addSubscriber("t", () => heard++);
      const atHome = { f: () => "only what stays here may hold a function" };
      bus.publish("t", atHome);
      await bus.connect();
      throws(() => bus.publish("t", atHome), TypeError);
      await bus.disconnect();
      bus.publish("t", atHome);
      same([heard, bus.pending], [2, 0]);
      same((await stage.call("stats")).broker.received, 0);
    },
  },
  {
    name: "only the broker publishes below *broker",
    async run(context) {
      const { alice } = await pair(context);
      const error = throws(() => alice.publish(["*broker", "x"]), ForbiddenError, "*broker");
      same(error.topic, ["*broker", "x"]);
      await alice.flush();
    },
  },
  {
    name: "topics that are none are refused at the call",
    async run(context) {
      const { alice } = await pair(context);
      for (const topic of ["", ["a", ""], ["\ud800"], [1 as unknown as string]]) {
        throws(() => alice.publish(topic), TypeError);
        throws(() => alice.addSubscriber(topic, () => {}), TypeError);
      }
      throws(() => alice.publish(Array(17).fill("a")), RangeError);
      throws(() => alice.publish("x".repeat(256)), RangeError);
      alice.publish("x".repeat(255));
      await alice.flush();
    },
  },
  {
    name: "a topic with any hears every name there, and no other topic",
    isBrief: true,
    async run(context) {
      const { alice, bob } = await pair(context);
      const heard: string[] = [];
      const listen = (topic: Topic) =>
        bob.addSubscriber(topic, (path) => heard.push(`${show(topic)} < ${path}`));
      for (const topic of [["s", any], [any, "b"], ["s", any, "c"], ["s", "b"]] as const) {
        listen(topic);
      }
      const end = bob.subscribe("end");
      await bob.flush();
      for (const topic of [["s"], ["s", "b", "c"], ["s", "x", "c"], ["z", "b"], ["z", "c"]]) {
        alice.publish(topic);
      }
      alice.publish("end");
      await take(end, 1);
      same(heard, [
        ...["s,+,c < s,b,c", "s,b < s,b,c", "s,+ < s,b,c", "+,b < s,b,c"],
        ...["s,+,c < s,x,c", "s,+ < s,x,c", "+,b < z,b"],
      ]);
    },
  },
  {
    name: "a topic with any that is removed is heard no more, and one that is the same is",
    async run(context) {
      const { stage, alice, bob } = await pair(context);
      let heard = 0;
      const handle = bob.addSubscriber(["s", any], () => heard++);
      const remaining = () => void heard++;
      bob.addSubscriber(["s", any], remaining);
      await bob.flush();
      const delivered = async () => {
        await bob.flush();
        const before = (await stage.call("stats")).broker.delivered;
        alice.publish(["s", "x"]);
        await alice.flush();
        return (await stage.call("stats")).broker.delivered - before;
      };
      const counts = [await delivered()];
      handle.remove();
      counts.push(await delivered());
      check(bob.removeSubscriber(["s", any], remaining), "it was there");
      counts.push(await delivered());
      same([counts, heard], [[1, 1, 0], 3]);
    },
  },
  {
    name: "any is refused where one publishes, and more than three where one subscribes",
    async run(context) {
      const { alice } = await pair(context);
      throws(() => alice.publish(["s", any]), TypeError, "element 1 is any");
      throws(() => alice.addSubscriber([any, any, any, any], () => {}), RangeError, "any");
      throws(() => alice.subscribe(["s", null as unknown as string]), TypeError, "element 1");
      alice.addSubscriber([any, any, any], () => {});
      await alice.flush();
      same(alice.state, "connected");
    },
  },
];

/** A topic as a text. */
function show(topic: Topic): string {
  return [topic].flat().map((element) => element === any ? "+" : String(element)).join();
}
