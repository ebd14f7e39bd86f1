/** What a key grants, and how a client is told what it does not. */
import { AuthError, ForbiddenError } from "../../../errors.ts";
import { any } from "../../../topic.ts";
import { check, ofKind, rejects, same } from "./check.ts";
import { type Case, until } from "./context.ts";

/** A key that may publish some topics and hear others, and one that may do nothing. */
const KEYS = [
  { name: "sensor", key: "the sensor's", publish: ["a", ["b", "c"]], subscribe: ["d"] },
  { name: "all", key: "everybody's", publish: [[]], subscribe: [[]] },
];
const SENSOR = { keyName: "sensor", authkey: "the sensor's" };

export const RIGHTS: readonly Case[] = [
  {
    name: "a message that the key does not grant reaches nobody elsewhere, and is told",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const errors: unknown[] = [];
      const bus = stage.client({ ...SENSOR, onError: (error) => errors.push(error) });
      await bus.connect();
      await stage.call("join", "deno");
      await stage.call("listen", "deno", null);
      for (const topic of [["a"], ["b", "c", "x"], ["b"], ["ab"], []]) bus.publish(topic);
      await bus.flush();
      bus.publish("a", { n: "last" });
      await until(async () =>
        errors.length === 3 && (await stage.call("heard", "deno")).length === 3
      );
      const heard = await stage.call("heard", "deno");
      same(heard.map(([topic]) => topic), [["a"], ["b", "c", "x"], ["a"]]);
      const told = errors.map((error) =>
        ofKind(error, ForbiddenError, 'the key "sensor" does not grant that').topic
      );
      same(told, [["b"], ["ab"], []]);
    },
  },
  {
    name: "connect rejects when the key grants nothing of a subscription",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const errors: unknown[] = [];
      const bus = stage.client({ ...SENSOR, onError: (error) => errors.push(error) });
      for (const topic of ["b", "d"]) bus.addSubscriber(topic, () => {});
      const error = await rejects(bus.connect(), ForbiddenError);
      same([error.topic, errors.length, bus.state], [["b"], 1, "disconnected"]);
      check(errors[0] === error, "onError gets it, too");
      await until(async () => (await stage.call("stats")).broker.sessions === 0);
    },
  },
  {
    name: "flush rejects once when the key grants nothing of a new subscription",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const errors: unknown[] = [];
      const bus = stage.client({ ...SENSOR, onError: (error) => errors.push(error) });
      await bus.connect();
      bus.addSubscriber(["e", "x"], () => {});
      same((await rejects(bus.flush(), ForbiddenError)).topic, ["e", "x"]);
      await bus.flush();
      same([errors.length, bus.state], [1, "connected"]);
    },
  },
  {
    name: "a subscription is narrowed to what the key grants",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const bus = stage.client(SENSOR);
      const heard: string[] = [];
      bus.addSubscriber(null, (topic) => heard.push(topic.join("/")));
      await bus.connect();
      await stage.call("join", "deno");
      for (const topic of ["a", "d", ["b", "c"], ["d", "x"]]) {
        await stage.call("publish", "deno", topic, [{}]);
      }
      await until(() => heard.includes("d/x"));
      same(heard, ["d", "d/x"]);
    },
  },
  {
    name: "a subscription with any is narrowed to what the key grants, or denied",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const errors: unknown[] = [];
      const bus = stage.client({ ...SENSOR, onError: (error) => errors.push(error) });
      const heard: string[] = [];
      bus.addSubscriber([any, "x"], (topic) => heard.push(topic.join("/")));
      await bus.connect();
      await stage.call("join", "deno");
      for (const topic of [["a", "x"], "d", ["d", "y"], ["d", "x", "z"]]) {
        await stage.call("publish", "deno", topic, [{}]);
      }
      await until(() => heard.length > 0);
      same([heard, errors], [["d/x/z"], []]);
      bus.addSubscriber(["a", any], () => {});
      same((await rejects(bus.flush(), ForbiddenError, '["a",any]')).topic, ["a", any]);
    },
  },
  {
    name: "rights that change apply to who is connected, and a key that is gone ends its sessions",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const states: string[] = [];
      const errors: unknown[] = [];
      const bus = stage.client({
        ...SENSOR,
        onState: (state, reason) => states.push(`${state} ${reason?.name ?? ""}`.trim()),
        onError: (error) => errors.push(error),
        onGap: () => {}, // Its next session is a new one.
      });
      const heard: string[] = [];
      bus.addSubscriber(null, (topic) => heard.push(topic.join("/")));
      await bus.connect();
      await stage.call("join", "deno");
      await stage.call("setKeys", [{ ...KEYS[0]!, subscribe: ["e"] }, KEYS[1]!]);
      await bus.flush();
      for (const topic of ["d", "e"]) await stage.call("publish", "deno", topic, [{}]);
      await until(() => heard.length > 0);
      same([heard, states], [["e"], ["connecting", "connected"]]);
      await stage.call("setKeys", KEYS.slice(1));
      await until(() => states.includes("reconnecting AuthError"));
      await stage.call("setKeys", KEYS);
      await bus.connect();
      same([bus.state, errors], ["connected", []]);
    },
  },
  {
    name: "connect rejects with AuthError for another key, and for a name that the broker has not",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      for (const [authkey, keyName] of [["wrong", ""], [stage.info.authkey, "nobody"]] as const) {
        const bus = stage.client({ authkey, keyName });
        const { closed } = bus;
        const error = await rejects(bus.connect(), AuthError);
        same([error.keyName, error.certificate, bus.state], [keyName, undefined, "disconnected"]);
        check(await rejects(closed, AuthError) === error, "closed has the same");
      }
      same((await stage.call("stats")).broker.refused, 2);
    },
  },
];
