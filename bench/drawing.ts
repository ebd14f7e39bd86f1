/**
 * Charts as SVG, readable on a light and on a dark page: lines over logarithmic values, and bars.
 * The same figures give the same bytes.
 */

/** Names of the colours, for a light page and a dark one. */
const COLOURS = {
  blue: ["#1d5fd0", "#6ea8ff"],
  violet: ["#7a3fc4", "#bb92ff"],
  orange: ["#c05a00", "#ff9a4d"],
  red: ["#c22f3d", "#ff7f8a"],
  pink: ["#b8418f", "#f590cf"],
  green: ["#2b8038", "#6fce7d"],
  teal: ["#0f7c85", "#58cdd6"],
  brown: ["#7d5b34", "#cfa878"],
  grey: ["#8a8f98", "#8a8f98"],
  dark: ["#4c525c", "#c3c8d1"],
} as const;

/** A name of a colour. */
export type Colour = keyof typeof COLOURS;

/** A line through points, which ends in its title. */
export interface Line {
  readonly title: string;
  readonly colour: Colour;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What {@linkcode drawLines} draws. */
export interface LineChart {
  readonly title: string;
  readonly x: {
    readonly title: string;
    /** Where a value is along the axis, in any unit. */
    place(value: number): number;
    readonly ticks: readonly (readonly [value: number, text: string])[];
  };
  /** Logarithmic. */
  readonly y: { readonly title: string; text(value: number): string };
  readonly lines: readonly Line[];
}

/** Bars of one title, each with its text. */
export interface Bars {
  readonly title: string;
  readonly colour: Colour;
  readonly values: readonly (readonly [value: number, text: string])[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 64;
const RIGHT = 140;
const TOP = 62;
const BOTTOM = 52;
const LABEL_PX = 15;

const BAR_TOP = 40;
const BAR_LEFT = 120;
const BAR_RIGHT = 120;
const BAR_PX = 15;
const BARS_GAP_PX = 14;

/** Draws lines. */
export function drawLines({ title, x, y, lines }: LineChart): string {
  const places = x.ticks.map(([value]) => x.place(value));
  const [first, last] = [Math.min(...places), Math.max(...places)];
  const across = (value: number) =>
    LEFT + (x.place(value) - first) / (last - first) * (WIDTH - LEFT - RIGHT);
  const steps = stepsAround(lines.flatMap(({ points }) => points.map(([, value]) => value)));
  const [low, high] = [Math.log10(steps[0]!), Math.log10(steps.at(-1)!)];
  const down = (value: number) =>
    TOP + (high - Math.log10(value)) / (high - low) * (HEIGHT - TOP - BOTTOM);
  const body: string[] = [];
  for (const step of steps) {
    body.push(`<path class="grid" d="M${LEFT} ${px(down(step))}H${WIDTH - RIGHT}"/>`);
    body.push(text(LEFT - 8, down(step) + 4, y.text(step), "end"));
  }
  for (const [value, label] of x.ticks) {
    body.push(text(across(value), HEIGHT - BOTTOM + 18, label, "middle"));
  }
  body.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.title, "middle"));
  body.push(text(8, TOP - 16, y.title));
  for (const { colour, points } of lines) {
    const path = points.map(([at, value]) => `${px(across(at))} ${px(down(value))}`).join("L");
    body.push(`<path class="line ${colour}" d="M${path}"/>`);
    for (const [at, value] of points) {
      body.push(
        `<circle class="${colour}" cx="${px(across(at))}" cy="${px(down(value))}" r="2.5"/>`,
      );
    }
  }
  const ended = lines.map((line) => ({ ...line, end: down(line.points.at(-1)![1]) }))
    .sort((a, b) => a.end - b.end);
  const labels = spread(ended.map(({ end }) => end), HEIGHT - BOTTOM);
  for (const [i, { title, colour }] of ended.entries()) {
    body.push(text(WIDTH - RIGHT + 10, labels[i]! + 4, title, "start", colour));
  }
  return svg(title, HEIGHT, body);
}

/** 1, 2, 5, 10, 20…, from below the least of these values to above the most. */
function stepsAround(values: readonly number[]): number[] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    all.push(...[1, 2, 5].map((digit) => digit * 10 ** power));
  }
  const from = all.findLastIndex((step) => step <= least);
  const to = all.findIndex((step) => step >= most);
  return all.slice(from, to + 1);
}

/** Sorted places, moved apart as far as labels need, and up from below `bottom`. */
function spread(places: readonly number[], bottom: number): number[] {
  const moved: number[] = [];
  for (const place of places) moved.push(Math.max(place, (moved.at(-1) ?? -Infinity) + LABEL_PX));
  let limit = bottom;
  for (let i = moved.length - 1; i >= 0; i--) {
    moved[i] = Math.min(moved[i]!, limit);
    limit = moved[i]! - LABEL_PX;
  }
  return moved;
}

/** Draws horizontal bars, a group for each title. */
export function drawBars({ title, bars }: { title: string; bars: readonly Bars[] }): string {
  const most = Math.max(...bars.flatMap(({ values }) => values.map(([value]) => value)));
  const body: string[] = [];
  let at = BAR_TOP;
  for (const { title, colour, values } of bars) {
    body.push(text(BAR_LEFT - 10, at + values.length * BAR_PX / 2 + 4, title, "end"));
    for (const [value, label] of values) {
      const width = value / most * (WIDTH - BAR_LEFT - BAR_RIGHT);
      const size = `width="${px(width)}" height="${BAR_PX - 2}"`;
      body.push(`<rect class="${colour}" x="${BAR_LEFT}" y="${px(at)}" ${size} rx="2"/>`);
      body.push(text(BAR_LEFT + width + 6, at + 11, label));
      at += BAR_PX;
    }
    at += BARS_GAP_PX;
  }
  return svg(title, at, body);
}

function text(x: number, y: number, content: string, anchor = "start", colour = ""): string {
  const attributes = `${anchor === "start" ? "" : ` text-anchor="${anchor}"`}${
    colour && ` class="${colour}"`
  }`;
  return `<text x="${px(x)}" y="${px(y)}"${attributes}>${escape(content)}</text>`;
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function svg(title: string, height: number, body: readonly string[]): string {
  const colours = (page: 0 | 1) =>
    Object.entries(COLOURS).filter(([name]) => body.some((line) => line.includes(`${name}"`)))
      .map(([name, pages]) => `.${name} { color: ${pages[page]} }`).join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escape(title)}</title>
<style>
svg { color: #333; font: 12px system-ui, sans-serif }
text, circle, rect { fill: currentColor }
.title { font-weight: 600; font-size: 14px }
.grid { stroke: #8886 }
.line { stroke: currentColor; stroke-width: 2; fill: none }
${colours(0)}
@media (prefers-color-scheme: dark) {
svg { color: #ccc }
${colours(1)}
}
</style>
<text class="title" x="8" y="20">${escape(title)}</text>
${body.join("\n")}
</svg>
`;
}
