/**
 * `mpubsub top`: what passes through the broker, live.
 */
import { yellow } from "@std/fmt/colors";
import { printable } from "../base/printable.ts";
import type { BrokerReport, ClientStats } from "../broker/stats.ts";
import type { Gap } from "../net.ts";
import { type Client, clientName, CONNECTION, withBroker } from "./client.ts";
import type { Arguments, Command } from "./command.ts";
import { complain, draw, drawFrame, printLine } from "./output.ts";
import { cut } from "./table.ts";
import { lineOf, type Moment, pageOf } from "./top_page.ts";

/** Watches. */
export const top: Command = {
  usage: ["top [OPTIONS]"],
  about: `
Shows what passes through the broker, every second: clients, topics, rates,
queues, and what was dropped. q ends it. If the output is not a terminal, it
prints a line per second. The key must have the right to subscribe to *broker.`,
  options: [
    ...CONNECTION,
    { name: "count", value: "N", about: "End after N seconds" },
  ],
  examples: [
    ["top -c x.json", ""],
    ["top --count 60 > rates.log", "a line per second"],
  ],
  run,
};

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const count = args.whole("count", 1) ?? Infinity;
  const isOnTerminal = Deno.stdout.isTerminal();
  const screen = isOnTerminal ? new Screen() : undefined;
  const moments = new Moments(clientName(args));
  return await withBroker(args, async ({ signal }) => {
    using _screen = screen?.open();
    const ending = AbortSignal.any([signal, keyPressed("q")]);
    await moments.each(ending, count, async (now, before) => {
      if (screen !== undefined) screen.show(now, before);
      else if (before !== undefined) await printLine(lineOf(now, before));
    });
  }, {
    prepare: (bus) => moments.subscribe(bus),
    onGap: ({ reason }) => moments.missed(reason),
    tell: (text) => screen === undefined ? complain(text) : screen.tell(text),
  });
}

/** Collects what the broker publishes, second by second. */
class Moments {
  readonly #name: string;
  #now: Partial<Moment> = {};
  #before: Moment | undefined;
  /** How many messages came in this session. */
  #taken = 0;
  #take: (now: Moment, before: Moment | undefined) => void = () => {};

  /** @param name What this client calls itself. */
  constructor(name: string) {
    this.#name = name;
  }

  subscribe(bus: Client["bus"]): void {
    const on = (kind: string, take: (message: Record<string, unknown>) => void) =>
      bus.addSubscriber(["*broker", kind], (_topic, message) => {
        take(message);
        this.#taken++;
      });
    on("stats", (message) => this.#now = { stats: message as unknown as BrokerReport });
    on("clients", (message) => {
      const { clients } = message as unknown as Moment;
      this.#now = { ...this.#now, ...message, own: clients.find((client) => this.#isOwn(client)) };
    });
    // The last of each second.
    on("topics", (message) => {
      this.#now = { ...this.#now, ...message };
      this.#finish();
    });
  }

  /** There is a new session. */
  missed(reason: Gap["reason"]): void {
    if (reason === "expired" || reason === "new broker") this.#taken = 0;
  }

  /** Whether a client is this one. Others may have its name, but not as many of its messages. */
  #isOwn({ name, delivered, received }: ClientStats): boolean {
    return name === this.#name && delivered === this.#taken && received === 0;
  }

  #finish(): void {
    const now = this.#now as Moment;
    if (now.stats === undefined || now.clients === undefined) return;
    this.#take(now, this.#before);
    this.#before = now;
  }

  /**
   * Calls `take` for each moment, until `signal` aborts or `count` calls had a moment before them.
   */
  async each(
    signal: AbortSignal,
    count: number,
    take: (now: Moment, before: Moment | undefined) => Promise<void>,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve());
    this.#take = async (now, before) => {
      try {
        await take(now, before);
      } catch (error) { // Nobody reads the output any more.
        reject(error);
      }
      if (before !== undefined && --count <= 0) resolve();
    };
    if (!signal.aborted) await promise;
  }
}

/** Aborts when a key is pressed, where there are keys. */
function keyPressed(wanted: string): AbortSignal {
  const controller = new AbortController();
  if (!Deno.stdin.isTerminal()) return controller.signal;
  Deno.stdin.setRaw(true, { cbreak: true });
  const byte = new Uint8Array(1);
  const read = async () => {
    while (await Deno.stdin.read(byte) !== null) {
      if (byte[0] === wanted.charCodeAt(0)) return controller.abort();
    }
  };
  read().catch(() => {}); // Without a keyboard, only a signal ends it.
  return controller.signal;
}

const USUAL_SIZE = { columns: 80, rows: 24 };
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

/** The whole terminal, redrawn in place. */
class Screen implements Disposable {
  #isOpen = false;
  #note = "";

  /** Takes over the terminal; disposing of this brings back what it showed before. */
  open(): this {
    this.#isOpen = true;
    draw(ENTER);
    return this;
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    if (Deno.stdin.isTerminal()) Deno.stdin.setRaw(false);
    draw(LEAVE);
    if (this.#note !== "") complain(this.#note);
  }

  /** Says something that is not a figure. */
  tell(text: string): void {
    this.#note = text;
    if (this.#isOpen) this.#draw([yellow(cut(printable(text), size().columns))]);
    else complain(text);
  }

  /** Shows a moment. */
  show(now: Moment, before: Moment | undefined): void {
    this.#note = "";
    const { columns, rows } = size();
    this.#draw(pageOf(now, before, columns, rows));
  }

  #draw(lines: readonly string[]): void {
    const drawn = lines.map((line) => line + CLEAR_LINE).join("\r\n");
    drawFrame(HOME + drawn + CLEAR_BELOW);
  }
}

/** The size of the terminal, or the usual one if it does not say. */
function size(): { columns: number; rows: number } {
  const { columns, rows } = Deno.consoleSize();
  return { columns: columns || USUAL_SIZE.columns, rows: rows || USUAL_SIZE.rows };
}
