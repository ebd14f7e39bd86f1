/**
 * Brokers joined through plain subjects: {@linkcode CoreExchange}, over a connection of NATS's client.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import type { TopicPath } from "../topic.ts";
import type { ControlMessage } from "./control_message.ts";
import { CoreExchange } from "./core_exchange.ts";
import type { Wire } from "./core_wire.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import type { Mode } from "./mode.ts";

/** Joins brokers through plain subjects. */
export class CoreMode implements Mode {
  readonly behind = 0;
  readonly exchange: CoreExchange;
  readonly #context: ExchangeContext;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#context = context;
    this.exchange = new CoreExchange(context);
  }

  get unaware(): number {
    return this.exchange.unaware;
  }

  get beat(): { sent: number; wants: number } {
    return this.exchange.beat;
  }

  wants(path: TopicPath, wants: boolean): void {
    this.exchange.wants(path, wants);
  }

  hear(message: ControlMessage): void {
    this.exchange.hear(message);
  }

  gone(id: string, saidGoodbye: boolean): void {
    this.exchange.gone(id, saidGoodbye);
  }

  tick(): void {
    this.exchange.tick();
  }

  async serve(nc: NatsConnection): Promise<void> {
    this.exchange.connected(this.#wireOf(nc));
    await nc.closed();
    this.exchange.disconnected();
  }

  #wireOf(nc: NatsConnection): Wire {
    const { read, warn } = this.#context;
    return {
      // The connection may have been closed a moment ago; then `disconnected()` follows.
      publish(subject, bytes) {
        if (!nc.isClosed()) nc.publish(subject, bytes);
      },
      subscribe: (subject) => {
        if (nc.isClosed()) return undefined;
        return nc.subscribe(subject, {
          callback: (error, message) => {
            if (error !== null) warn(`NATS refuses a subscription: ${error.message}`);
            else read(message.data, (header, body) => this.exchange.packet(header, body));
          },
        });
      },
      flush: () => nc.flush(),
    };
  }
}
