/** From measured values to the printed table and the chart. */
import { describe, expect, it } from '@jest/globals';
import { chart } from '../../../bench/report/chart.js';
import { rowResult, type BenchResult } from '../../../bench/report/result.js';
import { table } from '../../../bench/report/table.js';
import { median, quantile, timesBetter } from '../../../bench/statistics.js';

const launch = rowResult('launch', {
  title: 'launch <one>',
  unit: 's',
  better: 'less',
  values: { service: [2, 1, 3], library: [8], stock: [] },
});
const memory = rowResult('rss', {
  title: 'growth',
  unit: 'MiB',
  better: 'less',
  values: { service: [70] },
  limit: 64,
  note: 'too much',
});
const result: BenchResult = {
  date: '2026-01-02T00:00:00.000Z',
  machine: {},
  rows: [launch, memory],
  failures: { names: 'no room' },
};

describe('statistics', () => {
  it('finds medians and quantiles', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(quantile([1, 2, 3, 4, 5], 1)).toBe(5);
    expect(median([])).toBeNaN();
  });

  it('computes how many times better', () => {
    expect(timesBetter(2, 8, 'less')).toBe(4);
    expect(timesBetter(2, 8, 'more')).toBe(0.25);
  });
});

describe('results', () => {
  it('compare with the subjects that have values', () => {
    expect(launch.ratios).toEqual({ library: 4 });
    expect(launch.values.service).toEqual({ median: 2, least: 1, most: 3, samples: 3 });
    expect(launch.values.stock).toBeUndefined();
  });

  it('report whether a limit is met', () => {
    expect(launch.kept).toBeUndefined();
    expect(memory.kept).toBe(false);
  });
});

describe('table', () => {
  const lines = table(result).split('\n');

  it('has a line for each row, then notes and failures', () => {
    expect(lines).toHaveLength(5);
    expect(lines[1]).toMatch(/^launch <one> +2\.00 s +8\.00 s +× 4\.00$/);
    expect(lines[2]).toMatch(/^growth +70\.0 MiB .*NOT WITHIN 64 MiB$/);
    expect(lines.slice(3)).toEqual(['growth: too much', 'names FAILED: no room']);
  });

  it('has a column for each subject that was measured', () => {
    const row = rowResult('call', { title: 'call', unit: 'ms', better: 'less', values: { service: [1], other: [2] } });
    const [head, line] = table({ ...result, rows: [row], failures: {} }).split('\n');
    expect(head).toMatch(/^median of each +guestfs-grpc +the other checkout +ratio$/);
    expect(line).toMatch(/^call +1\.00 ms +2\.00 ms +× 2\.00$/);
  });
});

describe('chart', () => {
  const svg = chart(result);

  it('draws rows that can be compared, and escapes their titles', () => {
    expect(svg).toContain('launch &lt;one&gt;');
    expect(svg).not.toContain('growth');
    expect(svg.match(/<rect/g)).toHaveLength(3); // background, legend of one, one bar
  });
});
