/** A measurement: its name, its procedure, its results. There is one file for each, in measurements/. */
import type { Bench } from './bench.js';
import type { SubjectId } from './subjects/subject.js';

/** One line of the table. */
export interface Row {
  readonly title: string;
  readonly unit: 's' | 'ms' | 'µs' | 'MiB/s' | 'MiB' | 'calls/s' | 'sessions/s' | '';
  /** Whether more or less is better. */
  readonly better: 'less' | 'more';
  /** All values that were measured; the table shows their medians. */
  readonly values: Readonly<Partial<Record<SubjectId, readonly number[]>>>;
  /** The limit for the service. */
  readonly limit?: number;
  readonly note?: string;
}

export interface Measurement {
  /** The name that selects it on the command line. */
  readonly name: string;
  readonly summary: string;
  /** Default number of repetitions. */
  readonly repeat: number;
  /** Time limit, seconds. */
  readonly limitSeconds: number;
  run(bench: Bench): Promise<readonly Row[]>;
}
