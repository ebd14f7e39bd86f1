/**
 * Brokers joined through a stream: {@linkcode JetStreamExchange}, over connections of NATS's client.
 */
import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { clock } from "../base/clock.ts";
import { pause } from "../base/timers.ts";
import type { TopicPath } from "../topic.ts";
import { type ExchangeContext, lose } from "./exchange_context.ts";
import { JetStreamExchange } from "./jetstream_exchange.ts";
import { JetStreamReader } from "./jetstream_reader.ts";
import { refusalOf, whyOf } from "./jetstream_errors.ts";
import { setUpStream, streamProblem } from "./jetstream_setup.ts";
import type { StreamWire } from "./jetstream_sender.ts";
import type { Mode } from "./mode.ts";
import { patternOf, subjectOf } from "./subject.ts";

/** How long to wait for a confirmation before a packet is sent again. */
const CONFIRM_MS = 3000;
/** How long to wait before reading is tried again, when the stream cannot be read. */
const RETRY_MS = 500;
/** How often to check whether a stream that does not confirm still exists. */
const DOUBT_MS = 2000;

/** Joins brokers through a stream. */
export class JetStreamMode implements Mode {
  readonly beat = { sent: 0, wants: 0 };
  readonly exchange: JetStreamExchange;
  readonly #context: ExchangeContext;
  readonly #stream: string;
  /** What the stream keeps. */
  readonly #subjects: readonly string[];
  readonly #reader: JetStreamReader;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext, stream: string) {
    const exchange = this.exchange = new JetStreamExchange(context);
    const { prefix, read, warn, bus } = context;
    this.#context = context;
    this.#stream = stream;
    this.#subjects = [patternOf(prefix, []), subjectOf(prefix, [])];
    this.#reader = new JetStreamReader({
      stream,
      isWanted: () => exchange.subscriptions > 0,
      wanted: () => exchange.wanted(),
      chosenAnew: () => exchange.chosenAnew(),
      message: (subject, bytes) => {
        read(bytes, (header, body) => exchange.packet(subject, header, body));
        return bus.room();
      },
      lost: (why) => {
        warn(`Messages of other brokers are lost: ${why}`);
        lose(context, [], 0);
      },
    });
  }

  /** Always 0: the stream has all messages, so other brokers need not know what is wanted here. */
  get unaware(): number {
    return this.exchange.subscriptions === 0 || this.#reader.isReading ? 0 : 1;
  }

  get behind(): number {
    return this.#reader.behind;
  }

  wants(path: TopicPath, wants: boolean): void {
    if (this.exchange.wants(path, wants)) this.#reader.change();
  }

  hear(): void {} // The stream says everything.
  gone(): void {}

  tick(): void {
    if (this.exchange.tick()) this.#reader.change();
    this.#reader.look();
  }

  async serve(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    const wire = this.#wireOf(nc);
    let isConnected = false;
    while (!nc.isClosed() && !signal.aborted) {
      try {
        const problem = streamProblem(await setUpStream(nc, this.#stream, this.#subjects));
        if (problem !== undefined) {
          if (!isConnected) throw new Error(problem);
          this.#warn("was changed", problem); // What it has can be read, and some may pass.
        }
        if (!isConnected) this.exchange.connected(wire);
        isConnected = true;
        await this.#reader.read(nc, signal);
      } catch (error) { // No leader, no answer, no rights, another stream of that name: may pass.
        if (nc.isClosed() || signal.aborted) break;
        this.#warn("cannot be used now", error);
        await pause(RETRY_MS, signal); // It aborts when the connection is closed, too.
      }
    }
    await nc.closed();
    this.exchange.disconnected();
  }

  #wireOf(nc: NatsConnection): StreamWire {
    const client = jetstream(nc, { timeout: CONFIRM_MS });
    let doubted = clock.now();
    return {
      publish: async (subject, bytes, msgID) => {
        try {
          const { stream } = await client.publish(subject, bytes, { msgID });
          if (stream !== this.#stream) throw new Error(`the stream ${stream} took it instead`);
        } catch (error) { // Refused, no leader, no answer, no stream, no room, no connection.
          const refusal = refusalOf(error, this.#stream);
          if (refusal !== undefined) throw refusal;
          if (!nc.isClosed()) this.#warn("did not confirm a packet", error);
          const now = clock.now();
          if (now - doubted > DOUBT_MS) {
            doubted = now;
            this.#reader.doubt();
          }
          throw error;
        }
      },
    };
  }

  #warn(what: string, why: unknown): void {
    this.#context.warn(`The stream ${this.#stream} ${what}: ${whyOf(why)}`);
  }
}
