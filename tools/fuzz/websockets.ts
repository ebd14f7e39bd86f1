/**
 * WebSockets: heads, upgrades and frames, cut anywhere, are taken as a naive reader takes them that has
 * all bytes at once; and nothing is written but what answers them.
 */
import { concat } from "../../base/bytes.ts";
import { FIELDS_MAX, HEAD_BYTES_MAX, HeadError, readHead } from "../../io/http_head.ts";
import { WebSocketStream } from "../../io/websocket.ts";
import { checkUpgrade, isAllowed } from "../../io/websocket_upgrade.ts";
import { ConnectionLostError, ProtocolError } from "../../errors.ts";
import type { Random } from "../harness/random.ts";
import { isSame, mangle, must, type Notes, piecesOf, type Target } from "./target.ts";

const CRLF = "\r\n";
const PATH = "/bus";
/** The origin of pages that may connect besides those of the host. */
const ORIGIN = "https://good.example";
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
/** What a server answers to that key; section 1.3 of RFC 6455. */
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const CLOSE_CODES = [0, 999, 1000, 1001, 1004, 1005, 1006, 1014, 1015, 2999, 3000, 4999, 5000];
const LENGTHS = [0, 1, 124, 125, 126, 127, 65_535, 65_536];

/** Gives bytes piece by piece, and keeps what is written. */
class Script {
  readonly written: Uint8Array[] = [];
  readonly #pieces: Uint8Array[];

  constructor(random: Random, bytes: Uint8Array) {
    this.#pieces = piecesOf(random, bytes);
  }

