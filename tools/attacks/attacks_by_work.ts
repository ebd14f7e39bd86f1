/**
 * Attacks of those who have a key, and let the broker or its clients work as much as they can with as
 * little as they can: nothing of it may grow faster than what they send, or hold up the others.
 */
import { delay } from "@std/async/delay";
import { type Assault, type Attack, type BrokerSetup, inParallel, MEMORY_BYTES } from "./attack.ts";
import {
  bytesOf,
  bytesValue,
  frame,
  join,
  number,
  openFrame,
  payload,
  type RawClient,
  Reason,
  repeat,
  size,
  sized,
  small,
  topic,
  Type,
} from "./raw_client.ts";

const MIB = 2 ** 20;
const MESSAGE = payload({ n: small(1) });
/** How many of a fleet connect at a time. */
const CONNECTING = 16;
/** How many topics each of many sessions subscribes to: as many as it may. */
const FLEET_TOPICS = 1024;
/** What the topics of a fleet take at the broker. */
const FLEET_BYTES = 640 * MIB;
const PACE_MS = 10;
/** Takes large messages, and keeps sessions for as long as a broker does by default. */
const ROOMY: BrokerSetup = {
  limits: { messageBytes: 64 * MIB, queueBytes: 256 * MIB },
  resumeWindow: 60_000,
};
const SET = 0xb3;
const STRING = 0xae;

/** Sends the same bytes so many times a second, at once for the first time, and reads what comes back. */
export async function sendPaced(
  assault: Assault,
  client: RawClient,
  what: string,
  bytes: Uint8Array,
  perSecond: number,
): Promise<void> {
  const reading = client.ended();
  const began = performance.now();
  for (let sent = 0; !assault.isOver; await delay(PACE_MS)) {
    const due = 1 + Math.floor((performance.now() - began) / 1000 * perSecond) - sent;
    if (due <= 0) continue;
    if (!await Promise.race([client.send(repeat(bytes, due)), assault.over])) break;
    sent += due;
    assault.count(what, due);
  }
  assault.drop(client);
  await reading;
}

/** Messages far larger than those of the others. */
export const largeMessages: Attack = {
  name: "large-messages",
  what: "messages of 32 MiB (in less than 5 s: 16 MiB), one after the other, which nobody wants",
  broker: ROOMY,
  memoryBytes: 512 * MIB,
  async run(assault) {
    const client = await assault.opened(assault.keys.restricted);
    const bytes = assault.size(32, 16) * MIB;
    const data = payload({ data: bytesValue(new Uint8Array(bytes)) });
    const message = frame(Type.PUBLISH, topic("mine", "large"), data);
    do {
      await client.send(message);
      assault.expect("a large message ended the session", await client.flush());
      assault.count("MiB", bytes / MIB);
    } while (!assault.isOver);
    assault.drop(client);
  },
  check: ({ counts }) => ({ "no large message was taken": counts["MiB"]! > 0 }),
};

/** Many sessions, all with the same topics. */
class Fleet {
  readonly #clients: RawClient[] = [];

  /** Connects all of them. */
  async join(assault: Assault): Promise<void> {
    const topics = Array.from({ length: FLEET_TOPICS }, (_, i) => topic("fleet", `t${i}`));
    const opening = openFrame({ topics });
    let left = assault.size(800, 200);
    await inParallel(CONNECTING, async () => {
      while (left-- > 0) {
        const client = await assault.authenticated(assault.keys.insider);
        await client.send(opening);
        await client.frameOf(Type.OPENED);
        this.#clients.push(client);
      }
    });
  }

