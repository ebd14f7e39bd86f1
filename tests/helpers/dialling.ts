/**
 * What a connection does, as a client sees it: the same in each runtime. Nothing here needs Deno, so that
 * Node and Bun can run it, too; `dialling_stage.ts` has what is connected to.
 */
import { writeAll } from "../../base/bytes.ts";
import type { Conn } from "../../io/conn.ts";

/** What can be connected to. */
export interface Stage {
  /** A server over HTTP that answers questions about what connections did; see `dialling_stage.ts`. */
  readonly control: string;
  /** The addresses, by what they do. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Certificates of authorities. */
  readonly certs: Readonly<Record<string, string>>;
}

/** One end of a connection, as far as it is tried. */
export type Stream = Pick<Conn, "read" | "write" | "closeWrite" | "close">;

/** How a runtime connects. */
export type Connect = (
  address: string,
  signal?: AbortSignal,
  caCerts?: readonly string[],
) => Promise<Stream>;

/** How much a flood is: more than a system holds by itself. */
export const FLOOD_BYTES = 16 * 1024 * 1024;
const PIECE = 64 * 1024;
/** Each is a turn of this process and one of the server's: who would read or write on does so meanwhile. */
const ROUND_TRIPS = 100;

/** Deno goes on with TLS until the other side closes, and nothing can be done about it. */
export const LEAVES_NOTHING = "is gone when the signal aborts while TLS begins";

/** What Deno has of Node does not hear of the end. */
export const NEEDS_END_OF_TLS = "does not read what nobody asks for";

/** How it is tried. Each of these returns what was seen. */
export const ROWS: Readonly<
  Record<string, (connect: Connect, stage: Stage) => Promise<unknown>>
