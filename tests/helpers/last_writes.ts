/**
 * Loaded before the tests: lets each wait, at its end, for what was written meanwhile.
 *
 * Deno before 2.9 ends a write not when its connection is closed, but when the other side is gone. That
 * may be noticed after the end of the test, which then is said to leak.
 */
import { delay } from "@std/async/delay";
import { Connection } from "../../io/connection.ts";

/** How long the other side may take to be gone. */
const GONE_MS = 5000;

// deno-lint-ignore no-explicit-any
type Test = (...args: any[]) => void;

function waitForWrites(): void {
  const writes = new Set<Promise<number>>();
  const { write } = Connection.prototype;
  Connection.prototype.write = function (bytes) {
    const written = write.call(this, bytes);
    const done = () => writes.delete(written);
    writes.add(written);
    written.then(done, done);
    return written;
  };
  const waits = (test: (context: Deno.TestContext) => unknown) =>
    Object.defineProperty(
      async (context: Deno.TestContext) => {
        try {
          await test(context);
        } finally {
          const late = new AbortController();
          const patience = delay(GONE_MS, late).catch(() => {});
          await Promise.race([Promise.allSettled(writes), patience]);
          late.abort();
          await patience;
        }
      },
      "name",
      { value: test.name },
    );
  const original = Deno.test as Test;
  const test: Test = (...args) =>
    original(
      ...args.map((arg) =>
        typeof arg === "function"
          ? waits(arg)
          : typeof arg?.fn === "function"
          ? { ...arg, fn: waits(arg.fn) }
          : arg
      ),
    );
  Object.defineProperty(Deno, "test", { value: Object.assign(test, original) });
}

const [major, minor] = Deno.version.deno.split(".").map(Number);
if (major === 2 && minor! < 9) waitForWrites();
