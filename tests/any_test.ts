/**
 * Topics with `any` do what they do by definition, in random operations: on a bus, in a router, in what
 * keys and tickets grant, and in what is wanted of other brokers.
 *
 * `ANY_CASES` says how many there are of each, `SEED` with which the first begins.
 */
import { assertEquals, assertStrictEquals } from "@std/assert";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { any, isBrokerPath } from "../topic.ts";
import { BusCase } from "./helpers/any_on_bus.ts";
import { RouterCase } from "./helpers/any_in_router.ts";
import {
  grants,
  hears,
  holdingOf,
  narrowed,
  pathOf,
  patternOf,
  rightsOf,
  textOf,
} from "./helpers/patterns.ts";

const CASES = Number(Deno.env.get("ANY_CASES") ?? 2000);
const SEED = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 32));

/** Tries something with many seeds. */
function inCases(what: string, run: (random: Random) => void): void {
  Deno.test(`${what}, in random operations`, () => {
    for (let seed = SEED; seed < SEED + CASES; seed++) {
      try {
        run(randomOf(seed));
      } catch (error) {
        throw new Error(`It fails with SEED=${seed} ANY_CASES=1`, { cause: error });
      }
    }
  });
}

inCases(
  "A bus calls those who hear a message, in their order, whoever comes and goes",
  (random) => {
    const bus = new BusCase(random);
    for (let step = 0; step < 12; step++) bus.step();
  },
);

inCases("A router knows who gets a message, whatever was known of its route before", (random) => {
  const router = new RouterCase(random);
  for (let step = 0; step < 25; step++) router.step();
  router.end();
});

inCases("Rights give of a topic what both it and what is granted stand for", (random) => {
  const holding = holdingOf(random);
  const { key, ticket } = holding;
  const publish = key.filter((topic) => !isBrokerPath(topic));
  const rights = rightsOf(holding);
  for (let time = 0; time < 4; time++) {
    const wanted = patternOf(random);
    const share = rights.narrow(wanted);
    const told = show({ key, ticket, wanted, gets: share?.topics ?? "all" });
    assertStrictEquals(rights.narrow([...wanted]), share, told);
    assertEquals(share === undefined, grants(holding, wanted), told);
    const topics = share?.topics ?? [wanted];
    assertEquals(topics.map(textOf).sort(), narrowed(holding, wanted).map(textOf).sort(), told);
    const near = [wanted, ...key, ...ticket ?? []];
    for (let n = 0; n < 6; n++) {
      const path = pathOf(random, near);
      const isGranted = grants(holding, path);
      const mayPublish = grants({ key: publish, ticket }, path);
      assertEquals(rights.mayPublish(path), mayPublish, `${told} ${path}`);
      if (path.length === 0) continue; // A broadcast: the router's to decide.
      assertEquals(rights.mayGet(path), isGranted, `${told} ${path}`);
      const gets = topics.some((topic) => hears(topic, path));
      assertEquals(gets, hears(wanted, path) && isGranted, `${told} ${path}`);
    }
  }
});

function show(value: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(value, (_name, part) => part === any ? "any" : part);
}
