/** The documentation of the interface, as `deno doc` has it: what `deno doc --lint` does not look at. */
import { assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);

/** A comment. */
interface Comment {
  readonly doc?: string;
  readonly tags?: readonly {
    readonly kind: string;
    readonly name?: string;
    readonly doc?: string;
  }[];
}

/** A type: how it reads without what stands between its angle brackets, and more. */
interface Type {
  readonly repr: string;
}

/** A parameter: as it is, with a default value, or for the rest of the arguments. */
type Param =
  | { readonly kind: "identifier"; readonly name: string }
  | { readonly kind: "assign"; readonly left: Param }
  | { readonly kind: "rest"; readonly arg: Param };

interface Signature {
  readonly params: readonly Param[];
  readonly returnType?: Type;
  readonly hasBody?: boolean;
}

/** A constructor, a method or a property. */
interface Member extends Partial<Signature> {
  readonly name: string;
  readonly kind?: string;
  readonly isStatic?: boolean;
  readonly functionDef?: Signature;
  readonly jsDoc?: Comment;
  readonly optional?: boolean;
  readonly tsType?: unknown;
}

/** A class, an interface, a function or another type. */
interface Definition extends Partial<Signature> {
  readonly constructors?: readonly Member[];
  readonly methods?: readonly Member[];
  readonly properties?: readonly Member[];
}

interface Declaration {
  readonly kind: string;
  readonly declarationKind: string;
  readonly jsDoc?: Comment;
  readonly def?: Definition;
}

/** Something that has a comment of its own, and a page. */
interface Entry {
  /** What a link to it names: the instance members of a class stand under `prototype`. */
  readonly name: string;
  readonly comment: Comment;
  readonly signature?: Signature | undefined;
  /** Whether it is an optional property or method that cannot be `undefined`. */
  readonly isAbsentOnly?: boolean;
}

interface Node extends Declaration {
  readonly name: string;
  readonly classDef?: Definition;
  readonly interfaceDef?: Definition;
  readonly functionDef?: Definition;
}

interface Page {
  readonly module_doc: Comment;
  readonly symbols: readonly { readonly name: string; readonly declarations: Declaration[] }[];
}

/** What `deno doc --json` says of a module: since Deno 2.8 by symbol, before that as one list. */
type Output =
  | { readonly version: 1; readonly nodes: readonly Node[] }
  | { readonly version: 2; readonly nodes: Readonly<Record<string, Page>> };

async function documentationOf(file: string): Promise<Entry[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", file],
    cwd: ROOT,
  }).output();
  const output = JSON.parse(new TextDecoder().decode(stdout)) as Output;
  return output.version === 1
    ? output.nodes.flatMap((node) =>
      entriesOf(node.name, {
        ...node,
        def: node.classDef ?? node.interfaceDef ?? node.functionDef ?? {},
      })
    )
    : Object.values(output.nodes).flatMap(({ module_doc, symbols }) => [
      { name: "module", comment: module_doc },
      ...symbols.flatMap(({ name, declarations }) =>
        declarations.flatMap((declaration) => entriesOf(name, declaration))
      ),
    ]);
}

function entriesOf(name: string, { kind, declarationKind, jsDoc, def = {} }: Declaration): Entry[] {
  if (declarationKind === "private") return [];
  const { constructors = [], methods = [], properties = [] } = def;
  const nameOf = (member: Member) =>
    `${name}.${kind === "class" && !member.isStatic ? "prototype." : ""}${member.name}`;
  return [
    { name, comment: jsDoc ?? {}, signature: kind === "function" ? signatureOf(def) : undefined },
    ...constructors.map((member) => ({
      name: `${name}.constructor`,
      comment: member.jsDoc ?? {},
      signature: { params: member.params! },
    })),
    // What implements overloads is not shown.
    ...methods.filter((method) => !isImplementation(method, methods)).map((method) => ({
      name: nameOf(method),
      comment: method.jsDoc ?? {},
      signature: method.kind === "getter" ? undefined : signatureOf(method.functionDef ?? method),
      isAbsentOnly: method.optional === true,
    })),
    ...properties.map((property) => ({
      name: nameOf(property),
      comment: property.jsDoc ?? {},
      isAbsentOnly: property.optional === true && !takesUndefined(property),
    })),
  ];
}

function signatureOf({ params, returnType }: Partial<Signature>): Signature {
  return { params: params!, ...(returnType && { returnType }) };
}

function isImplementation({ name, functionDef }: Member, methods: readonly Member[]): boolean {
  return functionDef?.hasBody === true &&
    methods.filter((method) => method.name === name).length > 1;
}

function takesUndefined({ tsType }: Member): boolean {
  return /"repr":"undefined"[^{}]*\}\]\}$/.test(JSON.stringify(tsType));
}

function nameOfParam(param: Param): string {
  if (param.kind === "assign") return nameOfParam(param.left);
  return param.kind === "rest" ? nameOfParam(param.arg) : param.name;
}

/** Whether there is nothing to say of a result, but when it comes. */
function isVoid(type: Type): boolean {
  return type.repr === "void" ||
    type.repr === "Promise" && JSON.stringify(type).includes('"repr":"void"');
}

for (const [name, file] of Object.entries(manifest.exports)) {
  const documentation = await documentationOf(file);

  Deno.test(`${name} says of each parameter and each result what it is`, () => {
    const missing: string[] = [];
    for (const { name, comment: { tags = [] }, signature } of documentation) {
      if (signature === undefined) continue;
      const described = tags.filter(({ kind, doc }) => kind === "param" && doc).map(({ name }) =>
        name
      );
      const params = signature.params.map(nameOfParam);
      if (params.join() !== described.join()) missing.push(`${name}(${params})`);
      const result = signature.returnType;
      if (result === undefined || isVoid(result)) continue;
      if (!tags.some(({ kind, doc }) => kind === "return" && doc)) {
        missing.push(`${name}: ${result.repr}`);
      }
    }
    assertEquals(missing, []);
  });

  Deno.test(`${name} has options that may all be undefined, as what is looked up may be`, () => {
    const options = documentation.filter(({ name }) =>
      /^(\w*Options|\w*Details|BrokerKey|BrokerLimits)\./.test(name)
    );
    assertEquals(options.filter(({ isAbsentOnly }) => isAbsentOnly).map(({ name }) => name), []);
  });

  Deno.test(`${name} has links only to what it exports`, () => {
    const names = new Set(documentation.map(({ name }) => name));
    const links = documentation.flatMap(({ name, comment }) =>
      [...JSON.stringify(comment).matchAll(/\{@link(?:code|plain)? ([^\s|}]+)/g)]
        .map(([, to]) => ({ name, to: to! }))
    );
    assertEquals(links.filter(({ to }) => !names.has(to) && !URL.canParse(to)), []);
  });
}

Deno.test("deno task check looks at the documentation of all entry points", () => {
  const lint = `deno doc --lock=deno.lock --lint --quiet ${
    Object.values(manifest.exports).join(" ")
  } `;
  assertEquals(manifest.tasks.check.command.includes(lint.replaceAll("./", "")), true);
});
