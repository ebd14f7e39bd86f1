/** `deno publish --dry-run`, as it would be where JSR can be reached. */
import { withPackageCopy } from "./package_copy.ts";

await withPackageCopy(async (cwd) => {
  const args = ["publish", "--dry-run", "--allow-dirty", "--quiet"];
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd }).spawn().status;
  Deno.exitCode = code;
});
