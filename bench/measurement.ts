/** A measurement: what it is called, what it does, what comes out. One file each, in measurements/. */
import type { Bench } from './bench.js';
import type { SubjectId } from './subjects/subject.js';

/** One line of the table. */
export interface Row {
  readonly title: string;
  readonly unit: 's' | 'ms' | 'µs' | 'MiB/s' | 'MiB' | 'calls/s' | 'sessions/s' | '';
  /** Which way is better. */
  readonly better: 'less' | 'more';
  /** All values that were measured; the table shows their medians. */
  readonly values: Readonly<Partial<Record<SubjectId, readonly number[]>>>;
  /** What the service has to keep to. */
  readonly limit?: number;
  readonly note?: string;
}

export interface Measurement {
  /** The word that selects it. */
  readonly name: string;
  readonly summary: string;
  /** How often it measures when nobody says otherwise. */
  readonly repeat: number;
  /** It is given up after this long, seconds. */
  readonly limitSeconds: number;
  run(bench: Bench): Promise<readonly Row[]>;
}
