/** Checks the worked example of `docs/protocol.md` against the code. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { encodeFrame, FrameType, Reason } from "../protocol/frame.ts";
import {
  encodeAck,
  encodeGoodbye,
  encodeOpened,
  encodeOpening,
  Resumption,
} from "../protocol/frame_bodies.ts";
import { encodeNumber } from "../protocol/job_bodies.ts";
import { BrokerHandshake, ClientHandshake } from "../protocol/handshake.ts";
import { decodeTopic, encodeTopic, topicEnd } from "../protocol/topic_block.ts";
import { decode, encode } from "../tools/harness/payload.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/protocol.md", import.meta.url));
const KEY = new TextEncoder().encode("secret");
const LIMITS = { messageBytes: 2 ** 20, topicElements: 16, elementBytes: 255, subscriptions: 1024 };
const OPENING = { session: undefined, taken: 0, calls: 0, wait: false, patience: 0, name: "demo" };
const OPENED = {
  outcome: Resumption.NEW,
  session: Uint8Array.from({ length: 16 }, (_, i) => 0xe0 + i),
  taken: 0,
  calls: 0,
  missed: 0,
  heartbeat: 15_000,
  window: 2 ** 20,
  limits: LIMITS,
};
const MESSAGE = { celsius: 21.5, tags: ["warm", -1] };

/** The bytes of the example by "side name", in the order of the page. */
function readExample(): Map<string, Uint8Array<ArrayBuffer>> {
  const lines = /^```text\n([^]*?)^```$/m.exec(PAGE)![1]!.trimEnd().split("\n");
  const steps = new Map<string, number[]>();
  let bytes: number[] = [];
  for (const line of lines) {
    const [, side, name, hex] = /^(?:(client|broker) +(\w+))? +([0-9a-f ]+)$/.exec(line)!;
    if (side !== undefined) steps.set(`${side} ${name}`, bytes = []);
    bytes.push(...hex!.split(" ").map((byte) => parseInt(byte, 16)));
  }
  return new Map([...steps].map(([step, list]) => [step, Uint8Array.from(list)]));
}

const EXAMPLE = readExample();

Deno.test("docs/protocol.md shows the handshake that both sides make", async () => {
  const hello = EXAMPLE.get("client hello")!;
  const challenge = EXAMPLE.get("broker challenge")!;
  const client = new ClientHandshake(KEY, "", hello.slice(10, 42));
  const broker = new BrokerHandshake(challenge.slice(10, 26), () => ({ bytes: KEY }));
  assertEquals(client.hello, hello);
  assertEquals(broker.challenge(hello, challenge.slice(26)), challenge);
  const proof = await client.prove(challenge);
  assertEquals(proof, EXAMPLE.get("client proof"));
  const { answer } = await broker.answer(EXAMPLE.get("client proof")!);
  assertEquals(answer, EXAMPLE.get("broker answer"));
  assertEquals(
    await client.verify(EXAMPLE.get("broker answer")!.slice(1)),
    challenge.slice(10, 26),
  );
});

Deno.test("docs/protocol.md shows the frames that both sides send", () => {
  const topic = encodeTopic(["sensors", "kitchen"]);
  const payload = encode(MESSAGE);
  const frames: [string, Uint8Array][] = [
    [
      "client OPEN",
      encodeFrame(
        FrameType.OPEN,
        encodeOpening(OPENING),
        encodeNumber(1),
        encodeTopic(["sensors"]),
      ),
    ],
    ["broker OPENED", encodeFrame(FrameType.OPENED, encodeOpened(OPENED))],
    ["client PUBLISH", encodeFrame(FrameType.PUBLISH, topic, payload)],
    ["client ASK", encodeFrame(FrameType.ASK)],
    ["broker ACK", encodeFrame(FrameType.ACK, encodeAck(1, 1))],
    ["client GOODBYE", encodeFrame(FrameType.GOODBYE, encodeGoodbye(Reason.DONE, ""))],
  ];
  assertEquals([...EXAMPLE].slice(4), frames);
});

Deno.test("docs/protocol.md shows a message that can be read back", () => {
  const frame = EXAMPLE.get("client PUBLISH")!;
  const payload = topicEnd(frame, 2, frame.length);
  assertEquals(decodeTopic(frame, 2, payload, LIMITS), ["sensors", "kitchen"]);
  assertEquals(decode(frame.subarray(payload)), MESSAGE);
});

Deno.test("docs/protocol.md names every frame, reason and refusal with its number", async () => {
  const { Refusal } = await import("../protocol/handshake.ts");
  const row = (number: number, text: string) => new RegExp(`^\\| ${number} +\\|.*${text}`, "mi");
  for (const [name, number] of Object.entries(FrameType)) {
    assertNotEquals(row(number, name).exec(PAGE), null, name);
  }
  const [reasons] = PAGE.split("| reason | meaning")[1]!.split("\n\n");
  assertEquals(reasons!.match(/^\| \d+ +\|/gm)?.length, Object.keys(Reason).length);
  const [, refusals = ""] = PAGE.split("| refusal | step");
  for (const [name, number] of Object.entries(Refusal)) {
    assertNotEquals(row(number, name).exec(refusals), null, name);
  }
});
