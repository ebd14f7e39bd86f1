/**
 * The options of an uplink. The program knows their types, and so nothing here imports NATS's client.
 */
import type { NatsUplinkEvent } from "./uplink_events.ts";

/** Options of a `NatsUplink`. */
export interface NatsUplinkOptions {
  /**
   * The NATS server, or several of a cluster, as `nats://host:4222` or `tls://host:4222`; the default
   * port is 4222. `user:password@` or `token@` may stand before the host, the same in all.
   */
  servers: string | readonly string[];
  /**
   * The name of the bus; brokers of the same bus are joined. At most 64 letters, digits, `_` and `-`.
   *
   * @default {"default"}
   */
  bus?: string | undefined;
  /**
   * The name of a JetStream stream that keeps all messages, so that a broker can catch up after it lost
   * its connection. All brokers of a bus must name the same one. If it does not exist, it is created:
   * it keeps messages for a day and up to 1 GiB, with three replicas in a cluster. One that cannot
   * serve gets nothing, and a warning says what to change; `docs/scaling.md` has what it must be like.
   * By default there is no stream: a broker misses what others send while it is not connected, and its
   * clients' `onGap` is called.
   */
  stream?: string | undefined;
  /**
   * The content of a credentials file of NATS: a JWT, and the seed of a key. By default the user in
   * `servers`, if there is one.
   */
  credentials?: string | Uint8Array | undefined;
  /**
   * For TLS: certificates to trust besides those that the system trusts, in PEM. By default none.
   */
  tls?: { caCerts?: readonly string[] | undefined } | undefined;
  /**
   * How many bytes may wait to be sent to NATS, or for its confirmation. Beyond that the oldest
   * messages are dropped, and other brokers are told. At least 1 MiB, and twice `messageBytes` of the
   * broker.
   *
   * @default {67108864}
   */
  queueBytes?: number | undefined;
  /**
   * Called when something happens to the connection, or to the bus. By default, nothing reports that.
   *
   * @param event What happened.
   */
  onEvent?: ((event: NatsUplinkEvent) => void) | undefined;
}
