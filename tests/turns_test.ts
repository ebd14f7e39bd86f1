import { assert, assertEquals } from "@std/assert";
import { TURN_STEPS, Turns, type Work } from "../nats/turns.ts";

/** Turns whose rests end when the test says so. */
class Stage {
  readonly rests: (() => void)[] = [];
  readonly log: string[] = [];
  readonly turns = new Turns((callback) => {
    this.rests.push(callback);
    return { cancel() {} };
  });

  /** Work of so many steps, each of which is noted. */
  *work(name: string, steps: number): Work {
    for (let n = 0; n < steps; n++) {
      this.log.push(name);
      yield;
    }
  }

  /** Ends rests until there are none; returns how many there were. */
  finish(): number {
    let count = 0;
    for (let rest = this.rests.shift(); rest !== undefined; rest = this.rests.shift()) {
      rest();
      count++;
    }
    return count;
  }
}

Deno.test("Turns does at once what fits, and does not rest for what is not there", () => {
  const { turns, log, rests } = new Stage();
  const stage = new Stage();
  stage.turns.add({}, stage.work("a", 10));
  assertEquals(stage.log.length, 10);
  assertEquals(stage.finish(), 1);
  turns.add({}, (function* () {})());
  assertEquals([log.length, rests.length], [0, 1]);
});

Deno.test("Turns does no more steps than a turn has between two rests, whoever adds them", () => {
  const stage = new Stage();
  for (let n = 0; n < 100; n++) stage.turns.add({}, stage.work(`${n}`, 100));
  assert(stage.log.length <= TURN_STEPS);
  let before = stage.log.length;
  while (stage.rests.length > 0) {
    stage.rests.shift()!();
    assert(stage.log.length - before <= TURN_STEPS);
    before = stage.log.length;
  }
  assertEquals(stage.log.length, 100 * 100);
});

Deno.test("Turns lets nobody wait for all that another has to be done", () => {
  const stage = new Stage();
  stage.turns.add({}, stage.work("long", 100_000));
  for (let n = 0; n < 10; n++) stage.turns.add({}, stage.work("short", 10));
  stage.rests.shift()!();
  assertEquals(stage.log.filter((name) => name === "short").length, 100);
  stage.finish();
  assertEquals(stage.log.filter((name) => name === "long").length, 100_000);
});

Deno.test("Turns does what one owner adds in its order, also from within its work", () => {
  const stage = new Stage();
  const owner = {};
  const outer = function* (): Work {
    stage.log.push("outer");
    stage.turns.add(owner, stage.work("inner", 1));
    yield;
    stage.log.push("outer");
  };
  stage.turns.add(owner, outer());
  stage.turns.add(owner, stage.work("next", 2000));
  stage.finish();
  assertEquals(stage.log.slice(0, 4), ["outer", "outer", "inner", "next"]);
  assertEquals(stage.log.length, 2003);
});
