/**
 * The members of groups that one client has, and what they have not finished. Jobs are numbered in the
 * order in which they are handed out in the session; so FINISHED needs no more than ranges of numbers.
 *
 * ```
 *  connected ─▶ lost: they get nothing new ─▶ comes back: they go on
 *                         └──────▶ the session ends: what they have not finished goes to others
 * ```
 */
import { ProtocolError } from "../errors.ts";
import { sizeLength, writeSize } from "../base/size_prefix.ts";
import { type Frame, FrameType, type Limits } from "../protocol/frame.ts";
import {
  decodeNumber,
  decodeRanges,
  JOB_HEAD_BYTES,
  type JobRange,
  writeJobHead,
} from "../protocol/job_bodies.ts";
import { Seat } from "../routing/group.ts";
import { Pace } from "../routing/pace.ts";
import type { Origin } from "../routing/peer.ts";
import type { TopicPattern } from "../topic.ts";
import { type GroupJob, JOB_BYTES } from "./group_jobs.ts";
import { NumberedJobs } from "./numbered_jobs.ts";
import type { GroupPeer } from "./group_peer.ts";
import type { Groups } from "./groups.ts";
import { type Joining, joiningBytes, readJoining } from "./joining.ts";

/** How many jobs are given to others in one step. */
const STEP_JOBS = 256;
/** Up to how many bytes of JOB frames are composed together, and copied by whoever takes them. */
const FRAMES_BYTES = 16 * 1024;
/** Up to this size it is faster to copy bytes one by one. */
const SMALL_BYTES = 64;
/** Where frames are composed; used again. */
const spares: Uint8Array[] = [];
const REDELIVERED_MAX = 255;

/** The client of the members. */
export interface MembershipsClient {
  /** It, as one who publishes. */
  readonly origin: Origin;
  /** Where JOB frames are added, which go out with the next `pump`; small ones may change afterwards. */
  readonly session: {
    readonly link: unknown;
    call(frames: Uint8Array, count: number): void;
    pump(): void;
  };
  readonly limits: Limits;
  /** Whether it may have members for a topic. */
  mayJoin(path: TopicPattern): boolean;
  /** It is told that it may not. */
  deny(path: TopicPattern): void;
  /**
   * Makes sure that it may have so many members.
   *
   * @throws {ProtocolError} If not.
   */
  checkMembers(count: number, bytes: number): void;
}

/** One member of a group. */
export class Membership {
  readonly joining: Joining;
  readonly group: GroupPeer;
  readonly jobs: Memberships;
  readonly seat: Seat<GroupJob>;
  /** In which OPEN its client has told of it last. */
  round = 0;

  /** Makes one that is not in its group yet. */
  constructor(joining: Joining, group: GroupPeer, jobs: Memberships) {
    this.joining = joining;
    this.group = group;
    this.jobs = jobs;
    this.seat = new Seat(joining.concurrency, (job) => jobs.hand(job, this));
  }

  /** Who publishes from where it is. */
  get origin(): Origin {
    return this.jobs.client.origin;
  }
}

/** The members that one client has. */
export class Memberships {
  readonly client: MembershipsClient;
  readonly #groups: Groups;
  readonly #members = new Map<number, Membership>();
  /** What they have not finished. */
  readonly #unfinished = new NumberedJobs();
  /** JOB frames that are not sent yet, how many they are, and where they end. */
  #frames: Uint8Array | undefined;
  #count = 0;
  #end = 0;
  #bytes = 0;
  #gone = 0;
  /** How often its client has told of all. */
  #round = 0;
  /** Whether its client is connected, so that its members get jobs. */
  #isConnected: boolean;
  #hasEnded = false;

  /** Makes it without members. */
  constructor(groups: Groups, client: MembershipsClient) {
    this.#groups = groups;
    this.client = client;
    this.#isConnected = client.session.link !== undefined;
  }

  /** How many members there are. */
  get size(): number {
    return this.#members.size;
  }

  /** How much memory they take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The same with what is left of jobs that were given up while they have them. */
  get keptBytes(): number {
    return this.#bytes + JOB_BYTES * this.#gone;
  }

  /** One of their jobs was given up, or one that was is finished. */
  keepsGone(change: 1 | -1): void {
    this.#gone += change;
    this.#groups.account.add(change * JOB_BYTES);
  }

  /**
   * Takes a frame about members or jobs.
   *
   * @throws {ProtocolError} If it cannot be read, or says what cannot be.
   */
  frame({ type, buffer, body, end }: Frame): void {
    const bytes = buffer.subarray(body, end);
    switch (type) {
      case FrameType.JOIN: {
        const { member, end } = readJoining(bytes, 0, this.client.limits);
        if (end !== bytes.length) {
          throw new ProtocolError("Cannot take JOIN: bytes follow its topic");
        }
        this.#join(member);
        return this.#groups.flush();
      }
      case FrameType.LEAVE:
        return this.#leave(decodeNumber(bytes));
      case FrameType.FINISHED:
      case FrameType.RETURNED:
        return this.#ended(decodeRanges(bytes), type === FrameType.FINISHED);
    }
  }

