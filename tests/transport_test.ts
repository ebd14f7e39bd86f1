import { assertEquals, assertThrows } from "@std/assert";
import { type Address, formatEndpoint, parseAddress } from "../address.ts";
import { keyNameBytes } from "../auth.ts";

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
