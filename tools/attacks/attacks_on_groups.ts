/**
 * Attacks with members of groups: who takes and never finishes, who comes and goes, who tells of jobs that it
 * never had, and jobs that nobody survives.
 */
import { type Assault, type Attack, type BrokerSetup, MEMORY_BYTES } from "./attack.ts";
import { sendPaced } from "./attacks_by_work.ts";
import {
  bytesValue,
  type Credentials,
  finishedFrame,
  frame,
  join,
  joinFrame,
  leaveFrame,
  payload,
  type RawClient,
  Reason,
  returnedFrame,
  small,
  topic,
  Type,
} from "./raw_client.ts";

const MIB = 2 ** 20;
const U32_MAX = 2 ** 32 - 1;
const MESSAGE = payload({ n: small(1) });
const JOB = frame(Type.PUBLISH, topic("jobs"), MESSAGE);
const MEMBER = { number: 1, group: "workers", topic: topic("jobs") };
/** Of attack `group-fill`. */
const MEMORY = 128 * MIB;
const FILLED: BrokerSetup = { memory: MEMORY };
const GROUPS = 64;

/** A client that is a member, with these options. */
async function member(
  assault: Assault,
  options: Partial<Parameters<typeof joinFrame>[0]> = {},
  key: Credentials = assault.keys.insider,
): Promise<RawClient> {
  const client = await assault.opened(key);
  await client.send(joinFrame({ ...MEMBER, concurrency: U32_MAX, ...options }));
  return client;
}

/** One that takes as much as it may, and does nothing. */
const hoard: Attack = {
  name: "group-hoard",
  what: "a member that takes what it gets and finishes nothing, of 20000 jobs a second",
  memoryBytes: 2 * MEMORY_BYTES,
  async run(assault) {
    const hoarder = await member(assault);
    const reading = hoarder.ended();
    const publisher = await assault.opened(assault.keys.insider);
    await sendPaced(assault, publisher, "jobs / 100", join(...new Array(100).fill(JOB)), 200);
    assault.drop(hoarder);
    await reading;
  },
  check: ({ counts }) => ({ "nothing was published": counts["jobs / 100"]! > 0 }),
};

/** Members of many groups that come and go. */
const churn: Attack = {
  name: "group-churn",
  what: `a flood of members of ${GROUPS} groups that come and go, and jobs for all of them`,
  async run(assault) {
    const changer = await assault.opened(assault.keys.insider);
    const publisher = await assault.opened(assault.keys.insider);
    const changes = Array.from({ length: GROUPS }, (_, number) => {
      const group = `g${number}`;
      return join(joinFrame({ ...MEMBER, number, group, concurrency: 1 }), leaveFrame(number));
    });
    await Promise.all([
      sendPaced(assault, changer, `changes / ${2 * GROUPS}`, join(...changes), 32),
      sendPaced(assault, publisher, "jobs", JOB, 200),
    ]);
  },
  check: ({ counts }) => ({ "nothing changed": counts[`changes / ${2 * GROUPS}`]! > 0 }),
};

/** What a client may not say of jobs. */
const forged: Attack = {
  name: "group-forged",
  what: "FINISHED and RETURNED of jobs that the client does not have, ranges without end",
  async run(assault) {
    const publisher = await assault.opened(assault.keys.insider);
    const lies: readonly [string, Uint8Array][] = [
      ["a job that nobody has", finishedFrame([[2, 1]])],
      ["number 0", finishedFrame([[0, 1]])],
      ["the same twice", finishedFrame([[1, 1], [1, 1]])],
      ["a range without end", returnedFrame([[1, U32_MAX]])],
      ["the last number", finishedFrame([[Number.MAX_SAFE_INTEGER, U32_MAX]])],
      ["a count that no number holds", finishedFrame([[2n ** 64n - 1n, 1]])],
      ["half a range", frame(Type.FINISHED, new Uint8Array(11))],
      ["no range", frame(Type.RETURNED)],
      ["a job to the broker", frame(Type.JOB, new Uint8Array(5), topic("jobs"), MESSAGE)],
    ];
    while (!assault.isOver) {
      for (const [what, lie] of lies) {
        const liar = await member(assault, { concurrency: 1 });
        await publisher.send(JOB);
        await liar.frameOf(Type.JOB);
        await liar.send(lie);
        await assault.expectGoodbye(liar, what, Reason.PROTOCOL);
        if (assault.isOver) break;
      }
    }
    // What is given back over and over comes again, and costs who gives it back a frame each time.
    const back = await member(assault, { concurrency: 1 });
    for (let n = 1; n <= 1000; n++) {
      if (n === 1) await publisher.send(JOB);
      await back.frameOf(Type.JOB);
      await back.send(returnedFrame([[n, 1]]));
      assault.count("given back");
    }
    assault.drop(back);
    assault.drop(publisher);
  },
  check: ({ counts }) => ({ "nothing was given back": counts["given back"] === 1000 }),
};

/** Jobs that wait for members that finish nothing, until the memory is full. */
const fill: Attack = {
  name: "group-fill",
  what: "jobs of 64 KiB for four groups whose members finish nothing, 60 MiB a second",
  broker: FILLED,
  memoryBytes: 2 * MEMORY,
  async run(assault) {
    const topics = Array.from({ length: 4 }, (_, n) => topic("fill", `${n}`));
    const members = await Promise.all(
      topics.map((topic, n) => member(assault, { number: n, topic, group: `g${n}` })),
    );
    const reading = members.map((client) => client.ended());
    const publisher = await assault.opened(assault.keys.insider);
    const data = payload({ data: bytesValue(new Uint8Array(64 * 1024)) });
    const jobs = join(...topics.map((topic) => frame(Type.PUBLISH, topic, data)));
    await sendPaced(assault, publisher, "jobs / 4", jobs, 240);
    for (const client of members) assault.drop(client);
    await Promise.all(reading);
  },
  check: ({ memoryBytesMax, moved, seconds }) => ({
    "more was kept than `memory`": memoryBytesMax <= MEMORY * 17 / 16,
    "the memory was never nearly full": memoryBytesMax > MEMORY * 3 / 4 || seconds < 5,
    "nothing was given up": moved["jobs.abandoned"]! > 0 || seconds < 5,
  }),
};

/** A job whose members die of it. */
const poisonJob: Attack = {
  name: "group-poison",
  what:
    "jobs that their members do not survive: each leaves with what it has, and another one comes",
  async run(assault) {
    const publisher = await assault.opened(assault.keys.insider);
    const publishing = sendPaced(assault, publisher, "jobs", JOB, 500);
    while (!assault.isOver) {
      const victim = await member(assault, { concurrency: 16 });
      if (await Promise.race([victim.frameOf(Type.JOB), assault.over]) !== undefined) {
        assault.count("victims");
      }
      await victim.send(frame(Type.GOODBYE, Uint8Array.of(Reason.DONE)));
      assault.drop(victim);
    }
    await publishing;
  },
  check: ({ counts, moved }) => ({
    "nobody was a victim": counts["victims"]! > 0,
    "no job went to another": moved["jobs.redelivered"]! > 0,
    "no job was given up": moved["jobs.abandoned"]! > 0 || counts["victims"]! < 10,
  }),
};

/** All of them. */
export const attacksOnGroups: readonly Attack[] = [hoard, churn, forged, fill, poisonJob];
