/** Many clients over connections that are cut at random bytes: nothing is lost, doubled or inverted. */
import { checkHistory, type Sighting } from "../../../testing/history.ts";
import { same } from "./check.ts";
import { type Case, pause, until } from "./context.ts";

/** How far apart the messages of a client are, in milliseconds, and how many bytes each has besides. */
export const APART_MS = 4;
export const DATA_BYTES = 100;

/** How often connections are cut at least. */
const CUTS_MIN = 10;

export const CHAOS: readonly Case[] = [
  {
    name: "over connections that are cut at random, every message arrives once and in order",
    async run(context) {
      const { chaosMs } = context.setting;
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
      // On a busy machine connections live longer: so it goes on until enough of them were cut.
      let isEnough = false;
      for (const name of others) {
        await stage.call("join", name, true);
        await stage.call("listen", name, "chat");
      }
      await Promise.all([
        until(async () => {
          const { broker, proxy } = await stage.call("stats");
          return proxy!.cut > CUTS_MIN && broker.resumed > CUTS_MIN / 2;
        }).finally(() => isEnough = true),
        ...own.map(async ({ name, bus }) => {
          const end = performance.now() + chaosMs;
          const ids: number[] = [];
          for (let id = 0; performance.now() < end || !isEnough; id++) {
            bus.publish(["chat", name], { id, data: new Uint8Array(DATA_BYTES) });
            ids.push(id);
            await pause(APART_MS);
          }
          published[name] = ids;
        }),
        ...others.map(async (name) => {
          const count = await stage.call("chat", name, chaosMs);
          published[name] = Array.from({ length: count }, (_, id) => id);
        }),
      ]);
      await stage.call("calm");
      await Promise.all(own.map(({ bus }) => bus.flush()));
      const count = Object.values(published).flat().length;
      await until(async () => {
        for (const name of others) seen[name] = await stage.call("sightings", name);
        return Object.values(seen).every(({ length }) => length >= count);
      });
      same(checkHistory({ published, seen }).faults.slice(0, 3), [], `seed ${seed}`);
    },
  },
];
