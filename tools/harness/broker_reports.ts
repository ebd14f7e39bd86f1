/**
 * What a broker publishes of itself, told from what others would like to pass for it: tools that look
 * for messages where none may be meet it there.
 */

/** The kinds of reports, each with some of its members and what `typeof` says of them. */
const MEMBERS: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map([
  ["stats", { uptime: "number", address: "string", sessions: "number" }],
  ["clients", { clients: "object", total: "number" }],
  ["groups", { groups: "object", total: "number" }],
  ["topics", { topics: "object", other: "object", period: "number" }],
]);

/** Whether this is a report of the broker's, at its place. */
export function isBrokerReport(
  path: readonly string[],
  message: Readonly<Record<string, unknown>>,
): boolean {
  const [first, kind = ""] = path;
  const members = MEMBERS.get(kind);
  return path.length === 2 && first === "*broker" && members !== undefined &&
    Object.entries(members).every(([name, type]) => typeof message[name] === type);
}
