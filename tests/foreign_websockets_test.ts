/** WebSockets of others as clients of a broker: those of runtimes and browsers, and of the package ws. */
import { assertEquals } from "@std/assert";
import { type EventEmitter, once } from "node:events";
import { WebSocket } from "npm:ws@8.23.0";
import type { BrokerOptions } from "../mod.ts";
import { frame, RawClient, Reason, Type } from "../tools/attacks/raw_client.ts";
import { bundle } from "../tools/harness/bundle.ts";
import { SocketConn, type SocketLike } from "../tools/harness/socket_conn.ts";
import { converse, DOWN, UP, WELL } from "./helpers/conversation.ts";
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";
import { Scene } from "./helpers/scene.ts";
import { pathOf, SIGNED } from "./helpers/tls.ts";

/** What is used of the package ws, whose types would bring those of all of Node. */
interface WsSocket extends EventEmitter {
  readonly extensions: string;
  send(data: Uint8Array | string, options?: { binary: boolean; fin: boolean }): void;
  ping(data: string): void;
  close(code: number, reason: string): void;
}
interface WsOptions {
  ca?: string;
  origin?: string;
  protocolVersion?: number;
}
const Ws = WebSocket as unknown as new (address: string, options: WsOptions) => WsSocket;

const CONVERSATION = new URL("helpers/conversation.ts", import.meta.url).pathname;
const CREDENTIALS = { name: "", key: "a key that both have" };
const TLS = { cert: SIGNED.cert, key: SIGNED.key };
/** What is said of two conversations in which all went well. */
const BOTH_WELL = [...WELL, "closed 1000", ...WELL, "closed 1000"];

/** Brokers at ws:// and wss://, each with a client that sends back what it gets. */
class Scenes implements AsyncDisposable {
  readonly addresses: readonly string[];
  readonly #scenes: AsyncDisposable;

  private constructor(addresses: readonly string[], scenes: AsyncDisposable) {
    this.addresses = addresses;
    this.#scenes = scenes;
  }

  static async start(): Promise<Scenes> {
    await using stack = new AsyncDisposableStack();
    const open = stack.use(await startScene());
    const secured = stack.use(
      await startScene({ address: "wss://127.0.0.1:0/bus", tls: TLS }, {
        tls: { caCerts: [SIGNED.ca] },
      }),
    );
    return new Scenes([open.broker.address, secured.broker.address], stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scenes[Symbol.asyncDispose]();
  }
}

/** A broker at ws:// with such a client. */
async function startScene(options: BrokerOptions = {}, echoOptions = {}): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const authkey = CREDENTIALS.key;
  const scene = await Scene.start({ address: "ws://127.0.0.1:0/bus", authkey, ...options });
  stack.use(scene);
  const echo = await scene.connected(echoOptions);
  echo.addSubscriber(UP, (_topic, message) => echo.publish(DOWN, message));
  await echo.flush();
  stack.move();
  return scene;
}

let bundled: Promise<string> | undefined;

/** Writes a module that talks over each of these addresses, and logs what there is to say. */
async function writeScript(folder: string, addresses: readonly string[]): Promise<void> {
  bundled ??= bundle(CONVERSATION);
  await Deno.writeTextFile(`${folder}/conversation.js`, await bundled);
  await Deno.writeTextFile(`${folder}/package.json`, '{ "type": "module" }');
  const args = JSON.stringify([addresses, CREDENTIALS]);
  await Deno.writeTextFile(
    `${folder}/main.js`,
    `import { converseByWebSocket } from "./conversation.js";
    for (const line of await converseByWebSocket(...${args})) console.log(line);`,
  );
}

for (const { name, note, run } of RUNTIMES) {
  const options = { ignore: note !== "" };
  Deno.test(`the WebSocket of ${name} talks over ws:// and wss://${note}`, options, async () => {
    await using scenes = await Scenes.start();
    await using folder = await TempFolder.make();
    await writeScript(folder.path, scenes.addresses);
    const said = await run(folder.path, "main.js", { ca: pathOf("ca.pem") });
    assertEquals(said.trimEnd().split("\n"), BOTH_WELL);
  });
}

Deno.test("the WebSocketStream of Deno talks over ws:// and wss://", async () => {
  await using scenes = await Scenes.start();
  const args = JSON.stringify([scenes.addresses, CREDENTIALS]);
  const script = `
    const { converseByWebSocketStream } = await import("file://${CONVERSATION}");
    for (const line of await converseByWebSocketStream(...${args})) console.log(line);`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--no-config", "--unstable-net", "--cert", pathOf("ca.pem"), script],
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([out!.trimEnd().split("\n"), err], [BOTH_WELL, ""]);
});

const CHROMIUM = RUNTIMES.find(({ name }) => name.includes("Chromium"))!;

