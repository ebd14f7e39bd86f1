/**
 * The connection file of a broker, as where its client finds it.
 */
import { printable } from "../base/printable.ts";
import { ConnectionLostError } from "../errors.ts";
import { absolute } from "../io/address.ts";
import { readConnectionFile } from "../io/connection_file.ts";
import { isMissing, withKey } from "../io/connection_info.ts";
import type { BrokerFinder, BrokerInfo } from "./broker_finder.ts";

/**
 * Has a client find the broker of a connection file from now on. The file need not be there yet.
 *
 * @throws {TypeError} If it is not a path.
 * @throws {Error} If there is a file, and it cannot be used, as `readConnectionFile` says.
 */
export async function followFile(finder: BrokerFinder, path: string | URL): Promise<void> {
  checkPath(path);
  const file = absolute(path);
  try {
    finder.check(await read(path));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  finder.follow(async ({ waits }) => {
    try {
      return await read(file);
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new ConnectionLostError(
        `Cannot connect: there is no connection file ${file}; start a broker with it` +
          (waits ? "" : ", or wait for one with connect({ wait: true })"),
        { cause: error },
      );
    }
  });
}

async function read(file: string | URL): Promise<BrokerInfo> {
  const content = withKey(file, await readConnectionFile(file));
  return { ...content, address: content.addresses ?? content.address };
}

/** Some runtimes look for a file of the name "undefined" when they are given `undefined`. */
function checkPath(file: unknown): void {
  if (typeof file === "string" && file !== "" || file instanceof Object && "href" in file) return;
  const what = typeof file === "string" ? "empty" : printable(String(file), 80);
  throw new TypeError(
    `Cannot read the connection file: its path is ${what}; it must be a text or a URL`,
  );
}