  #join(joining: Joining): void {
    const { number, path } = joining;
    if (this.#members.has(number)) {
      throw new ProtocolError(`Cannot take a member: there is one of the number ${number}`);
    }
    this.client.checkMembers(this.size + 1, this.#bytes + joiningBytes(joining));
    if (!this.client.mayJoin(path)) return this.client.deny(path);
    if (this.#hasEnded) return;
    const group = this.#groups.at(joining.path, joining.group);
    const member = new Membership(joining, group, this);
    member.round = this.#round;
    this.#members.set(number, member);
    this.#changed(joining, 1);
    group.join(member);
    if (this.#isConnected) group.resume(member);
  }

  /** A member wants no more jobs; one that is not there was not let in, or is gone already. */
  #leave(number: number): void {
    const member = this.#members.get(number);
    if (member === undefined) return;
    this.#members.delete(number);
    this.#changed(member.joining, -1);
    member.group.leave(member);
  }

  #changed(joining: Joining, sign: 1 | -1): void {
    const bytes = sign * joiningBytes(joining);
    this.#bytes += bytes;
    this.#groups.account.add(bytes);
  }

  /**
   * Its client has these members, and no others.
   *
   * @returns Does that, in steps.
   */
  *replace(all: readonly Joining[]): Generator<void, void, undefined> {
    const round = ++this.#round;
    const pace = new Pace();
    for (const joining of all) {
      const member = this.#members.get(joining.number);
      if (member === undefined) this.#join(joining);
      else member.round = round;
      if (pace.isStep(joining.path)) yield;
    }
    for (const [number, member] of this.#members) {
      if (member.round !== round) this.#leave(number);
      if (pace.isStep(member.joining.path)) yield;
    }
  }

  /**
   * Those leave for whose topic its client may no longer have members.
   *
   * @returns Does that, in steps.
   */
  *narrow(): Generator<void, void, undefined> {
    const pace = new Pace();
    for (const [number, { joining: { path } }] of this.#members) {
      if (!this.client.mayJoin(path)) {
        this.#leave(number);
        this.client.deny(path);
      }
      if (pace.isStep(path)) yield;
    }
  }

  /** Its client is connected: members get jobs. */
  resume(): void {
    if (this.#isConnected || this.#hasEnded) return;
    this.#isConnected = true;
    for (const member of this.#members.values()) member.group.resume(member);
    this.#groups.flush();
  }

  /** Its client is no longer connected. */
  pause(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    for (const member of this.#members.values()) member.group.pause(member);
  }

  /** Hands a job to a member; {@linkcode Memberships.send} sends it. */
  hand(job: GroupJob, member: Membership): void {
    job.number = this.#unfinished.add(job);
    member.group.handed(job, member);
    const size = 1 + JOB_HEAD_BYTES + job.end - job.start;
    const length = sizeLength(size) + size;
    if (this.#end + length > FRAMES_BYTES) this.#add();
    if (this.#frames === undefined) {
      this.#frames = length > FRAMES_BYTES
        ? new Uint8Array(length)
        : spares.pop() ?? new Uint8Array(FRAMES_BYTES);
      if (this.#count === 0) this.#groups.hasToSend(this);
    }
    const frames = this.#frames;
    let at = writeSize(frames, this.#end, size);
    frames[at++] = FrameType.JOB;
    writeJobHead(frames, at, member.joining.number, Math.min(job.lost, REDELIVERED_MAX));
    this.#end = copyInto(frames, at + JOB_HEAD_BYTES, job);
    this.#count++;
  }

  /** Adds the frames that were composed to the session. */
  #add(): void {
    const frames = this.#frames;
    if (frames === undefined) return;
    this.#frames = undefined;
    this.client.session.call(frames.subarray(0, this.#end), this.#count);
    if (frames.length === FRAMES_BYTES) spares.push(frames);
    this.#count = this.#end = 0;
  }

  /** Sends what was handed to members. */
  send(): void {
    this.#add();
    this.client.session.pump();
  }

  /** Members have finished jobs, or give them back. */
  #ended(ranges: readonly JobRange[], isDone: boolean): void {
    this.#groups.look();
    const groups = new Set<GroupPeer>();
    for (const { first, count } of ranges) {
      if (count > this.#unfinished.size) throw notTheirs(first, count);
      for (let number = first; number < first + count; number++) {
        const job = this.#unfinished.take(number);
        if (job === undefined) throw notTheirs(number, 1);
        const { group } = job.member!;
        groups.add(group);
        if (isDone) group.finished(job);
        else group.returned(job);
      }
    }
    for (const group of groups) group.settle();
  }

  /**
   * The session is over: others get what its members have not finished.
   *
   * @returns Does that, in steps.
   */
  *end(): Generator<void, void, undefined> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const number of this.#members.keys()) this.#leave(number);
    let count = 0;
    for (const job of this.#unfinished.takeAll()) {
      const { group } = job.member!;
      this.#groups.look();
      group.lost(job);
      group.settle();
      if (++count % STEP_JOBS === 0) yield;
    }
  }
}

/** Copies topic block and payload of a job; returns where they end. */
function copyInto(into: Uint8Array, at: number, { run: { buffer }, start, end }: GroupJob): number {
  const length = end - start;
  if (length > SMALL_BYTES) into.set(buffer.subarray(start, end), at);
  else for (let i = 0; i < length; i++) into[at + i] = buffer[start + i]!;
  return at + length;
}

function notTheirs(first: number, count: number): ProtocolError {
  return new ProtocolError(
    `Cannot end ${count} jobs from ${first} on: its members do not have all of them`,
  );
}
