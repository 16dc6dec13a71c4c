/**
 * Tells load balancers, before they ask, how much room the server has for new sessions: by the health of
 * SessionService, which is NOT_SERVING while no place is free, and by ORCA load reports: out of band to whoever
 * subscribes, and in the trailers of the RPCs that create and delete sessions.
 */
import { Metadata, ServerMetricRecorder, status, type Server, type ServerWritableStream } from '@grpc/grpc-js';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { SessionRegistry } from '../session/sessionRegistry.js';

/** Reports more often than this would cost more than they tell; grpc-js cannot wait much longer than the other. */
const LEAST_INTERVAL_S = 1;
const MOST_INTERVAL_S = 3600;
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
const DOUBLE = 1;

/** The trailer of a report. */
const LOAD_TRAILER = 'endpoint-load-metrics-bin';

/** The share of places that are taken. */
function utilizationOf({ size, limit }: Pick<SessionRegistry, 'size' | 'limit'>): number {
  return Math.max(size / limit, LEAST_UTILIZATION);
}

/** Trailers with a report. */
export function loadTrailers(registry: Pick<SessionRegistry, 'size' | 'limit'>): Metadata {
  const report = new BinaryWriter()
    .tag(RPS_FRACTIONAL, DOUBLE)
    .double(RATE)
    .tag(APPLICATION_UTILIZATION, DOUBLE)
    .double(utilizationOf(registry));
  const trailers = new Metadata();
  trailers.set(LOAD_TRAILER, Buffer.from(report.finish()));
  return trailers;
}

interface Interval {
  seconds: string | number;
  nanos: number;
}

interface ReportRequest {
  readonly report_interval?: Interval | null;
}

/** Keeps an interval within limits. */
function bound(interval: Interval | null | undefined): void {
  if (interval == null) return;
  const seconds = Number(interval.seconds);
  const bounded = Math.min(Math.max(seconds, LEAST_INTERVAL_S), MOST_INTERVAL_S);
  if (bounded !== seconds) Object.assign(interval, { seconds: String(bounded), nanos: 0 });
}
type Subscriber = ServerWritableStream<ReportRequest, object>;

/** Adds `xds.service.orca.v3.OpenRcaService`. */
export function addLoadReports(server: Pick<Server, 'addService'>, registry: SessionRegistry): void {
  const recorder = new ServerMetricRecorder();
  recorder.setQpsMetric(RATE);
  const update = (): void => recorder.setApplicationUtilizationMetric(utilizationOf(registry));
  registry.onSize(update);
  update();
  let subscribers = 0;
  const bounded = {
    addService: (...[definition, implementation]: Parameters<Server['addService']>) => {
      const report = implementation['StreamCoreMetrics'] as (call: Subscriber) => void;
      server.addService(definition, {
        StreamCoreMetrics: (call: Subscriber) => {
          if (subscribers >= MOST_SUBSCRIBERS) {
            call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: `there are ${subscribers} subscribers` });
            return;
          }
          subscribers += 1;
          call.once('cancelled', () => (subscribers -= 1));
          bound(call.request.report_interval);
          report(call);
        },
      });
    },
  };
  recorder.addToServer(bounded as unknown as Server);
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
