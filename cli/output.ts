/**
 * Whatever the program prints: no other module writes to standard output or to standard error.
 *
 * All of it is safe to show, since it may hold what others chose: topics, values, names of keys, paths,
 * arguments, texts of servers. Only two ways print a text as it is: {@linkcode Output}, for what other
 * programs read, and {@linkcode draw}, for what is made here.
 */
import { concat, writeAll } from "../base/bytes.ts";
import { printable } from "../base/printable.ts";
import { later } from "../base/timers.ts";
import { asSentence, PROGRAM } from "./command.ts";

/** The longest message that is printed, in UTF-16 units: a name from outside must not fill a log. */
const MESSAGE_UNITS_MAX = 4096;
/** How much waits to be printed, in UTF-16 units; messages beyond it are left out. */
const WAITING_UNITS_MAX = 2 ** 20;
/** How long the end of the program waits for what it prints, in milliseconds. */
const FINISH_MS = 1000;
const WOULD_BLOCK =
  "Cannot write the output: it is full, and whoever opened it has set it not to wait";

const encoder = new TextEncoder();

/** Gathers output, and writes it to standard output as it is, no faster than it is read. */
export class Output {
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
    if (this.#text !== "") this.#push(encoder.encode(this.#text));
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
    if (parts.length === 0) return;
    // Not its stream, which loses the error of a full disk (seen on 2.6.8).
    await written(writeAll(Deno.stdout, concat(...parts)));
  }
}

/** Prints a line, and waits for that. JSON stays equal JSON. */
export async function printLine(line: string): Promise<void> {
  await lines.print(`${printable(line)}\n`);
}

/** Prints lines, as {@linkcode printLine} does. */
export async function printLines(text: string): Promise<void> {
  await lines.print(text.split("\n").map((line) => `${printable(line)}\n`).join(""));
}

/** Prints a message to standard error, which is not part of the output; it waits for nobody. */
export function complain(message: string): void {
  lines.add("stderr", `${printable(`${PROGRAM}: ${message}`, MESSAGE_UNITS_MAX)}\n`);
}

/** Prints a message to standard output; does not care whether anybody reads it. */
export function say(message: string): void {
  lines.add("stdout", `${printable(message, MESSAGE_UNITS_MAX)}\n`);
}

/** Prints an event as JSON, its texts cut as messages are; to standard error if it is a problem. */
export function sayJson(event: Record<string, unknown>, isProblem: boolean): void {
  const cut = (_name: string, value: unknown) =>
    typeof value === "string" && value.length > MESSAGE_UNITS_MAX
      ? `${value.slice(0, MESSAGE_UNITS_MAX - 1)}…`
      : value;
  lines.add(isProblem ? "stderr" : "stdout", `${printable(JSON.stringify(event, cut))}\n`);
}

/** Sets the line that tells how many messages could not be printed. */
export function setLeftOutLine(lineOf: (count: number) => string): void {
  lines.leftOutLine = lineOf;
}

/** That line in words. */
export function leftOutLine(count: number): string {
  return `${PROGRAM}: ${leftOutText(count)}`;
}

/** Those words. */
export function leftOutText(count: number): string {
  return `Could not print ${count} ${count === 1 ? "line" : "lines"} before this one`;
}

/** Writes a text that is made here, with what moves the cursor and sets colours. */
export function draw(text: string, to: StreamName = "stdout"): void {
  lines.add(to, text);
}

/** Draws as {@linkcode draw} does, unless what came before is not written yet. */
export function drawFrame(text: string, to: StreamName = "stdout"): void {
  if (lines.isIdle) draw(text, to);
}

/** Has whoever waits for what is printed wait no longer than the end of the program does. */
export function giveUpOutput(reason: unknown): void {
  later(() => lines.giveUp(reason), FINISH_MS);
}

/** Waits until everything is written, but not for long if nobody takes it. */
export async function finishOutput(): Promise<void> {
  await lines.finish();
}

const STREAMS = ["stdout", "stderr"] as const;
type StreamName = typeof STREAMS[number];

/** A text to be written, and who waits for that. */
interface Waiting {
  readonly to: StreamName;
  readonly text: string;
  readonly done?: PromiseWithResolvers<void>;
}

