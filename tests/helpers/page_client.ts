/** A client as the script of a page, with what it was told; tests find both in the global object. */
import type { Gap, State } from "../../web.ts";
import { NetPubSub } from "../../web.ts";

/** What a test can see of a page. */
export interface PageView {
  readonly visibility: string;
  /** The numbers that came, in their order. */
  readonly heard: readonly number[];
  readonly gaps: readonly Gap[];
  readonly states: readonly State[];
  /** For how long no timer has fired, in milliseconds, though one is due every `TICK_MS`. */
  readonly silence: number;
  /** How often the browser had kept the page, and showed it again. */
  readonly returns: number;
}

/** What of a page is used here; Deno knows none of it. */
interface Scope {
  readonly document: { readonly visibilityState: string };
}

const TICK_MS = 250;
const heard: number[] = [];
const gaps: Gap[] = [];
const states: State[] = [];
let returns = 0;
let ticked = performance.now();

function tick(): void {
  ticked = performance.now();
  setTimeout(tick, TICK_MS);
}
tick();

addEventListener("pageshow", (event) => {
  if ((event as Event & { persisted: boolean }).persisted) returns++;
});

/** Connects, and notes the numbers of a topic. */
async function join(address: string, authkey: string): Promise<void> {
  const bus = new NetPubSub<{ numbers: { n: number } }>(address, authkey, {
    onGap: (gap) => gaps.push(gap),
    onState: (state) => states.push(state),
  });
  bus.addSubscriber("numbers", (_topic, { n }) => heard.push(n));
  await bus.connect();
}

function view(): PageView {
  const { document: { visibilityState: visibility } } = globalThis as unknown as Scope;
  return { visibility, heard, gaps, states, silence: performance.now() - ticked, returns };
}

Object.assign(globalThis, { join, view });
