/** OpenTelemetry's standard environment variables, as far as they decide whether and how the server exports traces. */
import { splitAddress } from '../address.js';

/** How spans are sent to the collector. */
export const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
];
/** Those of the SDK that must be whole numbers: with others, it would not end. */
const WHOLE_NUMBERS = [
  'OTEL_BSP_SCHEDULE_DELAY',
  'OTEL_BSP_EXPORT_TIMEOUT',
  'OTEL_BSP_MAX_QUEUE_SIZE',
  'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
  'OTEL_EXPORTER_OTLP_TIMEOUT',
  'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT',
  'OTEL_ATTRIBUTE_COUNT_LIMIT',
  'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT',
];
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'];
const TRACE_CONTEXT = 'tracecontext';
/** Baggage is passed on to other replicas like all metadata. */
const PROPAGATORS = [TRACE_CONTEXT, 'baggage', 'none'];

/** How traces are exported; other variables are read by OpenTelemetry's SDK. */
export interface TracingSettings {
  readonly protocol: Protocol;
  /** Whether the trace context of clients is used, and passed on. */
  readonly traceContext: boolean;
  /** Values of OTEL_PROPAGATORS that the server does not support. */
  readonly unknownPropagators: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The settings for tracing; undefined unless the environment turns it on, by naming an exporter or a collector.
 * @throws Error about a variable that cannot be used
 */
export function tracingSettings(environment: Environment): TracingSettings | undefined {
  // An empty variable counts as not set, according to the specification.
  const valueOf = (name: string): string | undefined => environment[name]?.trim() || undefined;
  if (valueOf('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return undefined;
  const exporter = valueOf('OTEL_TRACES_EXPORTER');
  const endpoints = ENDPOINTS.filter((name) => valueOf(name) !== undefined);
  if (exporter === 'none' || (exporter === undefined && endpoints.length === 0)) return undefined;
  if (exporter !== undefined && exporter !== 'otlp')
    throw new Error(`OTEL_TRACES_EXPORTER: '${exporter}' is not supported: otlp or none`);
  const protocol = protocolIn(valueOf);
  for (const name of endpoints) requireEndpoint(name, valueOf(name) ?? '', protocol);
  for (const name of WHOLE_NUMBERS) requireWholeNumber(name, valueOf(name));
  requireSampler(valueOf('OTEL_TRACES_SAMPLER'), valueOf('OTEL_TRACES_SAMPLER_ARG'));
  const propagators = valueOf('OTEL_PROPAGATORS')
    ?.split(',')
    .map((name) => name.trim());
  return {
    protocol,
    traceContext: propagators?.includes(TRACE_CONTEXT) ?? true,
    unknownPropagators: propagators?.filter((name) => !PROPAGATORS.includes(name)) ?? [],
  };
}

function protocolIn(valueOf: (name: string) => string | undefined): Protocol {
  for (const name of ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL']) {
    const value = valueOf(name);
    if (value === undefined) continue;
    const protocol = PROTOCOLS.find((known) => known === value);
    if (protocol === undefined) throw new Error(`${name}: '${value}' is not one of ${PROTOCOLS.join(', ')}`);
    return protocol;
  }
  return 'http/protobuf';
}

function requireEndpoint(name: string, value: string, protocol: Protocol): void {
  if (protocol === 'grpc' && splitAddress(value) !== undefined) return;
  const { protocol: scheme } = URL.canParse(value) ? new URL(value) : { protocol: '' };
  // Its value is not quoted: a URL can contain a password.
  if (scheme !== 'http:' && scheme !== 'https:') throw new Error(`${name} is not an http or https URL`);
}

function requireWholeNumber(name: string, value: string | undefined): void {
  if (value === undefined || (/^\d{1,9}$/.test(value) && Number(value) > 0)) return;
  throw new Error(`${name}: '${value}' is not a whole number from 1 to 999999999`);
}

function requireSampler(sampler: string | undefined, argument: string | undefined): void {
  if (sampler === undefined) return;
  if (!SAMPLERS.includes(sampler))
    throw new Error(`OTEL_TRACES_SAMPLER: '${sampler}' is not one of ${SAMPLERS.join(', ')}`);
  if (!sampler.endsWith('traceidratio') || argument === undefined) return;
  const ratio = Number(argument);
  if (!(ratio >= 0 && ratio <= 1))
    throw new Error(`OTEL_TRACES_SAMPLER_ARG: '${argument}' is not a number from 0 to 1`);
}
