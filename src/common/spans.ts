/**
 * Spans of distributed traces, as far as the rest of the server knows them. As with the client in onBehalf.ts, the span
 * that work belongs to is attached to the signal of that work: everything that can take time has one.
 *
 * Unless tracing is on, nothing here does anything, and no call has a span.
 */
import { GuestfsError } from './errors.js';

/** Values of attributes. Never anything from a request or from a guest: spans leave the host. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** What a span describes: work of the server itself, or a call that it makes to something else. */
export type SpanKind = 'internal' | 'client';

/** A piece of work in a trace. */
export interface Span {
  /** Starts a span for a part of the work. */
  child(name: string, kind: SpanKind, attributes?: SpanAttributes): Span;
  set(attributes: SpanAttributes): void;
  /**
   * Ends the span; must be called once.
   * @param reason of the failure, if the work has failed
   */
  end(reason?: string): void;
}

const spans = new WeakMap<AbortSignal, Span>();
let tracing = false;

/** Turns tracing on or off, for the whole process. */
export function setTracing(on: boolean): void {
  tracing = on;
}

/** Declares that work with this signal belongs to a span. */
export function belongsTo(span: Span, signal: AbortSignal): void {
  spans.set(signal, span);
}

/** The span that work with this signal belongs to; undefined if there is none. */
export function spanBehind(signal: AbortSignal): Span | undefined {
  return tracing ? spans.get(signal) : undefined;
}

/** A signal derived from others inherits the span of the first of them that has one. */
export function inheritSpan(signal: AbortSignal, parents: readonly AbortSignal[]): void {
  if (!tracing) return;
  for (const parent of parents) {
    const span = spans.get(parent);
    if (span === undefined) continue;
    spans.set(signal, span);
    return;
  }
}

/** What a part of the work is called in a trace. */
export interface Part {
  readonly name: string;
  /** `internal` by default. */
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
}

/**
 * Does a part of the work that a signal belongs to, with a span of its own if the work has one.
 * @param work may add attributes to the span
 */
export function asPart<Value>(
  signal: AbortSignal,
  part: Part,
  work: (span: Span | undefined) => Promise<Value>,
): Promise<Value> {
  const parent = spanBehind(signal);
  return parent === undefined
    ? work(undefined)
    : within(parent.child(part.name, part.kind ?? 'internal', part.attributes), work);
}

/** Does work that a span describes, and ends the span. */
export async function within<Value>(span: Span, work: (span: Span) => Promise<Value>): Promise<Value> {
  try {
    const value = await work(span);
    span.end();
    return value;
  } catch (error) {
    span.end(GuestfsError.from(error).reason);
    throw error;
  }
}
