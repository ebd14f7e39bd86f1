/** A connection of NATS's own client, for NATS and for JetStream. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { AUTH, portOf, type Target } from "../systems.ts";

/** Connects. */
export function connectNats(target: Target): Promise<NatsConnection> {
  return connect({
    servers: `127.0.0.1:${portOf(target)}`,
    user: AUTH,
    pass: AUTH,
    noAsyncTraces: true,
  });
}
