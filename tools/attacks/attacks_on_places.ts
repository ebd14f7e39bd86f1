/**
 * Attacks of those who have a key and want all places of the broker: for sessions that nobody needs, and
 * for connections that stay. Two clients of another key look on, of which one is detached meanwhile.
 */
import { delay } from "@std/async/delay";
import { ANSWER_MS, type Assault, type Attack, inParallel, within } from "./attack.ts";
import {
  frame,
  openFrame,
  payload,
  type RawClient,
  Reason,
  small,
  topic,
  Type,
} from "./raw_client.ts";

/** How many sessions the broker may have. */
const PLACES = 100;
/** What may be beside them, without a session. */
const HALF_OPEN = 50;
/** Connections that are in their handshake, or ending. */
const OTHERS = 32;
const AT_ONCE = 8;
const PAUSE_MS = 20;
const RESUMED = 1;
const TOPIC = topic("granted", "t0");
const MESSAGE = payload({ n: small(1) });
/** The same for both attacks; what is detached meanwhile may come back in the end. */
const SMALL = {
  limits: { connections: PLACES, halfOpen: HALF_OPEN, halfOpenPerAddress: HALF_OPEN },
  resumeWindow: 60_000,
};

/** A pair of a key that nobody attacks with: one publishes, the other is away and comes back. */
class OtherPair {
  readonly #assault: Assault;
  readonly #publisher: RawClient;
  readonly #session: Uint8Array;
  #published = 0;

  private constructor(assault: Assault, publisher: RawClient, session: Uint8Array) {
    this.#assault = assault;
    this.#publisher = publisher;
    this.#session = session;
  }

  /** Connects both; who is to hear the messages loses its connection. */
  static async meet(assault: Assault): Promise<OtherPair> {
    const publisher = await assault.opened(assault.keys.many);
    const absent = await assault.authenticated(assault.keys.many);
    const { session } = await absent.open({ topics: [TOPIC] });
    assault.drop(absent);
    return new OtherPair(assault, publisher, session);
  }

  /** Publishes until the attack is over. */
  async publish(): Promise<void> {
    const message = frame(Type.PUBLISH, TOPIC, MESSAGE);
    for (; !this.#assault.isOver; await delay(PAUSE_MS)) {
      if (await this.#publisher.send(message)) this.#published++;
    }
  }

  /** Comes back, and gets all of it. */
  async end(): Promise<void> {
    const assault = this.#assault;
    const isThere = await within(ANSWER_MS, this.#publisher.flush());
    assault.expect("a client of another key lost its connection", isThere === true);
    const back = await assault.authenticated(assault.keys.many);
    const { outcome } = await back.open({ session: this.#session, topics: [TOPIC] });
    assault.expect("a detached session of another key was forgotten", outcome === RESUMED);
    let heard = 0;
    const all = async () => {
      while (heard < this.#published && await back.frameOf(Type.PUBLISH)) heard++;
    };
    await within(ANSWER_MS, all());
    assault.count("messages of another key", heard);
    assault.expect("a detached session of another key lost messages", heard === this.#published);
  }
}

/** Leaves sessions behind, many more than there are places. */
export const placeTakers: Attack = {
  name: "place-takers",
  what:
    `connect, OPEN, close, over and over, with a key that grants nothing; ${PLACES} places, one of ` +
    "them of a client of another key that is away",
  broker: SMALL,
  async run(assault) {
    const pair = await OtherPair.meet(assault);
    const publishing = pair.publish();
    await assault.keepOn(AT_ONCE, async () => {
      assault.drop(await assault.opened(assault.keys.nobody));
      assault.count("sessions");
    });
    await publishing;
    await pair.end();
  },
  check: ({ counts, moved }) => ({
    "there were no more sessions than places": counts["sessions"]! > PLACES,
    "no session gave up its place": moved["endings.crowded"]! > 0,
  }),
};

/** Keeps all connections that it gets, and those that it is refused. */
export const placeHolders: Attack = {
  name: "place-holders",
  what:
    `all of ${PLACES} places taken by connections that stay, and more that authenticate, are refused ` +
    "or say nothing, and do not close; others come and go, one is away",
  broker: SMALL,
  async run(assault) {
    const pair = await OtherPair.meet(assault);
    const publishing = pair.publish();
    await inParallel(PLACES, async () => {
      await assault.opened(assault.keys.restricted).catch(() => {}); // There are no places left.
    });
    await assault.keepOn(AT_ONCE, async () => {
      const client = await assault.dial();
      const handshake = client && await client.authenticate(assault.keys.restricted);
      if (handshake?.code !== 0) return; // The broker closed the oldest, and this was it.
      assault.count("connections");
      if (Math.random() < 1 / 2) return; // Never opens a session.
      await client!.send(openFrame());
      const answer = await client!.frame();
      // OPENED, when one was pushed out just now; nothing, if it was the oldest.
      if (answer?.type !== Type.GOODBYE) return;
      assault.expect("a client was not told that it is busy", answer.body[0] === Reason.BUSY);
      assault.count("refused in words");
    });
    await publishing;
    await pair.end();
  },
  check: ({ counts, moved, halfOpenMax }) => ({
    "nobody was refused": counts["refused in words"]! > 0 && moved["refusals.busy"]! > 0,
    "nobody gave up its place for another key": moved["endings.crowded"]! > 0,
    "more were without a session than may be": halfOpenMax <= HALF_OPEN + OTHERS,
  }),
};
