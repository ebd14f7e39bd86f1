/**
 * Attacks a broker in every way that we can think of, one after the other, and checks that it stands:
 * each attack ends as the protocol says, a healthy pair of clients loses nothing and is not slower than
 * without the attack, and the broker's memory stays within bounds.
 *
 * ```sh
 * deno task abuse                          # all attacks, 5 s each
 * deno task abuse --seconds 1
 * deno task abuse --attack replay --rounds 3
 * ```
 *
 * ```
 *   attacker ───▶ ┌────────┐ ◀─── publisher, subscriber: the pair, which must not notice
 *   (a process    │ broker │ ◀─── witness: subscribes to everything, sees what nobody may see
 *   for each)     └────────┘ ◀─── newcomers: connect meanwhile, and go
 *                 ┌────────┐
 *                 │ broker │ ◀─── publisher, subscriber: another pair, beside the attack
 *                 └────────┘
 * ```
 *
 * - Each is a process of its own, but for the newcomers, which are here. The attacker's client shares
 *   no code with the library (`raw_client.ts`).
 * - The pair is measured by turns: without an attack, with it, and without it again. What counts is by
 *   how much its median and its p99 rise.
 * - Attackers take processors from everybody on this machine, and so do other programs. Therefore
 *   another pair, at a broker that nobody attacks, is measured at the same time, and a rise is what the
 *   pair has over the worse of both. And Linux tells for how long the broker and the subscriber had work
 *   and no processor: a rise is divided by what that makes of it.
 * - An attack during which something rises too much is made three times; then it has to rise in two.
 *
 * The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { NatsUplink } from "../../nats.ts";
import { hasNatsServer } from "../harness/nats_server.ts";
import {
  endWithParent,
  isRight,
  mib,
  Process,
  serveMeasured,
  stretchBetween,
  tell,
  told,
} from "../harness/processes.ts";
import { Rise } from "../harness/rise.ts";
import { Assault, type Attack, type AttackReport, type Target, within } from "./attack.ts";
import { ATTACKS } from "./attacks.ts";
import { Newcomers, type Role, standBy, type Watched } from "./bystanders.ts";
import { faultsOf, movedBetween, type Outcome, show } from "./outcome.ts";
import { Beside, HONEST, keysOf, RESUME_WINDOW_MS, Scene, type Served } from "./scene.ts";

/**
 * By how much what the broker holds may have grown in the end, without garbage: by code that was compiled,
 * and by what it remembers of topics.
 */
const KEPT_BYTES = 24 * 2 ** 20;
/** The same of what is resident: the system's allocator gives little of it back. */
const RESIDENT_BYTES = 640 * 2 ** 20;
/** How long an attack may take beyond its time, and to take up its position. */
const GRACE_MS = 20_000;
const PREPARE_MS = 60_000;
/** The part of an attack's time for which the pair is measured without one, before and after it. */
const QUIET_PART = 1 / 2;
/** In how many rounds an attack is made during which the pair was slow. */
const DOUBTED_ROUNDS = 3;

/** Makes one attack. */
async function make(attack: Attack, scene: Scene): Promise<Outcome> {
  const { target, watch } = scene;
  await using attacker = new Attacker(attack, target);
  await attacker.ready();
  await scene.seen(); // What was before.
  const before = await watch.next();
  watch.begin(before);
  const joining = new Newcomers(target.endpoint, target.keys.single);
  const { counts, faults } = await attacker.run();
  const newcomers = await joining.end();
  const { subscriber, witness, beside } = await scene.seen();
  const { figures: after, isSettled } = await scene.settled();
  const { most } = watch;
  const facts = {
    seconds: target.seconds,
    counts,
    moved: movedBetween(before.stats, after.stats),
    halfOpenMax: most.halfOpen,
    queuedBytesMax: most.queuedBytes,
    memoryBytesMax: most.memoryBytes,
    logged: after.logged - before.logged,
    subscriber: subscriber.seen,
    witness: witness.seen,
  };
  const stretch = Math.max(
    stretchBetween(before.processor, after.processor),
    subscriber.stretch,
  );
  const latencies = new Rise(stretch).add("during", subscriber.latencies)
    .add("beside", beside.latencies);
  return { attack, facts, before, after, most, isSettled, latencies, stretch, newcomers, faults };
}