  /** What nobody has read. */
  get left(): Uint8Array {
    return concat(...this.#pieces);
  }

  read(into: Uint8Array): Promise<number | null> {
    const piece = this.#pieces.shift();
    if (piece === undefined) return Promise.resolve(null);
    must(into.length > 0, "a read has no room");
    const part = piece.subarray(0, into.length);
    into.set(part);
    if (part.length < piece.length) this.#pieces.unshift(piece.subarray(part.length));
    return Promise.resolve(part.length);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.written.push(bytes.slice());
    return Promise.resolve(bytes.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

// Heads.

/** Bytes over 127 stand for themselves. */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function textOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** The head of a request for an upgrade, in which some is wrong now and then. */
function headOf(random: Random): Uint8Array {
  const rarely = <T>(right: T, ...wrong: readonly T[]) =>
    random.int(8) > 0 ? right : random.pick(wrong);
  const lines = [
    rarely(`GET ${PATH} HTTP/1.1`, "POST /bus HTTP/1.1", "GET / HTTP/1.1", "GET /bus?a HTTP/1.1"),
    rarely("Host: here:80", "Host: ", "Host: [", "X: y", "Host: here\r\nhost: there"),
    rarely("Upgrade: websocket", "Upgrade: WebSocket, h2c", "Upgrade: h2c"),
    rarely("Connection: keep-alive, Upgrade", "connection:upgrade", "Connection: close"),
    rarely(`Sec-WebSocket-Key: ${KEY}`, "Sec-WebSocket-Key: a", `Sec-WebSocket-Key: ${KEY}=`),
    rarely("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 13, 8"),
    random.pick([
      "Accept: */*",
      `Origin: ${ORIGIN}`,
      "Origin: http://here",
      "Origin: http://there",
      "Origin: [",
      "Origin: null",
    ]),
  ];
  if (random.int(6) === 0) lines.splice(random.int(lines.length), 1);
  if (random.int(10) === 0) {
    const bytes = random.pick([1000, HEAD_BYTES_MAX - 300, HEAD_BYTES_MAX]) + random.int(300);
    lines.push(`Cookie: ${"c".repeat(bytes)}`);
  }
  if (random.int(20) === 0) lines.push(...Array(FIELDS_MAX - 8 + random.int(8)).fill("a: b"));
  if (random.int(20) === 0) {
    lines.push(random.pick([" folded", "no colon", "a b: c", ": d", "e: \x01"]));
  }
  const head = latin1(lines.join(CRLF) + CRLF + CRLF);
  return random.int(3) === 0 ? mangle(random, head) : head;
}

/** With these bytes TLS begins. */
const TLS = [21, 22];

/** What a naive reader makes of bytes: a head, the status of an error, or that they end too early. */
function naiveHead(
  bytes: Uint8Array,
): { start: string; fields: [string, string][]; rest: Uint8Array } | number | "lost" {
  if (TLS.includes(bytes[0]!)) return 400;
  const text = textOf(bytes);
  const end = text.indexOf(CRLF + CRLF) + 4;
  if (end > HEAD_BYTES_MAX || end < 4 && bytes.length >= HEAD_BYTES_MAX) return 431;
  if (end < 4) return "lost";
  const [start = "", ...lines] = text.slice(0, end - 4).split(CRLF);
  if (lines.length > FIELDS_MAX) return 431;
  const fields: [string, string][] = [];
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/.exec(line);
    if (match === null) return 400;
    fields.push([match[1]!.toLowerCase(), match[2]!.replace(/^[ \t]+/, "").replace(/[ \t]+$/, "")]);
  }
  return { start, fields, rest: bytes.subarray(end) };
}

/** Whether a naive reader upgrades. */
function naiveUpgrades(start: string, fields: readonly (readonly [string, string])[]): boolean {
  const all = (name: string) => fields.filter(([key]) => key === name).map(([, value]) => value);
  const lists = (name: string, member: string) =>
    all(name).join(",").toLowerCase().split(",").some((value) => value.trim() === member);
  const [host, ...hosts] = all("host");
  const isGood = (origin: string) => {
    if (origin === ORIGIN) return true;
    if (!/^https?:/i.test(origin) || !URL.canParse(origin) || !URL.canParse(`http://${host}`)) {
      return false;
    }
    return new URL(origin).hostname === new URL(`http://${host}`).hostname;
  };
  const isHost = /^(?:\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d*)?$/i.test(host ?? "[");
  return isHost && /^GET \/bus(?:[?#][^ ]*)? HTTP\/1\.1$/s.test(start) && hosts.length === 0 &&
    lists("upgrade", "websocket") && lists("connection", "upgrade") &&
    all("sec-websocket-version").join() === "13" && all("sec-websocket-key").length === 1 &&
    /^[A-Za-z0-9+/]{22}==$/.test(all("sec-websocket-key")[0]!) && all("origin").every(isGood);
}

async function runHead(random: Random, notes: Notes): Promise<void> {
  const bytes = concat(headOf(random), random.bytes(random.int(40)));
  notes.fed(bytes);
  const expected = naiveHead(bytes);
  const first = bytes.subarray(0, random.int(2) === 0 ? random.int(bytes.length + 1) : 0);
  const script = new Script(random, bytes.subarray(first.length));
  try {
    const head = await readHead(script, first);
    must(typeof expected === "object", `${expected}: it is a head`);
    const fields = [...head.fields].flatMap(([name, values]) =>
      values.map((value) => [name, value])
    );
    const ordered = (all: readonly (readonly string[])[]) =>
      all.map((field) => field.join("\0")).sort().join("\n");
    must(head.start === expected.start, `it begins with ${head.start}`);
    must(ordered(fields) === ordered(expected.fields), "the fields are others");
    must(isSame(concat(head.rest, script.left), expected.rest), "what follows is other");
    const mayConnect = (origin: string, host: string) => isAllowed(origin, host, [ORIGIN], false);
    const accept = await checkUpgrade(head, [PATH], mayConnect);
    const upgrades = naiveUpgrades(expected.start, expected.fields);
    must((typeof accept === "string") === upgrades, `it upgrades: ${JSON.stringify(accept)}`);
    if (typeof accept !== "string") return notes.ended(`refused: ${accept.text}`);
    if (head.fields.get("sec-websocket-key")![0] === KEY) must(accept === ACCEPT, accept);
    notes.ended("upgraded");
  } catch (error) {
    notes.failed(error, HeadError, ConnectionLostError);
    const isLost = error instanceof ConnectionLostError;
    must(
      isLost === (expected === "lost"),
      `${expected}: the connection was ${isLost ? "" : "not "}lost`,
    );
    if (!(error instanceof HeadError) || expected === "lost") return;
    if (typeof expected === "number") return must(error.status === expected, `not ${expected}`);
    must(!naiveUpgrades(expected.start, expected.fields), "a good request is refused");
  }
}

// Frames.

/** A frame of either side, in which some is wrong now and then. */
function frameOf(random: Random, isMasked: boolean): Uint8Array {
  const opcode = random.int(20) === 0 ? random.int(16) : random.pick([0, 2, 2, 2, 8, 9, 10]);
  const isControl = opcode >= 8;
  const length = isControl
    ? random.int(126)
    : random.int(12) === 0
    ? random.pick(LENGTHS)
    : random.int(200);
  const payload = random.bytes(length);
  if (opcode === 8 && random.int(10) > 0) {
    if (length < 2) return frameOf(random, isMasked);
    new DataView(payload.buffer, payload.byteOffset).setUint16(0, random.pick(CLOSE_CODES));
    if (random.int(2) === 0) payload.fill(0x61, 2);
  }
  const isFinal = isControl || random.int(3) > 0;
  const reserved = random.int(40) === 0 ? random.int(8) << 4 : 0;
  const masks = random.int(40) === 0 ? !isMasked : isMasked;
  const mask = masks ? random.bytes(4) : new Uint8Array(0);
  const head = Uint8Array.of((isFinal ? 0x80 : 0) | reserved | opcode);
  const size = sizeOf(random, length);
  if (masks) size[0]! |= 0x80;
  return concat(head, size, mask, payload.map((byte, i) => masks ? byte ^ mask[i & 3]! : byte));
}

/** A length, rarely in more bytes than it needs, or another one. */
function sizeOf(random: Random, length: number): Uint8Array {
  const shown = random.int(60) === 0
    ? random.pick([2n ** 63n, 2n ** 53n, 2n ** 40n])
    : BigInt(length);
  const needed = shown < 126n ? 1 : shown < 65_536n ? 3 : 9;
  const bytes = random.int(40) === 0 ? Math.max(needed, random.pick([3, 9])) : needed;
  const view = new DataView(new ArrayBuffer(bytes));
  if (bytes === 1) view.setUint8(0, Number(shown));
  else if (bytes === 3) {
    view.setUint8(0, 126);
    view.setUint16(1, Number(shown));
  } else {
    view.setUint8(0, 127);
    view.setBigUint64(1, shown);
  }
  return new Uint8Array(view.buffer);
}

/** What a naive reader makes of a stream that it has as a whole. */
interface Naive {
  readonly payload: number[];
  readonly pings: Uint8Array[];
  /** The code with which it closes, when it must. */
  code?: number;
  /** The code with which the other side closed; 1005 if it gave none. */
  closed?: number;
}

function naiveFrames(bytes: Uint8Array, isClient: boolean): Naive {
  const found: Naive = { payload: [], pings: [] };
  let isFragmented = false;
  for (let at = 0; at + 2 <= bytes.length;) {
    const [first, second] = [bytes[at]!, bytes[at + 1]!];
    const opcode = first & 15;
    const short = second & 127;
    const more = short === 126 ? 2 : short === 127 ? 8 : 0;
    const isMasked = second >= 128;
    const start = at + 2 + more + (isMasked ? 4 : 0);
    if (start > bytes.length) return found;
    let length = BigInt(short);
    if (more > 0) {
      length = 0n;
      for (const byte of bytes.subarray(at + 2, at + 2 + more)) {
        length = length << 8n | BigInt(byte);
      }
    }
    const wrong = wrongOf(first, isMasked, length, more, isClient, isFragmented);
    if (wrong !== undefined) return { ...found, code: wrong };
    const mask = isMasked ? bytes.subarray(start - 4, start) : new Uint8Array(4);
    const end = Math.min(bytes.length, start + Number(length));
    const payload = bytes.slice(start, end).map((byte, i) => byte ^ mask[i % 4]!);
    at = start + Number(length);
    if (opcode < 8) {
      isFragmented = first < 128;
      for (const byte of payload) found.payload.push(byte);
    } else if (at > bytes.length) return found;
    else if (opcode === 9) found.pings.push(payload);
    else if (opcode === 8) return { ...found, ...naiveClose(payload) };
  }
  return found;
}

/** The code for a header that breaks a rule. */
function wrongOf(
  first: number,
  isMasked: boolean,
  length: bigint,
  more: number,
  isClient: boolean,
  isFragmented: boolean,
): number | undefined {
  const opcode = first & 15;
  if ((first & 0x70) !== 0 || isMasked === isClient) return 1002;
  if (more === 2 && length < 126n || more === 8 && length < 65_536n) return 1002;
  if (length >= 2n ** 63n) return 1002;
  if (length > 2n ** 53n - 1n) return 1009;
  if (opcode >= 8) return opcode > 10 || first < 128 || length > 125n ? 1002 : undefined;
  if (opcode > 2) return 1002;
  if (opcode === 1) return 1003;
  return (opcode === 0) === isFragmented ? undefined : 1002;
}

function naiveClose(payload: Uint8Array): Pick<Naive, "code" | "closed"> {
  if (payload.length === 0) return { code: 1000, closed: 1005 };
  if (payload.length === 1) return { code: 1002 };
  const code = payload[0]! * 256 + payload[1]!;
  const isKnown = code >= 1000 && code < 1015 && ![1004, 1005, 1006].includes(code);
  if (!isKnown && (code < 3000 || code > 4999)) return { code: 1002 };
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(2));
    return { code, closed: code };
  } catch (_error) { // TypeError: it is not UTF-8.
    return { code: 1007 };
  }
}

async function runFrames(random: Random, notes: Notes): Promise<void> {
  const isClient = random.int(2) === 0;
  const frames = Array.from({ length: random.int(12) }, () => frameOf(random, !isClient));
  const whole = concat(...frames);
  const bytes = random.int(4) === 0 ? mangle(random, whole) : whole;
  notes.fed(bytes);
  const expected = naiveFrames(bytes, isClient);
  const first = bytes.subarray(0, random.int(3) === 0 ? random.int(bytes.length + 1) : 0);
  const script = new Script(random, bytes.subarray(first.length));
  const stream = new WebSocketStream(script, isClient, first);
  const got: number[] = [];
  const room = new Uint8Array(random.pick([1, 5, 300, 100_000]));
  let isRefused = false;
  try {
    for (let count; (count = await stream.read(room)) !== null;) {
      must(count <= room.length, "a read returned more than there was room for");
      for (const byte of room.subarray(0, count)) got.push(byte);
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    notes.failed(error, ProtocolError);
    isRefused = true;
  }
  const isWrong = expected.code !== undefined && expected.closed === undefined;
  must(isRefused === isWrong, `it is ${isRefused ? "" : "not "}refused`);
  must(stream.closing?.code === expected.closed, `it closed with ${stream.closing?.code}`);
  // What came in the same read as what is wrong is not given any more.
  must(isWrong || got.length === expected.payload.length, `${got.length} bytes were read`);
  must(got.every((byte, at) => byte === expected.payload[at]), "other bytes were read");
  if (!isWrong) notes.ended(expected.closed === undefined ? "read to the end" : "closed");
  checkAnswers(concat(...script.written), expected, isClient);
}

/** Checks what was written: answers to pings, the latest at least, and a close if there must be one. */
function checkAnswers(written: Uint8Array, expected: Naive, isClient: boolean): void {
  let ping = 0;
  let isClosed = false;
  for (let at = 0; at < written.length;) {
    must(!isClosed, "something is written behind a close");
    const [first, second] = [written[at]!, written[at + 1]!];
    must(second >= 128 === isClient, "an answer has a mask, or none");
    const start = at + 2 + (isClient ? 4 : 0);
    const end = start + (second & 127);
    const payload = written.slice(start, end)
      .map((byte, i) => isClient ? byte ^ written[start - 4 + i % 4]! : byte);
    at = end;
    if (first === 0x88) {
      isClosed = true;
      must(payload[0]! * 256 + payload[1]! === expected.code, `it is closed with ${payload}`);
    } else {
      must(first === 0x8a, `it is answered with ${first}`);
      while (ping < expected.pings.length && !isSame(expected.pings[ping]!, payload)) ping++;
      must(ping++ < expected.pings.length, "a ping is answered that nobody sent");
    }
  }
  must(isClosed === (expected.code !== undefined), "a close is missing, or too much");
  must(isClosed || ping === expected.pings.length, "the latest ping is not answered");
}

/** Heads, upgrades and frames. */
export const websockets: Target = {
  name: "websockets",
  run: (random, notes) => random.int(2) === 0 ? runHead(random, notes) : runFrames(random, notes),
};
