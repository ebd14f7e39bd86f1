/**
 * The groups of a broker: by topic and name, with what is kept of their jobs for each key.
 */
import type { Account } from "../base/account.ts";
import type { Background } from "../base/background.ts";
import { StringMap } from "../base/string_map.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import type { Router } from "../routing/router.ts";
import { topicFromJson, type TopicPattern, topicPattern } from "../topic.ts";
import type { JobKeeper, JobShare } from "./group_jobs.ts";
import { GroupPeer } from "./group_peer.ts";
import { type Holder, MEMORY_FULL } from "./memory.ts";
import type { Memberships } from "./memberships.ts";
import type { GroupStats, JobStats } from "./stats.ts";
import type { GroupName, HandedOver, TellLost } from "./uplink.ts";

/** What {@linkcode Groups} need from their broker. */
export interface GroupsOptions {
  readonly router: Router<Peer>;
  readonly background: Background;
  /** Where what is kept of jobs counts. */
  readonly account: Account;
  /** The other brokers, if this one is joined to some. */
  readonly elsewhere?: Elsewhere | undefined;
  readonly limits: { readonly queueBytes: number };
  /** For how many milliseconds publishers may be held back; 0: not at all. */
  readonly maxPatience: number;
  /** For how many milliseconds jobs wait when no member is left. */
  readonly resumeWindow: number;
  /** A monotonic time, in milliseconds. */
  readonly now: () => number;
}

/** Other brokers, which may have members of the same groups. */
export interface Elsewhere {
  /** A group has members here, or has none any more. */
  group(name: GroupName, isThere: boolean): void;
  /** Hands messages over to its members at another broker; never rejects. */
  handOver(
    broker: string,
    name: GroupName,
    frames: Uint8Array,
    tellLost: TellLost,
  ): Promise<HandedOver>;
}

/** What became of messages otherwise than that the first member to get one has finished it. */
export type JobCounts = Record<"redelivered" | "abandoned" | "refused", number>;

/** What a group needs of all. */
export interface GroupsContext extends GroupsOptions, JobKeeper {
  /** When the clock was looked at last. */
  readonly time: number;
  /** What all groups have counted together, also those that are gone. */
  readonly counts: JobCounts;
  /** Looks at the clock. */
  look(): void;
  /** Sends what was handed out. */
  flush(): void;
}

/** What is published by the broker itself is kept for nobody. */
const NOBODY = {};

/** The groups of one broker. */
export class Groups implements GroupsContext {
  readonly router: Router<Peer>;
  readonly background: Background;
  readonly account: Account;
  readonly elsewhere: Elsewhere | undefined;
  readonly limits: { readonly queueBytes: number };
  readonly maxPatience: number;
  readonly resumeWindow: number;
  readonly now: () => number;
  time = 0;
  /** By topic, as text, and by name. */
  readonly #groups = new StringMap<Map<string, GroupPeer>>();
  readonly #shares = new Map<object, Map<string | undefined, JobShare>>();
  /** Whose members were handed something that is not sent yet. */
  #unsent: Memberships[] = [];
  /** The groups that have members at other brokers, by the ids of these. */
  readonly #at = new Map<string, ReadonlySet<GroupPeer>>();
  readonly counts: JobCounts = { redelivered: 0, abandoned: 0, refused: 0 };

  /** Makes it without groups. */
  constructor(options: GroupsOptions) {
    const { router, background, account, limits, maxPatience, resumeWindow, now } = options;
    this.router = router;
    this.background = background;
    this.account = account;
    this.elsewhere = options.elsewhere;
    this.limits = limits;
    this.maxPatience = maxPatience;
    this.resumeWindow = resumeWindow;
    this.now = now;
  }

  look(): void {
    this.time = this.now();
  }

