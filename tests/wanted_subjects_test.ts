import { assertEquals } from "@std/assert";
import { WantedSubjects } from "../nats/wanted_subjects.ts";
import type { CoverChange } from "../routing/covers.ts";
import { randomOf } from "../tools/harness/random.ts";
import type { TopicPath } from "../topic.ts";

const PREFIX = "mpubsub.bus";
const SEED = 20261127;

/** How many covers a change adds and removes. */
function sizeOf(change: CoverChange | undefined): number {
  return change === undefined ? 0 : change.added.length + change.removed.length;
}

Deno.test("WantedSubjects changes once for a topic above others that is wanted over and over", () => {
  const wanted = new WantedSubjects(PREFIX);
  const count = 1000;
  for (let n = 0; n < count; n++) wanted.change(["a", String(n)], true);
  let changes = 0;
  for (let n = 0; n < 500; n++) {
    changes += sizeOf(wanted.change(["a"], true));
    changes += sizeOf(wanted.change(["a"], false));
  }
  assertEquals([changes, wanted.size], [count + 1, 1]);
  const settled = [...wanted.settle()].map(sizeOf);
  assertEquals([settled, wanted.size], [[count + 1], count]);
  assertEquals([...wanted.settle()], []);
});

Deno.test("WantedSubjects removes at once what covers nothing else", () => {
  const wanted = new WantedSubjects(PREFIX);
  wanted.change(["a"], true);
  wanted.change(["a"], true);
  wanted.change(["b"], true);
  assertEquals(wanted.change(["a"], false), undefined);
  assertEquals(wanted.change(["a"], false), { added: [], removed: [["a"]] });
  assertEquals(wanted.has(["a"]), false);
});

Deno.test("WantedSubjects wants what is wanted whenever it has settled, and nothing else", () => {
  const random = randomOf(SEED);
  const topics: readonly TopicPath[] = [[], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "d"], ["z"]];
  const wanted = new WantedSubjects(PREFIX);
  const counts = topics.map(() => 0);
  for (let n = 0; n < 5000; n++) {
    const at = random.int(topics.length);
    const wants = counts[at] === 0 || random.int(2) === 0;
    counts[at]! += wants ? 1 : -1;
    wanted.change(topics[at]!, wants);
    const isHeard = (path: TopicPath) =>
      topics.some((topic, i) => counts[i]! > 0 && topic.every((part, k) => part === path[k]));
    for (const path of topics.slice(1)) {
      if (isHeard(path)) assertEquals(wanted.has(path), true, `${n}`);
    }
    if (random.int(4) > 0) continue;
    [...wanted.settle()];
    for (const path of topics.slice(1)) assertEquals(wanted.has(path), isHeard(path), `${n}`);
  }
});
