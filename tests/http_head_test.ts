import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConnectionLostError } from "../errors.ts";
import {
  type Head,
  HEAD_BYTES_MAX,
  HeadError,
  listOf,
  readHead,
  requestOf,
} from "../io/http_head.ts";

/** A stream that gives a text in pieces of `size` bytes, one for each character. */
function streamOf(text: string, size = Infinity) {
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  let at = 0;
  return {
    read(into: Uint8Array): Promise<number | null> {
      const count = Math.min(size, into.length, bytes.length - at);
      if (count === 0) return Promise.resolve(null);
      into.set(bytes.subarray(at, at += count));
      return Promise.resolve(count);
    },
  };
}

const lines = (...lines: string[]) => [...lines, "", ""].join("\r\n");

Deno.test("readHead takes a head apart, wherever it is split, and keeps what is behind it", async () => {
  const head = lines("GET /bus HTTP/1.1", "Host:a", "X-A: \t1 2\t ", "x-a:", "Upgrade: b, C ,,");
  for (let size = 1; size < head.length + 4; size++) {
    const stream = streamOf(head + "\r\n\r\nrest", size);
    const { start, fields, rest } = await readHead(stream);
    assertEquals(start, "GET /bus HTTP/1.1");
    assertEquals([...fields], [["host", ["a"]], ["x-a", ["1 2", ""]], ["upgrade", ["b, C ,,"]]]);
    const behind = [...rest];
    const into = new Uint8Array(20);
    for (let count; (count = await stream.read(into)) !== null;) {
      behind.push(...into.subarray(0, count));
    }
    assertEquals(String.fromCharCode(...behind), "\r\n\r\nrest");
    assertEquals(listOf({ fields }, "upgrade"), ["b", "c"]);
  }
});

Deno.test("readHead begins with what was read before", async () => {
  const first = new TextEncoder().encode(lines("GET / HTTP/1.1", "a: b") + "rest");
  for (let split = 0; split <= first.length; split++) {
    const stream = streamOf(new TextDecoder().decode(first.subarray(split)));
    const { start, rest } = await readHead(stream, first.subarray(0, split));
    assertEquals(start, "GET / HTTP/1.1");
    assertEquals(rest.buffer.byteLength, rest.length, "it keeps the whole head");
  }
});

for (const over of [0, 1]) {
  Deno.test(`readHead ${over ? "refuses" : "takes"} a head of ${HEAD_BYTES_MAX + over} bytes`, async () => {
    const empty = lines("GET / HTTP/1.1", "cookie: ");
    const filled = "x".repeat(HEAD_BYTES_MAX + over - empty.length);
    const head = lines("GET / HTTP/1.1", `cookie: ${filled}`);
    for (const size of [Infinity, 1000]) {
      const reading = () => readHead(streamOf(head + "rest".repeat(9), size));
      if (over === 0) assertEquals((await reading()).fields.get("cookie"), [filled]);
      else assertEquals((await assertRejects(reading, HeadError)).status, 431);
    }
  });
}

Deno.test("readHead reads no more than fits a head of somebody who sends without end", async () => {
  let count = 0;
  const stream = {
    read(into: Uint8Array) {
      count += into.length;
      return Promise.resolve(into.fill(97).length);
    },
  };
  assertEquals((await assertRejects(() => readHead(stream), HeadError)).status, 431);
  assertEquals(count, HEAD_BYTES_MAX);
});

const BROKEN = ["", "GET / HT", "GET / HTTP/1.1\r\n", lines("GET / HTTP/1.1", "a: b").slice(0, -1)];
for (const text of BROKEN) {
  Deno.test(`readHead tells of ${JSON.stringify(text)} that the connection is lost`, async () => {
    await assertRejects(
      () => readHead(streamOf(text)),
      ConnectionLostError,
      `${text.length} bytes`,
    );
  });
}

for (
  const line of [
    "a",
    ": b",
    "a b: c",
    "a : b",
    " a: b",
    "\ta: b",
    "a: \x00",
    "a: \x7f",
    "a: b\nc: d",
    "a: b\rc: d",
    "ä: b",
  ]
) {
  Deno.test(`readHead refuses the field ${JSON.stringify(line)}`, async () => {
    const reading = readHead(streamOf(lines("GET / HTTP/1.1", "x: y", line)));
    assertEquals((await assertRejects(() => reading, HeadError)).status, 400);
  });
}

function headOf(start: string, ...hosts: string[]): Head {
  return {
    start,
    fields: new Map(hosts.length > 0 ? [["host", hosts]] : []),
    rest: new Uint8Array(),
  };
}

for (
  const [target, path, host] of [
    ["/", "/", "a:1"],
    ["/bus", "/bus", "a:1"],
    ["/bus?x=1#y", "/bus", "a:1"],
    ["/?/bus", "/", "a:1"],
    ["//bus", "//bus", "a:1"],
    ["http://b:2/bus?x", "/bus", "b:2"],
    ["http://b", "/", "b"],
    ["WS://b?x", "/", "b"],
    ["*", "*", "a:1"],
    ["a:1", "a:1", "a:1"],
  ] as const
) {
  Deno.test(`requestOf finds the path ${path} in the target ${target}`, () => {
    const request = requestOf(headOf(`GET ${target} HTTP/1.1`, "a:1"));
    assertEquals(request, { method: "GET", path, host });
  });
}

for (
  const [start, hosts, status] of [
    ["", ["a"], 400],
    ["GET", ["a"], 400],
    ["GET /", ["a"], 400],
    ["GET  / HTTP/1.1", ["a"], 400],
    ["GET / HTTP/1.1 ", ["a"], 400],
    ["GET / x HTTP/1.1", ["a"], 400],
    ["GET / http/1.1", ["a"], 400],
    ["GET / HTTP/11", ["a"], 400],
    ["G(T / HTTP/1.1", ["a"], 400],
    ["GET /\n HTTP/1.1", ["a"], 400],
    ["GET /\xff HTTP/1.1", ["a"], 400],
    ["GET / HTTP/1.0", ["a"], 505],
    ["GET / HTTP/2.0", ["a"], 505],
    ["PRI * HTTP/2.0", [], 505],
    ["GET / HTTP/1.1", [], 400],
    ["GET / HTTP/1.1", ["a", "a"], 400],
    ["GET / HTTP/1.1", ["a b"], 400],
    ["GET / HTTP/1.1", ["a@b"], 400],
    ["GET / HTTP/1.1", ["a/b"], 400],
    ["GET / HTTP/1.1", ["a:b"], 400],
    ["GET / HTTP/1.1", ["::1"], 400],
  ] as const
) {
  Deno.test(`requestOf refuses ${JSON.stringify(start)} for ${JSON.stringify(hosts)} with ${status}`, () => {
    const error = assertThrows(() => requestOf(headOf(start, ...hosts)), HeadError);
    assertEquals(error.status, status);
  });
}

for (const host of ["", "a", "a:", "a:80", "[::1]", "[::1]:80", "127.0.0.1:8", "a_b-c.example"]) {
  Deno.test(`requestOf takes the host ${JSON.stringify(host)}`, () => {
    assertEquals(requestOf(headOf("GET / HTTP/1.1", host)).host, host);
  });
}
