/** The results of a run, as stored. */
import type { Row } from '../measurement.js';
import { median, timesBetter } from '../statistics.js';
import { SUBJECTS, type SubjectId } from '../subjects/subject.js';

export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly samples: number;
}

export interface RowResult extends Omit<Row, 'values'> {
  readonly measurement: string;
  readonly values: Readonly<Partial<Record<SubjectId, Summary>>>;
  /** How many times better the service is. */
  readonly ratios: Readonly<Partial<Record<SubjectId, number>>>;
  /** Whether the service is within the limit, if there is one. */
  readonly kept?: boolean;
}

export interface BenchResult {
  readonly date: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rows: readonly RowResult[];
  /** Measurements that failed, with the reason. */
  readonly failures: Readonly<Record<string, string>>;
}

function summary(samples: readonly number[]): Summary {
  return { median: median(samples), least: Math.min(...samples), most: Math.max(...samples), samples: samples.length };
}

export function rowResult(measurement: string, { values, ...row }: Row): RowResult {
  const summaries: Partial<Record<SubjectId, Summary>> = {};
  for (const id of SUBJECTS) {
    const samples = values[id];
    if (samples !== undefined && samples.length > 0) summaries[id] = summary(samples);
  }
  const ours = summaries.service?.median;
  const ratios: Partial<Record<SubjectId, number>> = {};
  for (const id of SUBJECTS) {
    const theirs = summaries[id]?.median;
    if (id !== 'service' && ours !== undefined && theirs !== undefined)
      ratios[id] = timesBetter(ours, theirs, row.better);
  }
  const kept =
    row.limit === undefined || ours === undefined
      ? {}
      : { kept: row.better === 'less' ? ours <= row.limit : ours >= row.limit };
  return { measurement, ...row, values: summaries, ratios, ...kept };
}