/**
 * Texts that are written one after the other, in the background: a terminal may be stopped with Ctrl-S,
 * a disk may be full, and the program goes on.
 */
class Lines {
  /** The line that tells of messages that could not be written. */
  leftOutLine = leftOutLine;
  #waiting: Waiting[] = [];
  #units = 0;
  #leftOut = 0;
  #writing: Promise<void> | undefined;
  /** Those who wait for what they print, and why they wait no longer. */
  readonly #printing = new Set<PromiseWithResolvers<void>>();
  #givenUp: { readonly reason: unknown } | undefined;
  /** The streams that may end within a line. */
  #cut = new Set<StreamName>();

  /** Whether everything is written. */
  get isIdle(): boolean {
    return this.#writing === undefined;
  }

  /** Writes a message when it can; leaves it out when too much waits, or when that fails. */
  add(to: StreamName, text: string): void {
    if (this.#units + text.length > WAITING_UNITS_MAX) this.#leftOut++;
    else this.#push({ to, text });
  }

  /**
   * Writes a text, and waits for that.
   *
   * @throws {Error} If it cannot be written.
   * @throws The reason for which it was given up.
   */
  async print(text: string): Promise<void> {
    this.#throwIfGivenUp();
    const done = Promise.withResolvers<void>();
    this.#printing.add(done);
    this.#push({ to: "stdout", text, done });
    try {
      await written(done.promise);
    } catch (error) {
      this.#throwIfGivenUp();
      throw error;
    } finally {
      this.#printing.delete(done);
    }
  }

  #throwIfGivenUp(): void {
    if (this.#givenUp !== undefined) throw this.#givenUp.reason;
  }

  /** Lets go of those who wait for what they print, if it is not printed yet, and of all to come. */
  giveUp(reason: unknown): void {
    if (this.isIdle) return;
    this.#givenUp = { reason };
    for (const done of this.#printing) done.reject(reason);
  }

  /** Waits until everything is written, at most for {@linkcode FINISH_MS}. */
  async finish(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, FINISH_MS);
    if (this.#givenUp === undefined) await Promise.race([this.#writing, late.promise]);
    clearTimeout(timer);
  }

  #push(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#units += waiting.text.length;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const before = this.#leftOut;
      let works = false;
      for (const { to, text, done } of batch) {
        try {
          await this.#writeTo(to, text);
          done?.resolve();
          works = true;
        } catch (error) {
          if (done === undefined) this.#leftOut++;
          else done.reject(error);
        }
        this.#units -= text.length;
      }
      // What was left out meanwhile comes after what waits.
      if (works) await this.#tellLeftOut(this.#waiting.length > 0 ? before : this.#leftOut);
    }
    this.#writing = undefined;
  }

  /** Writes a text; it does not continue a line of which only a part could be written. */
  async #writeTo(to: StreamName, text: string): Promise<void> {
    const begin = this.#cut.has(to) ? "\n" : "";
    const bytes = encoder.encode(begin + text);
    let at = 0;
    try {
      while (at < bytes.length) at += await Deno[to].write(bytes.subarray(at));
      this.#cut.delete(to);
    } catch (error) {
      // Both streams may lead to the same file.
      if (at > begin.length) this.#cut = new Set(STREAMS);
      throw error;
    }
  }

  async #tellLeftOut(count: number): Promise<void> {
    if (count === 0) return;
    try {
      await this.#writeTo("stderr", `${this.leftOutLine(count)}\n`);
      this.#leftOut -= count;
    } catch {
      // They stay counted.
    }
  }
}

const lines = new Lines();

/** Waits until output is written; an error says that it was this. */
async function written(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw error; // Whoever reads it has had enough.
    // Retrying could write a part twice: Deno does not say how much was written before the error.
    if (error instanceof Deno.errors.WouldBlock) throw new Error(WOULD_BLOCK, { cause: error });
    throw new Error(asSentence("write the output", error), { cause: error });
  }
}

/** A text or bytes as a terminal shows them safely; lines and tabs stay. */
export function shown(value: string | Uint8Array): string {
  const text = typeof value === "string"
    ? value
    : new TextDecoder("utf-8", { ignoreBOM: true }).decode(value);
  return text.split(/(\r?\n|\t)/).map((part, at) => at % 2 === 0 ? printable(part) : part).join("");
}
