/**
 * What a case gets: stages, and clients of the runtime that is tested. Nothing here needs more of it
 * than timers and `fetch`.
 */
import type { ClientPubSub } from "../../../net/client_pubsub.ts";
import type { Gap, NetPubSubOptions } from "../../../net/options.ts";
import type { StageCalls, StageInfo, StageOptions } from "./stage_calls.ts";

/** A promise of a client, and how it is tried. */
export interface Case {
  readonly name: string;
  /**
   * Whether it is tried over each transport also where time is short.
   *
   * @default {false}
   */
  readonly isBrief?: boolean;
  /**
   * Whether it needs files.
   *
   * @default {false}
   */
  readonly needsFiles?: boolean;
  /**
   * The only place in which it has a meaning, by default both: a browser hides from a page why it cannot
   * connect, and decides itself which certificates it trusts.
   */
  readonly place?: "page" | "program";
  /** The transports for which it has a meaning; by default all. */
  readonly transports?: readonly string[];
  run(context: Context): Promise<void>;
}

/** The class that is tested, as the door of the runtime has it. */
export interface Library {
  new (address: string, authkey: string | Uint8Array, options?: NetPubSubOptions): ClientPubSub;
  /** Missing where there are no files. */
  fromFile?(path: string, options?: NetPubSubOptions): Promise<ClientPubSub>;
}

/** Where and how cases are run. */
export interface Setting {
  /** The server of the test. */
  readonly control: string;
  readonly transport: string;
  readonly place: "page" | "program";
  /** The certificates to trust. */
  readonly caCerts: readonly string[];
  /** Whether all cases are run; otherwise the brief ones. */
  readonly isWhole: boolean;
  /** For how long connections are cut, in milliseconds. */
  readonly chaosMs: number;
}

/** How soon it looks again, and for how long, in milliseconds. */
const POLL_MS = 3;
const PATIENCE_MS = 10_000;

/** Waits for a condition that nobody announces. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!await condition()) {
    const waited = performance.now() - start;
    if (waited > PATIENCE_MS) throw new Error(`Still missing: ${condition}`);
    await pause(Math.max(POLL_MS, waited / 20));
  }
}

/** Resolves after some time. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first `count` values of a source. */
export async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of source) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

/** A broker, and what stands before it, for one case. */
export class Stage {
  readonly info: StageInfo;
  readonly #context: Context;

  constructor(context: Context, info: StageInfo) {
    this.#context = context;
    this.info = info;
  }

  /** A client of the runtime that is tested. */
  client(
    options: NetPubSubOptions & { readonly authkey?: string | Uint8Array } = {},
  ): ClientPubSub {
    const { address, authkey } = this.info;
    return this.#context.client(address, options.authkey ?? authkey, options);
  }

  /** A client that is connected; through cuts it tries again. */
  async connected(options: NetPubSubOptions = {}): Promise<ClientPubSub> {
    const client = this.client(options);
    await client.connect({ wait: true });
    return client;
  }

  /** Has the test's process do something. */
  call<const K extends keyof StageCalls>(
    method: K,
    ...args: Parameters<StageCalls[K]>
  ): ReturnType<StageCalls[K]> {
    const { id } = this.info;
    return this.#context.post({ id, method, args }) as ReturnType<StageCalls[K]>;
  }
}

/** What one case has opened, and what its clients complained of. */
export class Context {
  readonly setting: Setting;
  readonly library: Library;
  /** What no case has asked for: errors and gaps. */
  readonly unexpected: unknown[] = [];
  readonly #clients: ClientPubSub[] = [];
  readonly #stages: StageInfo[] = [];

  constructor(library: Library, setting: Setting) {
    this.library = library;
    this.setting = setting;
  }

  async stage(options: StageOptions = {}): Promise<Stage> {
    const info = await this.post({ method: "open", args: [options] }) as StageInfo;
    this.#stages.push(info);
    return new Stage(this, info);
  }

  /** A client that goes with the case. */
  client(
    address: string,
    authkey: string | Uint8Array,
    options: NetPubSubOptions = {},
  ): ClientPubSub {
    return this.adopt(new this.library(address, authkey, this.options(options)));
  }

  /** Takes a client that goes with the case. */
  adopt(client: ClientPubSub): ClientPubSub {
    this.#clients.push(client);
    return client;
  }

  /** Options, with what every client gets: nothing that it tells is overheard. */
  options(options: NetPubSubOptions = {}): NetPubSubOptions {
    return {
      tls: { caCerts: this.setting.caCerts },
      onError: (error) => void this.unexpected.push(error),
      onGap: (gap: Gap) => void this.unexpected.push(new Error(`A gap: ${JSON.stringify(gap)}`)),
      onState: () => {},
      ...options,
    };
  }

  /** Calls the test's process. */
  async post(call: object): Promise<unknown> {
    const { control } = this.setting;
    const response = await fetch(control, { method: "POST", body: JSON.stringify(call) });
    const { result, error } = await response.json();
    if (error !== undefined) throw new Error(`The stage failed: ${error}`);
    return result;
  }

  /** Disconnects all clients, and closes all stages. */
  async close(): Promise<void> {
    const now = { signal: AbortSignal.abort(new Error("the case is over")) };
    // Whatever they still had to deliver has been looked at.
    await Promise.allSettled(this.#clients.map((client) => client.disconnect(now)));
    for (const { id } of this.#stages) await this.post({ id, method: "close", args: [] });
  }
}
