/** What parent and child tell each other, a line of JSON each; the child may run in Deno, Node or Bun. */
import { TextLineStream } from "@std/streams/text-line-stream";
import process from "node:process";
import { Readable } from "node:stream";

/** What a child tells its parent. */
export function tell(report: unknown): void {
  console.log(JSON.stringify(report));
}

/** What the parent tells this process, until the parent has ended. */
export async function* told<Command>(): AsyncGenerator<Command> {
  const input = Readable.toWeb(process.stdin) as ReadableStream<Uint8Array<ArrayBuffer>>;
  const lines = input.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) yield JSON.parse(line);
}
