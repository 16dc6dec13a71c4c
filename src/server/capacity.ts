/**
 * Tells load balancers, before they ask, how much room the server has for new sessions: by the health of
 * SessionService, which is NOT_SERVING while no place is free, and by ORCA load reports: out of band to whoever
 * subscribes, and in the trailers of the RPCs that create and delete sessions.
 *
 * grpc-js can serve reports, too, but it parses their .proto files at each start, which takes longer than all
 * other preparations of the server, and lets clients ask for a report every millisecond.
 */
import { Metadata, status, type MethodDefinition, type Server, type ServerWritableStream } from '@grpc/grpc-js';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { SessionRegistry } from '../session/sessionRegistry.js';

/** Reports more often than this would cost more than they tell ... */
const LEAST_INTERVAL_MS = 1000;
/** ... and this is as long as nobody should wait. */
const MOST_INTERVAL_MS = 3_600_000;
/** If the subscriber does not say. */
const USUAL_INTERVAL_MS = 30_000;
/** Of those who subscribe to reports: each proxy that knows this server is one. */
const MOST_SUBSCRIBERS = 256;
/**
 * The rate in reports. Proxies take the rate divided by the utilization as a server's weight, cut to a whole number;
 * with a rate that is the same for all servers, the weight depends on their free places alone.
 */
const RATE = 1000;
/** Proxies ignore a report without utilization, as if the server had sent none. */
const LEAST_UTILIZATION = 0.01;

/** Field numbers of xds.data.orca.v3.OrcaLoadReport. */
const RPS_FRACTIONAL = 6;
const APPLICATION_UTILIZATION = 9;
/** Field number of xds.service.orca.v3.OrcaLoadReportRequest, and those of google.protobuf.Duration. */
const REPORT_INTERVAL = 1;
const SECONDS = 1;
const NANOS = 2;

/** The trailer of a report. */
const LOAD_TRAILER = 'endpoint-load-metrics-bin';

/** The places that are taken, and all. */
type Places = Pick<SessionRegistry, 'size' | 'limit'>;

/** A report, encoded. */
function report({ size, limit }: Places): Buffer {
  const writer = new BinaryWriter()
    .tag(RPS_FRACTIONAL, WireType.Bit64)
    .double(RATE)
    .tag(APPLICATION_UTILIZATION, WireType.Bit64)
    .double(Math.max(size / limit, LEAST_UTILIZATION));
  return Buffer.from(writer.finish());
}

/** Trailers with a report. */
export function loadTrailers(places: Places): Metadata {
  const trailers = new Metadata();
  trailers.set(LOAD_TRAILER, report(places));
  return trailers;
}

/** The interval that a request asks for, in milliseconds, within limits. @throws Error if it cannot be decoded */
export function intervalIn(request: Uint8Array): number {
  const reader = new BinaryReader(request);
  let wanted = USUAL_INTERVAL_MS;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === REPORT_INTERVAL && type === WireType.LengthDelimited) wanted = durationIn(reader.bytes());
    else reader.skip(type, field);
  }
  return Math.min(Math.max(wanted, LEAST_INTERVAL_MS), MOST_INTERVAL_MS);
}

function durationIn(bytes: Uint8Array): number {
  const reader = new BinaryReader(bytes);
  let milliseconds = 0;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === SECONDS && type === WireType.Varint) milliseconds += Number(reader.int64()) * 1000;
    else if (field === NANOS && type === WireType.Varint) milliseconds += reader.int32() / 1e6;
    else reader.skip(type, field);
  }
  return milliseconds;
}

const asIs = (bytes: Buffer): Buffer => bytes;

const STREAM_CORE_METRICS: MethodDefinition<Buffer, Buffer> = {
  path: '/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics',
  requestStream: false,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
};

type Subscriber = ServerWritableStream<Buffer, Buffer>;

/**
 * Adds `xds.service.orca.v3.OpenRcaService`.
 * @returns ends the reports, which would last as long as their subscribers
 */
export function addLoadReports(server: Pick<Server, 'addService'>, places: Places): () => void {
  const subscribers = new Set<Subscriber>();
  const refuse = (call: Subscriber, code: status, details: string): void => void call.emit('error', { code, details });
  const streamCoreMetrics = (call: Subscriber): void => {
    if (subscribers.size >= MOST_SUBSCRIBERS) {
      refuse(call, status.RESOURCE_EXHAUSTED, `there are ${MOST_SUBSCRIBERS} subscribers, which is the limit`);
      return;
    }
    let interval: number;
    try {
      interval = intervalIn(call.request);
    } catch {
      refuse(call, status.INVALID_ARGUMENT, 'the request cannot be decoded');
      return;
    }
    subscribers.add(call);
    // A subscriber that does not read gets no more.
    const send = (): void => void (call.writableNeedDrain || call.write(report(places)));
    const timer = setInterval(send, interval);
    timer.unref();
    const ended = (): void => {
      clearInterval(timer);
      subscribers.delete(call);
    };
    call.once('cancelled', ended);
    call.once('finish', ended);
    send();
  };
  server.addService({ streamCoreMetrics: STREAM_CORE_METRICS }, { streamCoreMetrics });
  return () => {
    for (const call of subscribers) call.end();
  };
}

/** With fewer free places than this share of all, a server that was full is still reported as full. */
const ROOM_AGAIN = 0.05;

/** Calls `changed` when the server has no place left, and when it has some again. */
export function watchRoom(
  registry: Pick<SessionRegistry, 'freePlaces' | 'limit' | 'onSize'>,
  changed: (hasRoom: boolean) => void,
): void {
  let hasRoom = true;
  registry.onSize(() => {
    const { freePlaces, limit } = registry;
    const now = hasRoom ? freePlaces > 0 : freePlaces >= Math.max(1, Math.ceil(limit * ROOM_AGAIN));
    if (now === hasRoom) return;
    hasRoom = now;
    changed(now);
  });
}
