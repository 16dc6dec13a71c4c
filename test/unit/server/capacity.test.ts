/** What load balancers are told about the room for new sessions. */
import {
  credentials,
  makeGenericClientConstructor,
  type Metadata,
  type ClientReadableStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { SessionServiceClient } from '../../../gen/proto/guestfs/v1/session.js';
import { watchRoom } from '../../../src/server/capacity.js';
import { ReplicaSet, type Replica } from '../../fakes/replicas.js';
import { eventually } from '../../support/eventually.js';

jest.setTimeout(60_000);

let set: ReplicaSet;
let replica: Replica;
beforeAll(async () => {
  set = new ReplicaSet();
  replica = await set.start({ id: 'r1', maxSessions: 4 });
});
afterAll(() => set.stop());

/** The doubles of an ORCA report, by field number. */
function doubles(report: Uint8Array): Record<number, number> {
  const found: Record<number, number> = {};
  const reader = new BinaryReader(report);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.Bit64) found[field] = reader.double();
    else reader.skip(type);
  }
  return found;
}

/** A client for a method whose messages are bytes. */
function rawStream(path: string, request: Uint8Array, { address }: Replica = replica): ClientReadableStream<Buffer> {
  const same = (bytes: Buffer): Buffer => bytes;
  const service: ServiceDefinition = {
    method: {
      ...{ path, requestStream: false, responseStream: true },
      ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
    },
  };
  const Client = makeGenericClientConstructor(service, 'raw');
  const client = new Client(address, credentials.createInsecure());
  const stream = (client['method'] as (bytes: Buffer) => ClientReadableStream<Buffer>).call(
    client,
    Buffer.from(request),
  );
  stream.on('error', () => undefined);
  stream.once('status', () => client.close());
  return stream;
}

describe('the load of a server', () => {
  it('is in the trailers of the RPCs that create and delete sessions', async () => {
    const client = new SessionServiceClient(replica.address, credentials.createInsecure());
    const create = {
      ...{ session_id: undefined, drives: [], settings: undefined, launch: false, idle_timeout: undefined },
      labels: new Map<string, string>(),
    };
    const utilization = async (call: {
      once(event: 'status', listener: (end: { metadata: Metadata }) => void): unknown;
    }) => {
      const { metadata } = await new Promise<{ metadata: Metadata }>((resolve) => call.once('status', resolve));
      return doubles(metadata.get('endpoint-load-metrics-bin')[0] as Buffer);
    };
    let id = '';
    // 6: rps_fractional, 9: application_utilization
    expect(await utilization(client.createSession(create, (_error, answer) => (id = answer?.id ?? '')))).toEqual({
      6: 1000,
      9: 0.25,
    });
    expect(await utilization(client.deleteSession({ id, force: false }, () => undefined))).toEqual({
      6: 1000,
      9: 0.01,
    });
    client.close();
  });

  it('is reported to whoever subscribes, not more often than every second', async () => {
    const { id } = await replica.client.createSession();
    // report_interval: a millisecond
    const interval = new BinaryWriter().tag(2, 0).int32(1_000_000).finish();
    const request = new BinaryWriter().tag(1, 2).bytes(interval).finish();
    const stream = rawStream('/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics', request);
    const reports: Record<number, number>[] = [];
    stream.on('data', (report: Buffer) => reports.push(doubles(report)));
    const started = Date.now();
    await eventually(() => reports.length === 2);
    // The first one comes at once.
    expect(Date.now() - started).toBeGreaterThan(900);
    expect(reports[0]).toEqual({ 6: 1000, 9: 0.25 });
    stream.cancel();
    await replica.client.deleteSession(id);
  });

  it('is told by the health of SessionService when there is no place, while everything else is healthy', async () => {
    const watch = (service: string): { readonly seen: number[]; end(): void } => {
      const request = new BinaryWriter().tag(1, 2).string(service).finish();
      const stream = rawStream('/grpc.health.v1.Health/Watch', request);
      const seen: number[] = [];
      stream.on('data', (answer: Buffer) => seen.push(answer.length === 0 ? 0 : (answer[1] ?? 0)));
      return { seen, end: () => stream.cancel() };
    };
    const [sessions, whole, files] = [watch('guestfs.v1.SessionService'), watch(''), watch('guestfs.v1.FileService')];
    const ids: string[] = [];
    for (let count = 0; count < 4; count++) ids.push((await replica.client.createSession()).id);
    await eventually(() => sessions.seen.at(-1) === 2);
    for (const id of ids) await replica.client.deleteSession(id);
    await eventually(() => sessions.seen.at(-1) === 1);
    expect([sessions.seen, whole.seen, files.seen]).toEqual([[1, 2, 1], [1], [1]]);
    for (const one of [sessions, whole, files]) one.end();
  });
});

describe('reports', () => {
  it('do not keep a server from ending', async () => {
    const other = await set.start({ id: 'r2' });
    const stream = rawStream('/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics', Buffer.alloc(0), other);
    await new Promise((resolve) => stream.once('data', resolve));
    const ended = new Promise<{ readonly code: number }>((resolve) => stream.once('status', resolve));
    await other.stop(true);
    expect((await ended).code).toBe(0);
  });

  it('are for those that ask properly', async () => {
    const stream = rawStream('/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics', Buffer.from([0x0a, 0x7f]));
    const { code } = await new Promise<{ readonly code: number }>((resolve) => stream.once('status', resolve));
    expect(code).toBe(3);
  });
});

describe('a server that was full', () => {
  it('has room again when a twentieth of its places is free', () => {
    const said: boolean[] = [];
    let resized = (): void => undefined;
    const places = { freePlaces: 60, limit: 60, onSize: (listener: () => void) => (resized = listener) };
    watchRoom(places, (hasRoom) => said.push(hasRoom));
    for (places.freePlaces of [1, 0, 1, 0, 2, 0, 3, 2, 0]) resized();
    expect(said).toEqual([false, true, false]);
  });
});
