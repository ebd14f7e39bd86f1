/**
 * What a subscriber accepts, names or a schema, and what it then gets of a message.
 */
import { MessageError } from "../errors.ts";
import { formatTopic, type TopicPath } from "../topic.ts";
import { watch } from "./callback_errors.ts";

/**
 * A schema that follows version 1 of [Standard Schema](https://standardschema.dev), as those of Zod,
 * Valibot and ArkType do. The type has only what mpubsub uses.
 *
 * @typeParam Out What the schema makes of a message.
 */
export interface StandardSchema<Out = unknown> {
  /** What the specification defines. */
  readonly "~standard": {
    /** The version of the specification. */
    readonly version: 1;
    /** The library that made the schema. */
    readonly vendor: string;
    /**
     * Checks a value, and returns what the schema makes of it, or what is wrong with it. A schema that
     * returns a promise cannot be used here.
     */
    readonly validate: (value: unknown) =>
      | { readonly value: Out; readonly issues?: undefined }
      | {
        readonly issues: readonly {
          readonly message: string;
          readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
        }[];
      }
      | Promise<unknown>;
    /** The types that go in and come out; for the compiler only. */
    readonly types?: { readonly input: unknown; readonly output: Out } | undefined;
  };
}

/** One of them. */
interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

const SHOWN_ISSUES_MAX = 5;
const SHOWN_CHARS_MAX = 500;

/** Returns what a subscriber gets of a message; throws if the message does not fit. */
export type Fit = (path: TopicPath, message: object) => unknown;

/** The check for `accepts`. */
export function fitOf(accepts: unknown): Fit {
  if (Array.isArray(accepts) && accepts.every((name) => typeof name === "string")) {
    return fitOfNames(accepts);
  }
  if (isSchema(accepts)) return fitOfSchema(accepts);
  throw new TypeError(
    "Cannot subscribe: accepts must be an array of names, or a schema with the property " +
      `"~standard"`,
  );
}

function isSchema(value: unknown): value is StandardSchema {
  const standard = value === null || value === undefined
    ? undefined
    : (value as Partial<StandardSchema>)["~standard"];
  return typeof standard?.validate === "function";
}

function fitOfNames(accepts: readonly string[]): Fit {
  const names = new Set(accepts);
  return (path, message) => {
    const issues: string[] = [];
    for (const [name, value] of Object.entries(message)) {
      if (value !== undefined && !names.has(name)) {
        issues.push(`it has ${JSON.stringify(name)}, which the subscriber does not accept`);
      }
    }
    if (issues.length > 0) throw misfit(path, issues);
    return message;
  };
}

function fitOfSchema(schema: StandardSchema): Fit {
  return (path, message) => {
    const result = schema["~standard"].validate(message);
    if (typeof result !== "object" || result === null) throw noResult(path, result);
    if ("then" in result) {
      watch(result, () => {
        // Nobody waits for this promise; that there is one is the error.
      });
      throw new TypeError(
        `Cannot deliver a message of ${formatTopic(path)} to a subscriber: ` +
          "accepts must be a synchronous schema, but its validate returned a promise",
      );
    }
    const { issues } = result;
    if (!issues) return result.value;
    if (typeof issues !== "object" || !(Symbol.iterator in issues)) throw noResult(path, result);
    throw misfit(path, textsOf(issues));
  };
}

function noResult(path: TopicPath, result: unknown): TypeError {
  const isObject = typeof result === "object" && result !== null;
  const what = isObject ? "one whose issues are no list" : String(result);
  return new TypeError(
    `Cannot deliver a message of ${formatTopic(path)} to a subscriber: accepts must be a schema ` +
      `whose validate returns an object, but it returned ${what}`,
  );
}

/**
 * Issues of a schema as texts. They are others' objects, and may be of subclasses of `Array` whose `map`
 * makes another one. So they are only read, and what leaves is ours.
 */
function textsOf(issues: Iterable<Issue>): string[] {
  const texts: string[] = [];
  for (const { message, path } of issues) {
    const keys: string[] = [];
    for (const step of path ?? []) {
      keys.push(String(typeof step === "object" && step !== null ? step.key : step));
    }
    texts.push(keys.length === 0 ? String(message) : `${keys.join(".")}: ${message}`);
  }
  return texts;
}

function misfit(topic: TopicPath, issues: readonly string[]): MessageError {
  const more = issues.length - SHOWN_ISSUES_MAX;
  const shown = issues.slice(0, SHOWN_ISSUES_MAX).join("; ") +
    (more > 0 ? `; and ${more} more` : "");
  const text = shown.length <= SHOWN_CHARS_MAX ? shown : `${shown.slice(0, SHOWN_CHARS_MAX)}…`;
  return new MessageError(
    `Cannot deliver a message of ${formatTopic(topic)} to a subscriber: ${text}`,
    { topic, issues },
  );
}
