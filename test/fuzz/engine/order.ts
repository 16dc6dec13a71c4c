/** What `main.ts` is told, and what it says: each a line of JSON. */
import type { Status } from './fuzzer.js';

export interface Order {
  readonly target: string;
  readonly seconds: number;
  readonly seed: number;
  /** Directories with inputs to begin with. */
  readonly corpora: readonly string[];
  /** Where new inputs are kept, and where those with findings. */
  readonly kept: string;
  readonly findings: string;
  /** Where the fewest and shortest inputs go that reach as much as all; undefined: nowhere. */
  readonly cover?: string | undefined;
}

export type Line =
  | ({ readonly kind: 'status' | 'done' } & Status)
  | { readonly kind: 'finding'; readonly what: string; readonly path: string; readonly stack?: string | undefined };
