/** Which brokers are on a bus, when anybody can say that they are one. */
import type { NatsConnection } from "@nats-io/nats-core";
import { assert, assertEquals } from "@std/assert";
import type { Timer } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import { type ControlMessage, encodeControlMessage } from "../nats/control_message.ts";
import { Membership } from "../nats/membership.ts";
import type { Mode } from "../nats/mode.ts";
import { type NatsUplinkEvent, UplinkEvents } from "../nats/uplink_events.ts";
import { Heard, PREFIX } from "./helpers/exchange.ts";

/** How many brokers a bus may have. */
const BROKERS_MAX = 4096;

/** A broker on a bus that nobody else is on, in a time of its own. */
class Member implements Disposable {
  now = 0;
  readonly events: NatsUplinkEvent[] = [];
  readonly errors: unknown[] = [];
  readonly gone: string[] = [];
  readonly said: string[] = [];
  readonly members: Membership;
  #hear: (bytes: Uint8Array) => void = () => {};
  readonly #beats: Timer;

  constructor() {
    const now = () => this.now;
    this.members = new Membership({
      id: "0".repeat(16),
      prefix: PREFIX,
      stream: null,
      events: new UplinkEvents((event) => this.events.push(event), now),
      counts: new Heard().counts,
      refuse: (error) => this.errors.push(error),
      now,
    });
    const connection = {
      isClosed: () => false,
      publish: (subject: string) => this.said.push(subject),
      subscribe: (_subject: string, { callback }: { callback: (...args: unknown[]) => void }) => {
        this.#hear = (data) => callback(null, { data });
      },
    };
    const mode = {
      beat: { sent: 0, wants: 0 },
      hear() {},
      tick() {},
      gone: (id: string) => this.gone.push(id),
    };
    this.#beats = this.members.begin(
      connection as unknown as NatsConnection,
      mode as unknown as Mode,
    );
  }

  hear(message: ControlMessage): void {
    this.#hear(encodeControlMessage(message));
  }

  /** So many brokers say that they are there. */
  beats(count: number, first = 0): void {
    for (let n = first; n < first + count; n++) {
      this.hear({ type: "beat", from: idOf(n), stream: null, sent: 0, wants: 0 });
    }
  }

  [Symbol.dispose](): void {
    this.#beats.cancel();
  }
}

function idOf(n: number): string {
  return `e${n.toString(16).padStart(15, "0")}`;
}

Deno.test("Membership takes as many brokers as a bus may have, and no more", () => {
  using member = new Member();
  member.beats(10_000);
  assertEquals(member.members.size, BROKERS_MAX);
  assertEquals(member.errors.length, 10_000 - BROKERS_MAX);
  assert(member.errors.every((error) => error instanceof ProtocolError));
  member.beats(BROKERS_MAX);
  assertEquals(member.errors.length, 10_000 - BROKERS_MAX, "those that are known go on");
});

Deno.test("Membership gives the place of a broker that is silent to a new one, and to no other", () => {
  using member = new Member();
  member.beats(BROKERS_MAX);
  member.now = 5000;
  member.beats(10);
  member.now = 7000;
  member.beats(5, BROKERS_MAX);
  assertEquals(member.gone, [10, 11, 12, 13, 14].map(idOf));
  assertEquals(member.members.has(idOf(0)), true);
  assertEquals(member.members.has(idOf(BROKERS_MAX + 4)), true);
  assertEquals(member.errors, []);
});

Deno.test("Membership.heard takes what else comes from a broker as a sign of life", () => {
  using member = new Member();
  member.members.heard(idOf(1));
  assertEquals([member.members.size, member.members.has(idOf(1))], [1, true]);
  assertEquals(member.said.at(-1), `${PREFIX}.c.${idOf(1)}`, "it is told that we are here");
  const said = member.said.length;
  member.members.heard(idOf(1));
  assertEquals(member.said.length, said);
});
