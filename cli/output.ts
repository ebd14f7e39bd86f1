/**
 * Whatever the program prints: no other module writes to standard output or to standard error.
 *
 * All of it is safe to show, since it may hold what others chose: topics, values, names of keys, paths,
 * arguments, texts of servers. Only two ways print a text as it is: {@linkcode Output}, for what other
 * programs read, and {@linkcode draw}, for what is made here.
 */
import { concat } from "../base/bytes.ts";
import { printable } from "../base/printable.ts";
import { PROGRAM } from "./command.ts";

/** The longest message that is printed, in UTF-16 units: a name from outside must not fill a log. */
const MESSAGE_UNITS_MAX = 4096;

/** Gathers output, and writes it to standard output as it is, no faster than it is read. */
export class Output implements Disposable {
  readonly #writer = Deno.stdout.writable.getWriter();
  readonly #encoder = new TextEncoder();
  #parts: Uint8Array[] = [];
  #text = "";
  #bytes = 0;

  /** About how many bytes are gathered. */
  get size(): number {
    return this.#bytes + this.#text.length;
  }

  /** Adds to it. */
  add(part: string | Uint8Array): void {
    if (typeof part === "string") this.#text += part;
    else {
      this.#finishText();
      this.#push(part);
    }
  }

  #finishText(): void {
    if (this.#text !== "") this.#push(this.#encoder.encode(this.#text));
    this.#text = "";
  }

  #push(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Writes it, and waits for that. */
  async flush(): Promise<void> {
    this.#finishText();
    const parts = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    if (parts.length > 0) await this.#writer.write(concat(...parts));
  }

  [Symbol.dispose](): void {
    this.#writer.releaseLock();
  }
}

/**
 * Prints a line at once. JSON stays equal JSON.
 *
 * @throws {Deno.errors.BrokenPipe} If nobody reads it; `console.log` does not say so.
 */
export function printLine(line: string): void {
  draw(`${printable(line)}\n`);
}

/** Prints lines at once, as {@linkcode printLine} does. */
export function printLines(text: string): void {
  for (const line of text.split("\n")) printLine(line);
}

/** Writes a text that is made here, with what moves the cursor and sets colours. */
export function draw(text: string, to: "stdout" | "stderr" = "stdout"): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += Deno[to].writeSync(bytes.subarray(at));
}

/** Prints a message to standard error, which is not part of the output. */
export function complain(message: string): void {
  console.error(printable(`${PROGRAM}: ${message}`, MESSAGE_UNITS_MAX));
}

/** Prints a message to standard output; does not care whether anybody reads it. */
export function say(message: string): void {
  console.log(printable(message, MESSAGE_UNITS_MAX));
}

/** Prints an event as JSON, its texts cut as messages are; to standard error if it is a problem. */
export function sayJson(event: Record<string, unknown>, isProblem: boolean): void {
  const cut = (_name: string, value: unknown) =>
    typeof value === "string" && value.length > MESSAGE_UNITS_MAX
      ? `${value.slice(0, MESSAGE_UNITS_MAX - 1)}…`
      : value;
  const line = printable(JSON.stringify(event, cut));
  if (isProblem) console.error(line);
  else console.log(line);
}

/** A text or bytes as a terminal shows them safely; lines and tabs stay. */
export function shown(value: string | Uint8Array): string {
  const text = typeof value === "string"
    ? value
    : new TextDecoder("utf-8", { ignoreBOM: true }).decode(value);
  return text.split(/(\r?\n|\t)/).map((part, at) => at % 2 === 0 ? printable(part) : part).join("");
}
