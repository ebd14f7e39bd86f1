/**
 * What a client of another WebSocket implementation does in tests: it authenticates, publishes, and
 * gets back what it has published. It needs no Deno: it is bundled for other runtimes, too.
 */
import {
  bytesOf,
  bytesValue,
  type Carrier,
  type Credentials,
  frame,
  join,
  payload,
  RawClient,
  Reason,
  Refusal,
  topic,
  topicOf,
  Type,
} from "../../tools/attacks/raw_client.ts";
import { SocketConn, StreamConn } from "../../tools/harness/socket_conn.ts";

/** To where the client publishes, and from where it gets that back. */
export const UP = "up";
export const DOWN = "down";
/** One for each way to write the length of a frame, and what passes in several. */
const SIZES = [16, 1024, 200_000];

/** Talks with a broker whose other client sends back what it gets; what there is to say of it. */
export async function converse(conn: Carrier, credentials: Credentials): Promise<string[]> {
  const client = new RawClient(conn);
  const { code } = await client.authenticate(credentials);
  if (code === undefined) return ["no answer"];
  if (code !== Refusal.NONE) return [`refused ${code}`];
  const opened = await client.open({ topics: [topic(DOWN)], name: bytesOf("foreign") });
  const said = [`opened ${opened.outcome}`];
  for (const size of SIZES) {
    const body = payload({ data: bytesValue(new Uint8Array(size).map((_, i) => i * 7)) });
    await client.send(frame(Type.PUBLISH, topic(UP), body));
    const back = (await client.frameOf(Type.PUBLISH))!;
    const isSame = equal(back.body, join(topic(DOWN), body));
    said.push(`${size} ${topicOf(back.body)} ${isSame ? "same" : "other"}`);
    await client.acknowledge();
  }
  await client.send(frame(Type.GOODBYE, Uint8Array.of(Reason.DONE)));
  await client.ended();
  return said;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** What is said of a conversation in which all went well. */
export const WELL: readonly string[] = [
  "opened 0",
  ...SIZES.map((size) => `${size} ${DOWN} same`),
];

/**
 * Talks over the WebSockets of this runtime, one at each address after the other; each time what there is to
 * say of it, and with which code it was closed.
 */
export async function converseByWebSocket(
  addresses: readonly string[],
  credentials: Credentials,
): Promise<string[]> {
  const said: string[] = [];
  for (const address of addresses) {
    const conn = new SocketConn(new WebSocket(address));
    said.push(...await converse(conn, credentials));
    const { code } = await conn.closed;
    said.push(`closed ${code}`);
  }
  return said;
}

/** The same over the streams that Deno has. */
export async function converseByWebSocketStream(
  addresses: readonly string[],
  credentials: Credentials,
): Promise<string[]> {
  const said: string[] = [];
  for (const address of addresses) {
    const socket = new WebSocketStream(address);
    const { readable, writable } = await socket.opened;
    const conn = new StreamConn(readable.getReader(), writable.getWriter());
    said.push(...await converse(conn, credentials));
    const { closeCode } = await socket.closed as { closeCode?: number };
    said.push(`closed ${closeCode}`);
  }
  return said;
}
