/**
 * The cases as a script of a page, of a frame in one, or of a module worker: it tells what `main.ts` writes,
 * and at last that it is done. What it is to do stands in its URL, as JSON after `?`.
 */
import { NetPubSub } from "../../../web.ts";
import type { Setting } from "./context.ts";
import { runCases } from "./run_cases.ts";

/** What of a page is used here; Deno knows none of it. */
interface Scope {
  readonly location: { readonly search: string };
  /** The page around it; itself, if there is none. Missing in a worker. */
  readonly parent?: { postMessage(line: string, origin: string): void };
  postMessage(line: string): void;
}

const scope = globalThis as unknown as Scope;

/** A frame and a worker tell the page that has them, which logs it. */
function tell(line: object): void {
  const text = JSON.stringify(line);
  if (scope.parent === undefined) scope.postMessage(text);
  else if (scope.parent === scope) console.log(text);
  else scope.parent.postMessage(text, "*");
}

const setting: Setting = JSON.parse(decodeURIComponent(scope.location.search.slice(1)));
await runCases(NetPubSub, setting, tell);
tell({ isDone: true });
