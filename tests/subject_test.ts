import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  busPrefix,
  pathOf,
  patternOf,
  SUBJECT_BYTES_MAX,
  subjectOf,
  subjectProblem,
} from "../nats/subject.ts";
import { ELEMENT_BYTES_MAX, TOPIC_ELEMENTS_MAX, type TopicPath, topicPath } from "../topic.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";

const SEED = 20261125;
const PREFIX = "mpubsub.bus";

/** Elements that may be mistaken for something else, each with its token. */
const ELEMENTS: readonly (readonly [element: string, token: string])[] = [
  ["a", "a"],
  ["Sensor_4-b", "Sensor_4-b"],
  ["_", "_"],
  ["m", "m"],
  ["b", "b"],
  ["$JS", "$JS"],
  ["__proto__", "__proto__"],
  ["!\"#$&'()+,/:;<=?@[\\]^`{|}~", "!\"#$&'()+,/:;<=?@[\\]^`{|}~"],
  [".", "%2E"],
  ["..", "%2E%2E"],
  ["a.b", "a%2Eb"],
  ["a._", "a%2E_"],
  ["*", "%2A"],
  ["*local", "%2Alocal"],
  [">", "%3E"],
  ["a>b", "a%3Eb"],
  ["%", "%25"],
  ["%2E", "%252E"],
  ["%2e", "%252e"],
  ["%41", "%2541"],
  ["100%", "100%25"],
  [" ", "%20"],
  ["a b", "a%20b"],
  ["\0", "%00"],
  ["\t\r\n", "%09%0D%0A"],
  ["\x1b[2J", "%1B[2J"],
  ["\x7f", "%7F"],
  ["\x85", "%C2%85"],
  ["\x9b", "%C2%9B"],
  ["\xa0", "%C2%A0"],
  ["\xad", "%C2%AD"],
  ["\u2028\u2029", "%E2%80%A8%E2%80%A9"],
  ["a\u200fb", "a%E2%80%8Fb"],
  ["\u202e\u2066", "%E2%80%AE%E2%81%A6"],
  ["\ufeffa", "%EF%BB%BFa"],
  ["\ue000", "%EE%80%80"],
  ["\uffff", "%EF%BF%BF"],
  ["\u{e0041}", "%F3%A0%81%81"],
  ["\u{10ffff}", "%F4%8F%BF%BF"],
  ["Größe", "Größe"],
  ["Gro\u0308ße", "Gro\u0308ße"],
  ["\u0301", "\u0301"],
  ["שלום", "שלום"],
  ["温度", "温度"],
  ["😀", "😀"],
  ["👩\u200d👧", "👩%E2%80%8D👧"],
  ["葛\u{e0100}", "葛\u{e0100}"],
  ["x".repeat(ELEMENT_BYTES_MAX), "x".repeat(ELEMENT_BYTES_MAX)],
  [".".repeat(ELEMENT_BYTES_MAX), "%2E".repeat(ELEMENT_BYTES_MAX)],
  ["€".repeat(85), "€".repeat(85)],
  ["\u2028".repeat(85), "%E2%80%A8".repeat(85)],
  ["😀".repeat(63) + "%%%", "😀".repeat(63) + "%25%25%25"],
];

/** What random elements are made of. */
const PIECES = ["a", "_", "b", "m", ".", "*", ">", "%", "2E", "2e", "25", " ", "\0", "\n", "é", "€"]
  .concat(["\u0301", "\u2028", "\u200f", "\u{e0041}", "😀", "$JS"]);

function anyPath(random: Random): TopicPath {
  const element = () =>
    Array.from({ length: 1 + random.int(4) }, () => random.pick(PIECES)).join("");
  return Array.from({ length: random.int(5) }, element);
}

/** Whether NATS sends what is published to a subject to those who subscribed to a pattern. */
function hears(pattern: string, subject: string): boolean {
  const [wanted, tokens] = [pattern.split("."), subject.split(".")];
  return wanted.at(-1) === ">"
    ? tokens.length >= wanted.length && wanted.slice(0, -1).every((token, i) => token === tokens[i])
    : pattern === subject;
}

/** Whether NATS takes this as a subject, and a terminal shows it as it is. */
function isClean(subject: string): boolean {
  return subject.split(".").every((token) => /^[^.*>\s\p{Cc}\p{Cf}\p{Co}\p{Z}]+$/u.test(token)) &&
    subject.isWellFormed();
}

Deno.test("subjectOf ends the elements of a topic with a token of its own", () => {
  assertEquals(subjectOf(PREFIX, ["a"]), "mpubsub.bus.m.a._");
  assertEquals(subjectOf(PREFIX, ["a", "b"]), "mpubsub.bus.m.a.b._");
  assertEquals(subjectOf(PREFIX, []), "mpubsub.bus.b");
});

Deno.test("patternOf gives what hears a topic and all below it, for the root the catch-all", () => {
  assertEquals(patternOf(PREFIX, ["a", "b"]), "mpubsub.bus.m.a.b.>");
  assertEquals(patternOf(PREFIX, ["a.b"]), "mpubsub.bus.m.a%2Eb.>");
  assertEquals(patternOf(PREFIX, []), "mpubsub.bus.m.>");
});

