import { assertRejects, assertStrictEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { dial } from "../io/dial.ts";

/** Something that listens, and closes whatever comes. */
function listening(): AsyncDisposable & { readonly address: string } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const conn of listener) conn.close();
  })();
  return {
    address: `tcp://127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test("dial closes a connection that is there just as its signal aborts", async () => {
  await using listener = listening();
  const controller = new AbortController();
  const reason = new Error("enough");
  const { connect } = Deno;
  // As Deno does when the signal aborts between the connection and whoever waits for it.
  Object.assign(Deno, {
    async connect({ signal, ...options }: Deno.ConnectOptions) {
      try {
        return await connect(options);
      } finally {
        controller.abort(reason);
        signal?.throwIfAborted();
      }
    },
  });
  try {
    const error = await assertRejects(() => dial(listener.address, controller.signal));
    assertStrictEquals(error, reason);
  } finally {
    Object.assign(Deno, { connect });
  }
});

Deno.test("dial ends a connection that is being made when its signal aborts", async () => {
  await using listener = listening();
  for (let n = 0; n < 200; n++) {
    const controller = new AbortController();
    const dialling = dial(listener.address, controller.signal)
      .then((connection) => connection.close(), () => {});
    if (n % 2 === 1) await delay(0);
    controller.abort("enough");
    await dialling;
  }
});
