/** Reports in the log, and counts, what happens to spans on their way to the collector: seldom, whatever happens there. */
import { Counter } from 'prom-client';
import type { Logger } from '../../common/logger.js';
import { printableName } from '../../common/guestText.js';
import { metrics } from '../metrics.js';

/** A collector that is gone would otherwise cause a line for each batch. */
const LINE_INTERVAL_MS = 60_000;
/** Characters of a text that can become a part of a line. */
const LOOKED_AT = 1000;
const exported = new Counter({
  name: 'guestfs_exported_spans_total',
  help: 'Spans that were sent to the collector, by outcome: exported, or failed; only if traces are exported.',
  labelNames: ['outcome'] as const,
  registers: [],
});

export class ExportReports {
  #silentUntil = 0;
  #unreported = 0;

  constructor(
    private readonly logger: Logger,
    private readonly now: () => number = () => performance.now(),
  ) {
    metrics.registerMetric(exported);
  }

  /** Counts a batch. */
  sent(spans: number, succeeded: boolean): void {
    exported.inc({ outcome: succeeded ? 'exported' : 'failed' }, spans);
  }

  /** Logs a problem, unless there was another one in the last minute. */
  problem(text: string): void {
    const now = this.now();
    if (now < this.#silentUntil) {
      this.#unreported += 1;
      return;
    }
    this.logger.warn('traces cannot be exported as they should', {
      // It can quote the collector, which can answer what it likes.
      reason: printableName(text.slice(0, LOOKED_AT)),
      ...(this.#unreported === 0 ? {} : { unreported: this.#unreported }),
    });
    this.#silentUntil = now + LINE_INTERVAL_MS;
    this.#unreported = 0;
  }
}
