/** What an operation is whose growth is measured. */

/** One operation of a certain size, ready to be done once. */
export interface Trial {
  /** How many units of work it has. */
  readonly units: number;
  /** Does it; may return what it counted itself. */
  run(): void | number | Promise<void | number>;
  /** Does all but what is measured, as often; what that costs does not count. */
  base?(): void | Promise<void>;
  /** Whether it was refused, so that its work ended early; asked afterwards. */
  isRefused?(): boolean;
  /** Ends what was made for it. */
  end?(): void | Promise<void>;
}

/** Something that a peer or a program can cause. */
export interface Operation {
  /** What happens. */
  readonly name: string;
  /** What there are `n` of. */
  readonly of: string;
  /** What the cost is divided by. */
  readonly per: string;
  /** The smallest `n` where the time is measured. */
  readonly from: number;
  /**
   * The smallest `n` where only counts are taken.
   *
   * @default {from}
   */
  readonly few?: number;
  /** Whether the clock stands still while it is counted, for code that looks at how long it takes. */
  readonly isClockStill?: boolean;
  /**
   * Whether what it costs is judged beside what its base costs: as what happens beside traffic, and must
   * not make each message much dearer.
   */
  readonly isBeside?: boolean;
  /** What cannot be measured of it: a time that is lost in that of its base, a cost that V8 hides. */
  readonly without?: "time" | "counts";
  /**
   * The name of another operation, whose cost at the same size it is compared with instead of its own
   * at `n`: it may be slow from the beginning.
   */
  readonly comparedWith?: string;
  /**
   * How long the largest `n` may take if it is refused, in milliseconds; then its growth is not
   * judged.
   */
  readonly refusedWithin?: number;
  /** Makes all that it needs. */
  prepare(n: number): Trial | Promise<Trial>;
}