  /** The group of a topic and a name, which is made if it is not there. */
  at(path: TopicPattern, name: string): GroupPeer {
    const text = JSON.stringify(path);
    const groups = this.#groups.get(text) ?? new Map<string, GroupPeer>();
    let group = groups.get(name);
    if (group !== undefined) return group;
    group = new GroupPeer(path, name, this, () => this.#forget(text, name));
    this.#groups.set(text, groups.set(name, group));
    return group;
  }

  #forget(text: string, name: string): void {
    const groups = this.#groups.get(text)!;
    groups.get(name)!.end();
    groups.delete(name);
    if (groups.size === 0) this.#groups.delete(text);
  }

  /** Another broker has members of these groups, and of no others. */
  groupsAt(broker: string, names: readonly GroupName[]): void {
    const before = this.#at.get(broker) ?? new Set<GroupPeer>();
    const paths = names.map(({ topic }) => topicPattern(topicFromJson(topic)));
    const after = new Set(names.map(({ group }, index) => this.at(paths[index]!, group)));
    if (after.size > 0) this.#at.set(broker, after);
    else this.#at.delete(broker);
    for (const group of after) if (!before.has(group)) group.comes(broker);
    for (const group of before) if (!after.has(group)) group.goes(broker);
  }

  /** Gives the members of a group here messages of another broker; returns whether there are any. */
  takeOver(
    { group, topic }: GroupName,
    frames: Uint8Array,
    messages: number,
    origin: Origin,
  ): boolean {
    const peer = this.#groups.get(JSON.stringify(topic))?.get(group);
    if (peer === undefined || !peer.hasMembers) return false;
    peer.take(frames, messages, origin, undefined);
    return true;
  }

  *#all(): Generator<GroupPeer, void, undefined> {
    for (const groups of [...this.#groups.values()]) yield* [...groups.values()];
  }

  readonly shareOf = ({ holder }: Origin): JobShare => {
    const { owner, of } = holder ?? { owner: NOBODY };
    let shares = this.#shares.get(owner);
    if (shares === undefined) this.#shares.set(owner, shares = new Map());
    let share = shares.get(of);
    if (share === undefined) shares.set(of, share = { owner, of, bytes: 0 });
    return share;
  };

  /** Something is to be sent when all is handed out. */
  hasToSend(members: Memberships): void {
    this.#unsent.push(members);
  }

  flush(): void {
    if (this.#unsent.length === 0) return;
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const members of unsent) members.send();
  }

  /** All for whom jobs are kept, as those for whom memory is kept. */
  *holders(): Generator<Holder, void, undefined> {
    for (const [owner, shares] of this.#shares) {
      for (const [of, share] of shares) {
        if (share.bytes === 0) shares.delete(of);
        else yield this.#holder(share);
      }
      if (shares.size === 0) this.#shares.delete(owner);
    }
  }

  #holder(share: JobShare): Holder {
    const free = (which: "waiting" | "unfinished") => (bytes: number) => {
      for (const group of this.#all()) {
        bytes -= group.free(which, ({ run }) => run.share === share, bytes, MEMORY_FULL);
        if (bytes <= 0) break;
      }
      return 0;
    };
    return {
      owner: share.owner,
      ...(share.of !== undefined && { of: share.of }),
      get keptBytes() {
        return share.bytes;
      },
      losses: [free("waiting"), free("unfinished")],
    };
  }

  /** What is published about each group. */
  *stats(): Generator<GroupStats, void, undefined> {
    const now = this.now();
    for (const group of this.#all()) if (!group.isElsewhereOnly) yield group.stats(now);
  }

  /** What is published about all groups together. */
  totals(): JobStats {
    const sum = { groups: 0, members: 0, waiting: 0, unfinished: 0, oldest: 0, ...this.counts };
    for (const group of this.stats()) {
      sum.groups++;
      sum.members += group.members;
      sum.waiting += group.waiting;
      sum.unfinished += group.unfinished;
      sum.oldest = Math.max(sum.oldest, group.oldest);
    }
    return sum;
  }

  /** Gives up all jobs, and tells those who published them. */
  close(why: string): void {
    for (const group of this.#all()) {
      group.abandonAll(why);
      group.end();
    }
  }
}
