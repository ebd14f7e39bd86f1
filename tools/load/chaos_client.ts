/** A client of a chaos, in whatever runtime: one that publishes, or one that checks what comes. */
import type { Gap, NetPubSubOptions } from "../../net/options.ts";
import type { ClientPubSub } from "../../net/client_pubsub.ts";
import { checkHistory, type HistoryReport } from "../../testing/history.ts";

/** A publisher waits when so many bytes are not acknowledged. */
const PENDING_MAX = 256 * 1024;
const FAULTS_SHOWN_MAX = 5;
const ATTEMPTS_MAX = 50;

/** What is published. */
export interface Topics {
  chaos: { number: number };
  /** Publishers are to come to their end. */
  stop: object;
  /** Subscribers are; so many messages were published. */
  end: { sent: Record<string, number> };
}

/** What a client tells. */
export type Report =
  | { ready: true }
  | { gap: Gap }
  | { sent: number }
  | { history: Pick<HistoryReport, "counts" | "seen">; faults: unknown[] };

/** What a client does. */
export interface Task {
  /** `"publisher"`, or else a subscriber. */
  readonly role: string;
  readonly name: string;
  /** How many messages a publisher publishes; 0 is until it is to stop. */
  readonly messages: number;
  /** Whether its broker is killed, rather than its connection cut. */
  readonly isKilled: boolean;
}

type Tell = (report: Report) => void;

/** The options of a client. */
export function optionsOf(tell: Tell): NetPubSubOptions {
  return { onGap: (gap) => tell({ gap }), backlog: 2 ** 26 };
}

/** Connects, does its part, and disconnects. */
export async function runClient(
  bus: ClientPubSub<Topics>,
  { role, name, messages, isKilled }: Task,
  tell: Tell,
): Promise<void> {
  await connect(bus);
  await (role === "publisher"
    ? publish(bus, name, messages, tell)
    : subscribe(bus, isKilled, tell));
  await bus.disconnect();
}

async function publish(
  bus: ClientPubSub<Topics>,
  name: string,
  messages: number,
  tell: Tell,
): Promise<void> {
  let stop = false;
  bus.addSubscriber("stop", () => stop = true);
  await bus.flush();
  tell({ ready: true });
  let number = 0;
  while (messages > 0 ? number < messages : !stop) {
    bus.publish(["chaos", name], { number: ++number });
    if (bus.pending > PENDING_MAX) await bus.flush();
    else if (messages === 0 && number % 100 === 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  await bus.flush();
  tell({ sent: number });
}

async function subscribe(bus: ClientPubSub<Topics>, isKilled: boolean, tell: Tell): Promise<void> {
  const seen: { publisher: string; id: number }[] = [];
  bus.addSubscriber("chaos", ([, publisher = ""], { number }) => {
    seen.push({ publisher, id: number });
  });
  const end = Promise.withResolvers<Record<string, number>>();
  bus.addSubscriber("end", (_topic, { sent }) => end.resolve(sent));
  await bus.flush();
  tell({ ready: true });
  const published = Object.fromEntries(
    Object.entries(await end.promise).map(([publisher, count]) => [
      publisher,
      Array.from({ length: count }, (_, i) => i + 1),
    ]),
  );
  const { counts, seen: sightings, faults } = checkHistory({ published, seen: { me: seen } });
  // What a killed broker lost, and what is sent again after it, is only counted.
  const shown = faults.filter(({ kind }) => !isKilled || kind === "inverted");
  tell({ history: { counts, seen: sightings }, faults: shown.slice(0, FAULTS_SHOWN_MAX) });
}

/** The first connection may be cut, too; until there was one, connect() gives up. */
async function connect(bus: ClientPubSub<Topics>): Promise<void> {
  for (let attempt = 0;; attempt++) {
    try {
      return await bus.connect();
    } catch (error) {
      if (attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
