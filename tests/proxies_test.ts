/**
 * Caddy and nginx before a broker, with the very configurations of docs/browsers.md: only names, ports
 * and files are others.
 */
import { delay } from "@std/async/delay";
import { assert, assertEquals } from "@std/assert";
import { Broker, type ClientEvent, NetPubSub, type State } from "../mod.ts";
import { bytesOf } from "../tools/attacks/raw_client.ts";
import { statusOf, upgradeHead } from "../tools/attacks/raw_web.ts";
import { freePorts, withOtherPorts } from "../tools/harness/free_ports.ts";
import { programAt } from "../tools/harness/program_at.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { blocks, PAGES } from "./helpers/pages.ts";
import { take } from "./helpers/scene.ts";
import { pathOf, SIGNED } from "./helpers/tls.ts";

const PAGE = PAGES.get("docs/browsers.md")!;
/** What the page says of a machine that is not this one. */
const NAME = "app.example.org";
const BUS_PORT = "7411";
const SITE_PORT = "8000";
const KEY = "a key of this test only";
const TLS = { caCerts: [SIGNED.ca] };
/** After how long without a byte nginx ends a connection in the test of that; usually it is 60 s. */
const IDLE_MS = 2000;
const HASTY = `proxy_http_version 1.1;
    proxy_read_timeout ${IDLE_MS}ms;
    proxy_send_timeout ${IDLE_MS}ms;`;

/** Where a proxy listens, and what it leads to. */
interface Ports {
  readonly own: number;
  readonly bus: number;
  readonly site: number;
}

/** A proxy as the page has it. */
interface Kind {
  readonly name: string;
  readonly program: string | undefined;
  /** Its configuration, and how it is run. */
  config(ports: Ports, folder: string): string;
  args(path: string): readonly string[];
}

/** The one block of the page in a language, with something in the place of what it says. */
function configOf(language: string, changes: readonly (readonly [string, string])[]): string {
  const [block, another] = blocks(PAGE, language);
  assertEquals(another, undefined);
  return changes.reduce((text, [from, to]) => {
    assert(text.includes(from), `${language} without ${from}`);
    return text.replaceAll(from, to);
  }, block!.code);
}

const CADDY: Kind = {
  name: "Caddy",
  program: programAt("caddy"),
  config: ({ own, bus, site }) =>
    `{
	admin off
	auto_https off
}
` + configOf("caddy", [
      [
        `${NAME} {`,
        `https://localhost:${own} {
	bind 127.0.0.1
	tls ${pathOf("cert.pem")} ${pathOf("key.pem")}`,
      ],
      [BUS_PORT, String(bus)],
      [SITE_PORT, String(site)],
    ]),
  args: (path) => ["run", "--adapter", "caddyfile", "--config", path],
};

const NGINX: Kind = {
  name: "nginx",
  program: programAt("nginx"),
  config({ own, bus, site }, folder) {
    const server = configOf("nginx", [
      ["listen 443 ssl", `listen 127.0.0.1:${own} ssl`],
      [NAME + ";", "localhost;"],
      [`/etc/ssl/${NAME}.pem`, pathOf("cert.pem")],
      [`/etc/ssl/private/${NAME}.key`, pathOf("key.pem")],
      [BUS_PORT, String(bus)],
      [SITE_PORT, String(site)],
    ]);
    const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    return `daemon off;
pid ${folder}/nginx.pid;
error_log stderr;
events {}
http {
access_log off;
${folders.map((name) => `${name}_temp_path ${folder}/${name};`).join("\n")}
${server}
}
`;
  },
  args: (path) => ["-e", "stderr", "-c", path],
};

/** A proxy that runs before a broker and a site; all ends with this. */
class Setting implements AsyncDisposable {
  readonly broker: Broker;
  readonly clients: ClientEvent[] = [];
  readonly #kind: Kind;
  readonly #site: Deno.HttpServer<Deno.NetAddr>;
  readonly #folder: TempFolder;
  readonly #stack = new AsyncDisposableStack();
  #port = 0;
  #process: Deno.ChildProcess | undefined;

