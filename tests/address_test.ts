import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { printable } from "../base/printable.ts";
import {
  type Address,
  addressBeside,
  type Endpoint,
  formatEndpoint,
  isExposed,
  listAddresses,
  parseAddress,
  safeOf,
} from "../io/address.ts";

function tcp(hostname: string, port: number): Endpoint {
  return { transport: "tcp", hostname, port };
}

function web(transport: "ws" | "wss", hostname: string, port: number, path: string): Endpoint {
  return { transport, hostname, port, path };
}

function unix(path: string): Endpoint {
  return { transport: "unix", path };
}

const PATH_107 = `/${"p".repeat(104)}é`;

const GOOD: readonly (readonly [address: Address, endpoint: Endpoint, formatted: string])[] = [
  ["unix:///run/bus.sock", unix("/run/bus.sock"), "unix:///run/bus.sock"],
  ["unix://bus.sock", unix("bus.sock"), "unix://bus.sock"],
  ["unix:///a b:1/é", unix("/a b:1/é"), "unix:///a b:1/é"],
  [`unix://${PATH_107}`, unix(PATH_107), `unix://${PATH_107}`],
  ["tcp://127.0.0.1:7411", tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  ["127.0.0.1:7411", tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  ["localhost:0", tcp("localhost", 0), "tcp://localhost:0"],
  ["bus.example.org:65535", tcp("bus.example.org", 65535), "tcp://bus.example.org:65535"],
  ["tcp://[::1]:7411", tcp("::1", 7411), "tcp://[::1]:7411"],
  ["[2001:db8::1]:1", tcp("2001:db8::1", 1), "tcp://[2001:db8::1]:1"],
  ["[::ffff:127.0.0.1]:1", tcp("::ffff:127.0.0.1", 1), "tcp://[::ffff:127.0.0.1]:1"],
  ["[fe80::1%eth0]:1", tcp("fe80::1%eth0", 1), "tcp://[fe80::1%eth0]:1"],
  [["127.0.0.1", 7411], tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  [["localhost", 0], tcp("localhost", 0), "tcp://localhost:0"],
  [["::1", 65535], tcp("::1", 65535), "tcp://[::1]:65535"],
  [["[::1]", 1], tcp("::1", 1), "tcp://[::1]:1"],
  ["ws://127.0.0.1:8080/bus", web("ws", "127.0.0.1", 8080, "/bus"), "ws://127.0.0.1:8080/bus"],
  ["ws://127.0.0.1", web("ws", "127.0.0.1", 80, "/"), "ws://127.0.0.1:80"],
  ["ws://localhost:0/", web("ws", "localhost", 0, "/"), "ws://localhost:0"],
  ["wss://bus.example.org", web("wss", "bus.example.org", 443, "/"), "wss://bus.example.org:443"],
  ["wss://h/a/b/", web("wss", "h", 443, "/a/b/"), "wss://h:443/a/b/"],
  ["ws://[::1]:1/a", web("ws", "::1", 1, "/a"), "ws://[::1]:1/a"],
  ["wss://[2001:db8::1]", web("wss", "2001:db8::1", 443, "/"), "wss://[2001:db8::1]:443"],
  [
    "ws://h:65535/a%20b;c=d,@e:f~!$&'()*+",
    web("ws", "h", 65535, "/a%20b;c=d,@e:f~!$&'()*+"),
    "ws://h:65535/a%20b;c=d,@e:f~!$&'()*+",
  ],
];

for (const [address, endpoint, formatted] of GOOD) {
  Deno.test(`parseAddress takes ${JSON.stringify(address)}`, () => {
    assertEquals(parseAddress(address), endpoint);
  });

  Deno.test(`formatEndpoint gives back the address of ${JSON.stringify(address)}`, () => {
    assertEquals(formatEndpoint(endpoint), formatted);
    assertEquals(parseAddress(formatted), endpoint);
  });
}

const BAD: readonly (readonly [address: unknown, type: typeof TypeError | typeof RangeError])[] = [
  ["", TypeError],
  ["127.0.0.1", TypeError],
  ["127.0.0.1:", TypeError],
  [":7411", TypeError],
  ["tcp://", TypeError],
  ["tcp://:7411", TypeError],
  ["tcp://127.0.0.1", TypeError],
  ["tcp://127.0.0.1:7411/", TypeError],
  ["tcp://127.0.0.1:x", TypeError],
  ["127.0.0.1:-1", TypeError],
  ["127.0.0.1:1.5", TypeError],
  ["127.0.0.1:1e3", TypeError],
  ["127.0.0.1: 1", TypeError],
  ["127.0.0.1:1\n", TypeError],
  ["a b:1", TypeError],
  ["::1:7411", TypeError],
  ["[::1]", TypeError],
  ["[]:1", TypeError],
  ["[::1:1", TypeError],
  ["http://127.0.0.1:80", TypeError],
  ["ws://", TypeError],
  ["ws://:80", TypeError],
  ["ws:127.0.0.1:80", TypeError],
  ["ws:/127.0.0.1:80", TypeError],
  ["WS://127.0.0.1:80", TypeError],
  ["wsx://127.0.0.1:80", TypeError],
  ["ws://127.0.0.1:", TypeError],
  ["ws://127.0.0.1:x", TypeError],
  ["ws://127.0.0.1:-1/", TypeError],
  ["ws://::1/", TypeError],
  ["ws://[127.0.0.1]/", TypeError],
  ["ws://user@h/", TypeError],
  ["ws://user:secret@h/", TypeError],
  ["ws://h?a", TypeError],
  ["ws://h/a?b", TypeError],
  ["ws://h/a#b", TypeError],
  ["ws://h/a b", TypeError],
  ["ws://h/a\r\nhost: x", TypeError],
  ["ws://h/é", TypeError],
  ["wss://h:65536/", RangeError],
  ["unix:/run/bus.sock", TypeError],
  ["unix://", TypeError],
  ["unix:///run/\0", TypeError],
  ["127.0.0.1:65536", RangeError],
  ["127.0.0.1:99999999999999999999", RangeError],
  [`unix://${PATH_107}x`, RangeError],
  [["127.0.0.1", -1], RangeError],
  [["127.0.0.1", 65536], RangeError],
  [["127.0.0.1", 1.5], RangeError],
  [["127.0.0.1", NaN], RangeError],
  [["127.0.0.1", "7411"], TypeError],
  [["127.0.0.1"], TypeError],
  [["", 7411], TypeError],
  [[7411, "127.0.0.1"], TypeError],
  [[], TypeError],
  [undefined, TypeError],
  [null, TypeError],
  [7411, TypeError],
  [{ hostname: "127.0.0.1", port: 7411 }, TypeError],
];

for (const [address, type] of BAD) {
  Deno.test(`parseAddress refuses ${JSON.stringify(address)} with a ${type.name}`, () => {
    const error = assertThrows(() => parseAddress(address as Address), type);
    assertEquals(error.name, type.name);
    assertStringIncludes(error.message, `Cannot use address ${JSON.stringify(address)}: `);
  });
}

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

for (
  const [endpoint, loopback] of [
    [unix("/run/bus.sock"), true],
    [tcp("localhost", 1), true],
    [tcp("127.0.0.1", 1), true],
    [tcp("127.255.255.254", 1), true],
    [tcp("::1", 1), true],
    [tcp("0.0.0.0", 1), false],
    [tcp("::", 1), false],
    [tcp("10.0.0.1", 1), false],
    [tcp("128.0.0.1", 1), false],
    [tcp("1127.0.0.1", 1), false],
    [tcp("127.0.0.1.example.org", 1), false],
    [tcp("localhost.example.org", 1), false],
    [tcp("127.example.org", 1), false],
    [tcp("example.org", 1), false],
    [tcp("fe80::1", 1), false],
    [tcp("::ffff:10.0.0.1", 1), false],
    [tcp("127.255.255.255", 1), true],
    [tcp("127.0.0.256", 1), false],
    [tcp("127.999.0.1", 1), false],
  ] as const
) {
  Deno.test(`isExposed is false for ${formatEndpoint(endpoint)} with TLS`, () => {
    if (endpoint.transport === "unix") return;
    assertEquals(isExposed({ ...endpoint, transport: "tls" }), false);
    assertEquals(isExposed({ ...endpoint, transport: "wss", path: "/" }), false);
  });

  Deno.test(`isExposed is the same for a WebSocket as for ${formatEndpoint(endpoint)}`, () => {
    if (endpoint.transport === "unix") return;
    assertEquals(isExposed({ ...endpoint, transport: "ws", path: "/" }), !loopback);
  });

  Deno.test(`isExposed is ${!loopback} for ${formatEndpoint(endpoint)}`, () => {
    assertEquals(isExposed(endpoint), !loopback);
  });
}

Deno.test("listAddresses takes an array whose second element is a number for one address", () => {
  assertEquals(listAddresses(["127.0.0.1", 7411]), [["127.0.0.1", 7411]]);
  assertEquals(listAddresses([["127.0.0.1", 7411]]), [["127.0.0.1", 7411]]);
  assertEquals(listAddresses([["::1", 1], ["::1", 2]]), [["::1", 1], ["::1", 2]]);
  assertEquals(listAddresses(["h:1", "h:2"]), ["h:1", "h:2"]);
  assertEquals(listAddresses(["h:1"]), ["h:1"]);
  assertEquals(listAddresses("h:1"), ["h:1"]);
  assertEquals(listAddresses([]), []);
});

Deno.test("safeOf leaves nothing at which others can read after something with TLS, and all else", () => {
  const local = ["unix:///s", "tcp://127.0.0.1:1", "ws://localhost:1/a", "ws://[::1]:1"];
  const secured = ["tls://h:1", "tls://127.0.0.1:1", "wss://h/a", "wss://localhost:1"];
  const open = ["tcp://h:1", "tcp://0.0.0.0:1", "ws://h/a", "ws://10.0.0.1:1"];
  const all = [...local, ...secured, ...open];
  for (const one of all) {
    for (const two of all) {
      for (const three of all) {
        const given = [one, two, three];
        const expected = given.filter((address, i) =>
          !open.includes(address) || !given.slice(0, i).some((before) => secured.includes(before))
        );
        const safe = safeOf(given.map((address) => parseAddress(address)));
        assertEquals(safe, expected.map((address) => parseAddress(address)));
      }
    }
  }
});

Deno.test("addressBeside names a new socket beside the file each time", () => {
  const [one, two] = [addressBeside("/run/bus"), addressBeside("/run/bus")];
  assert(/^unix:\/\/\/run\/bus\.[0-9a-f]{8}\.sock$/.test(one!), one);
  assert(one !== two);
});

Deno.test("addressBeside makes the path of a file absolute", () => {
  assert(addressBeside("bus")?.startsWith(`unix://${Deno.cwd()}/bus.`));
});

Deno.test("addressBeside names a socket of 107 bytes and none that is longer", () => {
  const file = `/${"é".repeat(46)}`;
  assertEquals(parseAddress(addressBeside(file)!).transport, "unix");
  assertEquals(new TextEncoder().encode(addressBeside(file)).length, "unix://".length + 107);
  assertEquals(addressBeside(`${file}x`), undefined);
});

Deno.test("parseAddress shows no more than a part of what is no address, and nothing that hides", () => {
  for (const address of ["\x9b".repeat(1e6), `unix:///${"\u200b".repeat(1e6)}`]) {
    const { message } = assertThrows(() => parseAddress(address));
    assert(message.length < 400);
    assertEquals(printable(message), message);
  }
});
