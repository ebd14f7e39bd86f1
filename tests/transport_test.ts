import { assertEquals, assertThrows } from "@std/assert";
import { type Address, formatEndpoint, parseAddress } from "../address.ts";
import { keyNameBytes } from "../auth.ts";
import { Listener } from "../transport.ts";

Deno.test("parseAddress takes every form of an address", () => {
  const cases: [Address, string][] = [
    ["unix:///run/bus.sock", "unix:///run/bus.sock"],
    ["tcp://127.0.0.1:7411", "tcp://127.0.0.1:7411"],
    ["localhost:0", "tcp://localhost:0"],
    [["127.0.0.1", 7411], "tcp://127.0.0.1:7411"],
    [["::1", 7411], "tcp://[::1]:7411"],
    [["[::1]", 7411], "tcp://[::1]:7411"],
    ["[::1]:7411", "tcp://[::1]:7411"],
    ["tcp://[::ffff:10.0.0.1]:7411", "tcp://[::ffff:10.0.0.1]:7411"],
    ["[fe80::1%eth0]:7411", "tcp://[fe80::1%eth0]:7411"],
    ["[fe80::1%en-0.5]:7411", "tcp://[fe80::1%en-0.5]:7411"],
  ];
  for (const [address, formatted] of cases) {
    assertEquals(formatEndpoint(parseAddress(address)), formatted);
    assertEquals(parseAddress(formatted), parseAddress(address));
  }
});

Deno.test("parseAddress takes nothing in brackets but an IPv6 address", () => {
  const hosts = ["[hello]", "[127.0.0.1]", "[::1", "[::1%]", "[1::2::3]", "[fe80::1%a b]", "[]"];
  for (const host of hosts) {
    assertThrows(() => parseAddress(`${host}:80`), TypeError, '["127.0.0.1", 7411]');
    assertThrows(() => parseAddress([host, 80]), TypeError);
  }
});

Deno.test("keyNameBytes takes nothing but a string", () => {
  for (const name of [5, null, {}, ["a"]]) {
    assertThrows(() => keyNameBytes(name as unknown as string), TypeError, "keyName");
  }
});

Deno.test("Listener tells once that it cannot accept, until it can again", async () => {
  const full = new Error("Too many open files (os error 24)");
  const conn = {} as Deno.TcpConn;
  const results = [full, full, conn, full, full, conn];
  const accept = () => {
    const result = results.shift();
    return result instanceof Error ? Promise.reject(result) : Promise.resolve(result);
  };
  const endpoint = { transport: "tcp", hostname: "127.0.0.1", port: 1 } as const;
  const socket = { accept, close() {} } as unknown as Deno.Listener;
  const told: string[] = [];
  const connections = new Listener(socket, endpoint).connections((error) =>
    told.push(error.message)
  );
  await connections.next();
  assertEquals(told, [`Cannot accept a connection: ${full.message}`]);
  await connections.next();
  assertEquals(told.length, 2);
  await connections.return(undefined);
});
