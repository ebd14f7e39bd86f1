/** What `dialling.ts` connects to. */
import { writeAll } from "../../base/bytes.ts";
import { TempFolder } from "./folder.ts";
import { FLOOD_BYTES, type Stage } from "./dialling.ts";
import { SELF_SIGNED, SIGNED, WRONG } from "./tls.ts";

/** What a server does with a connection. */
type Behaviour = (conn: Deno.Conn) => Promise<void>;

/** Servers, and what they tell of their connections. */
export class DiallingStage implements AsyncDisposable {
  readonly stage: Stage;
  readonly #folder: TempFolder;
  readonly #listeners: Deno.Listener[] = [];
  readonly #serving: Promise<unknown>[] = [];
  readonly #open = new Set<Deno.Conn>();
  readonly #addresses: Record<string, string> = {};
  readonly #control: Deno.HttpServer<Deno.NetAddr>;
  /** What floods have written so far. */
  readonly #written: Record<string, number> = {};
  readonly #waits = Promise.withResolvers<void>();
  readonly #waited = Promise.withResolvers<number>();
  readonly #ended = Promise.withResolvers<string>();
  readonly #over = Promise.withResolvers<void>();
  readonly #silent = Promise.withResolvers<void>();
  readonly #silentGone = Promise.withResolvers<void>();

  private constructor(folder: TempFolder) {
    this.#folder = folder;
    const echo: Behaviour = (conn) => eachPiece(conn, (bytes) => writeAll(conn, bytes));
    const count: Behaviour = async (conn) => {
      let total = 0;
      await eachPiece(conn, ({ length }) => void (total += length));
      await writeAll(conn, new TextEncoder().encode(`${total} bytes`));
    };
    this.#listenTcp("echo", echo);
    this.#listenUnix("echoUnix", echo);
    this.#listenTls("echoTls", echo);
    this.#listenTcp("count", count);
    this.#listenUnix("countUnix", count);
    this.#listenTls("countTls", count);
    this.#listenTcp("ends", async (conn) => {
      await writeAll(conn, new TextEncoder().encode("bye"));
      await (conn as Deno.TcpConn).closeWrite();
      let text = "";
      await eachPiece(conn, (bytes) => void (text += new TextDecoder().decode(bytes)));
      this.#ended.resolve(text);
    });
    this.#listenUnix("floods", (conn) => this.#flood("floods", conn));
    this.#listenTls("floodsTls", (conn) => this.#flood("floodsTls", conn));
    const waits: Behaviour = async (conn) => {
      await this.#waits.promise;
      let total = 0;
      await eachPiece(conn, ({ length }) => void (total += length));
      this.#waited.resolve(total);
    };
    this.#listenUnix("waits", waits);
    const stuck: Behaviour = () => this.#over.promise;
    this.#listenUnix("stuck", stuck);
    this.#listenTls("stuckTls", stuck);
    this.#listenUnix("leaves", async (conn) => {
      // For Bun who leaves at once has refused.
      await conn.read(new Uint8Array(1));
      await writeAll(conn, new Uint8Array(100_000));
    });
    this.#listenTcp("resets", async (conn) => {
      await conn.read(new Uint8Array(1));
    });
    const silent: Behaviour = async (conn) => {
      this.#silent.resolve();
      await eachPiece(conn, () => {}).catch(() => {}); // It was reset.
      this.#silentGone.resolve();
    };
    this.#listenTcp("silent", silent);
    this.#addresses.silentTls = this.#addresses.silent!.replace("tcp:", "tls:");
    this.#control = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        return Response.json(await this.#answer(pathname.slice(1)) ?? null);
      },
    );
    this.stage = {
      control: `http://127.0.0.1:${this.#control.addr.port}`,
      addresses: this.#addresses,
      certs: {
        signed: SIGNED.ca,
        self: SELF_SIGNED.ca,
        ...Object.fromEntries(Object.entries(WRONG).map(([name, { ca }]) => [name, ca])),
      },
    };
  }

  static async start(): Promise<DiallingStage> {
    return new DiallingStage(await TempFolder.make());
  }

  #answer(what: string): unknown {
    switch (what) {
      case "ends":
        return this.#ended.promise;
      case "waits":
        this.#waits.resolve();
        return this.#waited.promise;
      case "silentTls":
        return this.#silent.promise;
      case "silentTlsGone":
        return this.#silentGone.promise;
      default:
        return this.#written[what];
    }
  }

  async #flood(kind: string, conn: Deno.Conn): Promise<void> {
    const piece = new Uint8Array(16 * 1024);
    this.#written[kind] = 0;
    while (this.#written[kind]! < FLOOD_BYTES) this.#written[kind]! += await conn.write(piece);
  }

  #listenTcp(kind: string, behaviour: Behaviour): void {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#addresses[kind] = `tcp://127.0.0.1:${listener.addr.port}`;
    this.#serve(listener, behaviour);
  }

  #listenTls(kind: string, behaviour: Behaviour): void {
    const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...SIGNED });
    this.#addresses[kind] = `tls://127.0.0.1:${listener.addr.port}`;
    this.#serve(listener, behaviour);
  }

  #listenUnix(kind: string, behaviour: Behaviour): void {
    const path = `${this.#folder.path}/${kind}.sock`;
    this.#addresses[kind] = `unix://${path}`;
    this.#serve(Deno.listen({ transport: "unix", path }), behaviour);
  }

  #serve(listener: Deno.Listener, behaviour: Behaviour): void {
    this.#listeners.push(listener);
    this.#serving.push((async () => {
      for await (const conn of listener) {
        this.#open.add(conn);
        this.#serving.push(this.#serveOne(conn, behaviour));
      }
    })());
  }

  async #serveOne(conn: Deno.Conn, behaviour: Behaviour): Promise<void> {
    try {
      await behaviour(conn);
    } catch { // The other side has closed, or reset it; or the stage has ended.
    } finally {
      if (this.#open.delete(conn)) conn.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    this.#waits.resolve();
    this.#over.resolve();
    for (const conn of this.#open) conn.close();
    this.#open.clear();
    await Promise.all(this.#serving);
    await this.#control.shutdown();
    await this.#folder[Symbol.asyncDispose]();
  }
}

async function eachPiece(
  conn: Deno.Conn,
  take: (bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  const into = new Uint8Array(64 * 1024);
  for (let count; (count = await conn.read(into)) !== null;) await take(into.subarray(0, count));
}
