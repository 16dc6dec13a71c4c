/** The alerts and the dashboard fit what the server measures, and the runbook has a section for each alert. */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { collectProcessMetrics, metrics } from '../../src/server/metrics.js';
import { alerts, dashboardQueries, metricsIn } from '../support/monitoring.js';
import { root, textOf } from './sourceTree.js';

const documented = [...textOf('docs/observability.md').matchAll(/^\| `((?:grpc|guestfs)_\w+)`/gm)].map(
  ([, name = '']) => name,
);
collectProcessMetrics();
const known = new Set([...documented, ...metrics.getMetricsAsArray().map(({ name }) => name), 'up']);

describe('queries ask for metrics that there are', () => {
  const queries = [...alerts().map(({ expr }) => expr), ...dashboardQueries()];

  test.each(queries)('%s', (query) => {
    const names = metricsIn(query).map((name) => name.replace(/_bucket$/, ''));
    expect(names).not.toEqual([]);
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });

  test('all of ours are on the dashboard', () => {
    const shown = new Set(dashboardQueries().flatMap(metricsIn));
    expect(documented.filter((name) => !shown.has(name) && !shown.has(`${name}_bucket`))).toEqual([]);
  });
});

describe('each alert', () => {
  const runbook = textOf('docs/runbook.md');

  test.each(alerts().map((alert) => [alert.alert, alert] as const))('%s has a section', (name, alert) => {
    expect(alert.annotations.runbook).toBe(`docs/runbook.md#${name.toLowerCase()}`);
    expect(runbook).toContain(`\n## ${name}\n`);
    expect(['critical', 'warning', 'info']).toContain(alert.labels.severity);
    expect(alert.annotations.summary).not.toBe('');
  });

  test('and no section is about anything else', () => {
    const sections = [...runbook.matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual(alerts().map(({ alert }) => alert));
  });
});

test('the chart has the same rules', () => {
  const link = join(root, 'deploy/helm/files/rules.yaml');
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readlinkSync(link)).toBe('../../prometheus/rules.yaml');
});
