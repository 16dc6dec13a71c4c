/** A collector of traces in this process: OTLP over HTTP, in JSON or protobuf, and over gRPC. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { eventually } from './eventually.js';

/** A span, as far as the tests look at it. */
export interface ReceivedSpan {
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client';
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: it has none. */
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
  /** Nanoseconds. */
  readonly start: bigint;
  readonly end: bigint;
}

export interface OtlpReceiver {
  readonly url: string;
  /** Attributes of the last resource. */
  readonly resource: Readonly<Record<string, unknown>>;
  readonly spans: readonly ReceivedSpan[];
  /** All bodies, as they came. */
  readonly bodies: readonly Buffer[];
  /** Content types of the requests. */
  readonly types: readonly string[];
  /** The spans of a trace, once one of them has this name. */
  trace(traceId: string, name: string): Promise<readonly ReceivedSpan[]>;
  close(): Promise<void>;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const KINDS = { 1: 'internal', 2: 'server', 3: 'client' } as const;

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface JsonSpan {
  readonly name: string;
  readonly kind: keyof typeof KINDS;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code?: number };
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

interface JsonRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly JsonSpan[] }[];
  }[];
}

function attributesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

function received(span: JsonSpan): ReceivedSpan {
  return {
    name: span.name,
    kind: KINDS[span.kind],
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId ?? '',
    attributes: attributesOf(span.attributes),
    failed: span.status.code === 2,
    start: BigInt(span.startTimeUnixNano),
    end: BigInt(span.endTimeUnixNano),
  };
}

const accept: Answer = (_request, response) =>
  void response.writeHead(200, { 'content-type': 'application/json' }).end('{}');

/** Starts a collector that understands JSON, and keeps what comes in other forms. */
export async function startOtlpReceiver(answer: Answer = accept): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const bodies: Buffer[] = [];
  const types: string[] = [];
  let resource: Record<string, unknown> = {};
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      bodies.push(body);
      types.push(request.headers['content-type'] ?? '');
      if (request.headers['content-type'] === 'application/json') {
        for (const group of (JSON.parse(body.toString()) as JsonRequest).resourceSpans) {
          resource = attributesOf(group.resource.attributes);
          spans.push(...group.scopeSpans.flatMap((scope) => scope.spans.map(received)));
        }
      }
      answer(request, response);
    });
    request.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get resource() {
      return resource;
    },
    spans,
    bodies,
    types,
    trace: async (traceId, name) => {
      const ofTrace = (): ReceivedSpan[] => spans.filter((span) => span.traceId === traceId);
      await eventually(() => ofTrace().some((span) => span.name === name), 10_000);
      return ofTrace();
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** Starts a collector over gRPC, which keeps the requests. */
export async function startGrpcReceiver(): Promise<{
  readonly url: string;
  readonly bodies: readonly Buffer[];
  close(): void;
}> {
  const bodies: Buffer[] = [];
  const server = new Server();
  const asIs = (bytes: Buffer): Buffer => bytes;
  server.addService(
    {
      export: {
        path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        ...{ requestStream: false, responseStream: false },
        ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
      },
    },
    {
      export: ({ request }: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        bodies.push(request);
        callback(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { url: `http://127.0.0.1:${port}`, bodies, close: () => server.forceShutdown() };
}
