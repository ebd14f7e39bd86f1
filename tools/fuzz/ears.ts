/**
 * What a hostile client hears: it reads what the broker sends, which must be right whatever the client
 * has sent.
 */
import { type Frame, FrameType, isMessage } from "../../protocol/frame.ts";
import {
  decodeAck,
  decodeGap,
  decodeGoodbye,
  decodeOpened,
  decodeRefused,
  Resumption,
} from "../../protocol/frame_bodies.ts";
import { decodeJob } from "../../protocol/job_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import { decodeTopic, topicEnd } from "../../protocol/topic_block.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../../topic.ts";
import { isBrokerReport } from "../harness/broker_reports.ts";
import { toHex } from "../harness/bytes.ts";
import { decode } from "../harness/payload.ts";
import { must, type Notes } from "./target.ts";

/** A key of a broker. */
export interface HostileKey {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether it grants messages of this topic. */
  hears(path: TopicPath): boolean;
}

/** A session that the broker has opened. */
export interface Known {
  readonly id: Uint8Array;
  readonly key: HostileKey;
  /** How many messages have come, as frames are counted. */
  taken: number;
  /** How many jobs have come, and of how many of these its client has told that they are finished. */
  jobs: number;
  ended: number;
  /** How many members it has told of. */
  members: number;
  /** Whether it may have subscribed to what the broker says of itself. */
  mayHearReports: boolean;
}

/** What topics may be that are read. */
export const TOPIC_LIMITS = {
  messageBytes: 0,
  topicElements: 16,
  elementBytes: 255,
  subscriptions: 0,
};
const TAKES_ALL = new Array<number>(18).fill(2 ** 31);
const OUTCOMES = ["new", "resumed", "cut off"];
/** Stands in whatever subscribes to what the broker says of itself. */
const BROKER_NAME = new TextEncoder().encode("*broker");

/** Reads what the broker sends, and checks it. */
export class Ears {
  readonly #conn: Deno.Conn;
  readonly #key: HostileKey;
  readonly #sessions: Known[];
  readonly #notes: Notes;
  readonly #reader = new FrameReader(TAKES_ALL);
  #session: Known | undefined;
  #isOver = false;
  #mayHearReports = false;
  /** The session that it asks to go on with. */
  resumes: Known | undefined;
  /** How many ASKs have come. */
  asked = 0;

  constructor(conn: Deno.Conn, key: HostileKey, sessions: Known[], notes: Notes) {
    this.#conn = conn;
    this.#key = key;
    this.#sessions = sessions;
    this.#notes = notes;
  }

  /** How many messages of the session have come, as frames are counted. */
  get taken(): number {
    return this.#session?.taken ?? 0;
  }

  /** How many jobs. */
  get jobs(): number {
    return this.#session?.jobs ?? 0;
  }

  /** The session, once it is open. */
  get session(): Known | undefined {
    return this.#session;
  }

  /** Notes what is sent: reports come only to those who have named their topic. */
  sends(bytes: Uint8Array): void {
    if (!contains(bytes, BROKER_NAME)) return;
    this.#mayHearReports = true;
    // Nobody reads what comes over some connections, OPENED neither.
    for (const known of [this.#session, this.resumes]) {
      if (known !== undefined) known.mayHearReports = true;
    }
  }

  /** Reads to the end. */
  async listen(): Promise<void> {
    const reader = this.#reader;
    try {
      for (;;) {
        const count = await this.#conn.read(reader.space());
        if (count === null) return;
        reader.wrote(count);
        while (reader.next()) this.#hear(reader);
      }
    } catch (error) { // The broker has closed, or it was closed here.
      if (!isGone(error)) throw error;
    }
  }

  #hear(frame: Frame): void {
    const { buffer, type, body: start, end } = frame;
    const body = buffer.subarray(start, end);
    must(!this.#isOver, `a frame of type ${type} comes after GOODBYE`);
    if (this.#session === undefined && type !== FrameType.GOODBYE && type !== FrameType.DENIED) {
      must(type === FrameType.OPENED, `a frame of type ${type} comes before OPENED`);
      this.#open(body);
      return;
    }
    if (isMessage(type)) this.#session!.taken++;
    switch (type) {
      case FrameType.PUBLISH:
        return this.#checkMessage(body);
      case FrameType.JOB: {
        this.#session!.jobs++;
        const { topic } = decodeJob(body, 0, body.length);
        return this.#checkMessage(body.subarray(topic));
      }
      case FrameType.ACK:
        return void decodeAck(body);
      case FrameType.ASK:
        this.asked++;
        return must(body.length === 0, "ASK has a body");
      case FrameType.GAP:
        return must(decodeGap(body)! > 0, `a GAP says ${toHex(body)}`);
      case FrameType.REFUSED:
      case FrameType.DENIED:
        return void decodeRefused(body, TOPIC_LIMITS);
      case FrameType.GOODBYE:
        decodeGoodbye(body);
        this.#isOver = true;
        return;
      default:
        must(false, `a frame of type ${type} comes from the broker`);
    }
  }

  #open(body: Uint8Array): void {
    const { outcome, session, missed } = decodeOpened(body);
    this.#notes.ended(`opened with outcome ${OUTCOMES[outcome]}`);
    must(missed! <= 2 ** 32, `a client is told that it missed ${missed} messages`);
    const known = this.#sessions.find(({ id }) => id.toString() === session.toString());
    must((outcome === Resumption.RESUMED) === (known !== undefined), `outcome ${outcome}`);
    this.#session = known ?? {
      id: session,
      key: this.#key,
      taken: 0,
      jobs: 0,
      ended: 0,
      members: 0,
      mayHearReports: false,
    };
    this.#session.mayHearReports ||= this.#mayHearReports;
    if (known === undefined) this.#sessions.push(this.#session);
  }

  #checkMessage(body: Uint8Array): void {
    const end = topicEnd(body, 0, body.length);
    const path = decodeTopic(body, 0, end, TOPIC_LIMITS);
    must(end < body.length, "a message has no payload");
    must(!isLocalPath(path), `a message comes to ${JSON.stringify(path)}`);
    if (isBrokerPath(path)) this.#checkReport(path, body.subarray(end));
    must(this.#key.hears(path), `"${this.#key.name}" hears ${JSON.stringify(path)}`);
  }

  #checkReport(path: TopicPath, payload: Uint8Array): void {
    must(this.#session!.mayHearReports, `${JSON.stringify(path)} comes unasked`);
    const isReport = isBrokerReport(path, decode(payload));
    must(isReport, `what comes to ${JSON.stringify(path)} is not the broker's`);
    this.#notes.ended(`a report comes to ${path.join()}`);
  }
}

/** Whether that is how a socket says that it is closed. */
export function isGone(error: unknown): boolean {
  const { BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected } = Deno.errors;
  const kinds = [BadResource, BrokenPipe, ConnectionReset, Interrupted, NotConnected];
  return kinds.some((kind) => error instanceof kind);
}

/** Whether some bytes stand anywhere in others. */
function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = bytes.indexOf(part[0]!); at >= 0; at = bytes.indexOf(part[0]!, at + 1)) {
    if (part.every((byte, index) => bytes[at + index] === byte)) return true;
  }
  return false;
}
