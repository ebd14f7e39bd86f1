/**
 * The two ways of joining, each over connections of NATS's own client.
 */
import { jetstream } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/nats-core";
import { pause } from "../base/timers.ts";
import { CoreExchange } from "./core_exchange.ts";
import type { ExchangeContext, Mode } from "./exchange.ts";
import { JetStreamReader } from "./jetstream_reader.ts";
import { JetStreamExchange, RefusedError, type StreamWire } from "./jetstream_exchange.ts";
import { subjectOf } from "./subject.ts";

/** A packet that a stream does not confirm is sent again after that. */
const CONFIRM_MS = 3000;
/** How long it is waited until a stream that cannot be read is tried again. */
const RETRY_MS = 500;
/** So often it is looked whether a stream that does not confirm is there at all. */
const DOUBT_MS = 2000;

/** Plain subjects. */
export class CoreMode extends CoreExchange implements Mode {
  readonly behind = 0;
  readonly #context: ExchangeContext;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    super(context);
    this.#context = context;
  }

  async serve(nc: NatsConnection): Promise<void> {
    const { read, warn } = this.#context;
    this.connected({
      // It may have been closed a moment ago; then `disconnected()` follows.
      publish(subject, bytes) {
        if (!nc.isClosed()) nc.publish(subject, bytes);
      },
      subscribe: (subject) => {
        if (nc.isClosed()) return undefined;
        return nc.subscribe(subject, {
          callback: (error, message) => {
            if (error !== null) warn(`NATS refuses a subscription: ${error.message}`);
            else read(message.data, (header, body) => this.packet(header, body));
          },
        });
      },
      flush: () => nc.flush(),
    });
    await nc.closed();
    this.disconnected();
  }
}

/** A stream. */
export class JetStreamMode extends JetStreamExchange implements Mode {
  readonly beat = { sent: 0, wants: 0 };
  readonly #context: ExchangeContext;
  readonly #stream: string;
  readonly #reader: JetStreamReader;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext, stream: string) {
    super(context);
    const { prefix, read, warn, counts, bus } = context;
    this.#context = context;
    this.#stream = stream;
    this.#reader = new JetStreamReader({
      stream,
      subjects: [`${prefix}.m.>`, subjectOf(prefix, [])],
      wanted: () => this.wanted(),
      chosenAnew: () => this.chosenAnew(),
      message: (subject, bytes) => {
        read(bytes, (header, body) => this.packet(subject, header, body));
        return bus.room();
      },
      lost: (why) => {
        counts.gaps++;
        warn(`Messages of other brokers are lost: ${why}`);
        bus.lost([], 0);
      },
    });
  }

  /** The stream has all others; whoever reads it needs none of them to know. */
  get unaware(): number {
    return this.subscriptions === 0 || this.#reader.isReading ? 0 : 1;
  }

  get behind(): number {
    return this.#reader.behind;
  }

  override wants(path: readonly string[], wants: boolean): boolean {
    const isChanged = super.wants(path, wants);
    if (isChanged) this.#reader.change();
    return isChanged;
  }

  hear(): void {} // The stream tells everything.
  gone(): void {}

  tick(): void {
    this.#reader.look();
  }

  async serve(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    const wire = this.#wireOf(nc);
    let isConnected = false;
    while (!nc.isClosed() && !signal.aborted) {
      try {
        await this.#reader.prepare(nc);
        if (!isConnected) this.connected(wire);
        isConnected = true;
        await this.#reader.read(nc, signal);
      } catch (error) { // No leader, no answer, no rights, another stream of that name: it may change.
        if (nc.isClosed() || signal.aborted) break;
        this.#warn("cannot be used now", error);
        await Promise.race([pause(RETRY_MS, signal), nc.closed()]);
      }
    }
    await nc.closed();
    this.disconnected();
  }

  #wireOf(nc: NatsConnection): StreamWire {
    const client = jetstream(nc, { timeout: CONFIRM_MS });
    let doubted = performance.now();
    return {
      publish: async (subject, bytes, msgID) => {
        try {
          await client.publish(subject, bytes, { msgID });
        } catch (error) { // Not allowed, no leader, no answer, no stream, no connection.
          const { cause = error } = error as Error;
          if (cause instanceof errors.PermissionViolationError) {
            throw new RefusedError(`NATS does not allow to publish: ${cause.message}`);
          }
          if (!nc.isClosed()) this.#warn("did not confirm a packet", error);
          const now = performance.now();
          if (now - doubted > DOUBT_MS) {
            doubted = now;
            this.#reader.doubt();
          }
          throw error;
        }
      },
    };
  }

  #warn(what: string, error: unknown): void {
    let why = error instanceof Error ? error.message : error;
    // The client, which does not export its class, takes each silence for that.
    if (error instanceof Error && error.name === "JetStreamNotEnabled") {
      why = "it has no leader at this moment, or NATS has no JetStream";
    }
    this.#context.warn(`The stream ${this.#stream} ${what}: ${why}`);
  }
}
