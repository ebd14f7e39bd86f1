/** Clients of a chaos in a page, which has `run` for each; it resolves when the client has come to its end. */
import { fromBase64 } from "../../base/base64.ts";
import { NetPubSub } from "../../web.ts";
import { optionsOf, type Report, runClient, type Task, type Topics } from "./chaos_client.ts";

/** What a client in a page does, and where. */
export interface PageTask extends Task {
  readonly address: string;
  /** In base64. */
  readonly key: string;
}

async function run({ address, key, ...task }: PageTask): Promise<void> {
  const tell = (report: Report) => console.log(JSON.stringify({ name: task.name, report }));
  const bus = new NetPubSub<Topics>(address, fromBase64(key), optionsOf(tell));
  await runClient(bus, task, tell);
}

Object.assign(globalThis, { run });
