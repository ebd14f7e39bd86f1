import { Broker, createTicket } from "@mpubsub/mpubsub";

const folder = Deno.args[0] ?? "examples/browser";
const port = Number(Deno.args[1] ?? 8000);
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css" };
const HEADERS = {
  "content-security-policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; " +
    "object-src 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
};

// Only what is in the folder now is served, and nothing but pages.
const files = new Map<string, [type: string, content: Uint8Array<ArrayBuffer>]>();
for (const { name } of Deno.readDirSync(folder)) {
  const type = TYPES[name.split(".").pop() as keyof typeof TYPES];
  if (type) files.set(`/${name}`, [type, Deno.readFileSync(`${folder}/${name}`)]);
}
files.set("/", files.get("/index.html")!);

// Pages never get this key, but tickets of it.
const key = crypto.getRandomValues(new Uint8Array(32));
const page = { name: "page", key, publish: ["wanted"], subscribe: ["reading"], connections: 1000 };
await using broker = new Broker({
  address: "tcp://127.0.0.1:0",
  keys: [{ ...page, messagesPerSecond: 1000 }],
});
await broker.start();

// Programs of this user have the key that may do everything.
const file = { version: 1, address: broker.address, authkey: broker.authkey.toBase64() };
await Deno.writeTextFile("x.json", JSON.stringify(file), { mode: 0o600 });

/** Here everybody is a guest. Yours looks at who has logged in, and refuses everybody else. */
async function ticketFor(request: Request): Promise<Response> {
  const known = /(?:^|; )guest=([\w-]{36})(?:;|$)/.exec(request.headers.get("cookie") ?? "");
  const guest = known?.[1] ?? crypto.randomUUID();
  const narrow = { publish: [["wanted", "greenhouse"]] };
  const ticket = await createTicket(key, { name: "page", for: guest, narrow, expireIn: 3_600_000 });
  return Response.json({ version: 1, address: "/bus", ...ticket }, {
    headers: {
      "cache-control": "no-store",
      "set-cookie": `guest=${guest}; HttpOnly; SameSite=Strict; Path=/`,
    },
  });
}

const onListen = () => console.log(`Open http://localhost:${port}`);
await Deno.serve({ hostname: "localhost", port, onListen }, (request) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/bus") return broker.upgrade(request);
  if (pathname === "/ticket") return ticketFor(request);
  const [type, content] = files.get(pathname) ?? [];
  if (!type) return new Response("Not found\n", { status: 404 });
  return new Response(content, { headers: { "content-type": type, ...HEADERS } });
}).finished;
