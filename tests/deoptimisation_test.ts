/** Holds V8 to what it made of the codec: it must not compile it again and again. */
import { assert } from "@std/assert";
import { Decoder, Encoder } from "../codec/codec.ts";
import { Scratch } from "./helpers/scratch.ts";

const ROUNDS = 60;
const MESSAGES = 2000;
/** V8 has to learn of each shape and kind of value once; a loop makes hundreds. */
const DEOPTIMISATIONS_MAX = 60;

const SHAPES: readonly ((i: number) => object)[] = [
  (i) => ({ data: new Uint8Array(16).fill(i) }),
  (i) => ({ message: ["foo", "bar"][i % 2] }),
  (i) => ({ id: 1000 + i, time: 1.7e12 + i, value: i / 7, name: `sensor-${i} of the north hall` }),
  (i) => ({ list: [{ x: i }, { x: -i, y: null }], more: { x: 1.5 } }),
];

/** Passes messages of one shape after the other, as it would in a program. */
function program(): void {
  const encoder = new Encoder();
  const decoder = new Decoder();
  const output = new Scratch();
  const pass = (messages: readonly object[]) => {
    for (let i = 0; i < MESSAGES; i++) {
      const end = encoder.encode(messages[i % messages.length]!, 1e6, output, 0);
      decoder.decode(output.bytes, 0, end);
    }
  };
  for (const shape of SHAPES) {
    const messages = Array.from({ length: 16 }, (_, i) => shape(i));
    for (let round = 0; round < ROUNDS; round++) pass(messages);
  }
}

Deno.test("Encoder and Decoder are not compiled again and again when shapes change", async () => {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--v8-flags=--trace-deopt", import.meta.url],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const reasons = new TextDecoder().decode(stdout).split("\n")
    .flatMap((line) => /reason: ([^)]*)\): begin/.exec(line)?.[1] ?? []);
  assert(reasons.length < DEOPTIMISATIONS_MAX, `${reasons.length}: ${[...new Set(reasons)]}`);
});

if (import.meta.main) program();