for (const [element, token] of ELEMENTS) {
  const name = JSON.stringify(element).replaceAll(/[^ -~]/g, "?").slice(0, 40);
  Deno.test(`subjectOf makes one token of ${name}, and pathOf the element of that`, () => {
    const subject = subjectOf(PREFIX, ["a", element]);
    assertEquals(subject, `${PREFIX}.m.a.${token}._`);
    assert(isClean(subject));
    const path = pathOf(PREFIX, subject);
    assertEquals(path, ["a", element]);
    assert(Object.isFrozen(path));
  });
}

Deno.test("subjectOf escapes all characters that are invisible or move others, and no others", () => {
  // The ranges of subject.ts are fixed. If a later Unicode has more such characters, they are named
  // here: escaping them, too, would part brokers of different versions.
  const invisible = /[\p{Cc}\p{Cf}\p{Co}\p{Z}\p{Noncharacter_Code_Point}]/u;
  const unassigned = /\p{Cn}/u;
  let sum = 0;
  for (let code = 0x80; code <= 0x10ffff; code++) {
    if (code === 0xd800) code = 0xe000;
    const char = String.fromCodePoint(code);
    const isEscaped = subjectOf("p", [char]) !== `p.m.${char}._`;
    if (isEscaped) sum = (Math.imul(sum, 31) + code) >>> 0;
    if (isEscaped === invisible.test(char) || (isEscaped && unassigned.test(char))) continue;
    assertEquals(isEscaped, !isEscaped, `U+${code.toString(16)}`);
  }
  // Whatever Unicode the runtime has.
  assertEquals(sum, 340684217);
});

Deno.test("pathOf gives one frozen path for the root", () => {
  assertStrictEquals(pathOf(PREFIX, "mpubsub.bus.b"), topicPath(null));
});

const FOREIGN: [what: string, subject: string][] = [
  ["an empty subject", ""],
  ["the prefix alone", PREFIX],
  ["another kind", `${PREFIX}.x`],
  ["more than a broadcast", `${PREFIX}.b._`],
  ["another prefix", "mpubsub.bus2.m.a._"],
  ["a longer prefix", `x${PREFIX}.m.a._`],
  ["no element", `${PREFIX}.m._`],
  ["no element and no end", `${PREFIX}.m`],
  ["no end", `${PREFIX}.m.a`],
  ["an end that is part of an element", `${PREFIX}.m.a_`],
  ["a pattern", `${PREFIX}.m.a.>`],
  ["a wildcard", `${PREFIX}.m.*._`],
  ["an empty element", `${PREFIX}.m..a._`],
  ["an empty element alone", `${PREFIX}.m.._`],
  ["an empty last element", `${PREFIX}.m.a.._`],
  ["an escape in lower case", `${PREFIX}.m.%2e._`],
  ["an escape that is not needed", `${PREFIX}.m.%41._`],
  ["an escaped letter that is not ASCII", `${PREFIX}.m.%C3%A9._`],
  ["half an escape", `${PREFIX}.m.a%2._`],
  ["an escape without digits", `${PREFIX}.m.%._`],
  ["an escape of other digits", `${PREFIX}.m.%G0._`],
  ["an escaped byte that is no UTF-8", `${PREFIX}.m.%FF._`],
  ["half an escaped character", `${PREFIX}.m.%E2%80._`],
  ["too long UTF-8", `${PREFIX}.m.%C0%AE._`],
  ["an escaped surrogate", `${PREFIX}.m.%ED%A0%80._`],
  ["a lone surrogate", `${PREFIX}.m.\ud800._`],
  ["a space", `${PREFIX}.m.a b._`],
  ["a control character", `${PREFIX}.m.\x1b._`],
  ["a mark that turns a line around", `${PREFIX}.m.\u202e._`],
  ["one element more than the limit", `${PREFIX}.m.${"x.".repeat(TOPIC_ELEMENTS_MAX + 1)}_`],
  ["an element one byte past the limit", `${PREFIX}.m.${"x".repeat(ELEMENT_BYTES_MAX + 1)}._`],
  ["an escaped element past the limit", `${PREFIX}.m.${"%2E".repeat(ELEMENT_BYTES_MAX + 1)}._`],
];
for (const [what, subject] of FOREIGN) {
  Deno.test(`pathOf takes no subject with ${what}`, () => {
    assertEquals(pathOf(PREFIX, subject), undefined);
  });
}

Deno.test("pathOf takes a path with as many elements as the limit", () => {
  const path = new Array(TOPIC_ELEMENTS_MAX).fill("x");
  assertEquals(pathOf(PREFIX, subjectOf(PREFIX, path)), path);
});

