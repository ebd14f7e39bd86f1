/** The least that a server can be: it listens, and hangs up on who comes. Argument: the port. */
const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0]) });
for await (const connection of listener) connection.close();
