/** Tests with real NATS servers. */
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "../../nats/transport.ts";
import { hasNatsServer } from "../../tools/harness/nats_server.ts";

/** Both ways in which brokers are joined: the name of the stream, if there is one. */
export const MODES = [["core", undefined], ["stream", "BUS"]] as const;

/** A test with real servers; the name says why it is ignored where there are none. */
export function natsTest(name: string, body: () => Promise<void>): void {
  const note = hasNatsServer ? "" : " (ignored: there is no nats-server here)";
  Deno.test(`${name}${note}`, { ignore: !hasNatsServer }, body);
}

/** A plain client of NATS. */
export async function connected(
  url: string,
): Promise<AsyncDisposable & { connection: NatsConnection }> {
  const connection = await connect({ servers: url.replace("nats://", ""), reconnect: false });
  return { connection, [Symbol.asyncDispose]: () => connection.close() };
}

/** Makes a stream. */
export async function makeStream(
  url: string,
  name: string,
  subjects: string[],
  config: Partial<StreamConfig> = {},
): Promise<void> {
  await using nc = await connected(url);
  const manager = await jetstreamManager(nc.connection);
  await manager.streams.add({ ...config, name, subjects });
}
