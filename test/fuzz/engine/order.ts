/** The input and the output of `main.ts`, in lines of JSON. */
import type { Status } from './fuzzer.js';

export interface Order {
  readonly target: string;
  readonly seconds: number;
  readonly seed: number;
  /** Directories with inputs to start with. */
  readonly corpora: readonly string[];
  /** Directory for new inputs; `findings` is the directory for inputs that cause findings. */
  readonly kept: string;
  readonly findings: string;
  /** Directory for the few short inputs with most of the coverage; undefined: they are not written. */
  readonly cover?: string | undefined;
}

export type Line =
  | ({ readonly kind: 'status' | 'done' } & Status)
  | { readonly kind: 'finding'; readonly what: string; readonly path: string; readonly stack?: string | undefined };
