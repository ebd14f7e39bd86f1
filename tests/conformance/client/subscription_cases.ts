/** Subscribers and subscriptions, for what comes from elsewhere. */
import { BacklogError, MessageError } from "../../../errors.ts";
import { check, ofKind, rejects, same } from "./check.ts";
import { type Case, take, until } from "./context.ts";
import { pair } from "./value_cases.ts";

export const SUBSCRIPTIONS: readonly Case[] = [
  {
    name: "a subscriber ends by its handle, by its signal, after once, or when it is removed",
    isBrief: true,
    async run(context) {
      const { alice, bob } = await pair(context);
      const heard: string[] = [];
      const controller = new AbortController();
      const note = (name: string) => () => heard.push(name);
      const removed = note("removed");
      const handle = bob.addSubscriber("t", note("handle"));
      bob.addSubscriber("t", note("signal"), { signal: controller.signal });
      bob.addSubscriber("t", note("once"), { once: true });
      bob.addSubscriber("t", removed);
      bob.addSubscriber("t", note("stays"));
      await bob.flush();
      alice.publish("t");
      await until(() => heard.includes("stays"));
      same(heard.splice(0), ["handle", "signal", "once", "removed", "stays"]);
      handle.remove();
      controller.abort();
      check(bob.removeSubscriber("t", removed), "it was there");
      check(!bob.removeSubscriber("t", removed), "it is gone");
      alice.publish("t");
      await until(() => heard.includes("stays"));
      same(heard, ["stays"]);
    },
  },
  {
    name: "the broker sends no more of what nobody subscribes to any longer",
    async run(context) {
      const { stage, alice, bob } = await pair(context);
      const handles = [bob.addSubscriber("t", () => {}), bob.addSubscriber("t", () => {})];
      const delivered = async () => {
        await bob.flush();
        const before = (await stage.call("stats")).broker.delivered;
        alice.publish("t");
        await alice.flush();
        return (await stage.call("stats")).broker.delivered - before;
      };
      const counts = [await delivered()];
      for (const handle of handles) {
        handle.remove();
        counts.push(await delivered());
      }
      same(counts, [1, 1, 0]);
    },
  },
  {
    name: "a subscriber that throws or rejects stops nobody, and is told",
    async run(context) {
      const { stage, alice } = await pair(context);
      const errors: unknown[] = [];
      const bob = await stage.connected({ onError: (error) => errors.push(error) });
      let heard = 0;
      const [thrown, rejected] = [new Error("thrown"), new Error("rejected")];
      bob.addSubscriber("t", () => {
        throw thrown;
      });
      bob.addSubscriber("t", () => Promise.reject(rejected));
      bob.addSubscriber("t", () => heard++);
      await bob.flush();
      for (let i = 0; i < 2; i++) alice.publish("t");
      await until(() => heard === 2 && errors.length === 4);
      check(errors.includes(thrown) && errors.includes(rejected), "both are told as they are");
    },
  },
  {
    name: "accepts: what has other names is told as a MessageError, and goes to the others",
    isBrief: true,
    async run(context) {
      const { stage, alice } = await pair(context);
      const errors: unknown[] = [];
      const bob = await stage.connected({ onError: (error) => errors.push(error) });
      const [strict, all]: [unknown[], unknown[]] = [[], []];
      bob.addSubscriber("t", (_topic, message) => strict.push(message), { accepts: ["n"] });
      bob.addSubscriber("t", (_topic, message) => all.push(message));
      await bob.flush();
      for (const message of [{ n: 1 }, { n: 1, wrong: 2 }, {}]) alice.publish("t", message);
      await until(() => all.length === 3);
      same(strict, [{ n: 1 }, {}]);
      const error = ofKind(errors[0], MessageError, "wrong");
      same([errors.length, error.topic, error.issues.length], [1, ["t"], 1]);
    },
  },
  {
    name: "accepts: a schema makes of a message what its subscription yields",
    async run(context) {
      const { alice, bob } = await pair(context);
      const schema = {
        "~standard": {
          version: 1,
          vendor: "test",
          validate: (value: unknown) => ({ value: { doubled: 2 * (value as { n: number }).n } }),
        },
      } as const;
      const doubled = bob.subscribe("t", { accepts: schema });
      await bob.flush();
      alice.publish("t", { n: 21 });
      same((await take(doubled, 1)).map(({ message }) => message), [{ doubled: 42 }]);
    },
  },
  {
    name: "a loop over a subscription gets all in order, and break ends it",
    isBrief: true,
    async run(context) {
      const { stage, alice, bob } = await pair(context);
      const messages = bob.subscribe("t");
      await bob.flush();
      for (let n = 0; n < 100; n++) alice.publish("t", { n });
      const taken = await take(messages, 100);
      same(taken.map(({ message }) => (message as { n: number }).n), [...Array(100).keys()]);
      await bob.flush();
      const before = (await stage.call("stats")).broker.delivered;
      alice.publish("t");
      await alice.flush();
      same((await stage.call("stats")).broker.delivered - before, 0);
    },
  },
  {
    name: "a full subscription drops its oldest messages, counts them, and tells it once",
    async run(context) {
      const { stage, alice } = await pair(context);
      const errors: unknown[] = [];
      const bob = await stage.connected({ onError: (error) => errors.push(error) });
      const few = bob.subscribe("t", { limit: 3 });
      const all = bob.subscribe("t");
      await bob.flush();
      for (let n = 0; n < 10; n++) alice.publish("t", { n });
      await take(all, 10);
      same((await take(few, 3)).map(({ message }) => (message as { n: number }).n), [7, 8, 9]);
      same(few.dropped, 7);
      same([errors.length, ofKind(errors[0], BacklogError).limit], [1, 3]);
    },
  },
  {
    name: 'a full subscription with overflow "throw" ends its loop with a BacklogError',
    async run(context) {
      const { alice, bob } = await pair(context);
      const few = bob.subscribe("t", { limit: 3, overflow: "throw" });
      const all = bob.subscribe("t");
      await bob.flush();
      for (let n = 0; n < 10; n++) alice.publish("t", { n });
      await take(all, 10);
      same((await rejects(take(few, 10), BacklogError)).limit, 3);
    },
  },
  {
    name: 'a full subscription with overflow "wait" loses nothing, and leaves the client alive',
    async run(context) {
      const { alice, bob } = await pair(context);
      const slow = bob.subscribe("t", { limit: 2, overflow: "wait" });
      await bob.flush();
      for (let n = 0; n < 200; n++) alice.publish("t", { n });
      await alice.flush();
      bob.publish("other");
      await bob.flush();
      const taken = await take(slow, 200);
      same(taken.map(({ message }) => (message as { n: number }).n), [...Array(200).keys()]);
    },
  },
  {
    name: "a signal ends a subscription with its reason",
    async run(context) {
      const { bob } = await pair(context);
      const controller = new AbortController();
      const messages = bob.subscribe("t", { signal: controller.signal });
      await bob.flush();
      const taking = take(messages, 1);
      class Enough extends Error {
        override readonly name = "Enough";
      }
      const reason = new Enough("enough");
      controller.abort(reason);
      check(await rejects(taking, Enough) === reason, "it is the reason itself");
    },
  },
];
