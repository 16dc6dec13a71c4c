/** What operators see of the gateway: whether it can make calls, what it has done, and what its end cuts off. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import { measureGateway } from '../../../src/gateway/gatewayMetrics.js';
import { Upstream } from '../../../src/gateway/upstream.js';
import { metrics } from '../../../src/server/metrics.js';
import { http, startGateway } from '../../fakes/gateway.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { eventually } from '../../support/eventually.js';

jest.setTimeout(30_000);

const JSON_TYPE = { 'content-type': 'application/json' };
const LIST = '/guestfs.v1.SessionService/ListSessions';
const SUBSCRIBE = '/guestfs.v1.EventService/Subscribe';

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false });
}, 60_000);
afterAll(() => server.stop());

function upstreamOf(address: string, hasIdentity = false): Upstream {
  return new Upstream({ address, credentials: () => credentials.createInsecure(), hasIdentity, logger: silentLogger });
}

describe('whether calls can be made', () => {
  it('is known while the server serves, says that it does not, and is gone', async () => {
    const other = await startFakeServer({ allowed: [], debugService: false });
    const upstream = upstreamOf(other.address);
    expect(await upstream.objection()).toBeUndefined();
    await other.stop();
    expect(await upstream.objection()).toBe('the server does not answer');
    upstream.close();
  });

  it('depends on whether the server knows the gateway as a proxy', async () => {
    const upstream = upstreamOf(server.address, true);
    expect(await upstream.objection()).toContain('the server would take the gateway for its client');
    upstream.close();
  });
});

describe('the metrics', () => {
  const value = async (name: string, labels: object = {}): Promise<number> => {
    const { values } = (await metrics.getSingleMetric(name)?.get()) ?? { values: [] };
    const found = values.find((one) =>
      Object.entries(labels).every(([key, text]) => one.labels[key as never] === text),
    );
    return found?.value ?? 0;
  };
  const calls = (grpc_code: string): Promise<number> =>
    value('guestfs_gateway_calls_total', { protocol: 'connect', grpc_code });

  it('count calls by their status, and requests that are none', async () => {
    const gateway = await startGateway(server.address);
    measureGateway(gateway.gateway.measured);
    const list = (body: string): Promise<unknown> => http(gateway.address, LIST, { headers: JSON_TYPE, body });
    const before = await Promise.all(['OK', 'INVALID_ARGUMENT'].map(calls));
    await list('{}');
    await list('{"pageSize":-1}');
    await list('no JSON');
    await eventually(async () => (await value('guestfs_gateway_calls_in_flight')) === 0);
    const after = await Promise.all(['OK', 'INVALID_ARGUMENT'].map(calls));
    expect(after.map((count, index) => count - (before[index] ?? 0))).toEqual([1, 2]);
    await http(gateway.address, LIST, { headers: { ...JSON_TYPE, origin: 'https://evil.example' } });
    expect(await value('guestfs_gateway_requests_refused_total', { status: '403' })).toBe(1);
    expect(await value('guestfs_gateway_request_memory_bytes')).toBe(0);
    await gateway.stop();
  });

  it('count a call that its client cancels', async () => {
    const gateway = await startGateway(server.address);
    const cancelled = (): Promise<number> =>
      value('guestfs_gateway_calls_total', { protocol: 'connect-stream', grpc_code: 'CANCELLED' });
    const before = await cancelled();
    const { request } = await subscribe(gateway.address);
    expect(await value('guestfs_gateway_calls_in_flight')).toBe(1);
    request.destroy();
    await eventually(async () => (await cancelled()) === before + 1);
    expect(await value('guestfs_gateway_calls_in_flight')).toBe(0);
    await gateway.stop();
  });
});

/** A call that does not end by itself, once it was accepted. */
async function subscribe(address: string): Promise<{ readonly request: ReturnType<typeof httpRequest> }> {
  const request = httpRequest(`http://${address}`, {
    ...{ method: 'POST', path: SUBSCRIBE, agent: false },
    headers: { 'content-type': 'application/connect+json', 'guestfs-session': 'CONFIG' },
  });
  request.on('error', () => undefined);
  request.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from('{}')]));
  const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
  response.on('error', () => undefined);
  return { request };
}

describe('the end', () => {
  it('is announced while calls are still made, and says how many it has cut off', async () => {
    const { address, gateway } = await startGateway(server.address);
    await subscribe(address);
    gateway.announceEnd();
    const { status, headers } = await http(address, LIST, { headers: JSON_TYPE, body: '{}' });
    expect([status, headers.connection]).toEqual([200, 'close']);
    const grace = new AbortController();
    const closed = gateway.close(grace.signal);
    grace.abort(new Error('the test is over'));
    expect(await closed).toBe(1);
  });
});