  private constructor(kind: Kind, folder: TempFolder, heartbeat: number) {
    this.#kind = kind;
    this.#folder = this.#stack.use(folder);
    this.broker = this.#stack.use(
      new Broker({
        address: "ws://127.0.0.1:0/bus",
        authkey: KEY,
        heartbeat,
        onClient: (event) => this.clients.push(event),
        onError() {},
      }),
    );
    this.#site = this.#stack.use(
      Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        ({ headers }) => new Response(`a page of ${headers.get("host")?.replace(/:.*/, "")}`),
      ),
    );
  }

  static async start(
    kind: Kind,
    { heartbeat = 15_000, change = (config: string) => config } = {},
  ): Promise<Setting> {
    const setting = new Setting(kind, await TempFolder.make(), heartbeat);
    await setting.broker.start();
    await withOtherPorts(async () => {
      [setting.#port] = freePorts(1) as [number];
      const ports = {
        own: setting.#port,
        bus: Number(new URL(setting.broker.address as string).port),
        site: setting.#site.addr.port,
      };
      const config = change(kind.config(ports, setting.#folder.path));
      await Deno.writeTextFile(setting.#config, config);
      await setting.startProxy();
    });
    return setting;
  }

  get #config(): string {
    return `${this.#folder.path}/config`;
  }

  /** Where pages of this proxy are. */
  get origin(): string {
    return `https://localhost:${this.#port}`;
  }

  /** Starts the proxy; resolves when it takes connections. */
  async startProxy(): Promise<void> {
    const { program, args } = this.#kind;
    const process = new Deno.Command(program!, {
      args: [...args(this.#config)],
      env: { HOME: this.#folder.path, XDG_DATA_HOME: this.#folder.path },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const said = process.stderr.text();
    let hasEnded = false;
    process.status.then(() => hasEnded = true);
    await until(async () => hasEnded || await isListening(this.#port));
    if (hasEnded) {
      const text = await said;
      const Kind = text.includes("in use") ? Deno.errors.AddrInUse : Error;
      throw new Kind(`${program} ended: ${text}`);
    }
    this.#process = process;
  }

  /** Ends it as its service does; connections that it has are cut. */
  async endProxy(): Promise<void> {
    this.#process?.kill("SIGTERM");
    await this.#process?.status;
    this.#process = undefined;
  }

  /** A client that comes through the proxy. */
  client(states: State[] = []): NetPubSub {
    return this.#stack.use(
      new NetPubSub(`${this.origin.replace("https", "wss")}/bus`, KEY, {
        tls: TLS,
        patience: 10_000,
        onState: (state) => states.push(state),
      }),
    );
  }

  /** The status with which a WebSocket of a page of this origin is answered. */
  async statusFor(origin: string): Promise<number> {
    const port = this.#port;
    using conn = await Deno.connectTls({ hostname: "localhost", port, caCerts: [SIGNED.ca] });
    const head = new TextDecoder().decode(upgradeHead(`Origin: ${origin}`));
    const writer = conn.writable.getWriter();
    await writer.write(bytesOf(head.replace("Host: localhost", `Host: localhost:${port}`)));
    let answer = "";
    for await (const text of conn.readable.pipeThrough(new TextDecoderStream())) {
      answer += text;
      if (answer.includes("\r\n\r\n")) break;
    }
    return statusOf(answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.endProxy();
  }
}

async function isListening(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (error) { // Not yet.
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    return false;
  }
}

for (const kind of [CADDY, NGINX]) {
  const note = kind.program === undefined ? ` (ignored: there is no ${kind.name} here)` : "";
  const test = (name: string, body: () => Promise<void>) =>
    Deno.test(`${kind.name} ${name}${note}`, { ignore: note !== "" }, body);

  test("brings a client to the broker, and everybody else to the pages", async () => {
    await using setting = await Setting.start(kind);
    const [here, there] = [setting.client(), setting.client()];
    const heard = there.subscribe("greeting");
    await Promise.all([here.connect(), there.connect()]);
    for (let n = 0; n < 1000; n++) here.publish("greeting", { n, text: "x".repeat(n) });
    const taken = await take(heard, 1000);
    assertEquals(taken.map(({ message }) => message.n), [...Array(1000).keys()]);
    assertEquals(setting.clients.map(({ address }) => address), ["127.0.0.1", "127.0.0.1"]);

    using http = Deno.createHttpClient({ caCerts: [SIGNED.ca] });
    const response = await fetch(`${setting.origin}/some/page`, { client: http });
    assertEquals([response.status, await response.text()], [200, "a page of localhost"]);
  });

  test("lets pages of its own host connect, and no others", async () => {
    await using setting = await Setting.start(kind);
    assertEquals(await setting.statusFor(setting.origin), 101);
    assertEquals(await setting.statusFor("https://localhost"), 101);
    assertEquals(await setting.statusFor("https://example.org"), 403);
  });

  test("may be started again, and a client goes on with nothing lost", async () => {
    await using setting = await Setting.start(kind);
    const states: State[] = [];
    const [here, there] = [setting.client(), setting.client(states)];
    const heard = there.subscribe("greeting");
    await Promise.all([here.connect(), there.connect()]);
    here.publish("greeting", { n: 0 });
    await here.flush();
    await setting.endProxy();
    here.publish("greeting", { n: 1 });
    await until(() => states.includes("reconnecting"));
    await setting.startProxy();
    here.publish("greeting", { n: 2 });
    const taken = await take(heard, 3);
    assertEquals(taken.map(({ message }) => message.n), [0, 1, 2]);
    assertEquals(states, ["connecting", "connected", "reconnecting", "connected"]);
  });
}

{
  const note = NGINX.program === undefined ? " (ignored: there is no nginx here)" : "";
  const rows = [["stays", IDLE_MS / 20, []], ["is cut", 15_000, [
    "reconnecting",
    "connected",
  ]]] as const;
  for (const [what, heartbeat, then] of rows) {
    const name = `An idle connection through nginx ${what} with a heartbeat of ${heartbeat} ms`;
    Deno.test(`${name} and ${IDLE_MS} ms of patience${note}`, { ignore: note !== "" }, async () => {
      const change = (config: string) => config.replace("proxy_http_version 1.1;", HASTY);
      await using setting = await Setting.start(NGINX, { heartbeat, change });
      const states: State[] = [];
      await setting.client(states).connect();
      // Nothing happens, and that is what nginx minds.
      await (then.length === 0 ? delay(IDLE_MS * 2.5) : until(() => states.length >= 4));
      assertEquals(states.slice(0, 4), ["connecting", "connected", ...then]);
    });
  }
}