  /** Ends all connections at once, perhaps with a word. */
  leave(assault: Assault, ...last: readonly Uint8Array[]): void {
    assault.count("sessions", this.#clients.length);
    for (const client of this.#clients.splice(0)) {
      client.send(...last).then(() => assault.drop(client));
    }
  }
}

const fleet = new Fleet();
/** Forgets sessions together, soon after they have lost their connections. */
const FORGETFUL = { resumeWindow: 500 };

/** A fleet that says goodbye, all of it at the same time. */
export const fleetLeaves: Attack = {
  name: "fleet-leaves",
  what: `800 sessions (in less than 5 s: 200) with the same ${FLEET_TOPICS} topics leave at once`,
  broker: FORGETFUL,
  memoryBytes: FLEET_BYTES,
  prepare: (assault) => fleet.join(assault),
  async run(assault) {
    fleet.leave(assault, frame(Type.GOODBYE, number(Reason.DONE, 1)));
    await assault.over;
  },
  check: ({ counts, moved }) => ({
    "the sessions did not leave": moved["resumed"] === 0 && counts["sessions"]! > 0,
  }),
};

/** A fleet that loses its power: its sessions are forgotten together when their time has passed. */
export const fleetVanishes: Attack = {
  name: "fleet-vanishes",
  what: "the same sessions lose their connections, and are forgotten at once half a second later",
  broker: FORGETFUL,
  memoryBytes: FLEET_BYTES,
  prepare: (assault) => fleet.join(assault),
  async run(assault) {
    fleet.leave(assault);
    await Promise.all([assault.over, delay(1500)]);
  },
  check: ({ counts }) => ({ "no session vanished": counts["sessions"]! > 0 }),
};

/** Interests that change, and messages to other topics. */
function interestChanges(perSecond: number): Attack {
  return {
    name: `interest-changes-${perSecond}`,
    what: `${perSecond} changes of interests a second, and messages to 5000 other topics`,
    async run(assault) {
      const { insider } = assault.keys;
      const changer = await assault.opened(insider);
      const publisher = await assault.opened(insider);
      const block = topic("elsewhere", "changing");
      const change = join(frame(Type.SUBSCRIBE, block), frame(Type.UNSUBSCRIBE, block));
      const traffic = Array.from(
        { length: 5000 },
        (_, i) => frame(Type.PUBLISH, topic("traffic", `t${i}`), MESSAGE),
      );
      await Promise.all([
        sendPaced(assault, changer, "changes / 2", change, perSecond / 2),
        sendPaced(assault, publisher, "messages / 5000", join(...traffic), 4),
      ]);
    },
    check: ({ seconds, counts }) => ({
      "interests did not change": counts["changes / 2"]! > seconds * perSecond / 2 / 4,
    }),
  };
}

/** A few changes a second, and many. */
export const changesOfInterests: readonly Attack[] = [200, 2000].map(interestChanges);

/** A key without any right that lets the broker work out who would get what it may not send. */
export const powerless: Attack = {
  name: "powerless",
  what:
    "SUBSCRIBE, a broadcast and UNSUBSCRIBE of a key that grants nothing, 4 kB a second, among " +
    "400 of its sessions (in less than 5 s: 100) that are away, each with 1024 denied topics",
  broker: ROOMY,
  memoryBytes: FLEET_BYTES,
  async prepare(assault) {
    const topics = Array.from({ length: FLEET_TOPICS }, (_, i) => topic("denied", `t${i}`));
    let left = assault.size(400, 100);
    await inParallel(CONNECTING, async () => {
      while (left-- > 0) assault.drop(await assault.opened(assault.keys.nobody, { topics }));
    });
  },
  async run(assault) {
    const client = await assault.opened(assault.keys.nobody);
    const block = topic("x");
    const round = join(
      frame(Type.SUBSCRIBE, block),
      frame(Type.PUBLISH, topic(), MESSAGE),
      frame(Type.UNSUBSCRIBE, block),
    );
    await sendPaced(assault, client, "rounds", round, 4000 / round.length);
  },
  check: ({ moved }) => ({
    "nothing was denied": moved["deniedSubscriptions"]! > 0 && moved["forbidden"]! > 0,
  }),
};

/** A key with as many grants as there may be, each of which the root stands for. */
export const manyGrants: Attack = {
  name: "many-grants",
  what: "a key with 4096 grants subscribes to the root and takes that back, with 1 kB a second",
  memoryBytes: 2 * MEMORY_BYTES, // As many interests each time, which are garbage afterwards.
  async run(assault) {
    const client = await assault.opened(assault.keys.many);
    const toggle = join(frame(Type.SUBSCRIBE, topic()), frame(Type.UNSUBSCRIBE, topic()));
    await sendPaced(assault, client, "toggles", toggle, 1000 / toggle.length);
  },
  check: ({ counts }) => ({ "nothing was toggled": counts["toggles"]! > 0 }),
};

/** Members that have the same place in a table of V8: strings that look like indexes of arrays. */
function collidingStrings(count: number): Uint8Array {
  const members = Array.from(
    { length: count },
    (_, i) => join(Uint8Array.of(STRING), sized(bytesOf(String((i + 1) * 16_384)))),
  );
  return payload({ v: join(Uint8Array.of(SET), size(count), ...members) });
}

/** Sets whose members collide, for the subscriber of the pair. */
export const collidingSets: Attack = {
  name: "colliding-sets",
  what: "Sets of 20,000 strings that look like indexes and collide, one a second, to the pair",
  async run(assault) {
    const client = await assault.opened(assault.keys.insider);
    const message = frame(Type.PUBLISH, topic("pair", "sets"), collidingStrings(20_000));
    await sendPaced(assault, client, "Sets", message, 1);
  },
  // Before they are noticed the subscriber itself is busy with them, and so is the witness.
  riseMs: 300,
  check: ({ counts, subscriber }) => ({
    "the subscriber got no Sets, and no errors": counts["Sets"]! > 0 &&
      subscriber.errors + (subscriber.others["pair"] ?? 0) > 0,
  }),
};
