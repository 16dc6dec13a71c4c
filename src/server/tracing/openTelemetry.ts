/**
 * Traces by OpenTelemetry's SDK, exported by OTLP. Only this file and those of the exporters load the SDK's packages,
 * and the server loads this file only if tracing is on.
 *
 * A collector that is slow, absent or hostile costs spans, and nothing else: the queue is bounded, the exporter gives up
 * after a time, and so does the shutdown.
 */
import { ROOT_CONTEXT, SpanKind as Kind, SpanStatusCode, diag, DiagLogLevel, trace } from '@opentelemetry/api';
import type { Context, Span as SdkSpan, TextMapGetter, TextMapSetter, Tracer } from '@opentelemetry/api';
import { ExportResultCode, setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Metadata } from '@grpc/grpc-js';
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { SpanAttributes, SpanKind } from '../../common/spans.js';
import { SERVER_VERSION } from '../../common/version.js';
import { inTime } from '../../common/waiting.js';
import { methodIn, rpcAttributes, type CallSpan, type CallTracer, type SpanEnd, type SpanIds } from './callSpan.js';
import { ExportReports } from './exportReports.js';
import type { Protocol, TracingSettings } from './settings.js';

/** The instrumentation, for whoever looks at the spans. */
const SCOPE = 'guestfs-grpc';
/** Exports at the same time; each can hold an answer of the collector of up to 4 MiB. */
const CONCURRENT_EXPORTS = 2;
/** Spans of a call; one that does the work of hundreds, such as Inspect, must not fill the queue. */
const MOST_CHILDREN = 256;
/** How long the shutdown may take to send the last spans, milliseconds. */
const CLOSE_MS = 3000;

/** Statuses by which a server says that it failed, not the client; by the semantic conventions for gRPC. */
const FAULTS = new Set(['UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']);
const KINDS: Readonly<Record<SpanKind, Kind>> = { internal: Kind.INTERNAL, client: Kind.CLIENT };

/** Tracing that is on. */
export interface Tracing {
  readonly tracer: CallTracer;
  /** Sends the last spans, for a limited time. */
  close(): Promise<void>;
}

/** The replica whose spans they are. */
export interface TracedServer {
  /** Empty: the server is the only one. */
  readonly replica: string;
}

/** Starts to export traces. */
export async function startTracing(
  { protocol, traceContext }: TracingSettings,
  { replica }: TracedServer,
  logger: Logger,
): Promise<Tracing> {
  const reports = new ExportReports(logger);
  const report = (...parts: readonly unknown[]): void => reports.problem(parts.map(messageOf).join(' '));
  const silent = (): void => undefined;
  diag.setLogger(
    { error: report, warn: report, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  setGlobalErrorHandler(report);
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': SCOPE,
        'service.version': SERVER_VERSION,
        ...(replica === '' ? {} : { 'service.instance.id': replica }),
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(counting(await exporterFor(protocol), reports))],
  });
  const tracer = provider.getTracer(SCOPE, SERVER_VERSION);
  const propagator = traceContext ? new W3CTraceContextPropagator() : undefined;
  return {
    tracer: { start: (path, metadata) => startCall(tracer, propagator, path, metadata) },
    close: async () => {
      const failed = (error: unknown): void => report(error);
      if ((await inTime(CLOSE_MS, 'late', provider.shutdown().catch(failed))) === 'late')
        reports.problem(`the last spans could not be sent within ${CLOSE_MS / 1000} s`);
    },
  };
}

async function exporterFor(protocol: Protocol): Promise<SpanExporter> {
  const options = { concurrencyLimit: CONCURRENT_EXPORTS };
  switch (protocol) {
    case 'grpc':
      return new (await import('@opentelemetry/exporter-trace-otlp-grpc')).OTLPTraceExporter(options);
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter(options);
    case 'http/json':
      return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter(options);
  }
}

/** Counts the batches of an exporter. */
function counting(exporter: SpanExporter, reports: ExportReports): SpanExporter {
  const send = exporter.export.bind(exporter);
  exporter.export = (batch, done) =>
    send(batch, (result) => {
      reports.sent(batch.length, result.code === ExportResultCode.SUCCESS);
      done(result);
    });
  return exporter;
}

const getter: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => {
    const values = metadata.get(key).map(String);
    // There is no way to choose one of several parents.
    return values.length === 0 || (key === 'traceparent' && values.length > 1) ? undefined : values;
  },
};
const setter: TextMapSetter<Metadata> = { set: (metadata, key, value) => metadata.set(key, value) };

function startCall(
  tracer: Tracer,
  propagator: W3CTraceContextPropagator | undefined,
  path: string,
  metadata: Metadata,
): CallSpan {
  const parent = propagator?.extract(ROOT_CONTEXT, metadata, getter) ?? ROOT_CONTEXT;
  const span = tracer.startSpan(methodIn(path), { kind: Kind.SERVER, attributes: rpcAttributes(path) }, parent);
  const made = new RecordedSpan(span, parent, { tracer, propagator, children: 0 });
  made.passOn(metadata);
  return made;
}

/** What the spans of a call have in common. */
interface Origin {
  readonly tracer: Tracer;
  readonly propagator: W3CTraceContextPropagator | undefined;
  /** How many spans below that of the call there are. */
  children: number;
}

class RecordedSpan implements CallSpan {
  readonly #span: SdkSpan;
  readonly #context: Context;
  readonly #origin: Origin;

  constructor(span: SdkSpan, parent: Context, origin: Origin) {
    this.#span = span;
    this.#context = trace.setSpan(parent, span);
    this.#origin = origin;
  }

  get ids(): SpanIds {
    const { traceId, spanId } = this.#span.spanContext();
    return { trace_id: traceId, span_id: spanId };
  }

  child(name: string, kind: SpanKind, attributes: SpanAttributes = {}): CallSpan {
    const origin = this.#origin;
    if (!this.#span.isRecording()) return new OmittedSpan(this);
    origin.children += 1;
    if (origin.children > MOST_CHILDREN) return new OmittedSpan(this);
    const span = origin.tracer.startSpan(name, { kind: KINDS[kind], attributes: { ...attributes } }, this.#context);
    return new RecordedSpan(span, this.#context, origin);
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes({ ...attributes });
  }

  passOn(metadata: Metadata): void {
    const { propagator } = this.#origin;
    if (propagator === undefined) return;
    metadata.remove('tracestate');
    propagator.inject(this.#context, metadata, setter);
  }

  answered({ code, reason }: SpanEnd): void {
    this.set({ 'rpc.response.status_code': code });
    if (reason !== undefined) this.set({ 'error.type': reason });
    if (FAULTS.has(code)) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    const omitted = this.#origin.children - MOST_CHILDREN;
    if (omitted > 0) this.set({ 'guestfs.omitted_spans': omitted });
    this.#span.end();
  }

  end(reason?: string): void {
    if (reason !== undefined) {
      // Without a text: that of an error can quote a guest, or a path of a client.
      this.set({ 'error.type': reason });
      this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end();
  }
}

/** Stands for work that is not recorded. What it passes on belongs to the span above it. */
class OmittedSpan implements CallSpan {
  constructor(private readonly above: CallSpan) {}

  get ids(): SpanIds {
    return this.above.ids;
  }

  child(): CallSpan {
    return this;
  }

  set(): void {
    // Nobody will see it.
  }

  passOn(metadata: Metadata): void {
    this.above.passOn(metadata);
  }

  answered(): void {
    // It has no end of its own.
  }

  end(): void {
    // It has no end of its own.
  }
}
