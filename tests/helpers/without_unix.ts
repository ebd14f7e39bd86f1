/**
 * Loaded before the tests of `deno task test:portable`: Deno as on Windows, where brokers listen on
 * loopback TCP. So the tests that run there can be seen to pass anywhere.
 */
Object.defineProperty(Deno, "build", { value: { ...Deno.build, os: "windows" } });
