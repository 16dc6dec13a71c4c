/** The table that a run prints. */
import { SUBJECT_TITLES, SUBJECTS, type SubjectId } from '../subjects/subject.js';
import type { BenchResult, RowResult } from './result.js';

const GAP = '  ';

export function figure(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function cells(subjects: readonly SubjectId[], { title, unit, values, ratios, limit, kept }: RowResult): string[] {
  const valuesAndRatios = subjects.flatMap((id) => {
    const value = values[id];
    const shown = value === undefined ? '-' : `${figure(value.median)} ${unit}`;
    const ratio = ratios[id];
    return id === 'service' ? [shown] : [shown, ratio === undefined ? '' : `× ${figure(ratio)}`];
  });
  return [
    title,
    ...valuesAndRatios,
    limit === undefined ? '' : `${kept === true ? 'within' : 'NOT WITHIN'} ${limit} ${unit}`,
  ];
}

/** Medians, and how many times better the service is than each of the others. */
export function table(result: BenchResult): string {
  const subjects = SUBJECTS.filter((id) => id === 'service' || result.rows.some(({ values }) => id in values));
  const head = [
    'median of each',
    ...subjects.flatMap((id) => (id === 'service' ? [SUBJECT_TITLES[id]] : [SUBJECT_TITLES[id], 'ratio'])),
    '',
  ];
  const rows = [head, ...result.rows.map((row) => cells(subjects, row))];
  const widths = head.map((_unused, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join(GAP)
      .trimEnd(),
  );
  const notes = result.rows.flatMap(({ title, note }) => (note === undefined ? [] : [`${title}: ${note}`]));
  const failures = Object.entries(result.failures).map(([name, why]) => `${name} FAILED: ${why}`);
  return [...lines, ...notes, ...failures].join('\n');
}
