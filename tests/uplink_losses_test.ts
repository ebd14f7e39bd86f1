import { assert, assertEquals } from "@std/assert";
import { Background } from "../base/background.ts";
import { COUNT_MAX } from "../base/count.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { UplinkLosses } from "../broker/uplink_losses.ts";
import type { Peer } from "../routing/peer.ts";
import { Router } from "../routing/router.ts";
import { until } from "../tools/harness/until.ts";

/** Clients that want one topic each, and what they are told. */
class Clients implements Disposable {
  readonly router = new Router<Peer>();
  readonly losses: UplinkLosses;
  /** How often clients were searched for. */
  searches = 0;
  readonly told: Record<string, number[]> = {};

  readonly #background: Background;

  constructor(topics: readonly string[], background = new Background()) {
    this.#background = background;
    this.losses = new UplinkLosses(this.router, background);
    for (const topic of topics) {
      const told: number[] = this.told[topic] = [];
      const peer: Peer = {
        take() {},
        lose: (messages) => told.push(messages),
        room: () => undefined,
      };
      this.router.add(peer, topic === "" ? [] : topic.split("/"));
    }
    for (const name of ["peersOf", "peersAround"] as const) {
      const search = this.router[name].bind(this.router);
      Object.defineProperty(this.router, name, {
        value: (path: readonly string[]) => {
          this.searches++;
          return search(path);
        },
      });
    }
  }

  /** How many lost messages one was told of. */
  sum(topic: string): number {
    return this.told[topic]!.reduce((sum, messages) => sum + messages, 0);
  }

  [Symbol.dispose](): void {
    this.losses.end();
    this.#background.end();
  }
}

Deno.test("UplinkLosses tells at once who may have wanted what was lost, and nobody else", () => {
  using clients = new Clients(["a", "a/b", "a/b/c", "z", ""]);
  clients.losses.add(["a", "b"], 7);
  assertEquals(clients.told, { a: [7], "a/b": [7], "a/b/c": [7], z: [], "": [7] });
});

Deno.test("UplinkLosses tells all who want anything of what may have been for anybody", () => {
  using clients = new Clients(["a", "z", "*broker/stats"]);
  clients.losses.add([], 0);
  assertEquals(clients.told, { a: [0], z: [0], "*broker/stats": [] });
});

Deno.test("UplinkLosses tells in few notices of many losses, and forgets none", async () => {
  using clients = new Clients(["a", "a/b", "z"]);
  for (let n = 0; n < 10_000; n++) {
    clients.losses.add(["a"], 3);
    clients.losses.add(["a", "b"], 2);
    if (n % 10 === 0) clients.losses.add(["z"], 0);
  }
  await until(() => clients.sum("a") === 50_000);
  assertEquals([clients.sum("a/b"), clients.sum("z")], [50_000, 0]);
  assert(clients.told.z!.length > 0);
  const notices = Object.values(clients.told).flat().length;
  assert(notices < 100, `${notices} notices`);
  assert(clients.searches < 100, `${clients.searches} searches`);
});

Deno.test("UplinkLosses searches few times for clients, however many topics lose messages", () => {
  using clients = new Clients(["a", "z"]);
  for (let n = 0; n < 10_000; n++) clients.losses.add(["z", String(n)], 1);
  clients.losses.end();
  assertEquals(clients.sum("z"), 10_000);
  assert(clients.searches < 100, `${clients.searches} searches`);
});

Deno.test("UplinkLosses tells what is left when it ends, and no sum that is not exact", () => {
  using clients = new Clients(["a"]);
  clients.losses.add(["a"], 1);
  for (let n = 0; n < 5; n++) clients.losses.add(["a"], COUNT_MAX);
  clients.losses.end();
  assertEquals(clients.told.a, [1, COUNT_MAX]);
});

/** A background in which each step takes a turn. */
function stepwise(): Background {
  let time = 0;
  return new Background(new TimeSlice(new Rounds(() => time += 10)));
}

function manyTopics(): string[] {
  return Array.from({ length: 5000 }, (_, i) => `a/${i}`);
}

Deno.test("UplinkLosses tells many clients in turns with everything else", async () => {
  using clients = new Clients(manyTopics(), stepwise());
  const told = () => Object.values(clients.told).flat().length;
  let [longest, before] = [0, 0];
  const look = () => {
    longest = Math.max(longest, told() - before);
    before = told();
  };
  clients.losses.add(["a"], 1);
  look();
  clients.losses.add(["a"], 2); // It is told of when all know the first.
  for (let turns = 0; told() < 10_000; turns++) {
    await new Promise((resolve) => setTimeout(resolve));
    look();
    assert(turns < 10_000, `${told()} told`);
  }
  assert(longest <= 256, `${longest} told in a turn`);
  assertEquals(clients.told["a/4999"], [1, 2]);
});

Deno.test("UplinkLosses tells all when it ends while it tells", () => {
  using clients = new Clients(manyTopics(), stepwise());
  clients.losses.add(["a"], 1);
  clients.losses.add(["a"], 2);
  clients.losses.end();
  assert(Object.values(clients.told).every((told) => told.join() === "1,2"));
});
