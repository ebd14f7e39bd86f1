/** Sessions: flush, resuming over cuts, what is told when it cannot be, and leaving. */
import { BacklogError, ConnectionLostError, MessageError } from "../../../errors.ts";
import type { Gap, NetPubSubOptions } from "../../../net/options.ts";
import { any } from "../../../topic.ts";
import { check, ofKind, rejects, same, throws } from "./check.ts";
import { type Case, take, until } from "./context.ts";

/** Collects the gaps that a client is told. */
export function gapsInto(gaps: Gap[]): NetPubSubOptions {
  return { onGap: (gap) => gaps.push(gap) };
}

export const SESSIONS: readonly Case[] = [
  {
    name: "flush waits until the broker has everything",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      for (let n = 0; n < 3000; n++) bus.publish("t", { n });
      check(bus.pending > 3000, "it waits");
      await bus.flush();
      same([bus.pending, (await stage.call("stats")).broker.received], [0, 3000]);
    },
  },
  {
    name: "flush rejects when disconnected, and when its signal aborts",
    async run(context) {
      const stage = await context.stage();
      const bus = stage.client();
      await rejects(bus.flush(), ConnectionLostError, "Cannot flush: the object is disconnected");
      await bus.connect();
      class Enough extends Error {
        override readonly name = "Enough";
      }
      const reason = new Enough("no");
      check(
        await rejects(bus.flush({ signal: AbortSignal.abort(reason) }), Enough) === reason,
        "it is the reason itself",
      );
    },
  },
  {
    name: "connect resolves once the subscriptions are in force",
    async run(context) {
      const stage = await context.stage();
      await stage.call("join", "deno");
      const bus = stage.client();
      const messages = bus.subscribe("t");
      await bus.connect();
      await stage.call("publish", "deno", "t", [{ n: 1 }]);
      same((await take(messages, 1))[0]!.message, { n: 1 });
    },
  },
  {
    name: "what is published while the connection is lost comes after it, once and in order",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const states: string[] = [];
      const bus = await stage.connected({
        onState: (state, reason) => states.push(`${state} ${reason?.name ?? ""}`.trim()),
      });
      const answers = bus.subscribe("answer");
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("listen", "deno", "t");
      bus.publish("t", { n: 0 });
      await stage.call("refuse", 100);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      await stage.call("publish", "deno", "answer", [{ n: 1 }, { n: 2 }]);
      for (let n = 1; n < 100; n++) bus.publish("t", { n });
      check(bus.pending > 0, "they wait");
      await bus.flush();
      await until(async () => (await stage.call("heard", "deno")).length >= 100);
      const heard = (await stage.call("heard", "deno")).map(([, text]) => text);
      same(heard, Array.from({ length: 100 }, (_, n) => `Object {"n": ${n}}`));
      same((await take(answers, 2)).map(({ message }) => message), [{ n: 1 }, { n: 2 }]);
      const connected = ["connecting", "connected"];
      same(states, [...connected, "reconnecting ConnectionLostError", "connected"]);
      same((await stage.call("stats")).broker.resumed, 1);
    },
  },
  {
    name: "subscriptions that change while the connection is lost are in force after it",
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const bus = await stage.connected();
      const heard: string[] = [];
      const old = bus.addSubscriber("old", () => heard.push("old"));
      await bus.flush();
      await stage.call("refuse", 50);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      old.remove();
      bus.addSubscriber("new", () => heard.push("new"));
      await bus.connect();
      await stage.call("join", "deno");
      for (const topic of ["old", "new"]) await stage.call("publish", "deno", topic, [{}]);
      await until(() => heard.length > 0);
      same(heard, ["new"]);
    },
  },
  {
    name: "a subscription with any goes on over a cut, and gets what came meanwhile",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const bus = await stage.connected();
      const rooms = bus.subscribe(["sensors", any, "celsius"]);
      await bus.flush();
      await stage.call("join", "deno");
      await stage.call("refuse", 100);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      const others = bus.subscribe([any, "b"]);
      await stage.call("publish", "deno", ["sensors", "kitchen", "celsius"], [{ n: 1 }]);
      await bus.connect();
      await stage.call("publish", "deno", ["sensors", "hall", "celsius"], [{ n: 2 }]);
      await stage.call("publish", "deno", ["a", "b"], [{ n: 3 }]);
      const heard = (await take(rooms, 2)).map(({ topic, message }) => [topic[1], message]);
      same(heard, [["kitchen", { n: 1 }], ["hall", { n: 2 }]]);
      same((await take(others, 1)).map(({ topic }) => topic), [["a", "b"]]);
      same((await stage.call("stats")).broker.resumed, 1);
    },
  },
  {
    name: "a side that is silent for two heartbeats is left, and the session goes on",
    async run(context) {
      const stage = await context.stage({ isFragile: true, broker: { heartbeat: 250 } });
      const reasons: string[] = [];
      const bus = await stage.connected({
        onState: (_state, reason) => reasons.push(reason?.message ?? ""),
      });
      await stage.call("freeze", 60_000);
      await until(() => reasons.some((text) => text.includes("was heard for 2 heartbeats")));
      await bus.connect();
      same((await stage.call("stats")).broker.resumed, 1);
    },
  },
  {
    name: 'a session that expired is told once as a gap "expired", with what was sent again',
    async run(context) {
      const stage = await context.stage({ isFragile: true, broker: { resumeWindow: 1 } });
      const gaps: Record<string, Gap[]> = { alice: [], bob: [] };
      const alice = await stage.connected(gapsInto(gaps.alice!));
      const bob = await stage.connected(gapsInto(gaps.bob!));
      let heard = 0;
      bob.addSubscriber("t", () => heard++);
      await bob.flush();
      // Without an acknowledgement: less than 64 KiB, and nobody asks.
      for (let n = 0; n < 10; n++) alice.publish("t", { n });
      await until(() => heard === 10);
      await stage.call("refuse", 300);
      await stage.call("cut");
      await until(() => alice.state === "reconnecting" && bob.state === "reconnecting");
      await until(async () => (await stage.call("stats")).broker.sessions === 0);
      await Promise.all([alice.connect(), bob.connect()]);
      await alice.flush();
      same(gaps, {
        alice: [{ direction: "out", reason: "expired", resent: 10 }],
        bob: [{ direction: "in", reason: "expired" }],
      });
    },
  },
  {
    name:
      'a new broker is told once as a gap "new broker", and gets what the old one did not confirm',
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const gaps: Gap[] = [];
      const bus = await stage.connected(gapsInto(gaps));
      for (let n = 0; n < 5; n++) bus.publish("t", { n });
      await until(async () => (await stage.call("stats")).broker.received === 5);
      await stage.call("stop", true);
      await until(() => bus.state === "reconnecting");
      bus.publish("t", { n: 5 });
      await stage.call("restart", {});
      await bus.connect();
      await bus.flush();
      same(gaps.map(({ direction, reason }) => [direction, reason]), [["out", "new broker"]]);
      same((await stage.call("stats")).broker.received, (gaps[0]!.resent ?? 0) + 1);
    },
  },
  {
    name: "what a new broker does not take is told as a MessageError, and the rest comes",
    async run(context) {
      const stage = await context.stage();
      const errors: unknown[] = [];
      const bus = await stage.connected({
        onError: (error) => errors.push(error),
        onGap: () => {}, // The broker is a new one.
      });
      await stage.call("stop", false);
      await until(() => bus.state === "reconnecting");
      bus.publish(["a", "b"], { data: new Uint8Array(2000) });
      bus.publish("t");
      await stage.call("restart", { limits: { messageBytes: 1000 } });
      await bus.connect();
      await bus.flush();
      await until(() => errors.length > 0);
      const error = ofKind(errors[0], MessageError, "limit is 1000");
      same([error.topic, errors.length], [["a", "b"], 1]);
      same((await stage.call("stats")).broker.received, 1);
    },
  },
  {
    name: "publish throws a BacklogError past its backlog, and nobody gets the message",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const bus = await stage.connected({ backlog: 10_000 });
      let heard = 0;
      bus.addSubscriber("t", () => heard++);
      await bus.flush();
      await stage.call("refuse", 60_000);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      const fill = () => {
        for (;;) bus.publish("t", { data: new Uint8Array(1000) });
      };
      const error = throws(fill, BacklogError, "the limit is 10000); await flush() now and then");
      same([error.limit, heard], [10_000, 9]);
      await stage.call("refuse", 1);
      await bus.flush();
      same([bus.pending, (await stage.call("stats")).broker.received], [0, 9]);
    },
  },
  {
    name: "disconnect delivers what is pending",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await stage.connected();
      for (let n = 0; n < 1000; n++) bus.publish("t", { n });
      check(bus.pending > 0, "they wait");
      await bus.disconnect();
      same([bus.state, bus.pending], ["disconnected", 0]);
      same((await stage.call("stats")).broker.received, 1000);
    },
  },
  {
    name: "disconnect gives up by its signal, and tells how many messages were not delivered",
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      const errors: unknown[] = [];
      const bus = await stage.connected({ onError: (error) => errors.push(error) });
      await stage.call("refuse", 60_000);
      await stage.call("cut");
      await until(() => bus.state === "reconnecting");
      for (let n = 0; n < 3; n++) bus.publish("t");
      const flushing = rejects(bus.flush(), ConnectionLostError, "was disconnected");
      class Enough extends Error {
        override readonly name = "Enough";
      }
      const controller = new AbortController();
      const leaving = rejects(bus.disconnect({ signal: controller.signal }), Enough);
      const closed = rejects(bus.closed, Enough);
      const reason = new Enough("no more time");
      controller.abort(reason);
      check(await leaving === reason && await closed === reason, "it is the reason itself");
      await flushing;
      const error = ofKind(errors[0], ConnectionLostError, "3 messages were not delivered");
      same([errors.length, error.undelivered], [1, 3]);
      same([bus.state, bus.pending], ["disconnected", 0]);
    },
  },
  {
    name: "disconnect ends an attempt to connect",
    async run(context) {
      const stage = await context.stage({ isFragile: true });
      await stage.call("refuse", 60_000);
      const bus = stage.client();
      const waiting = rejects(bus.connect({ wait: true }), ConnectionLostError, "disconnect()");
      await bus.disconnect();
      await waiting;
      same(bus.state, "disconnected");
    },
  },
  {
    name:
      "connect with wait goes on until there is a broker, and keeps what is published meanwhile",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      await stage.call("stop", true);
      const reasons: string[] = [];
      const bus = stage.client({
        onState: (state, reason) => reasons.push(`${state} ${reason?.name ?? ""}`.trim()),
      });
      const connecting = bus.connect({ wait: true });
      bus.publish("t", { n: 1 });
      await until(() => reasons.length === 2);
      same(reasons, ["connecting", "connecting ConnectionLostError"]);
      await stage.call("restart", {});
      await connecting;
      await bus.flush();
      same((await stage.call("stats")).broker.received, 1);
    },
  },
  {
    name: "connect gives up by its signal, and tells what it did not deliver",
    async run(context) {
      const errors: unknown[] = [];
      const stage = await context.stage();
      await stage.call("stop", true);
      const bus = stage.client({ onError: (error) => errors.push(error) });
      class Enough extends Error {
        override readonly name = "Enough";
      }
      const controller = new AbortController();
      const connecting = bus.connect({ wait: true, signal: controller.signal });
      bus.publish("t");
      const reason = new Enough("enough");
      controller.abort(reason);
      check(await rejects(connecting, Enough) === reason, "it is the reason itself");
      same(ofKind(errors[0], ConnectionLostError).undelivered, 1);
      same([errors.length, bus.state], [1, "disconnected"]);
    },
  },
];
