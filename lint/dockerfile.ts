/**
 * Looks for what is wrong in Dockerfiles. Prints a line for each problem; the exit status is 1 when
 * there are any.
 *
 * ```sh
 * deno run --allow-read --config lint/deno.json lint/dockerfile.ts deploy/Dockerfile
 * ```
 */
import { validate } from "dockerfile-utils";

/** An image by its content, since what a tag names changes. */
const PINNED = /@sha256:[0-9a-f]{64}$/;

function* problemsOf(text: string): Generator<string> {
  for (const { range, message } of validate(text)) yield `${range.start.line + 1}: ${message}`;
  for (const [, image] of text.matchAll(/^FROM (\S+)/gm)) {
    if (!PINNED.test(image!)) yield `${image} is not pinned by its digest`;
  }
  const users = [...text.matchAll(/^USER (\S+)$/gm)];
  if (["root", "0"].includes(users.at(-1)?.[1] ?? "root")) yield "it runs as root";
}

let isClean = true;
for (const path of Deno.args) {
  for (const problem of problemsOf(await Deno.readTextFile(path))) {
    console.log(`${path}: ${problem}`);
    isClean = false;
  }
}
Deno.exit(isClean ? 0 : 1);
