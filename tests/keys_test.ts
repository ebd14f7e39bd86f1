/** What a key grants, how fast its holders may publish, and the file in which keys stand. */
import { assert, assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { type BrokerKey, Key, Keyring, parseKeys } from "../broker/keys.ts";
import { GRANTS_MAX, Rights } from "../broker/rights.ts";
import type { Narrowing } from "../protocol/ticket.ts";
import { NOTHING } from "../routing/share.ts";
import { any, formatTopic, type TopicPath, type TopicPattern } from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";

const ANN: BrokerKey = { name: "ann", key: "secret of ann" };

function random(): ReturnType<typeof randomOf> {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  return randomOf(seed);
}

for (
  const [grants, topic, got] of [
    [[], [], []],
    [[], ["a"], []],
    [[null], [], [[]]],
    [[null], ["a"], [["a"]]],
    [["a"], ["a"], [["a"]]],
    [["a"], ["a", "b"], [["a", "b"]]],
    [["a"], ["ab"], []],
    [["a"], [], [["a"]]],
    [[["a", "b"], "c"], [], [["a", "b"], ["c"]]],
    [[["a", "b"], ["a", "c"], "d"], ["a"], [["a", "b"], ["a", "c"]]],
    [[["a", "b"]], ["a", "c"], []],
    [[["a", "b"], "a", "a"], [], [["a"]]],
    [["*broker", "a"], [], [["a"]]],
    [["*broker"], ["*broker", "stats"], [["*broker", "stats"]]],
  ] as const
) {
  Deno.test(`Rights.narrow gives of ${JSON.stringify(topic)} with ${JSON.stringify(grants)} ${JSON.stringify(got)}`, () => {
    const gets = new Rights({ subscribe: grants }).narrow(topic)?.topics ?? [topic];
    assertEquals(gets.map(String).sort(), got.map(String).sort());
  });
}

for (
  const [grants, topic, got] of [
    [[[any]], ["a"], [["a"]]],
    [[[any]], [], [[any]]],
    [[[any]], ["*broker"], []],
    [[["*broker"]], [any], []],
    [[["*broker"]], ["*broker", any], [["*broker", any]]],
    [[["a"]], [any, "b"], [["a", "b"]]],
    [[["a", any, "x"]], ["a", "b"], [["a", "b", "x"]]],
    [[["a", any, "x"]], [any, "b"], [["a", "b", "x"]]],
    [[["a", "b"], ["c", "b"]], [any, "b"], [["a", "b"], ["c", "b"]]],
    [[["a", any], [any, "b"]], [any, any], [["a", any], [any, "b"]]],
    [[["a", any], ["a", "b"], ["a", "b", "c"]], [], [["a", any]]],
    [[["a", "b"]], [any, "c"], []],
    [[["a", "b"]], ["a", any, any], [["a", "b", any]]],
  ] as [TopicPattern[], TopicPattern, TopicPattern[]][]
) {
  Deno.test(`Rights.narrow gives of ${formatTopic(topic)} with ${grants.map(formatTopic)} ${got.map(formatTopic)}`, () => {
    const gets = new Rights({ subscribe: grants }).narrow(topic)?.topics ?? [topic];
    assertEquals(gets.map(formatTopic).sort(), got.map(formatTopic).sort());
  });
}

for (
  const [grants, topic, may] of [
    [[["a", any, "x"]], ["a", "b", "x"], true],
    [[["a", any, "x"]], ["a", "b", "x", "y"], true],
    [[["a", any, "x"]], ["a", "b"], false],
    [[[any]], [], false],
    [[[any]], ["*broker"], false],
  ] as [TopicPattern[], TopicPath, boolean][]
) {
  Deno.test(`Rights.mayPublish is ${may} for ${formatTopic(topic)} with ${grants.map(formatTopic)}`, () => {
    assertEquals(new Rights({ publish: grants }).mayPublish(topic), may);
  });
}

for (
  const [grants, topic, may] of [
    [[], ["a"], false],
    [[null], [], true],
    [[null], ["a"], true],
    [["a"], [], false],
    [["a"], ["a"], true],
    [["a"], ["a", "b"], true],
    [["a"], ["ab"], false],
    [[["a", "b"]], ["a"], false],
  ] as const
) {
  Deno.test(`Rights.mayPublish is ${may} for ${JSON.stringify(topic)} with ${JSON.stringify(grants)}`, () => {
    assertEquals(new Rights({ publish: grants }).mayPublish(topic), may);
  });
}

Deno.test("Rights.narrow gives the same share for the same topic", () => {
  const rights = new Rights({ subscribe: [["a", "b"], ["a", "c"]] });
  assertStrictEquals(rights.narrow(["a"]), rights.narrow(["a"]));
  assertStrictEquals(rights.narrow(["x"]), rights.narrow(["y"]));
});

Deno.test("Rights looks at the elements of a topic once, however many topics are granted", () => {
  const readsWith = (count: number) => {
    const grants = Array.from({ length: count }, (_, i) => ["a", `${i}`]);
    const rights = new Rights({ publish: grants, subscribe: grants });
    let reads = 0;
    const path = new Proxy(["a", "x", "y"], {
      get(target, name) {
        reads++;
        return Reflect.get(target, name);
      },
    });
    assertEquals([rights.mayPublish(path), rights.narrow(path)], [false, NOTHING]);
    return reads;
  };
  assertEquals(readsWith(GRANTS_MAX), readsWith(2));
});

for (const field of ["publish", "subscribe", "serve"]) {
  Deno.test(`Rights refuses more than 4096 topics to ${field}`, () => {
    const grants = Array.from({ length: GRANTS_MAX + 1 }, (_, i) => `${i}`);
    new Rights({ [field]: grants.slice(1) });
    assertThrows(
      () => new Keyring(undefined, [{ ...ANN, [field]: grants }]),
      RangeError,
      `Cannot use the key "ann": ${field} has 4097 topics; the limit is 4096`,
    );
  });
}

Deno.test("Rights.narrow lets through what is granted and asked for, and nothing else", () => {
  const { int, pick } = random();
  const path = (): TopicPath => Array.from({ length: int(4) }, () => pick(["a", "b", "*broker"]));
  const covers = (above: TopicPattern, at: TopicPattern) =>
    above.every((part, i) => part === at[i]);
  for (let run = 0; run < 3000; run++) {
    const grants = Array.from({ length: int(4) }, path);
    const asked = path();
    const narrowed = new Rights({ subscribe: grants }).narrow(asked)?.topics ?? [asked];
    for (let i = 0; i < 10; i++) {
      const message = path();
      // A broadcast goes to whoever has any subscription, which is the router's to decide.
      if (message.length === 0) continue;
      const isForAsked = covers(asked, message) && (asked.length > 0 || message[0] !== "*broker" ||
        grants.some(({ length }) => length === 0));
      const isGranted = grants.some((grant) => covers(grant, message));
      const gets = narrowed.some((topic) => covers(topic, message));
      assertEquals(gets, isForAsked && isGranted, JSON.stringify({ grants, asked, message }));
    }
  }
});

Deno.test("Rights.narrowedTo grants what is granted and said, and nothing else, whatever is said", () => {
  const { int, pick } = random();
  const path = (): TopicPath => Array.from({ length: int(4) }, () => pick(["a", "b", "*broker"]));
  const topics = (): TopicPath[] => Array.from({ length: int(4) }, path);
  const covers = (above: TopicPattern, at: TopicPattern) =>
    above.every((part, i) => part === at[i]);
  const grants = (all: readonly TopicPath[] | undefined, at: TopicPath) =>
    all === undefined || all.some((grant) => covers(grant, at));
  for (let run = 0; run < 3000; run++) {
    const key = { publish: topics(), subscribe: topics() };
    key.publish = key.publish.filter(([first]) => first !== "*broker");
    const said = { publish: pick([undefined, topics()]), subscribe: pick([undefined, topics()]) };
    const rights = new Rights(key).narrowedTo(said);
    const asked = path();
    const share = rights.narrow(asked);
    assertStrictEquals(rights.narrow([...asked]), share, "the same share for the same topic");
    const narrowed = share?.topics;
    for (let i = 0; i < 10; i++) {
      const message = path();
      const shown = JSON.stringify({ key, said, asked, message });
      const mayPublish = grants(key.publish, message) && grants(said.publish, message);
      assertEquals(rights.mayPublish(message), mayPublish, shown);
      if (message.length === 0) continue; // A broadcast.
      const isGranted = grants(key.subscribe, message) && grants(said.subscribe, message);
      assertEquals(rights.mayGet(message), isGranted, shown);
      const isWhole = narrowed === undefined;
      const isCaught = asked.length > 0 || message[0] !== "*broker" || isWhole;
      const gets = covers(asked, message) && isCaught &&
        (isWhole || narrowed.some((topic) => covers(topic, message)));
      assertEquals(gets, covers(asked, message) && isCaught && isGranted, shown);
    }
    const twice = narrowed?.some((topic, at) =>
      narrowed.some((other, i) => i !== at && covers(other, topic))
    );
    assertEquals(twice ?? false, false, "each topic once");
  }
});

Deno.test("Rights.narrowedTo grants once what several topics of a ticket lead to", () => {
  const ticket = [["b"], [any, any]] as TopicPattern[];
  const rights = new Rights({ subscribe: [["b", any, any]] })
    .narrowedTo({ subscribe: ticket } as Narrowing);
  assertEquals(rights.narrow([])?.topics, [["b", any, any]]);
});

Deno.test("Rights.narrowedTo grants all of the key under the root, also what the broker publishes", () => {
  const rights = new Rights({ subscribe: [["*broker", "stats"]] }).narrowedTo({ subscribe: [[]] });
  assertEquals(rights.narrow(["*broker"])?.topics, [["*broker", "stats"]]);
  assertEquals(rights.narrow([]), NOTHING);
});

Deno.test("Rights.mayServe needs the whole topic, and to subscribe to it", () => {
  const rights = new Rights({ subscribe: ["jobs", ["a", any]], serve: ["jobs", "a", "c"] });
  const may = (path: TopicPattern) => rights.mayServe(path);
  const covered: TopicPattern[] = [["jobs"], ["jobs", "x"], ["a", "b"], ["a", any, "c"]];
  assertEquals(covered.map(may), [true, true, true, true]);
  assertEquals([[], ["a"], ["c"], ["d"]].map(may), [false, false, false, false]);
  const narrowed = rights.narrowedTo({ serve: [["jobs", "x"], ["d"]] });
  const ofTicket = [["jobs", "x", "y"], ["jobs"], ["d"]].map((path) => narrowed.mayServe(path));
  assertEquals(ofTicket, [true, false, false]);
  assertEquals(rights.narrowedTo({ subscribe: [["a"]] }).mayServe(["jobs"]), false);
  assertEquals(rights.equals(new Rights({ subscribe: ["jobs", ["a", any]], serve: ["c"] })), false);
  const everything = new Keyring("k", []).single.rights;
  assertEquals([everything.mayServe([]), everything.mayServe(["*broker", "x"])], [true, false]);
  assertThrows(() => new Rights({ serve: [["*broker"]] }), TypeError, "grants nothing");
});

Deno.test("Key.narrowed makes the same rights for tickets that narrow the same, and keeps few", () => {
  const key = new Key("page", new Uint8Array(16), new Rights({ subscribe: ["a"], serve: ["a"] }));
  const narrow = (n: number) => key.narrowed({ subscribe: [["a", `${n}`]] });
  const first = narrow(0);
  for (let n = 1; n < 200; n++) narrow(n);
  assertStrictEquals(narrow(0), first, "it was used, and is the last to go");
  for (let n = 200; n < 400; n++) narrow(n);
  assertStrictEquals(narrow(0), first);
  for (let n = 400; n < 700; n++) narrow(n);
  assert(narrow(0) !== first, "others were used meanwhile");
  assertStrictEquals(key.narrowed({}), key.rights);
  const [some, none] = [["a"], []].map((serve) =>
    key.narrowed({ serve: serve.map((one) => [one]) })
  );
  assertEquals([some, none].map((each) => each!.mayServe(["a"])), [true, false]);
  key.rights = new Rights({ subscribe: ["b"] });
  assertEquals(narrow(0).narrow(["a", "0"]), NOTHING);
});

Deno.test("Keyring refuses a name with which tickets begin", () => {
  for (const name of ["~", "~ann", '~{"name":"ann"}']) {
    assertThrows(
      () => new Keyring(undefined, [{ name, key: "x" }]),
      RangeError,
      "names of tickets",
    );
  }
});

Deno.test("Key.allow lets through as many messages as come in a second, and as many at once", () => {
  const key = new Key("ann", new Uint8Array(1), new Rights({ messagesPerSecond: 10 }));
  const burst = Array.from({ length: 20 }, () => key.allow(5000));
  assertEquals(burst.filter(Boolean).length, 10);
  assertEquals(key.allow(5099), false);
  assertEquals(key.allow(5101), true);
  assertEquals(key.allow(5102), false);
  let allowed = 0;
  for (let now = 5102; now < 15_102; now += 1) if (key.allow(now)) allowed++;
  assertEquals(allowed, 100);
});

Deno.test("Key.allow lets through one message now and then at less than one a second", () => {
  const key = new Key("ann", new Uint8Array(1), new Rights({ messagesPerSecond: 0.1 }));
  assertEquals([0, 1, 9_999, 10_001].map((now) => key.allow(now)), [true, false, false, true]);
});

Deno.test("Keyring knows the single key without a name, and the others by theirs", () => {
  const keyring = new Keyring("single", [ANN, { name: "bob", key: Uint8Array.of(1) }]);
  assertEquals(keyring.get("")?.bytes, new TextEncoder().encode("single"));
  assertEquals(keyring.get("bob")?.bytes, Uint8Array.of(1));
  assertEquals(keyring.get("eve"), undefined);
  assertEquals(keyring.get("constructor"), undefined);
});

Deno.test("Keyring grants nothing to a key with a name but what is said, everything to the single one", () => {
  const keyring = new Keyring("single", [ANN]);
  assertEquals(keyring.get("ann")!.rights.mayPublish(["a"]), false);
  assertEquals(keyring.get("ann")!.rights.narrow([]), NOTHING);
  assertEquals(keyring.get("ann")!.rights.wait, false);
  assert(keyring.single.rights.mayPublish([]));
  assertEquals(keyring.single.rights.narrow([]), undefined);
  assert(keyring.single.rights.wait);
});

Deno.test("Keyring makes up a single key that is not given", () => {
  const { bytes } = new Keyring(undefined, []).single;
  assertEquals(bytes.length, 32);
  assert(bytes.some((byte) => byte !== 0));
});

Deno.test("Keyring.replace keeps a key with the same bytes, with its new rights, and no other", () => {
  const keyring = new Keyring("single", [ANN, { name: "bob", key: "1" }, { name: "cy", key: "1" }]);
  const [ann, bob, cy] = [keyring.get("ann")!, keyring.get("bob")!, keyring.get("cy")!];
  keyring.replace([{ ...ANN, publish: ["a"] }, { name: "bob", key: "2" }]);
  assertEquals([ann, bob, cy, keyring.single].map((key) => keyring.has(key)), [
    true,
    false,
    false,
    true,
  ]);
  assert(ann.rights.mayPublish(["a"]));
});

Deno.test("Keyring.replace changes nothing when one of the keys is wrong", () => {
  const keyring = new Keyring("single", [ANN]);
  const ann = keyring.get("ann")!;
  assertThrows(() => keyring.replace([{ ...ANN, publish: ["a"] }, { name: "bob", key: "" }]));
  assert(keyring.has(ann));
  assertEquals(ann.rights.mayPublish(["a"]), false);
});

for (
  const [what, keys, problem] of [
    ["without a name", [{ name: "", key: "k" }], "number 0 has no name"],
    ["with a name that is too long", [{ name: "n".repeat(65), key: "k" }], "limit is 64"],
    [
      "with an empty key",
      [{ name: "ann", key: "" }],
      'the key "ann": Cannot use authkey: it is empty',
    ],
    ["with a key that is a number", [{ name: "ann", key: 1 }], "must be a string or a Uint8Array"],
    ["twice", [ANN, ANN], 'two have the name "ann"'],
    ["with a bad topic", [{ ...ANN, publish: [["a", ""]] }], "element 1 is empty"],
    [
      "with what nobody serves",
      [{ ...ANN, serve: ["*local"] }],
      'serve has ["*local"], which grants nothing',
    ],
    ["with one topic instead of several", [{ ...ANN, subscribe: "a" }], "must be an array"],
    ["with a rate of 0", [{ ...ANN, messagesPerSecond: 0 }], "must be a positive number"],
    ["with no connections", [{ ...ANN, connections: 0 }], "must be a positive integer"],
    ["with half a connection", [{ ...ANN, connections: 1.5 }], "connections is 1.5"],
    ["with connections as a text", [{ ...ANN, connections: "5" }], "connections is 5"],
    ["with a right that is no boolean", [{ ...ANN, wait: 1 }], "wait is 1"],
  ] as const
) {
  Deno.test(`Keyring refuses a key ${what}`, () => {
    assertThrows(() => new Keyring("single", keys as unknown as BrokerKey[]), Error, problem);
  });
}

Deno.test("parseKeys reads all fields of a key", () => {
  const text = `{ "keys": [
    { "name": "ann", "key": "AP8=", "publish": ["a", ["b", "c"]], "subscribe": [null],
      "serve": ["jobs", ["a", null]], "wait": true, "messagesPerSecond": 5, "connections": 2 },
    { "name": "bob", "key": "AA==" } ] }`;
  assertEquals(parseKeys(text), [
    {
      name: "ann",
      key: Uint8Array.of(0, 255),
      publish: ["a", ["b", "c"]],
      subscribe: [null],
      serve: ["jobs", ["a", any]],
      wait: true,
      messagesPerSecond: 5,
      connections: 2,
    },
    { name: "bob", key: Uint8Array.of(0) },
  ]);
});

for (
  const [what, text, problem] of [
    ["is no JSON", "{", "it is not JSON (line 1 column 2)"],
    ["is a list", "[]", 'no "keys"'],
    ["has no keys", "{}", 'no "keys"'],
    ["has another field", '{ "keys": [], "key": 1 }', 'an unknown field "key"'],
    ["has a key without a name", '{ "keys": [{ "key": "AA==" }] }', "number 0 has no name"],
    ["has a key without a key", '{ "keys": [{ "name": "ann" }] }', 'has no "key"'],
    ["has a key that is not base64", '{ "keys": [{ "name": "ann", "key": "*" }] }', "not base64"],
    [
      "has a misspelt right",
      '{ "keys": [{ "name": "ann", "key": "AA==", "subcribe": [] }] }',
      '"ann" has an unknown field "subcribe"',
    ],
  ] as const
) {
  Deno.test(`parseKeys refuses a file that ${what}`, () => {
    assertThrows(() => parseKeys(text), TypeError, problem);
  });
}

for (
  const [grant, problem] of [
    [
      "sensors/kitchen",
      '"sensors/kitchen" is one name with a slash in it, not a path: write ' +
      '["sensors","kitchen"] for the path, or ["sensors/kitchen"] for that name (in the key "ann")',
    ],
    ["/", "one name with a slash in it"],
    ...["*", "#", "+", "**", "a.>", "a.*", "sensors/+", "a/#"].map((grant) =>
      [
        grant,
        `the key "ann" grants ${
          JSON.stringify(grant)
        }, but there are no wildcards like that: a topic grants ` +
        `all below it, null everything, and in an array null is any name; write ["${grant}"] for ` +
        "that name",
      ] as const
    ),
  ] as const
) {
  for (const right of ["publish", "subscribe", "serve"]) {
    Deno.test(`parseKeys refuses the ${right} of a plain "${grant}", and takes the array`, () => {
      const fileOf = (topic: unknown) =>
        JSON.stringify({ keys: [{ name: "ann", key: "AA==", [right]: ["a", topic] }] });
      assertThrows(() => parseKeys(fileOf(grant)), TypeError, problem);
      assertEquals(parseKeys(fileOf([grant])).length, 1);
    });
  }
}

Deno.test("Keyring advises once on grants that are plain strings with a slash", () => {
  const slash: BrokerKey = { ...ANN, publish: ["a"], subscribe: [["b"], "c/d"] };
  assertEquals(new Keyring("single", [{ ...ANN, publish: [["a/b"]] }]).takeAdvice(), undefined);
  const keyring = new Keyring("single", [slash]);
  assertMatch(keyring.takeAdvice()!, /^"c\/d" is one name.*\["c","d"\].*key "ann"/);
  assertEquals(keyring.takeAdvice(), undefined);
  keyring.replace([slash]);
  assertEquals(keyring.takeAdvice(), undefined);
  const later = new Keyring("single", [ANN]);
  later.replace([slash]);
  assert(later.takeAdvice() !== undefined);
});

Deno.test("parseKeys reads null within a topic as any, and null alone as the root", () => {
  const topics = '[["a", null], [null], null]';
  const [key] = parseKeys(
    `{ "keys": [{ "name": "ann", "key": "AA==", "publish": ${topics}, "subscribe": ${topics} }] }`,
  );
  assertEquals(key!.publish, [["a", any], [any], null]);
  assertEquals(key!.subscribe, [["a", any], [any], null]);
});

Deno.test("parseKeys repeats nothing of what may be a key", () => {
  for (const text of ["c2VjcmV0 is a key", '{ "keys": [{ "name": "a", "key": c2VjcmV0 }] }']) {
    const error = assertThrows(() => parseKeys(text), TypeError, "it is not JSON");
    assert(!error.message.includes("c2V"), error.message);
  }
});

Deno.test("Keyring.replace tells whose rights have changed", () => {
  const keyring = new Keyring("single", [ANN, { name: "bob", key: "1", messagesPerSecond: 5 }]);
  const bob = keyring.get("bob")!;
  assertEquals(keyring.replace([ANN, { name: "bob", key: "1", messagesPerSecond: 5 }]).size, 0);
  for (
    const rights of [{ wait: true }, { publish: ["a"] }, { subscribe: [null] }, {}]
  ) assertEquals([...keyring.replace([ANN, { name: "bob", key: "1", ...rights }])], [bob]);
});
