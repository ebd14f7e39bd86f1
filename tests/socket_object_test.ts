import { assert, assertEquals, assertRejects } from "@std/assert";
import { runInNewContext } from "node:vm";
import { Account } from "../base/account.ts";
import { writeAll } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";
import { SocketObject } from "../io/socket_object.ts";
import { until } from "../tools/harness/until.ts";
import { FakePage } from "./helpers/fake_page.ts";

const MIB = 1024 * 1024;

/** A `WebSocket` that is open, and goes nowhere. */
class Socket {
  readonly readyState = WebSocket.OPEN;
  bufferedAmount = 0;
  sent = 0;
  closed: number | undefined;
  onerror: ((event: object) => void) | undefined;
  onmessage: ((event: { data: ArrayBuffer | string }) => void) | undefined;

  send(bytes: Uint8Array): void {
    this.sent += bytes.length;
    this.bufferedAmount += bytes.length;
  }

  close(code: number): void {
    this.closed ??= code;
  }

  /** What it takes for one that comes from a platform. */
  get asSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  receive(size: number): void {
    this.onmessage!({ data: new ArrayBuffer(size) });
  }
}

/** Waits until promises have done what they can; no timer fires meanwhile. */
async function untilIdle(): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) await Promise.resolve();
}

Deno.test("SocketObject counts what waits to be read, from the first on, until it is closed", async () => {
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, 1024);
  const account = new Account();
  socket.receive(100);
  stream.count(account);
  socket.receive(50);
  assertEquals(account.bytes, 150);
  assertEquals(await stream.read(new Uint8Array(120)), 120);
  assertEquals(account.bytes, 30);
  stream.uncount();
  assertEquals(account.bytes, 0);
  stream.close();
  assertEquals(await stream.read(new Uint8Array(120)), 30);
  assertEquals(account.bytes, 0);
});

Deno.test("SocketObject hands over no more than 272 KiB that waits to be sent, and goes on as it goes", async () => {
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, 1024);
  const written = writeAll(stream, new Uint8Array(MIB));
  await until(() => socket.bufferedAmount > 256 * 1024);
  assertEquals(socket.sent, 272 * 1024);
  socket.bufferedAmount = 0;
  await until(() => socket.sent === 544 * 1024);
  socket.bufferedAmount = 0;
  await until(() => socket.sent === 816 * 1024);
  socket.bufferedAmount = 0;
  await written;
});

Deno.test("SocketObject looks whether it may send when something comes, without a timer", async () => {
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, 1024);
  const written = writeAll(stream, new Uint8Array(512 * 1024));
  await untilIdle();
  assertEquals(socket.sent, 272 * 1024);
  socket.bufferedAmount = 0;
  socket.receive(1);
  await untilIdle();
  assertEquals(socket.sent, 512 * 1024);
  await written;
});

Deno.test("SocketObject does not wait in a hidden page, whose timers fire once a minute", async () => {
  using _page = new FakePage({ href: "https://app.example", visibilityState: "hidden" });
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, 1024);
  const written = writeAll(stream, new Uint8Array(4 * MIB));
  await untilIdle();
  assertEquals(socket.sent, 4 * MIB);
  await written;
});

Deno.test("SocketObject that is closed ends a write that waits", async () => {
  const socket = new Socket();
  socket.bufferedAmount = MIB;
  const stream = new SocketObject(socket.asSocket, 1024);
  const written = assertRejects(() => stream.write(new Uint8Array(1)), Error, "is closed");
  stream.close();
  await written;
  assertEquals(socket.sent, 0);
});

Deno.test("SocketObject takes 64 KiB of whom nobody knows yet, and later what a session may send", async () => {
  const untrusted = new Socket();
  const stream = new SocketObject(untrusted.asSocket, MIB);
  untrusted.receive(64 * 1024);
  assertEquals(untrusted.closed, undefined);
  untrusted.receive(1);
  assertEquals(untrusted.closed, 3001);
  await stream.read(new Uint8Array(MIB));
  await assertRejects(() => stream.read(new Uint8Array(1)), ProtocolError, "more than 65536 bytes");

  const trusted = new Socket();
  new SocketObject(trusted.asSocket, MIB).trust();
  trusted.receive(5 * MIB);
  assert(trusted.closed === undefined);
  trusted.receive(1);
  assertEquals(trusted.closed, 3001);
});

Deno.test("SocketObject takes bytes of another realm, as test environments of pages have them, and no text", async () => {
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, MIB);
  const foreign: ArrayBuffer = runInNewContext("Uint8Array.of(1, 2, 3).buffer");
  assertEquals(foreign instanceof ArrayBuffer, false);
  socket.onmessage!({ data: foreign });
  const into = new Uint8Array(4);
  assertEquals([await stream.read(into), into], [3, Uint8Array.of(1, 2, 3, 0)]);
  assertEquals(socket.closed, undefined);
  socket.onmessage!({ data: "1" });
  assertEquals(socket.closed, 3000);
  await assertRejects(() => stream.read(into), ProtocolError, "a text came");
});

Deno.test("SocketObject keeps nothing of messages without bytes", async () => {
  const socket = new Socket();
  const stream = new SocketObject(socket.asSocket, MIB);
  let reads = 0;
  const read = stream.read(new Uint8Array(4)).finally(() => reads++);
  socket.receive(0);
  await untilIdle();
  assertEquals(reads, 0);
  socket.receive(1);
  assertEquals(await read, 1);
});

Deno.test("SocketObject ends after an error that no close follows", async () => {
  for (const event of [{}, { message: "what Node says" }]) {
    const socket = new Socket();
    const stream = new SocketObject(socket.asSocket, MIB);
    socket.onerror!(event);
    assertEquals(await stream.read(new Uint8Array(4)), null);
    await assertRejects(() => stream.write(new Uint8Array(4)), Error, "the WebSocket is closed");
  }
});
