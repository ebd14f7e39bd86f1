/** Where the bytes of an array that arrives are: whichever costs less in this engine. */
import { assertEquals } from "@std/assert";
import { ownCopy } from "../codec/byte_views.ts";
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).pathname;

Deno.test("ownCopy copies bytes of any size to a buffer of their own", () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  for (const size of [0, 1, 47, 48, 49, 100, 257]) {
    const copy = ownCopy(bytes, 7, size);
    assertEquals(copy, Uint8Array.from({ length: size }, (_, i) => 7 + i));
    assertEquals(copy.buffer.byteLength, size);
  }
});

/** Prints whether short arrays that came in one run have a buffer each, and what is in them. */
const SCRIPT = `
import { Decoder, encodeMessage } from "file://${ROOT}codec/codec.ts";

const payload = encodeMessage({ data: Uint8Array.of(1, 2, 3) });
const starts = Array.from({ length: 100 }, (_, i) => i * payload.length);
const run = new Uint8Array(100 * payload.length);
for (const start of starts) run.set(payload, start);
const decoder = new Decoder();
decoder.beginRun(run, 0, run.length);
const arrays = starts.map((start) => decoder.decode(run, start, start + payload.length).data);
const buffers = new Set(arrays.map(({ buffer }) => buffer));
console.log(buffers.size === arrays.length, ...new Set(arrays.map(String)));
`;

for (const { name, note, run } of RUNTIMES.filter(({ readsTypeScript }) => readsTypeScript)) {
  const options = { ignore: note !== "" };
  const isOwn = name === "Bun"; // The others are V8.
  const verb = isOwn ? "share no buffer" : "share buffers";
  Deno.test(`short byte arrays of one run ${verb} in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    await Deno.writeTextFile(`${folder.path}/main.mjs`, SCRIPT);
    assertEquals(await run(folder.path, "main.mjs"), `${isOwn} 1,2,3\n`);
  });
}