/** What an attacker tells. */
type Told = { readonly ready: true } | AttackReport;

/** An attack from a process of its own. */
class Attacker implements AsyncDisposable {
  readonly #seconds: number;
  readonly #process: Process<Told>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #reported = Promise.withResolvers<AttackReport>();
  readonly #died: Promise<Partial<AttackReport>>;

  /** Takes up its position. */
  constructor({ name }: Attack, target: Target) {
    this.#seconds = target.seconds;
    const args = ["--role=attacker", `--attack=${name}`, `--target=${JSON.stringify(target)}`];
    this.#process = new Process<Told>(import.meta.url, args, (said) => {
      if ("ready" in said) this.#ready.resolve();
      else this.#reported.resolve(said);
    });
    this.#died = this.#process.status()
      .then((code) => ({ faults: [`the attacker ended with ${code}`] }));
  }

  /** Resolves when it can begin, or has died. */
  async ready(): Promise<void> {
    await within(PREPARE_MS, Promise.race([this.#ready.promise, this.#died]));
  }

  /** Attacks. */
  async run(): Promise<AttackReport> {
    const late = { faults: [`the attack did not end within ${GRACE_MS} ms after its time`] };
    await this.#process.send({ go: true }).catch(() => {}); // It has died.
    const ended = Promise.race([this.#reported.promise, this.#died]);
    const report = await within(this.#seconds * 1000 + GRACE_MS, ended);
    return { counts: {}, faults: [], ...report ?? late };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** What was found of all attacks. */
interface Findings {
  readonly faults: string[];
  /** How many were made. */
  made: number;
  /** What the witness heard that the broker says of itself. */
  reports: number;
}

/**
 * Makes an attack in so many rounds, each between two times without one. When messages took too long,
 * there are three at least.
 *
 * @returns How long messages took without an attack at last.
 */
async function makeRounds(
  attack: Attack,
  scene: Scene,
  quietBefore: Watched,
  rounds: number,
  findings: Findings,
): Promise<Watched> {
  const rises: Rise[] = [];
  const faults: string[] = [];
  let outcome: Outcome;
  let quiet = quietBefore;
  const tooSlow = () => Rise.faults(rises, attack.riseMs).map((fault) => `the pair's ${fault}`);
  do {
    outcome = await make(attack, scene);
    faults.push(...faultsOf(outcome));
    findings.reports += outcome.facts.witness.others["*broker"] ?? 0;
    const rise = outcome.latencies.add("without", quiet.latencies);
    quiet = await scene.quiet(scene.target.seconds * 1000 * QUIET_PART);
    rises.push(rise.add("without", quiet.latencies));
  } while (
    rises.length < rounds || tooSlow().length > 0 && rises.length < DOUBTED_ROUNDS
  );
  show(outcome, Rise.of(rises));
  const all = [...new Set([...faults, ...tooSlow()])].map((fault) => `${attack.name}: ${fault}`);
  isRight(all);
  findings.faults.push(...all);
  findings.made++;
  return quiet;
}

/** Makes attacks on one broker, one after the other. */
async function makeAll(
  attacks: readonly Attack[],
  beside: Beside,
  { seconds, rounds }: Options,
  findings: Findings,
): Promise<void> {
  const { broker } = attacks[0]!;
  await using scene = await Scene.start(import.meta.url, broker ?? {}, seconds, beside);
  // Where there are few attacks, what is left of them says little.
  const first = broker === undefined ? await scene.collected() : undefined;
  let quiet = await scene.quiet(seconds * 1000 * QUIET_PART);
  for (const attack of attacks) quiet = await makeRounds(attack, scene, quiet, rounds, findings);
  if (first === undefined) return;
  await delay(RESUME_WINDOW_MS); // What the last ones left is forgotten.
  const last = await scene.collected();
  console.log(
    `the broker: ${mib(first.heap)} held at first, ${mib(last.heap)} in the end; ` +
      `${mib(first.rss)} resident at first, ${mib(last.rss)} in the end`,
  );
  const { faults } = findings;
  if (last.stats.sessions > HONEST) faults.push("the broker did not forget the attackers");
  if (last.heap - first.heap > KEPT_BYTES) {
    faults.push(`the broker holds ${mib(KEPT_BYTES)} more than at first`);
  }
  if (last.rss - first.rss > RESIDENT_BYTES) {
    faults.push(`the broker grew by more than ${mib(RESIDENT_BYTES)}`);
  }
}

interface Options {
  readonly seconds: number;
  readonly rounds: number;
}

async function run(attacks: readonly Attack[], options: Options): Promise<boolean> {
  await using beside = await Beside.start(import.meta.url);
  const findings: Findings = { faults: [], made: 0, reports: 0 };
  for (let left = [...attacks]; left.length > 0;) {
    const [{ name, broker }] = left as [Attack];
    if (broker?.uplink !== undefined && !hasNatsServer) {
      console.log(`Skipped ${name}: there is no nats-server here`);
      left = left.slice(1);
      continue;
    }
    const some = onOneBroker(left);
    const before = findings.made;
    try {
      await makeAll(some, beside, options, findings);
    } catch (error) { // Whatever it is, the others can be made with another broker.
      const fault = `${some[findings.made - before]?.name ?? "the end"}: ${error}`;
      isRight([fault]);
      findings.faults.push(fault);
      findings.made++;
    }
    left = left.slice(findings.made - before);
  }
  if (findings.reports === 0) {
    findings.faults.push("the witness did not hear what the broker says of itself");
  }
  return isRight(findings.faults);
}

/** The first ones, as far as they want the same broker. */
function onOneBroker(attacks: readonly Attack[]): readonly Attack[] {
  const other = attacks.findIndex(({ broker }) => broker !== attacks[0]!.broker);
  return attacks.slice(0, other < 0 ? undefined : other);
}

/** Attacks, in this process. */
async function assail(name: string, target: Target): Promise<void> {
  endWithParent();
  const assault = new Assault(target);
  const attack = attackNamed(name);
  await attack.prepare?.(assault);
  tell({ ready: true });
  for await (const _go of told()) break;
  assault.begin();
  await attack.run(assault);
  tell(assault.report);
}

/** Serves the broker that is attacked, in this process. */
async function serve({ options, secrets, uplink }: Served): Promise<void> {
  let logged = 0;
  const joined = uplink && new NatsUplink({
    ...uplink,
    onEvent: ({ message }) => logged += message.length,
  });
  await serveMeasured({
    ...options,
    ...(secrets && { keys: keysOf(secrets) }),
    ...(joined && { uplink: joined }),
  }, {
    collects: "when asked",
    logged: () => logged,
  });
}

function attackNamed(name: string): Attack {
  const attack = ATTACKS.find((attack) => attack.name === name);
  if (attack !== undefined) return attack;
  const names = ATTACKS.map(({ name }) => name).join(", ");
  throw new TypeError(`There is no attack "${name}": those are ${names}`);
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "options", "target", "attack", "seconds", "rounds"],
    default: { seconds: "5", rounds: "1" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const { role, attack: name } = flags;
  if (role === undefined) {
    const attacks = name === undefined ? ATTACKS : [attackNamed(String(name))];
    const options = { seconds: Number(flags.seconds), rounds: Number(flags.rounds) };
    return await run(attacks, options) ? 0 : 1;
  }
  if (role === "broker") await serve(JSON.parse(String(flags.options)));
  else if (role === "attacker") await assail(String(name), JSON.parse(String(flags.target)));
  else await standBy(role as Role, JSON.parse(String(flags.target)));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
