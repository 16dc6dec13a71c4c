/** Metrics of launches. */
import { Counter, Histogram } from 'prom-client';
import { GuestfsError } from '../common/errors.js';
import type { Launcher } from '../launcher/launcher.js';
import { reasonLabel } from './callMetrics.js';
import { metrics } from './metrics.js';

const launches = new Counter({
  name: 'guestfs_launches_total',
  help: 'Launches of machines, by kind (cold, template; none if they failed) and outcome (OK, or the reason of the failure).',
  labelNames: ['kind', 'outcome'] as const,
  registers: [metrics],
});

const seconds = new Histogram({
  name: 'guestfs_launch_seconds',
  help: 'Time that launches of machines took, by kind; the boot of a cold launch goes on afterwards.',
  labelNames: ['kind'] as const,
  buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
  registers: [metrics],
});

/** The launcher, whose launches are counted. */
export function countingLaunches(launcher: Launcher): Launcher {
  return {
    launch: async (config, options) => {
      const started = performance.now();
      try {
        const machine = await launcher.launch(config, options);
        launches.inc({ kind: machine.launchKind, outcome: 'OK' });
        seconds.observe({ kind: machine.launchKind }, (performance.now() - started) / 1000);
        return machine;
      } catch (error) {
        launches.inc({ kind: 'none', outcome: reasonLabel(GuestfsError.from(error).reason) });
        throw error;
      }
    },
  };
}
