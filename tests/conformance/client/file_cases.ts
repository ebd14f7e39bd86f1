/** Connection files: what they are good for, and which are refused. */
import { ConnectionLostError } from "../../../errors.ts";
import { check, rejects, same } from "./check.ts";
import { type Case, type Context, until } from "./context.ts";

/** A client for a connection file. */
async function fromFile(context: Context, path: string) {
  return context.adopt(await context.library.fromFile!(path, context.options({ onGap: () => {} })));
}

/** Why a file is refused; its class is the runtime's own. */
function refusal(context: Context, path: string): Promise<Error | undefined> {
  return fromFile(context, path).then(() => undefined, (error) => error);
}

export const FILES: readonly Case[] = [
  {
    name: "fromFile finds the broker, and finds it again when the file has changed",
    needsFiles: true,
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const bus = await fromFile(context, await stage.call("writeFile", 0o600));
      await bus.connect();
      await stage.call("stop", true);
      await until(() => bus.state === "reconnecting");
      await stage.call("restart", { authkey: "another key" });
      await stage.call("writeFile", 0o600);
      await bus.connect();
      await bus.flush();
      same(bus.state, "connected");
    },
  },
  {
    name: "connect rejects while there is no file, and with wait it waits for one",
    needsFiles: true,
    async run(context) {
      const stage = await context.stage();
      const path = await stage.call("writeFile", 0o600);
      const bus = await fromFile(context, `${path}.later`);
      await rejects(bus.connect(), ConnectionLostError, "there is no connection file");
      const connecting = bus.connect({ wait: true });
      await stage.call("writeFile", 0o600, { suffix: ".later" });
      await connecting;
      same(bus.state, "connected");
    },
  },
  {
    name: "fromFile refuses a file that others can read",
    needsFiles: true,
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const path = await stage.call("writeFile", 0o644);
      const error = await refusal(context, path);
      check(error?.name === "PermissionDenied", String(error));
      check(error.message.includes(`Cannot use "${path}": others can read`), error.message);
    },
  },
  {
    name: "fromFile refuses what is no connection file, and a folder",
    needsFiles: true,
    async run(context) {
      const stage = await context.stage();
      for (const text of ["nonsense", "{}", '{ "version": 1 }']) {
        const path = await stage.call("writeFile", 0o600, { text });
        await rejects(fromFile(context, path), TypeError, "it is not a connection file");
      }
      const path = await stage.call("writeFile", 0o600);
      const folder = path.replace(/\/[^/]*$/, "");
      const error = await refusal(context, folder);
      check(error?.name === "IsADirectory", String(error));
    },
  },
];
