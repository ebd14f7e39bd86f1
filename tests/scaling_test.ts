/** Holds `docs/scaling.md` against what runs. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { AGE_MIN_MS, STREAM_LIMITS } from "../nats/jetstream_setup.ts";
import { PAYLOAD_BYTES_MIN } from "../nats/packet.ts";
import { busPrefix, patternOf, SUBJECT_BYTES_MAX, subjectOf } from "../nats/subject.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { MODES, natsTest } from "./helpers/nats.ts";
import { until } from "../tools/harness/until.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/scaling.md", import.meta.url));

/** The block of the page's configuration of NATS that says who may do what. */
const AUTHORIZATION = /^authorization \{\n(?: .*\n)+\}$/m.exec(PAGE)![0];

for (const [mode, stream] of MODES) {
  natsTest(
    `docs/scaling.md gives a broker in ${mode} mode the permissions that it needs`,
    async () => {
      const config = `BROKER_PASSWORD: secret\n${AUTHORIZATION}`;
      await using server = await NatsServer.start({ jetstream: true, config });
      const servers = server.url.replace("//", "//broker:secret@");
      const uplink = { servers, bus: "plant", ...(stream !== undefined && { stream }) };
      await using machines = await Machines.start([{ uplink }, { uplink }]);
      await machines.subscriber("one", 1, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      publish(["a", "b"]);
      publish(null);
      await until(() => machines.seen.one!.length === 2);
      assertEquals(machines.faults(), []);
      const events = machines.all.flatMap((machine) => machine.events);
      assertEquals(events.filter((event) => event.startsWith("warning")), []);
    },
  );
}

natsTest("NatsUplink says so when NATS does not allow its bus", async () => {
  const config = `BROKER_PASSWORD: secret\n${AUTHORIZATION}`;
  await using server = await NatsServer.start({ config });
  const servers = server.url.replace("//", "//broker:secret@");
  await using machine = new Machine({ uplink: { servers, bus: "elsewhere" } });
  await machine.broker.start();
  await until(() => machine.events.some((event) => /warning: .*mpubsub\.elsewhere/.test(event)));
});

Deno.test("docs/scaling.md shows subjects as they are, and the limits", () => {
  const path = ["a", "b.c"];
  assertStringIncludes(PAGE, `\`${subjectOf(busPrefix("plant"), path)}\``);
  assertStringIncludes(PAGE, `\`${patternOf(busPrefix("plant"), path)}\``);
  assertStringIncludes(PAGE, `\`${subjectOf(busPrefix("plant"), [])}\``);
  const text = PAGE.replaceAll(/\s+/g, " ");
  assertStringIncludes(text, `has at most ${SUBJECT_BYTES_MAX} bytes`);
  assertStringIncludes(text, `messages of ${PAYLOAD_BYTES_MIN / 1024} KiB`);
  const least = PAYLOAD_BYTES_MIN.toLocaleString("en");
  assertStringIncludes(text, `\`max_msg_size\` and \`max_bytes\` of at least ${least} bytes`);
  assertStringIncludes(text, `\`max_age\` of at least ${AGE_MIN_MS / 1000} s`);
  const { bytes, ageMs, replicas } = STREAM_LIMITS;
  assertEquals([bytes, ageMs, replicas], [2 ** 30, 24 * 3600 * 1000, 3]);
  assert(text.includes("at most 1 GiB and a day") && text.includes("with three replicas"));
});