Deno.test("pathOf does the reverse of subjectOf, whose subjects are distinct, for random paths", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const paths = new Map<string, string>();
    for (let step = 0; step < 300; step++) {
      const path = anyPath(random);
      const subject = subjectOf(PREFIX, path);
      const told = `seed ${seed}: ${JSON.stringify(path)} ${subject}`;
      assertEquals(pathOf(PREFIX, subject), path, told);
      assert(isClean(subject), told);
      const text = JSON.stringify(path);
      assertEquals(paths.get(subject) ?? text, text, told);
      paths.set(subject, text);
    }
  }
});

Deno.test("pathOf gives no path or one whose subject it was, for random subjects", () => {
  const pieces = [...PIECES, "%2E", "%20", "%C3", "%E2%80%A8", "._", ".", "\ud83d"];
  let found = 0;
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    for (let step = 0; step < 300; step++) {
      const rest = Array.from({ length: random.int(5) }, () => random.pick(pieces)).join("");
      const subject = `${PREFIX}.${random.pick(["m.", "m.", "b", ""])}${rest}${
        random.pick(["._", ""])
      }`;
      const path = pathOf(PREFIX, subject);
      if (path === undefined) continue;
      found++;
      const told = `seed ${seed}: ${JSON.stringify(subject)}`;
      assertEquals(subjectOf(PREFIX, path), subject, told);
      assertEquals(topicPath(path), path, told);
    }
  }
  assert(found > 100, `${found}`);
});

Deno.test("patternOf hears what is the topic or below it, and nothing else, for random paths", () => {
  const pieces = ["a", "_", "m", "b", "a._", ">", "*"];
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const path = () => Array.from({ length: random.int(4) }, () => random.pick(pieces));
    for (let step = 0; step < 200; step++) {
      const [wanted, published] = [path(), path()];
      const is = published.length > 0 && wanted.every((element, i) => element === published[i]);
      const told = `seed ${seed}: ${JSON.stringify([wanted, published])}`;
      assertEquals(hears(patternOf(PREFIX, wanted), subjectOf(PREFIX, published)), is, told);
    }
  }
});

/** A path whose subject has so many bytes. */
function pathOfBytes(bytes: number): TopicPath {
  const path = new Array(11).fill(".".repeat(85));
  return [...path, "€", "x".repeat(bytes - subjectOf(PREFIX, [...path, "€"]).length - 3)];
}

Deno.test("subjectProblem finds nothing wrong with a subject as long as the limit", () => {
  assertEquals(subjectProblem(PREFIX, pathOfBytes(SUBJECT_BYTES_MAX)), undefined);
  assertEquals(subjectProblem(PREFIX, ["a"]), undefined);
  assertEquals(subjectProblem(PREFIX, []), undefined);
});

Deno.test("subjectProblem says how long a subject would be that is past the limit", () => {
  assertEquals(
    subjectProblem(PREFIX, pathOfBytes(SUBJECT_BYTES_MAX + 1)),
    "its subject in NATS would have 3073 bytes; the limit is 3072",
  );
  const longest = new Array(TOPIC_ELEMENTS_MAX).fill(".".repeat(ELEMENT_BYTES_MAX));
  assertEquals(
    subjectProblem("p", longest),
    `its subject in NATS would have ${5 + 16 * 766} bytes; the limit is 3072`,
  );
});

Deno.test("subjectProblem counts bytes of UTF-8, not characters", () => {
  const path = new Array(TOPIC_ELEMENTS_MAX).fill("€".repeat(85));
  assertEquals(
    subjectProblem("p", path),
    `its subject in NATS would have ${5 + 16 * 256} bytes; the limit is 3072`,
  );
});

for (const bus of ["a", "Plant_2-b", "0", "-", "x".repeat(64)]) {
  Deno.test(`busPrefix takes the name ${bus}`, () => {
    assertEquals(busPrefix(bus), `mpubsub.${bus}`);
  });
}

const ALLOWED = "it must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -";
const BAD_BUSES: [what: string, bus: string, says: string][] = [
  ["that is empty", "", `Cannot use "" as the name of a bus: it is empty; ${ALLOWED}`],
  ["with a space", "a b", `Cannot use "a b" as the name of a bus: it has a " "; ${ALLOWED}`],
  ["with a dot", "a.b", 'it has a "."'],
  ["with a wildcard", ">", 'it has a ">"'],
  ["with a line end after it", "a\n", 'it has a "\\n"'],
  ["with a letter that is not ASCII", "é", 'it has a "é"'],
  ["with an emoji", "😀", 'it has a "😀"'],
  ["with a mark that turns a line around", "\u202e", 'it has a "\\u202e"'],
  ["one character past the limit", "x".repeat(65), `it has 65 characters; ${ALLOWED}`],
  ["that is very long", "x".repeat(1e6), "it has 1000000 characters"],
];
for (const [what, bus, says] of BAD_BUSES) {
  Deno.test(`busPrefix refuses a name ${what}`, () => {
    const error = assertThrows(() => busPrefix(bus), RangeError, says);
    assert(error.message.length < 300, error.message);
  });
}

Deno.test("busPrefix refuses what is no string", () => {
  const bus = undefined as unknown as string;
  assertThrows(() => busPrefix(bus), TypeError, "Cannot use a value of type undefined as the name");
});
