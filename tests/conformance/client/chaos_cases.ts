/** Many clients over connections that are cut at random bytes: nothing is lost, doubled or inverted. */
import { checkHistory, type Sighting } from "../../../testing/history.ts";
import { check, same } from "./check.ts";
import { type Case, pause, until } from "./context.ts";

/** For how long messages pass, in milliseconds; the messages of each client come this far apart. */
const CHAOS_MS = 3000;
const APART_MS = 4;

export const CHAOS: readonly Case[] = [
  {
    name: "over connections that are cut at random, every message arrives once and in order",
    async run(context) {
      const seed = Math.floor(Math.random() * 2 ** 31);
      const stage = await context.stage({ isFragile: true, seed });
      const seen: Record<string, readonly Sighting[]> = {};
      const published: Record<string, readonly number[]> = {};
      const own = await Promise.all(["a", "b"].map(async (name) => {
        const bus = await stage.connected();
        const sightings: Sighting[] = seen[name] = [];
        bus.addSubscriber(
          "chat",
          ([, publisher = ""], { id }) => sightings.push({ publisher, id }),
        );
        await bus.flush();
        return { name, bus };
      }));
      const others = ["c", "d"];
      for (const name of others) {
        await stage.call("join", name, true);
        await stage.call("listen", name, "chat");
      }
      await Promise.all([
        ...own.map(async ({ name, bus }) => {
          const end = performance.now() + CHAOS_MS;
          const ids: number[] = [];
          for (let id = 0; performance.now() < end; id++) {
            bus.publish(["chat", name], { id });
            ids.push(id);
            await pause(APART_MS);
          }
          await bus.flush();
          published[name] = ids;
        }),
        ...others.map(async (name) => {
          const count = await stage.call("chat", name, CHAOS_MS);
          published[name] = Array.from({ length: count }, (_, id) => id);
        }),
      ]);
      await stage.call("calm");
      const count = Object.values(published).flat().length;
      await until(async () => {
        for (const name of others) seen[name] = await stage.call("sightings", name);
        return Object.values(seen).every(({ length }) => length >= count);
      });
      same(checkHistory({ published, seen }).faults.slice(0, 3), [], `seed ${seed}`);
      const { broker, proxy } = await stage.call("stats");
      check(proxy!.cut > 4 && broker.resumed > 2, `seed ${seed}: it was cut ${proxy!.cut} times`);
    },
  },
];
