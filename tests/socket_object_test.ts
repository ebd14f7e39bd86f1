import { assertEquals } from "@std/assert";
import { Account } from "../base/account.ts";
import { SocketObject } from "../io/socket_object.ts";

/** A `WebSocket` that is open, and goes nowhere. */
class Socket {
  readonly readyState = WebSocket.OPEN;
  readonly bufferedAmount = 0;
  onmessage: ((event: { data: ArrayBuffer }) => void) | undefined;
  close(): void {}

  /** What it takes for one that comes from a platform. */
  get asSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  receive(size: number): void {
    this.onmessage!({ data: new ArrayBuffer(size) });
  }
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
