/**
 * The groups of one bus: each message goes to one member of each group.
 *
 * ```
 *  message ──▶ the group's registration, among the subscribers of its topic ──▶ who is free ──▶ Member
 * ```
 */
import { StringMap } from "../base/string_map.ts";
import { BacklogError } from "../errors.ts";
import { Group } from "../routing/group.ts";
import { formatTopic, isLocalPath, type TopicPattern } from "../topic.ts";
import { fitOf } from "./accepts.ts";
import {
  FunctionMember,
  type LocalJob,
  LoopMember,
  type Member,
  type MemberMaking,
  type MembersGroup,
} from "./group_members.ts";
import { GroupSubscription } from "./group_subscription.ts";
import { NOTHING, type Registration, Removal } from "./registration.ts";
import {
  type ErrorContext,
  type Handle,
  NO_INFO,
  type Subscriber,
  type Subscription,
} from "./subscriber.ts";

/** How many messages may wait for the members of one group. */
export const GROUP_WAITING_MAX = 65_536;
const CONCURRENCY = 16;
const NAME_BYTES_MAX = 255;
const encoder = new TextEncoder();

/** What a bus does for its groups. */
export interface GroupsOwner {
  /** Adds a registration that takes all messages of a topic. */
  register(path: TopicPattern, take: Subscriber<object>): Registration;
  /** Removes it. */
  unregister(registration: Registration): void;
  /** Nothing more may be published to it for now, or again. */
  setFull(registration: Registration, isFull: boolean): void;
  /** Calls something once when a signal aborts; returns what takes that away. */
  onAbort(signal: AbortSignal, callback: () => void): () => void;
  /** The number of one more subscriber. */
  born(): number;
  /** A member comes, which may throw, or goes. */
  onMember(member: Member, isThere: boolean): void;
  report(error: unknown, context: ErrorContext): void;
}

/** Options of a member; checked here. */
export interface MemberOptions {
  readonly group?: unknown;
  readonly concurrency?: unknown;
  readonly once?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly accepts?: unknown;
}

/** One group. */
class LocalGroup implements MembersGroup {
  readonly path: TopicPattern;
  readonly name: string;
  readonly members = new Set<Member>();
  /** Those that are the same function, the earliest first. */
  readonly #bySubscriber = new Map<unknown, Set<Member>>();
  readonly #jobs = new Group<LocalJob>();
  #isFull = false;
  readonly #owner: GroupsOwner;
  readonly #registration: Registration;
  readonly #onGone: (member: Member) => void;
  readonly #onEmpty: () => void;

  constructor(
    path: TopicPattern,
    name: string,
    owner: GroupsOwner,
    onGone: (member: Member) => void,
    onEmpty: () => void,
  ) {
    this.path = path;
    this.name = name;
    this.#owner = owner;
    this.#onGone = onGone;
    this.#onEmpty = onEmpty;
    this.#registration = owner.register(path, (topic, message) => {
      const job = { topic, message, bytes: 0, info: NO_INFO, giver: undefined, number: 0 };
      this.#jobs.offer(job);
      this.#look();
    });
  }

  join(member: Member, signal: AbortSignal | undefined): void {
    this.members.add(member);
    const { subscriber } = member;
    const same = this.#bySubscriber.get(subscriber) ?? new Set();
    this.#bySubscriber.set(subscriber, same.add(member));
    if (signal !== undefined) {
      member.release = this.#owner.onAbort(signal, () => member.end(signal.reason));
    }
    this.#jobs.join(member.seat);
    this.#look();
  }

  leave(member: Member): void {
    if (!this.members.delete(member)) return;
    const same = this.#bySubscriber.get(member.subscriber)!;
    same.delete(member);
    if (same.size === 0) this.#bySubscriber.delete(member.subscriber);
    member.release?.();
    this.#jobs.leave(member.seat);
    this.#onGone(member);
    this.dissolve();
  }

  /** Ends it if it has no members. */
  dissolve(): void {
    if (this.members.size > 0) return;
    this.#owner.unregister(this.#registration);
    this.#onEmpty();
    this.#tellLost(this.#jobs.take().length);
  }

  give(member: Member, job: LocalJob): void {
    this.#jobs.give(member.seat, job);
  }

  /** The earliest member that is this function. */
  earliestOf(subscriber: unknown): Member | undefined {
    return this.#bySubscriber.get(subscriber)?.values().next().value;
  }

  finish(member: Member, job: LocalJob): void {
    job.giver?.end(job.number, true);
    this.#jobs.finish(member.seat, job);
    this.#look();
  }

  giveBack(member: Member, jobs: readonly LocalJob[]): void {
    for (const job of jobs) {
      if (job.giver === undefined) this.#jobs.giveBack(member.seat, job);
      else {
        job.giver.end(job.number, false);
        this.#jobs.finish(member.seat, job);
      }
    }
    this.#look();
    if (this.members.size === 0) this.#tellLost(this.#jobs.take().length);
  }

  report(error: unknown, context: ErrorContext): void {
    this.#owner.report(error, context);
  }

  /** Says whether more can wait, if that has changed. */
  #look(): void {
    const isFull = this.#jobs.waiting >= GROUP_WAITING_MAX;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#owner.setFull(this.#registration, isFull);
  }

  #tellLost(messages: number): void {
    if (messages === 0) return;
    const path = formatTopic(this.path);
    this.report(
      new BacklogError(
        `Nobody gets ${messages} messages for a group of ${path}: its last member has left`,
        { limit: GROUP_WAITING_MAX },
      ),
      { topic: this.path },
    );
  }
}

