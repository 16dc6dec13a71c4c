/** The spans of calls, as the server sees them. What makes and exports them is in openTelemetry.ts. */
import type { Metadata } from '@grpc/grpc-js';
import type { Span, SpanAttributes, SpanKind } from '../../common/spans.js';

/** Where a span is in its trace, named as in OpenTelemetry's log records. */
export interface SpanIds {
  readonly trace_id: string;
  readonly span_id: string;
}

/** How a call ended, for its span. */
export interface SpanEnd {
  /** Name of the status. */
  readonly code: string;
  /** Undefined for success, and for an end that is no failure. */
  readonly reason: string | undefined;
}

/** A span that can continue on another server. */
export interface CallSpan extends Span {
  readonly ids: SpanIds;
  child(name: string, kind: SpanKind, attributes?: SpanAttributes): CallSpan;
  /** Makes calls with this metadata a part of the span. */
  passOn(metadata: Metadata): void;
  /** Ends the span of a call, in place of `end`. */
  answered(end: SpanEnd): void;
}

/** Makes the spans of calls. */
export interface CallTracer {
  /**
   * Starts the span of a call, in the trace that its metadata names. Whatever is sent on with that metadata belongs to
   * the new span.
   * @param path of the method
   */
  start(path: string, metadata: Metadata): CallSpan;
}

/** Attributes of a call to or from a client or a replica, by OpenTelemetry's semantic conventions for RPC. */
export function rpcAttributes(path: string): SpanAttributes {
  return { 'rpc.system.name': 'grpc', 'rpc.method': methodIn(path) };
}

/** The name of a method, with its service, which is also the name of the span of a call. */
export function methodIn(path: string): string {
  return path.slice(1);
}
