/** The metrics of this process. */
import { collectDefaultMetrics, Registry } from 'prom-client';

export const metrics = new Registry();

/** Gauges with names that are reserved for counters, about which promtool complains; each has one without `_total`. */
const MISNAMED = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total'];

/** Those of the process itself that Prometheus's client libraries have in common, and Node.js's own. */
export function collectProcessMetrics(): void {
  collectDefaultMetrics({ register: metrics });
  for (const name of MISNAMED) metrics.removeSingleMetric(name);
}
