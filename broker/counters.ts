/**
 * What a broker counts from its start on: messages, connections that it refuses, and sessions that it
 * ends. A new count is a field here, and one of the public `BrokerStats`, which says what it means.
 */
import { addCounts } from "../base/count.ts";
import { Reason } from "../protocol/frame.ts";
import type { LinkEnd } from "../protocol/link.ts";
import type { BrokerStats, ClientStats, Endings, Refusals } from "./stats.ts";

/** Those of the public figures that are counted; the others say what the broker holds at the moment. */
export type Counts = Omit<
  BrokerStats,
  | "connections"
  | "sessions"
  | "detached"
  | "waiting"
  | "queuedBytes"
  | "memoryBytes"
  | "jobs"
  | "uplink"
>;

/** What is also counted for each client. */
type ClientCounts = Pick<ClientStats, "received" | "delivered" | "dropped" | "refusedMessages">;
/** Why a message is refused. */
export type MessageRefusal = "tooBig" | "tooFast" | "forbidden";

type Tally<T> = { -readonly [name in keyof T]: number };

/** The reasons for which the broker ends sessions, as they are counted. */
const ENDINGS: Readonly<Record<number, keyof Endings>> = {
  [Reason.PROTOCOL]: "protocol",
  [Reason.TOPIC_TOO_BIG]: "topics",
  [Reason.TOO_MANY_SUBSCRIPTIONS]: "subscriptions",
  [Reason.NOT_READING]: "notReading",
  [Reason.KEY_REVOKED]: "revoked",
};

/** The counts of one broker. */
export class Counters implements Tally<Omit<Counts, "refused" | "refusals" | "endings">> {
  resumed = 0;
  received = 0;
  delivered = 0;
  dropped = 0;
  refusedMessages = 0;
  tooBig = 0;
  tooFast = 0;
  forbidden = 0;
  deniedSubscriptions = 0;
  waits = 0;
  cutOff = 0;
  expired = 0;
  readonly refusals: Tally<Refusals> = {
    timeout: 0,
    crowded: 0,
    busy: 0,
    key: 0,
    expired: 0,
    protocol: 0,
    lost: 0,
  };
  readonly endings: Tally<Endings> = {
    protocol: 0,
    topics: 0,
    subscriptions: 0,
    notReading: 0,
    revoked: 0,
    crowded: 0,
  };

  /** Counts the end of a connection, if the broker ended it for a mistake of its client. */
  countEnd({ reason, isTheirs = false, error }: LinkEnd): void {
    const ending = reason !== undefined && !isTheirs && error !== undefined && ENDINGS[reason];
    if (ending) this.endings[ending]++;
  }

  /** All counts as they are now. */
  snapshot(): Counts {
    const { refusals, endings, ...counts } = this;
    return {
      ...counts,
      refused: Object.values(refusals).reduce((sum, count) => sum + count),
      refusals: { ...refusals },
      endings: { ...endings },
    };
  }
}

/** The counts of one client. */
export class ClientCounters implements Tally<ClientCounts> {
  received = 0;
  delivered = 0;
  dropped = 0;
  refusedMessages = 0;
  readonly #all: Counters;

  /** Counts from zero, and adds to the counts of its broker. */
  constructor(all: Counters) {
    this.#all = all;
  }

  /** Counts messages. */
  count(name: keyof ClientCounts, messages: number): void {
    const all = this.#all;
    // Those that come with each message: a name that is not always the same is looked up.
    if (name === "received") {
      this.received = addCounts(this.received, messages);
      all.received = addCounts(all.received, messages);
    } else if (name === "delivered") {
      this.delivered = addCounts(this.delivered, messages);
      all.delivered = addCounts(all.delivered, messages);
    } else {
      this[name] = addCounts(this[name], messages);
      all[name] = addCounts(all[name], messages);
    }
  }

  /** Counts a message that is refused. */
  countRefusal(refusal: MessageRefusal): void {
    this.count("refusedMessages", 1);
    this.#all[refusal]++;
  }

  /** All counts as they are now. */
  snapshot(): ClientCounts {
    return { ...this };
  }
}
