/** Random values from a seed, so that a failure can be had again. */
import { randomNumbers } from "../../base/seeded_random.ts";

/** Where random values come from; see {@linkcode randomOf}. */
export interface Random {
  /** An integer from 0 to below `bound`. */
  int(bound: number): number;
  /** One of the items. */
  pick<T>(items: readonly T[]): T;
  /** That many bytes. */
  bytes(count: number): Uint8Array;
  /** A copy with a few bytes changed, cut out, doubled, or put in. */
  mutate(bytes: Uint8Array): Uint8Array;
}

/** Random values that are the same for the same seed. */
export function randomOf(seed: number): Random {
  const next = randomNumbers(seed);
  const random: Random = {
    int: (bound) => Math.floor(next() * bound),
    pick: (items) => items[random.int(items.length)]!,
    bytes: (count) => Uint8Array.from({ length: count }, () => random.int(256)),
    mutate(bytes) {
      const list = [...bytes];
      for (let i = random.int(4); i >= 0; i--) {
        const at = random.int(list.length + 1);
        const kind = random.int(4);
        if (kind === 0) list[at % Math.max(1, list.length)] = random.int(256);
        else if (kind === 1) list.splice(at, random.int(5));
        else if (kind === 2) list.splice(at, 0, ...list.slice(at, at + random.int(8)));
        else list.splice(at, 0, random.pick([0, 1, 127, 128, 254, 255]));
      }
      return Uint8Array.from(list);
    },
  };
  return random;
}
