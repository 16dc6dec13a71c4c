/** The alert rules and the dashboard, as tests read them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

/** The alert rules. */
export const RULES = fileURLToPath(new URL('../../../deploy/prometheus/rules.yaml', import.meta.url));
const DASHBOARD = fileURLToPath(new URL('../../../deploy/grafana/dashboard.json', import.meta.url));

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

export function alerts(): readonly Alert[] {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as {
    readonly groups: readonly { readonly rules: readonly Alert[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** The queries of the dashboard's panels, with its variables. */
export function dashboardQueries(): readonly string[] {
  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as {
    readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
  };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

/** The names of metrics in a query: what is neither a function, an operator, a label nor a value. */
export function metricsIn(query: string): string[] {
  const bare = query
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '');
  const withoutLabels = bare.replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  const names = withoutLabels.match(/\b[a-z]\w*\b(?!\s*\()/g) ?? [];
  return names.filter((name) => !['and', 'or', 'unless', 'sum', 'max', 'count', 'bool'].includes(name));
}