> = {
  async "reads what was written, in pieces of any size"(connect, { addresses }) {
    const stream = await connect(addresses.echo!);
    await writeAll(stream, bytesOf("0123456789"));
    const parts: string[] = [];
    while (parts.join("").length < 10) parts.push(await textFrom(stream, 3));
    stream.close();
    return [parts.join(""), parts.every(({ length }) => length <= 3)];
  },
  async "goes on in one direction when the other has ended"(connect, { addresses, certs }) {
    const seen: unknown[] = [];
    for (const address of [addresses.count!, addresses.countUnix!, addresses.countTls!]) {
      const stream = await connect(address, undefined, [certs.signed!]);
      await writeAll(stream, bytesOf("hello"));
      await stream.closeWrite();
      seen.push(await allFrom(stream));
      stream.close();
    }
    return seen;
  },
  async "writes on when the other side has ended its direction"(connect, stage) {
    const stream = await connect(stage.addresses.ends!);
    const seen = [await allFrom(stream), await stream.read(new Uint8Array(1))];
    await writeAll(stream, bytesOf("after"));
    await stream.closeWrite();
    const got = await ask(stage, "ends");
    stream.close();
    return [...seen, got];
  },
  async [NEEDS_END_OF_TLS](connect, stage) {
    const seen: unknown[] = [];
    for (const kind of ["floods", "floodsTls"]) {
      const stream = await connect(stage.addresses[kind]!, undefined, [stage.certs.signed!]);
      await turns(stage);
      const early = await ask(stage, kind);
      const { length } = await allFrom(stream);
      stream.close();
      // The rest is what the system holds.
      seen.push(early < FLOOD_BYTES * 0.75 ? "held back" : early, length === FLOOD_BYTES);
    }
    return seen;
  },
  async "waits with writing for who does not read"(connect, stage) {
    const stream = await connect(stage.addresses.waits!);
    let count = 0;
    const writing = (async () => {
      for (let left = FLOOD_BYTES; left > 0;) {
        const written = await stream.write(new Uint8Array(Math.min(PIECE, left)));
        count += written;
        left -= written;
      }
      await stream.closeWrite();
    })();
    await turns(stage);
    const early = count;
    const all = await ask(stage, "waits");
    await writing;
    stream.close();
    return [early < FLOOD_BYTES * 0.75 ? "held back" : early, all === FLOOD_BYTES];
  },
  async "keeps what came before the end until it is read"(connect, stage) {
    const stream = await connect(stage.addresses.leaves!);
    await stream.write(new Uint8Array(1));
    await turns(stage);
    const { length } = await allFrom(stream);
    const after = await stream.read(new Uint8Array(1));
    stream.close();
    return [length, after];
  },
  async "rejects what is under way when it is closed, and whatever comes after"(connect, stage) {
    const seen: string[] = [];
    for (const address of [stage.addresses.stuck!, stage.addresses.stuckTls!]) {
      const stream = await connect(address, undefined, [stage.certs.signed!]);
      const reading = outcome(() => stream.read(new Uint8Array(1)));
      const writing = outcome(async () => {
        for (;;) await stream.write(new Uint8Array(PIECE));
      });
      await turns(stage);
      stream.close();
      stream.close();
      seen.push(await reading, await writing);
      for (
        const call of [
          () => stream.read(new Uint8Array(1)),
          () => stream.write(new Uint8Array(1)),
          () => stream.closeWrite(),
        ]
      ) seen.push(await outcome(call));
    }
    return seen.join();
  },
  async "settles the end that waits for what is written when it is closed"(connect, stage) {
    const stream = await connect(stage.addresses.stuck!);
    const writing = outcome(() => stream.write(new Uint8Array(FLOOD_BYTES)));
    const ending = outcome(() => stream.closeWrite());
    await turns(stage);
    stream.close();
    await writing; // What a system takes at once differs.
    await ending;
  },
  async "tells whoever writes that the other side has reset it"(connect, stage) {
    const stream = await connect(stage.addresses.resets!);
    await writeAll(stream, new Uint8Array(PIECE));
    await outcome(() => stream.read(new Uint8Array(1))); // It ends, or rejects.
    const writing = await outcome(async () => {
      for (let i = 0; i < 100; i++) await stream.write(new Uint8Array(PIECE));
    });
    stream.close();
    return writing;
  },
  async "rejects with the signal's reason when that aborts before, or meanwhile"(connect, stage) {
    const reason = new Error("enough");
    const seen: unknown[] = [];
    for (const kind of ["echo", "silent", "silentTls", "echoUnix"]) {
      const controller = new AbortController();
      if (kind !== "silentTls") controller.abort(reason);
      const connecting = outcome(() => connect(stage.addresses[kind]!, controller.signal));
      if (kind === "silentTls") await ask(stage, kind); // It has come.
      controller.abort(reason);
      seen.push(await connecting);
    }
    return seen;
  },
  async [LEAVES_NOTHING](connect, stage) {
    const controller = new AbortController();
    const connecting = outcome(() => connect(stage.addresses.silentTls!, controller.signal));
    await ask(stage, "silentTls"); // It has come.
    controller.abort(new Error("enough"));
    await ask(stage, "silentTlsGone");
    return await connecting;
  },
  async "is not ended by the signal with which it was made, and leaves nothing at it"(
    connect,
    stage,
  ) {
    const controller = new AbortController();
    const { signal } = controller;
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    Object.assign(signal, {
      addEventListener(...args: Parameters<typeof addEventListener>) {
        listeners++;
        addEventListener.apply(signal, args);
      },
      removeEventListener(...args: Parameters<typeof removeEventListener>) {
        listeners--;
        removeEventListener.apply(signal, args);
      },
    });
    const { echo, echoUnix, echoTls } = stage.addresses;
    const streams = await Promise.all(
      [echo!, echoUnix!, echoTls!].flatMap((address) => Array(10).fill(address)).map((address) =>
        connect(address, signal, [stage.certs.signed!])
      ),
    );
    const seen = listeners;
    controller.abort();
    const said = await Promise.all(streams.map(async (stream) => {
      await writeAll(stream, bytesOf("abc"));
      return await textFrom(stream, 3);
    }));
    for (const stream of streams) stream.close();
    return [seen, [...new Set(said)]];
  },
};

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

async function textFrom(stream: Stream, size: number): Promise<string> {
  const into = new Uint8Array(size);
  const count = await stream.read(into);
  return new TextDecoder().decode(into.subarray(0, count ?? 0));
}

/** All that comes until the end. */
async function allFrom(stream: Stream): Promise<string> {
  const into = new Uint8Array(PIECE);
  let text = "";
  for (let count; (count = await stream.read(into)) !== null;) {
    text += new TextDecoder().decode(into.subarray(0, count));
  }
  return text;
}

/** What the server says of connections of this kind. */
async function ask({ control }: Stage, what: string) {
  return await (await fetch(`${control}/${what}`)).json();
}

async function turns(stage: Stage): Promise<void> {
  for (let i = 0; i < ROUND_TRIPS; i++) await ask(stage, "");
}

/** How a call ends. */
async function outcome(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
    return "went well";
  } catch (error) {
    if (!(error instanceof Error)) return `threw ${typeof error}`;
    return error.message === "enough" ? "enough" : "rejected";
  }
}

/** What each row gave, line by line. */
export async function tryAll(connect: Connect, stage: Stage): Promise<string> {
  const lines: string[] = [];
  for (const [what, row] of Object.entries(ROWS)) {
    lines.push(`${what}: ${JSON.stringify(await row(connect, stage) ?? null)}\n`);
  }
  return lines.join("");
}