Deno.test(
  `a page of another host than the broker's is not let in${CHROMIUM.note}`,
  { ignore: CHROMIUM.note !== "" },
  async () => {
    await using scene = await startScene();
    await using folder = await TempFolder.make();
    await writeScript(folder.path, [scene.broker.address]);
    const said = await CHROMIUM.run(folder.path, "main.js", { hostname: "localhost" });
    assertEquals(said, "no answer\nclosed 1006\n");
  },
);

/** A socket of the package ws, and the same as a connection. */
async function dial(address: string, options: WsOptions = {}): Promise<[WsSocket, SocketConn]> {
  const socket = new Ws(address, options);
  const conn = new SocketConn(socket as unknown as SocketLike);
  await once(socket, "open");
  return [socket, conn];
}

Deno.test("the package ws talks over ws:// and wss://, without its compression", async () => {
  await using scenes = await Scenes.start();
  // In Deno 2.6 it cannot connect with TLS: "Http: connection error" of node:https.
  const count = Deno.version.deno.startsWith("2.6.") ? 1 : 2;
  for (const address of scenes.addresses.slice(0, count)) {
    const [socket, conn] = await dial(address, { ca: SIGNED.ca });
    assertEquals(socket.extensions, "");
    assertEquals(await converse(conn, CREDENTIALS), WELL);
    assertEquals((await conn.closed).code, 1000);
  }
});

Deno.test("a ping of the package ws is answered with what it has, also within a message", async () => {
  await using scene = await startScene();
  const [socket, conn] = await dial(scene.broker.address);
  const client = new RawClient(conn);
  assertEquals((await client.authenticate(CREDENTIALS)).code, 0);
  for (const data of ["", "hi", "x".repeat(125)]) {
    socket.ping(data);
    assertEquals(String((await once(socket, "pong"))[0]), data);
  }
  const goodbye = frame(Type.GOODBYE, Uint8Array.of(Reason.DONE));
  socket.send(goodbye.subarray(0, 1), { binary: true, fin: false });
  socket.ping("between");
  assertEquals(String((await once(socket, "pong"))[0]), "between");
  socket.send(goodbye.subarray(1), { binary: true, fin: true });
  await client.ended();
  assertEquals((await conn.closed).code, 1000);
});

Deno.test("the package ws talks in fragments of any length", async () => {
  await using scene = await startScene();
  const [socket, conn] = await dial(scene.broker.address);
  const inFragments = {
    read: (into: Uint8Array) => conn.read(into),
    close: () => conn.close(),
    write(bytes: Uint8Array): Promise<number> {
      const step = Math.max(1, Math.floor(bytes.length / 3));
      for (let at = 0; at < bytes.length; at += step) {
        const fin = at + step >= bytes.length;
        socket.send(bytes.slice(at, at + step), { binary: true, fin });
        if (!fin) socket.send(new Uint8Array(0), { binary: true, fin });
      }
      return Promise.resolve(bytes.length);
    },
  };
  assertEquals(await converse(inFragments, CREDENTIALS), WELL);
  assertEquals((await conn.closed).code, 1000);
});

for (
  const [code, reason] of [[1000, ""], [1001, "going"], [3000, "ü"], [
    4999,
    "x".repeat(123),
  ]] as const
) {
  Deno.test(`a close of the package ws with ${code} is answered with the same code`, async () => {
    await using scene = await startScene();
    const [socket, conn] = await dial(scene.broker.address);
    socket.close(code, reason);
    assertEquals((await conn.closed).code, code);
  });
}

Deno.test("a text of the package ws is refused with 1003", async () => {
  await using scene = await startScene();
  const [socket, conn] = await dial(scene.broker.address);
  socket.send("hello");
  const { code, reason } = await conn.closed;
  assertEquals([code, reason], [1003, "Cannot read a WebSocket: a text came"]);
});

for (
  const [what, path, options, status] of [
    ["another path", "/other", {}, 404],
    ["an origin of another host", "/bus", { origin: "https://evil.example" }, 403],
    ["another version", "/bus", { protocolVersion: 8 }, 426],
  ] as const
) {
  // What old versions of Deno have of Node takes an answer that names an upgrade for one.
  const ignore = status === 426 && Deno.version.deno.startsWith("2.6.");
  const note = ignore ? " (ignored: this Deno is too old)" : "";
  Deno.test(
    `the package ws, with ${what}, is answered with ${status}${note}`,
    { ignore },
    async () => {
      await using scene = await startScene();
      const socket = new Ws(scene.broker.address.replace("/bus", path), options);
      socket.on("error", () => {}); // It could not open.
      const [request, response] = await once(socket, "unexpected-response");
      request.destroy();
      assertEquals(response.statusCode, status);
    },
  );
}

for (
  const [origins, origin] of [
    [["https://app.example"], "https://app.example"],
    [[], "http://127.0.0.1:5173"],
    [[], "null"],
  ] as const
) {
  Deno.test(`the package ws is let in from the origin ${origin}`, async () => {
    await using scene = await startScene({ origins });
    const [, conn] = await dial(scene.broker.address, { origin });
    assertEquals(await converse(conn, CREDENTIALS), WELL);
    await conn.closed;
  });
}