/** The groups of one bus. */
export class LocalGroups {
  readonly #owner: GroupsOwner;
  /** By topic, as text, and by name. */
  readonly #groups = new StringMap<Map<string, LocalGroup>>();
  /** Those of which others may know, by number. */
  readonly #members = new Map<number, Member>();
  /** The number of the last of them. */
  #numbers = 0;

  /** Makes it without groups. */
  constructor(owner: GroupsOwner) {
    this.#owner = owner;
  }

  /**
   * Makes a function a member of a group.
   *
   * @returns Removes it.
   * @throws {TypeError} If an option is of the wrong kind.
   * @throws {RangeError} If the name, or the number of messages, is out of range.
   */
  add(path: TopicPattern, subscriber: Subscriber<never>, options: MemberOptions): Handle {
    const { concurrency = CONCURRENCY, once = false } = options;
    checkCount("concurrency", concurrency);
    const member = this.#join(path, options, (making) => {
      return new FunctionMember(
        { ...making, concurrency: once ? 1 : concurrency },
        subscriber,
        once,
      );
    });
    return member === undefined ? NOTHING : new Removal(() => member.end());
  }

  /**
   * Makes a loop a member of a group.
   *
   * @throws {TypeError} If an option is of the wrong kind.
   * @throws {RangeError} If the name, or the number of messages, is out of range.
   */
  subscribe(
    path: TopicPattern,
    limit: unknown,
    options: MemberOptions,
  ): Subscription<unknown> {
    checkCount("limit", limit);
    const name = `the subscription of ${formatTopic(path)}`;
    let member!: LoopMember;
    const joined = this.#join(path, options, (making) => {
      return member = new LoopMember({ ...making, concurrency: limit }, name);
    });
    if (joined === undefined) member.end(options.signal!.reason);
    return new GroupSubscription(member);
  }

  #join<M extends Member>(
    path: TopicPattern,
    { group: name, signal, accepts }: MemberOptions,
    make: (making: Omit<MemberMaking, "concurrency">) => M,
  ): M | undefined {
    checkName(name);
    const fit = accepts === undefined ? undefined : fitOf(accepts);
    if (signal?.aborted) {
      make({ group: NO_GROUP, number: 0, birth: 0, fit });
      return undefined;
    }
    const group = this.#at(path, name);
    const number = isLocalPath(path) ? 0 : ++this.#numbers;
    const member = make({ group, number, birth: this.#owner.born(), fit });
    if (number > 0) this.#tell(group, member);
    group.join(member, signal);
    return member;
  }

  /** Tells the owner of a member that is about to join, which it may refuse. */
  #tell(group: LocalGroup, member: Member): void {
    this.#members.set(member.number, member);
    try {
      this.#owner.onMember(member, true);
    } catch (error) {
      this.#members.delete(member.number);
      group.dissolve();
      throw error;
    }
  }

  #gone(member: Member): void {
    if (this.#members.delete(member.number)) this.#owner.onMember(member, false);
  }

  /** The members of which others may know. */
  members(): Iterable<Member> {
    return this.#members.values();
  }

  /** How many these are. */
  get memberCount(): number {
    return this.#members.size;
  }

  /** The one of this number. */
  member(number: number): Member | undefined {
    return this.#members.get(number);
  }

  /** The group of a topic and a name, which is made if it is not there; it must get a member. */
  #at(path: TopicPattern, name: string): LocalGroup {
    const text = JSON.stringify(path);
    const groups = this.#groups.get(text) ?? new Map<string, LocalGroup>();
    let group = groups.get(name);
    if (group !== undefined) return group;
    const gone = (member: Member) => this.#gone(member);
    group = new LocalGroup(path, name, this.#owner, gone, () => {
      groups.delete(name);
      if (groups.size === 0) this.#groups.delete(text);
    });
    this.#groups.set(text, groups.set(name, group));
    return group;
  }

  /** The earliest member for a topic that is this function. */
  earliestOf(path: TopicPattern, subscriber: Subscriber<never>): Member | undefined {
    let earliest: Member | undefined;
    for (const group of this.#groups.get(JSON.stringify(path))?.values() ?? []) {
      const member = group.earliestOf(subscriber);
      if (earliest === undefined || member !== undefined && member.birth < earliest.birth) {
        earliest = member;
      }
    }
    return earliest;
  }

  /** Removes all members. */
  clear(): void {
    for (const groups of [...this.#groups.values()]) {
      for (const { members } of [...groups.values()]) {
        for (const member of [...members]) member.end();
      }
    }
  }
}

/** Stands for the group of a member that never joins one. */
const NO_GROUP: MembersGroup = {
  path: [],
  name: "",
  give() {},
  finish() {},
  giveBack() {},
  leave() {},
  report() {},
};

function checkName(name: unknown): asserts name is string {
  if (typeof name !== "string" || !name.isWellFormed()) {
    throw new TypeError(
      `Cannot use the group: it is ${typeof name}; it must be a well-formed string`,
    );
  }
  const { length } = encoder.encode(name);
  if (length >= 1 && length <= NAME_BYTES_MAX) return;
  throw new RangeError(
    `Cannot use the group: its name has ${length} bytes; it must have 1 to ${NAME_BYTES_MAX}`,
  );
}

function checkCount(name: string, count: unknown): asserts count is number {
  if (Number.isInteger(count) && (count as number) > 0) return;
  throw new RangeError(`${name} is ${count}; it must be a positive whole number`);
}
