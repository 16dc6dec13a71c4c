/** Metrics of sessions and of the pool, read when they are scraped. */
import { Gauge } from 'prom-client';
import type { SessionRegistry } from '../session/sessionRegistry.js';
import { KIND_LABELS, kindLabel } from './identityKinds.js';
import { metrics } from './metrics.js';

const STATES = ['CONFIG', 'LAUNCHING', 'READY', 'STOPPING', 'CLOSED'] as const;

/** What is measured. */
export interface Measured {
  readonly registry: SessionRegistry;
  /** How many sessions there can be. */
  readonly maxSessions: number;
  /** How many clones the pool contains; undefined if there is no pool. */
  readonly waitingClones: () => number | undefined;
}

/** Adds them to the metrics of the process; once. */
export function measureSessions({ registry, maxSessions, waitingClones }: Measured): void {
  const gauge = (name: string, help: string, value: () => number): void => {
    metrics.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(value());
        },
      }),
    );
  };
  metrics.registerMetric(
    new Gauge({
      name: 'guestfs_sessions',
      help: 'Sessions, by state.',
      labelNames: ['state'] as const,
      registers: [],
      collect() {
        for (const state of STATES) this.set({ state }, registry.count(state));
      },
    }),
  );
  metrics.registerMetric(
    new Gauge({
      name: 'guestfs_owned_sessions',
      help: "Sessions, by the kind of their owner's identity.",
      labelNames: ['identity_kind'] as const,
      registers: [],
      collect() {
        const counts = registry.countOwners(kindLabel);
        for (const kind of KIND_LABELS) this.set({ identity_kind: kind }, counts.get(kind) ?? 0);
      },
    }),
  );
  gauge('guestfs_free_sessions', 'How many more sessions the server accepts.', () =>
    Math.max(0, maxSessions - registry.size),
  );
  gauge(
    'guestfs_waiting_calls',
    'Calls that run or wait for their turn, in all sessions.',
    () => registry.pendingCalls,
  );
  if (waitingClones() !== undefined)
    gauge('guestfs_pool_waiting_clones', 'Clones in the pool, waiting for sessions.', () => waitingClones() ?? 0);
}
