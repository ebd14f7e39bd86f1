/**
 * What a broker as a program logs while it runs: what happens to clients one by one, and what goes wrong
 * summed up, since neither a client nor a stranger must fill a disk with lines.
 */
import { printable } from "../base/printable.ts";
import type { Broker, BrokerOptions, BrokerStats } from "../broker.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { messageOf } from "./command.ts";
import type { Log } from "./log.ts";

/** How often what went wrong is summed up. */
const SUMMARY_MS = 10_000;
const WORDS = {
  joined: "joined",
  resumed: "came back",
  lost: "lost its connection",
  left: "left",
} as const;

/** How many kinds of warnings are told one by one between two summaries; a text is a kind. */
const WARNINGS_MAX = 100;

/** What is counted, and the line that says how much it grew. */
interface Summary {
  readonly event: string;
  readonly count: (stats: BrokerStats) => Readonly<Record<string, number>>;
  readonly text: (total: number, grown: Readonly<Record<string, number>>) => string;
}

/** The problems of clients that are logged. */
const SUMMARIES: readonly Summary[] = [
  {
    event: "dropped",
    count: ({ dropped }) => ({ dropped }),
    text: (total) => `Dropped ${total} messages that clients did not take in time`,
  },
  {
    event: "cut-off",
    count: ({ cutOff }) => ({ cutOff }),
    text: (total) => `Cut off ${total} clients that held publishers back too long`,
  },
  {
    event: "refused",
    count: ({ refusals }) => ({ ...refusals }),
    text: (total, grown) => `Refused ${total} connections (${listed(grown)})`,
  },
  {
    event: "ended",
    count: ({ endings }) => ({ ...endings }),
    text: (total, grown) => `Ended ${total} sessions (${listed(grown)})`,
  },
  {
    event: "refused-messages",
    count: ({ tooBig, tooFast, forbidden, deniedSubscriptions }) => ({
      tooBig,
      tooFast,
      forbidden,
      deniedSubscriptions,
    }),
    text: (total, grown) => `Refused ${total} messages or subscriptions (${listed(grown)})`,
  },
  {
    event: "uplink-dropped",
    count: ({ uplink }) => uplink === undefined ? {} : { dropped: uplink.dropped },
    text: (total) => `Dropped ${total} messages for other brokers: too many waited for NATS`,
  },
  {
    event: "uplink-lost",
    count: ({ uplink }) => uplink === undefined ? {} : { lost: uplink.lost, gaps: uplink.gaps },
    text: (_total, grown) => `Missed messages of other brokers (${listed(grown)})`,
  },
];

function listed(grown: Readonly<Record<string, number>>): string {
  return Object.entries(grown).map(([name, count]) => `${name} ${count}`).join(", ");
}

/** The events of one broker. */
export class BrokerEvents {
  readonly #log: Log;
  readonly #warnings: Warnings;

  constructor(log: Log) {
    this.#log = log;
    this.#warnings = new Warnings(log);
  }

  /** What the broker is to call. */
  get options(): Pick<BrokerOptions, "onClient" | "onError"> {
    const [log, warnings] = [this.#log, this.#warnings];
    return {
      onClient({ type, client, name, keyName, for: holder, address, reason }) {
        const called = name && ` ${printable(JSON.stringify(name))}`;
        const held = holder === undefined ? "" : ` for ${printable(JSON.stringify(holder))}`;
        const who = `Client ${client}${called}${keyName && ` with the key "${keyName}"`}${held}`;
        const from = address === undefined ? "" : ` from ${address}`;
        const why = reason === undefined ? "" : `: ${reason}`;
        log.say("debug", type, `${who} ${WORDS[type]}${from}${why}`, {
          client,
          ...(name && { name }),
          ...(keyName && { keyName }),
          ...(holder !== undefined && { for: holder }),
          ...(address !== undefined && { address }),
          ...(reason !== undefined && { reason }),
        });
      },
      onError(error) {
        const isOfOne = error instanceof AuthError || error instanceof ProtocolError ||
          error instanceof ConnectionLostError;
        if (isOfOne) log.say("debug", "connection", messageOf(error));
        else warnings.say(messageOf(error));
      },
    };
  }

  /** Logs now and then, and at the end, what went wrong meanwhile. */
  watch(broker: Broker): Disposable {
    let before = broker.stats();
    const tell = () => {
      const now = broker.stats();
      for (const summary of SUMMARIES) this.#tell(summary, before, now);
      this.#warnings.tellRepeated();
      before = now;
    };
    const timer = setInterval(tell, SUMMARY_MS);
    return {
      [Symbol.dispose]() {
        clearInterval(timer);
        tell();
      },
    };
  }

  #tell({ event, count, text }: Summary, before: BrokerStats, now: BrokerStats): void {
    const grown: Record<string, number> = {};
    for (const [name, value] of Object.entries(count(now))) {
      const more = value - count(before)[name]!;
      if (more > 0) grown[name] = more;
    }
    const total = Object.values(grown).reduce((sum, value) => sum + value, 0);
    if (total > 0) this.#log.say("warn", event, text(total, grown), grown);
  }
}

/** Warnings, of which each is logged once; how often it came again stands in a summary. */
export class Warnings {
  readonly #log: Log;
  /** How often each text came again since the last summary. */
  #again = new Map<string, number>();
  /** How many came that are not in it. */
  #others = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Logs a warning, unless it did before. */
  say(text: string): void {
    const again = this.#again.get(text);
    if (again !== undefined) this.#again.set(text, again + 1);
    else if (this.#again.size >= WARNINGS_MAX) this.#others++;
    else {
      this.#again.set(text, 0);
      this.#log.say("warn", "warning", text);
    }
  }

  /** Logs how often warnings came again; of those that did not, the next is new. */
  tellRepeated(): void {
    const repeated = [...this.#again].filter(([, count]) => count > 0);
    for (const [text, count] of repeated) {
      this.#log.say("warn", "warning", `${text} (${count} times more)`, { count });
    }
    if (this.#others > 0) {
      const count = this.#others;
      this.#log.say("warn", "warning", `${count} other warnings are not shown`, { count });
    }
    this.#again = new Map(repeated.map(([text]) => [text, 0]));
    this.#others = 0;
  }
}
