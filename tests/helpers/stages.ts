/**
 * The other side of `conformance/client/`: what its cases, in whatever runtime they are, have done here.
 */
import { assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { toBase64 } from "../../base/base64.ts";
import { asyncDispose } from "../../base/disposal.ts";
import { listen } from "../../io/listener.ts";
import {
  Broker,
  type BrokerOptions,
  type Info,
  NetPubSub,
  type NetPubSubOptions,
} from "../../mod.ts";
import { Proxy, randomPlan, type Sighting } from "../../testing.ts";
import { withFreePort, withOtherPorts } from "../../tools/harness/free_ports.ts";
import { show } from "../../tools/harness/payload.ts";
import type {
  PlainBrokerOptions,
  PlainMemberOptions,
  PlainTopic,
  StageCalls,
  StageInfo,
  StageOptions,
} from "../conformance/client/stage_calls.ts";
import { APART_MS, DATA_BYTES } from "../conformance/client/chaos_cases.ts";
import { messagesWithout } from "../conformance/client/value_cases.ts";
import { TempFolder } from "./folder.ts";
import type { Transport } from "./transports.ts";

/** The key, where a stage has no other. */
const AUTHKEY = "the key of the stage";
/** What answers where there is no broker. */
const FOREIGN = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/** How many bytes pass at most before a random cut; more where a connection needs some to begin. */
const CUT_BYTES = 20_000;

/** A client in this process, and what it noted. */
interface Member {
  readonly bus: NetPubSub;
  readonly heard: (readonly [readonly string[], string])[];
  readonly worked: (readonly [string, number])[];
  readonly sightings: Sighting[];
}

/** The server that runs stages for the cases over one transport. */
export class Stages implements AsyncDisposable {
  readonly #on: Transport;
  readonly #stages = new Map<number, HostedStage>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #count = 0;

  constructor(on: Transport) {
    this.#on = on;
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  /** Where the cases call. */
  get control(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  async #answer(request: Request): Promise<Response> {
    // A page is from elsewhere.
    const headers = { "access-control-allow-origin": "*" };
    try {
      const { id, method, args } = await request.json();
      return Response.json({ result: await this.#call(id, method, args) ?? null }, { headers });
    } catch (error) { // Whatever it is, the case fails with it.
      return Response.json({ error: String((error as Error).stack) }, { headers });
    }
  }

  async #call(id: number, method: string, args: unknown[]): Promise<unknown> {
    if (method === "open") {
      const number = this.#count++;
      const stage = await HostedStage.start(this.#on, number, args[0] as StageOptions);
      this.#stages.set(number, stage);
      return stage.info;
    }
    const stage = this.#stages.get(id)!;
    if (method === "close") {
      this.#stages.delete(id);
      return await stage[asyncDispose]();
    }
    const call = stage[method as keyof StageCalls] as (...args: unknown[]) => Promise<unknown>;
    return await call.apply(stage, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await Promise.all([...this.#stages.values()].map((stage) => stage[Symbol.asyncDispose]()));
  }
}

/** A broker, the proxy before it, and clients, for one case. */
class HostedStage implements StageCalls, AsyncDisposable {
  readonly info: StageInfo;
  readonly #on: Transport;
  readonly #options: BrokerOptions;
  readonly #folder: TempFolder;
  readonly #stack: AsyncDisposableStack;
  readonly #members = new Map<string, Member>();
  #broker: Broker;
  #proxy: Proxy | undefined;
  #isCalm = false;
  /** Ends the jobs that never end otherwise. */
  readonly #over = Promise.withResolvers<void>();
  /** What the clients here were told, which no case asks for. */
  readonly #unexpected: unknown[] = [];

  private constructor(
    on: Transport,
    id: number,
    broker: Broker,
    folder: TempFolder,
    stack: AsyncDisposableStack,
    foreign: string,
    options: BrokerOptions,
  ) {
    this.#on = on;
    this.#broker = broker;
    this.#folder = folder;
    this.#stack = stack;
    this.#options = options;
    const { address } = broker;
    this.info = {
      id,
      address,
      authkey: AUTHKEY,
      foreign,
      deserted: address.startsWith("unix:") ? `${address}.not` : portOf(address, 1),
    };
  }

  static async start(
    on: Transport,
    id: number,
    { broker: own = {}, isFragile = false, seed }: StageOptions,
  ): Promise<HostedStage> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.make());
    const options = { ...on.broker, authkey: AUTHKEY, ...own };
    const address = String(options.address ?? `unix://${folder.path}/bus.sock`);
    const broker = await withOtherPorts(async () => {
      const broker = new Broker({ ...options, address: withFreePort(address) });
      await broker.start();
      return broker;
    });
    const foreign = await answerStrangely(stack, broker.address, folder.path);
    const stage = new HostedStage(on, id, broker, folder, stack.move(), foreign, {
      ...options,
      address: broker.address, // The next one gets the same port.
    });
    if (isFragile) await stage.#startProxy(seed);
    return stage;
  }

  async #startProxy(seed: number | undefined): Promise<void> {
    const { address } = this.#broker;
    const isTls = address.startsWith("tls:");
    const bytes = CUT_BYTES + this.#on.handshakeBytes;
    const plan = seed === undefined ? () => [] : randomPlan(seed, { bytes });
    this.#proxy = new Proxy({
      // Of TLS it passes the bytes.
      target: isTls ? address.replace("tls:", "tcp:") : address,
      address: /^(tls|tcp):/.test(address) ? "tcp://127.0.0.1:0" : undefined,
      plan: (connection) => this.#isCalm ? [] : plan(connection),
    });
    await this.#proxy.start();
    const own = this.#proxy.address;
    Object.assign(this.info, { address: isTls ? own.replace("tcp:", "tls:") : own });
  }

  cut(): Promise<void> {
    this.#proxy!.cut();
    return Promise.resolve();
  }

  freeze(ms: number): Promise<void> {
    this.#proxy!.freeze(ms);
    return Promise.resolve();
  }

  refuse(ms: number): Promise<void> {
    this.#proxy!.refuse(ms);
    return Promise.resolve();
  }

  calm(): Promise<void> {
    this.#isCalm = true;
    this.#proxy!.cut();
    return Promise.resolve();
  }

  stats(): ReturnType<StageCalls["stats"]> {
    const proxy = this.#proxy?.stats() ?? null;
    return Promise.resolve({ broker: this.#broker.stats(), proxy });
  }

  setKeys(keys: NonNullable<BrokerOptions["keys"]>): Promise<void> {
    this.#broker.setKeys(keys);
    return Promise.resolve();
  }

  async stop(isAbrupt: boolean): Promise<void> {
    const stopped = [this.#broker.shutdown()];
    // The second call is immediate.
    if (isAbrupt) stopped.push(this.#broker.shutdown());
    await Promise.all(stopped);
  }

  async restart(options: PlainBrokerOptions): Promise<void> {
    this.#broker = new Broker({ ...this.#options, ...options });
    await withOtherPorts(() => this.#broker.start());
  }

  async join(name: string, isFragile = false): Promise<void> {
    const { address, authkey } = this.#broker;
    const options: NetPubSubOptions = {
      ...this.#on.client,
      onState() {},
      onError: (error) => void this.#unexpected.push(error),
      onGap: (gap) => void this.#unexpected.push(new Error(`A gap: ${JSON.stringify(gap)}`)),
    };
    const bus = new NetPubSub(isFragile ? this.info.address : address, authkey, options);
    this.#members.set(name, { bus, heard: [], worked: [], sightings: [] });
    await bus.connect({ wait: true });
  }

  async listen(name: string, topic: PlainTopic): Promise<void> {
    const { bus, heard, sightings } = this.#member(name);
    bus.addSubscriber(topic, (path, message) => {
      heard.push([path, show(message)]);
      if (path[0] === "chat") sightings.push({ publisher: path[1] ?? "", id: message.id });
    });
    await bus.flush();
  }

  async work(
    name: string,
    topic: PlainTopic,
    { ms, ...options }: PlainMemberOptions,
  ): Promise<void> {
    const { bus, worked } = this.#member(name);
    const work = async (_topic: unknown, message: object, { redelivered = 0 }: Info) => {
      worked.push([show(message), redelivered]);
      await (ms === undefined ? this.#over.promise : delay(ms));
    };
    bus.addSubscriber(topic, work, options);
    await bus.flush();
  }

  worked(name: string): Promise<Member["worked"]> {
    return Promise.resolve(this.#member(name).worked);
  }

  async leave(name: string, isAbrupt: boolean): Promise<void> {
    const { bus } = this.#member(name);
    const left = bus.disconnect(isAbrupt ? { signal: AbortSignal.abort() } : {});
    if (!isAbrupt) return await left;
    // It has not finished what it had; its own program is told of that, too.
    await assertRejects(() => left, DOMException);
    this.#unexpected.pop();
  }

  heard(name: string): Promise<Member["heard"]> {
    return Promise.resolve(this.#member(name).heard);
  }

  sightings(name: string): Promise<readonly Sighting[]> {
    return Promise.resolve(this.#member(name).sightings);
  }

  async publish(name: string, topic: PlainTopic, messages: readonly object[]): Promise<void> {
    const { bus } = this.#member(name);
    for (const message of messages) bus.publish(topic, message);
    await bus.flush();
  }

  async publishLater(topic: PlainTopic, ms: number): Promise<void> {
    await this.join("later");
    const { bus } = this.#member("later");
    const timer = setTimeout(() => bus.publish(topic), ms);
    this.#stack.defer(() => clearTimeout(timer));
  }

  async flood(name: string, topic: PlainTopic, count: number, bytes: number): Promise<void> {
    const { bus } = this.#member(name);
    const data = new Uint8Array(bytes);
    for (let n = 0; n < count; n++) {
      bus.publish(topic, { n, data });
      if (bus.pending > 2 ** 20) await bus.flush();
    }
    await bus.flush();
  }

  async publishValues(
    name: string,
    topic: PlainTopic,
    seed: number,
    without: string,
  ): Promise<readonly string[]> {
    const messages = messagesWithout(without, seed);
    await this.publish(name, topic, messages);
    return messages.map(show);
  }

  async chat(name: string, ms: number): Promise<number> {
    const { bus } = this.#member(name);
    const end = performance.now() + ms;
    let count = 0;
    for (; performance.now() < end; count++) {
      bus.publish(["chat", name], { id: count, data: new Uint8Array(DATA_BYTES) });
      await new Promise((resolve) => setTimeout(resolve, APART_MS));
    }
    return count;
  }

  async writeFile(
    mode: number,
    { suffix = "", text }: { suffix?: string; text?: string } = {},
  ): Promise<string> {
    const path = `${this.#folder.path}/bus.json${suffix}`;
    const { address, authkey } = this.#broker;
    const content = { version: 1, address, authkey: toBase64(authkey) };
    await Deno.writeTextFile(path, text ?? JSON.stringify(content), { mode });
    await Deno.chmod(path, mode);
    return path;
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined) throw new Error(`Nobody is called ${name}`);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.resolve();
    const [unexpected] = this.#unexpected;
    const now = { signal: AbortSignal.abort(new Error("the case is over")) };
    const leaving = [...this.#members.values()].map(({ bus }) => bus.disconnect(now));
    await Promise.allSettled(leaving);
    await this.#proxy?.close();
    await this.stop(true);
    await this.#stack.disposeAsync();
    if (unexpected !== undefined) throw unexpected;
  }
}

function portOf(address: string, port: number): string {
  return address.replace(/:\d+(?=\/|$)/, `:${port}`);
}

/** Listens near that address, and answers whoever says something with what no broker says. */
async function answerStrangely(
  stack: AsyncDisposableStack,
  address: string,
  folder: string,
): Promise<string> {
  const isUnix = address.startsWith("unix:");
  const listener = await listen(isUnix ? `unix://${folder}/foreign.sock` : "tcp://127.0.0.1:0");
  const answering = (async () => {
    for await (const connection of listener.connections(() => {})) {
      try {
        await connection.read(new Uint8Array(2 ** 16));
        await connection.write(new TextEncoder().encode(FOREIGN));
      } catch { // The other side is gone.
      } finally {
        connection.close();
      }
    }
  })();
  stack.defer(async () => {
    await listener.close();
    await answering;
  });
  const { endpoint } = listener;
  return endpoint.transport === "unix"
    ? `unix://${endpoint.path}`
    : portOf(address, (endpoint as { port: number }).port);
}
