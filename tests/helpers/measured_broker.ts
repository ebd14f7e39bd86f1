/** A broker in a process of its own, which tells how much memory it takes; see `MeasuredBroker`. */
import { parseArgs } from "@std/cli/parse-args";
import { serveMeasured } from "../../tools/harness/processes.ts";

const { options } = parseArgs(Deno.args, { string: ["options"] });
await serveMeasured(JSON.parse(String(options)), { collects: "when asked" });
