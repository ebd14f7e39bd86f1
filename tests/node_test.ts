/** Connections of Node and Bun, held against those of Deno: in Deno itself, which has both, and there. */
import { assertEquals } from "@std/assert";
import { parseAddress } from "../io/address.ts";
import { dial } from "../io/dial.ts";
import { node } from "../io/node.ts";
import { type Connect, LEAVES_NOTHING, NEEDS_END_OF_TLS, ROWS } from "./helpers/dialling.ts";
import { DiallingStage } from "./helpers/dialling_stage.ts";
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).href;

const EXPECTED: Readonly<Record<keyof typeof ROWS, unknown>> = {
  "reads what was written, in pieces of any size": ["0123456789", true],
  "goes on in one direction when the other has ended": ["5 bytes", "5 bytes", "5 bytes"],
  "writes on when the other side has ended its direction": ["bye", null, "after"],
  [NEEDS_END_OF_TLS]: ["held back", true, "held back", true],
  "waits with writing for who does not read": ["held back", true],
  "keeps what came before the end until it is read": [100_000, null],
  "rejects what is under way when it is closed, and whatever comes after": Array(10)
    .fill("rejected").join(),
  "settles the end that waits for what is written when it is closed": undefined,
  "tells whoever writes that the other side has reset it": "rejected",
  "rejects with the signal's reason when that aborts before, or meanwhile": Array(4).fill("enough"),
  [LEAVES_NOTHING]: "enough",
  "is not ended by the signal with which it was made, and leaves nothing at it": [0, ["abc"]],
};

/** What does not hold in Deno, which is not ours to mend. */
const NOT_IN: Readonly<Record<string, readonly string[]>> = {
  "Deno": [LEAVES_NOTHING],
  // It does not hear that TLS has ended.
  "what Deno has of Node": [NEEDS_END_OF_TLS],
};

/** Sockets of older versions of Deno leave what is under way at a close without an answer. */
const OLD_NOTE = /^2\.[678]\./.test(Deno.version.deno) ? " (ignored: this Deno is too old)" : "";

const NEVER = new AbortController().signal;

/** Two ways to connect in Deno. */
const CONNECTS: Readonly<Record<string, Connect>> = {
  "Deno": (address, signal = NEVER, caCerts = []) => dial(address, signal, caCerts),
  "what Deno has of Node": (address, signal = NEVER, caCerts = []) =>
    node()!.connect(parseAddress(address), signal, caCerts),
};

for (const [name, connect] of Object.entries(CONNECTS)) {
  for (const [what, row] of Object.entries(ROWS)) {
    if (NOT_IN[name]!.includes(what)) continue;
    Deno.test(
      `a connection of ${name} ${what}${OLD_NOTE}`,
      { ignore: OLD_NOTE !== "" },
      async () => {
        await using stage = await DiallingStage.start();
        assertEquals(await row(connect, stage.stage), EXPECTED[what]);
      },
    );
  }
}

for (const { name, note, run } of RUNTIMES.filter(({ hasFiles }) => hasFiles)) {
  const options = { ignore: note !== "" };
  Deno.test(`a connection of ${name} does what one of Deno does${note}`, options, async () => {
    await using folder = await TempFolder.make();
    await using stage = await DiallingStage.start();
    const script = `
      import { dial } from "${ROOT}io/dial.ts";
      import { tryAll } from "${ROOT}tests/helpers/dialling.ts";
      for (const event of ["uncaughtException", "unhandledRejection", "warning"]) {
        process.on(event, (what) => console.log(event, what));
      }
      const never = new AbortController().signal;
      const connect = (address, signal = never, caCerts = []) => dial(address, signal, caCerts);
      console.log(await tryAll(connect, ${JSON.stringify(stage.stage)}));
    `;
    await Deno.writeTextFile(`${folder.path}/main.mjs`, script);
    const lines = Object.keys(ROWS).map((what) =>
      `${what}: ${JSON.stringify(EXPECTED[what] ?? null)}\n`
    );
    // It ends by itself: nothing is left open.
    assertEquals(await run(folder.path, "main.mjs"), lines.join("") + "\n");
  });
}
