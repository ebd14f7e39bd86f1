/** A connection of NATS's own client, for NATS and for JetStream. */
import { wsconnect } from "@nats-io/nats-core";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { AUTH, isWeb, portOf, type Target } from "../target.ts";

/** Connects. */
export function connectNats(target: Target): Promise<NatsConnection> {
  const options = { user: AUTH, pass: AUTH, noAsyncTraces: true };
  const server = `127.0.0.1:${portOf(target)}`;
  if (isWeb(target)) return wsconnect({ servers: `ws://${server}`, ...options });
  return connect({ servers: server, ...options });
}
