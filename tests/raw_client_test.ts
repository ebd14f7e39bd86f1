/** Holds the client of the attacks, which shares no code with the library, against the protocol. */
import { assertEquals } from "@std/assert";
import { COUNTED, Reason, Refusal, Type } from "../tools/attacks/raw_client.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/protocol.md", import.meta.url));

/** The cells of the rows of the table whose first column has this title; they begin with a number. */
function rowsOf(title: string): string[][] {
  const table = PAGE.split(new RegExp(`^\\| ${title} +\\|`, "m"))[1]!.split("\n\n")[0]!;
  return [...table.matchAll(/^\| (\d.*) \|$/gm)].map(([, cells]) =>
    cells!.split("|").map((cell) => cell.trim())
  );
}

Deno.test("RawClient knows each type of frame in docs/protocol.md, and which are counted", () => {
  const rows = rowsOf("type");
  assertEquals(Type, Object.fromEntries(rows.map(([type, name]) => [name, Number(type)])));
  for (const [lane, types] of Object.entries(COUNTED)) {
    const counted = rows.filter(([, , , where]) => where === lane);
    assertEquals(types.toSorted((a, b) => a - b), counted.map(([type]) => Number(type)));
  }
});

Deno.test("RawClient knows each refusal and each reason in docs/protocol.md", () => {
  const numbersOf = (title: string) => rowsOf(title).map(([number]) => Number(number));
  assertEquals(Object.values(Refusal), [0, ...numbersOf("refusal")]);
  assertEquals(Object.values(Reason), numbersOf("reason"));
});
