/**
 * How many messages a second pass from one publisher through the broker to one subscriber, each a
 * process of its own, through the public interface.
 *
 * ```sh
 * deno task bench                  # 16 bytes, for 3 s over TCP and 3 s over a Unix socket
 * deno task bench --bytes 1024 --seconds 10
 * ```
 */
import { parseArgs } from "@std/cli/parse-args";
import { Broker, NetPubSub } from "../mod.ts";

/** How many messages may be on their way; the subscriber says how far it is twice as often. */
const WINDOW = 100_000;

interface Topics {
  data: { data: Uint8Array };
  taken: { count: number };
}

async function subscriber(bus: NetPubSub<Topics>): Promise<void> {
  let count = 0;
  bus.addSubscriber("data", () => {
    if (++count % (WINDOW / 2) === 0) bus.publish("taken", { count });
  });
  await bus.connect();
  console.log("ready");
  await bus.closed;
}

async function publisher(
  bus: NetPubSub<Topics>,
  { bytes, seconds }: { bytes: number; seconds: number },
): Promise<void> {
  let taken = 0;
  let go = () => {};
  bus.addSubscriber("taken", (_topic, { count }) => {
    taken = count;
    go();
  });
  await bus.connect();
  const data = new Uint8Array(bytes);
  const start = performance.now();
  for (let sent = 0; performance.now() - start < seconds * 1000;) {
    while (sent - taken >= WINDOW) await new Promise<void>((resolve) => go = resolve);
    for (const end = sent + 1000; sent < end; sent++) bus.publish("data", { data });
    // The socket is written between turns of the event loop; a loop of `publish` alone only queues.
    if (bus.pending > 1_000_000) await bus.flush();
  }
  console.log(Math.round(taken / (performance.now() - start) * 1000));
}

/** Starts this file as another process. */
function spawn(role: string, args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--quiet", import.meta.url, `--role=${role}`, ...args],
    stdin: "null",
    stdout: "piped",
  }).spawn();
}

async function measure(address: string | undefined, args: string[]): Promise<void> {
  await using broker = new Broker({ ...(address && { address }), authkey: "bench" });
  await broker.start();
  const to = [...args, `--address=${broker.address}`];
  const taker = spawn("subscriber", to);
  const ready = taker.stdout.getReader();
  await ready.read();
  const { stdout } = await spawn("publisher", to).output();
  const rate = Number(new TextDecoder().decode(stdout));
  console.log(`${new URL(broker.address).protocol.padEnd(6)} ${rate.toLocaleString("en")} msg/s`);
  taker.kill();
  await taker.status;
  await ready.cancel();
}

const flags = parseArgs(Deno.args, {
  string: ["role", "address", "bytes", "seconds"],
  default: { bytes: "16", seconds: "3" },
});
const { role, address } = flags;
if (role === undefined) {
  const args = [`--bytes=${flags.bytes}`, `--seconds=${flags.seconds}`];
  await measure("tcp://127.0.0.1:0", args);
  await measure(undefined, args);
} else {
  await using bus = new NetPubSub<Topics>(String(address), "bench");
  const options = { bytes: Number(flags.bytes), seconds: Number(flags.seconds) };
  await (role === "subscriber" ? subscriber(bus) : publisher(bus, options));
}
