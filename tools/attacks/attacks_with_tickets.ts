/**
 * Attacks of those who have a ticket, and no more: they do what it grants until it ends, and nothing
 * else.
 */
import { delay } from "@std/async/delay";
import { type Assault, type Attack, FORBIDDEN, within } from "./attack.ts";
import { tryProof } from "./attacks_on_handshake.ts";
import {
  bytesOf,
  frame,
  hello,
  hmac,
  payload,
  proofOf,
  random,
  type RawCredentials,
  Reason,
  Refusal,
  small,
  ticketOf,
  topic,
  topicOf,
  Type,
} from "./raw_client.ts";

const AT_ONCE = 4;
const HOUR_MS = 3_600_000;
/** How much longer than it says a ticket is taken, as `docs/protocol.md` has it. */
const SKEW_MS = 60_000;
/** How long a connection lasts whose ticket ends soon. */
const BRIEF_MS = 300;
const NAME_BYTES_MAX = 1024;
const OWN = topic("mine", "own");
const MESSAGE = payload({ n: small(1) });

/** What a ticket says that ends in so many milliseconds, for the broker. */
function saysOf(name: string, ms: number) {
  return {
    name,
    expires: Date.now() - SKEW_MS + ms,
    for: "mallory",
    publish: [["mine", "own"], "secret"],
    subscribe: [["mine", "own"], "pair"],
  };
}

/** What is made of the name of a ticket. */
const FORGERIES: readonly ((name: string) => string)[] = [
  (name) => name.replace('["mine","own"]', '"mine"'),
  (name) => name.replace(/,"publish":.*(?=})/, ""),
  (name) => name.replace(/"expires":1/, '"expires":2'),
  (name) => name.replace("mallory", "ann"),
  (name) => name.replace("restricted", "insider"),
  (name) => name.replace('"restricted"', '""'),
  (name) => name.replace("restricted", "nobody knows"),
  (name) => name.slice(0, -10),
  (name) => `${name} `,
  () => "restricted",
  () => `~${"[".repeat(NAME_BYTES_MAX - 1)}`,
  () => `~${"\x1b[2J".repeat(200)}`,
  () => `~{"name":"${"\\u0061".repeat(160)}"}`,
  () => `~${random(400).toHex()}`,
];

/** See the module. */
export const tickets: Attack = {
  name: "tickets",
  what: "a ticket for [mine, own]: changed, used elsewhere, and after its end",
  async run(assault) {
    const { restricted } = assault.keys;
    const ticket = await ticketOf(restricted, saysOf(restricted.name, SKEW_MS + HOUR_MS));
    const over = await ticketOf(restricted, saysOf(restricted.name, -1));
    await Promise.all([
      trespass(assault, ticket),
      assault.keepOn(AT_ONCE, () => forge(assault, ticket)),
      assault.keepOn(1, () => useLate(assault, over)),
      assault.keepOn(1, () => useBriefly(assault)),
    ]);
  },
  check: ({ counts, moved, witness, subscriber }) => ({
    "nothing was forged": counts["forged"]! > 0,
    "what was forged was not counted": moved["refusals.key"]! >= counts["forged"]!,
    "no ticket was over": counts["refused after its end"]! > 0,
    "what was over was not counted": moved["refusals.expired"]! >= counts["refused after its end"]!,
    "no connection ended with its ticket": counts["ended with it"]! > 0,
    "an end was not counted": moved["expired"]! >= counts["ended with it"]!,
    "a forbidden message was seen": witness.forbidden + subscriber.forbidden === 0,
    "a forbidden message was not refused": moved["forbidden"] === counts["forbidden messages"],
    "what may be published was not seen": witness.gaps > 0 || witness.others["mine"]! > 0,
  }),
};

/** Publishes and subscribes beyond what the ticket grants. */
async function trespass(assault: Assault, ticket: RawCredentials): Promise<void> {
  const client = await assault.authenticated(ticket);
  const topics = [topic(), OWN, topic("mine"), topic("pair"), topic("secret"), topic("*broker")];
  const { denied } = await client.open({ topics });
  assault.expect(`${denied} of its topics were denied, not 3`, denied === 3);
  const reading = readOwn(assault, client);
  const others = [topic(), topic("mine"), topic("mine", "x"), topic("secret"), topic("pair")];
  while (!assault.isOver) {
    await client.send(...others.map((block) => frame(Type.PUBLISH, block, FORBIDDEN)));
    assault.count("forbidden messages", others.length);
    await client.send(frame(Type.PUBLISH, OWN, MESSAGE));
    await delay(2);
  }
  await client.send(frame(Type.ASK));
  await delay(200);
  assault.drop(client);
  await reading;
}

/** Reads what it gets; nothing of others may be among that. */
async function readOwn(
  assault: Assault,
  client: Awaited<ReturnType<Assault["authenticated"]>>,
): Promise<void> {
  for (let next = await client.frame(); next !== undefined; next = await client.frame()) {
    if (next.type === Type.ASK || next.type === Type.REFUSED) await client.acknowledge();
    if (next.type !== Type.PUBLISH) continue;
    const [first, second] = topicOf(next.body);
    const isOwn = first === undefined || first === "mine" && second === "own";
    assault.expect(`a ticket received [${first}, ${second}] that may not`, isOwn);
  }
}

/** Says that the ticket is another, and proves the key that it has, or one that is made of that. */
async function forge(assault: Assault, { name, key }: RawCredentials): Promise<void> {
  for (const change of FORGERIES) {
    const changed = bytesOf(change(name));
    const made = await hmac(key, bytesOf("mpubsub ticket\0"), changed);
    const ours = hello({ name: changed });
    await Promise.all(
      [key, made].map((each) =>
        tryProof(assault, "forged", ours, (challenge) => proofOf(each, ours, challenge))
      ),
    );
    if (assault.isOver) return;
  }
}

/** Uses a ticket that is over: only who proves it hears that. */
async function useLate(assault: Assault, over: RawCredentials): Promise<void> {
  const client = await assault.dial();
  if (client === undefined) return;
  const { code } = await client.authenticate(over);
  assault.drop(client);
  if (code === undefined) return; // It was the oldest of too many.
  assault.expect(`who has a ticket that is over got ${code}`, code === Refusal.EXPIRED);
  assault.count("refused after its end");
  const ours = hello({ name: bytesOf(over.name) });
  await tryProof(assault, "forged", ours, (challenge) => proofOf("x", ours, challenge));
}

/** Publishes on and on over a connection whose ticket ends. */
async function useBriefly(assault: Assault): Promise<void> {
  const { restricted } = assault.keys;
  const ticket = await ticketOf(restricted, saysOf(restricted.name, BRIEF_MS));
  const client = await assault.opened(ticket);
  let isOpen = true;
  const ending = within(5000, client.goodbye()).then((reason) => {
    isOpen = false;
    assault.expect(`a ticket ended with ${reason}`, reason === Reason.EXPIRED);
    assault.count("ended with it");
  });
  while (isOpen && await client.send(frame(Type.PUBLISH, OWN, MESSAGE), frame(Type.ASK))) {
    await delay(1);
  }
  await ending;
  assault.drop(client);
}
