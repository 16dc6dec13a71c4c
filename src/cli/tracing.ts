/** Turns tracing on if OpenTelemetry's standard environment variables say so. */
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { setTracing } from '../common/spans.js';
import type { Tracing } from '../server/tracing/openTelemetry.js';
import { tracingSettings } from '../server/tracing/settings.js';
import { UsageError } from './commandLine.js';

/**
 * Starts to export traces; undefined: the environment does not ask for it. The packages that it takes are loaded only
 * then.
 * @param replica ID of this server; empty: it is the only one
 * @throws UsageError
 */
export async function traceCalls(
  environment: Readonly<Record<string, string | undefined>>,
  replica: string,
  logger: Logger,
): Promise<Tracing | undefined> {
  let settings;
  try {
    settings = tracingSettings(environment);
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
  if (settings === undefined) return undefined;
  const { protocol, traceContext, unknownPropagators } = settings;
  if (unknownPropagators.length > 0)
    logger.warn('OTEL_PROPAGATORS names some that are not supported: tracecontext, baggage, none', {
      unknownPropagators,
    });
  const { startTracing } = await import('../server/tracing/openTelemetry.js');
  const tracing = await startTracing(settings, { replica }, logger);
  setTracing(true);
  logger.info('traces are exported', { protocol, traceContext });
  return tracing;
}
