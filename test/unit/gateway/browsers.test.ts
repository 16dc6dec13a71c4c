/** What web pages can do to a gateway that only their browser reaches. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { http, rawConnection, startGateway, type FakeGateway } from '../../fakes/gateway.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';

const LIST = '/guestfs.v1.SessionService/ListSessions';
const JSON_TYPE = { 'content-type': 'application/json' };
const CONSOLE = 'https://console.example';

jest.setTimeout(30_000);

let server: FakeServer;
/** As it is by default. */
let closed: FakeGateway;
/** With a page and a name that are let in. */
let open: FakeGateway;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false });
  closed = await startGateway(server.address);
  open = await startGateway(server.address, { admission: { origins: [CONSOLE], hosts: ['Gateway.Example'] } });
}, 60_000);
afterAll(async () => {
  await closed.stop();
  await open.stop();
  await server.stop();
});

describe('a page of another site', () => {
  it.each([CONSOLE, 'null', 'http://127.0.0.1', 'http://localhost:8080', 'https://console.example.evil'])(
    'makes no calls: %s',
    async (origin) => {
      const { status, headers, text } = await http(closed.address, LIST, {
        headers: { ...JSON_TYPE, origin },
        body: '{}',
      });
      expect(status).toBe(403);
      expect(text).not.toContain('sessions');
      expect(headers['access-control-allow-origin']).toBeUndefined();
    },
  );

  it('is told so when its browser asks first', async () => {
    const { status, headers } = await http(closed.address, LIST, {
      method: 'OPTIONS',
      headers: { origin: CONSOLE, 'access-control-request-method': 'POST' },
    });
    expect(status).toBe(403);
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
  });

  it.each(['cross-site', 'same-site', 'anything'])('that its browser declares as %s makes no calls', async (site) => {
    const headers = { ...JSON_TYPE, 'sec-fetch-site': site };
    expect((await http(closed.address, LIST, { headers, body: '{}' })).status).toBe(403);
    expect((await http(closed.address, '/openapi.json', { method: 'GET', headers })).status).toBe(403);
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', undefined])(
    'cannot send what browsers send without asking: %s',
    async (type) => {
      const headers = type === undefined ? {} : { 'content-type': type };
      const { status, text } = await http(closed.address, LIST, { headers, body: '{}' });
      expect(status).toBe(415);
      expect(text).not.toContain('"sessions"');
    },
  );

  it.each(['rebound.example', 'localhost.evil', '127.0.0.1.nip.io', '[::1].evil', 'a@127.0.0.1'])(
    'whose name was made to resolve to the gateway makes no calls: %s',
    async (host) => {
      const { status } = await http(closed.address, LIST, { headers: { ...JSON_TYPE, host }, body: '{}' });
      expect(status).toBe(403);
    },
  );
});

describe('the name of the gateway', () => {
  it.each(['127.0.0.1:1', 'localhost', 'LOCALHOST:8080', '[::1]:8080', '10.1.2.3'])('can be %s', async (host) => {
    expect((await http(closed.address, LIST, { headers: { ...JSON_TYPE, host }, body: '{}' })).status).toBe(200);
  });

  it('can be one that the operator has given', async () => {
    const headers = { ...JSON_TYPE, host: 'gateway.example:8443' };
    expect((await http(open.address, LIST, { headers, body: '{}' })).status).toBe(200);
    expect((await http(closed.address, LIST, { headers, body: '{}' })).status).toBe(403);
  });

  it('is there once', async () => {
    const { socket, closed: answered } = rawConnection(closed.address);
    socket.write(
      `POST ${LIST} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    );
    expect(await answered).toMatch(/^HTTP\/1\.1 40[03] /);
  });
});

describe('a page that the operator has let in', () => {
  it('makes calls, and reads their headers', async () => {
    const { status, headers, text } = await http(open.address, LIST, {
      headers: { ...JSON_TYPE, origin: CONSOLE, 'sec-fetch-site': 'cross-site' },
      body: '{}',
    });
    expect(status).toBe(200);
    expect(text).toContain('"sessions"');
    expect(headers['access-control-allow-origin']).toBe(CONSOLE);
    expect(headers['access-control-expose-headers']).toMatch(/grpc-status-details-bin.*guestfs-session/i);
    expect(headers.vary).toBe('origin');
  });

  it('is told what it may send, and never with credentials', async () => {
    const { status, headers } = await http(open.address, LIST, { method: 'OPTIONS', headers: { origin: CONSOLE } });
    expect(status).toBe(204);
    expect(headers).toMatchObject({ 'access-control-allow-origin': CONSOLE, 'access-control-allow-methods': 'POST' });
    for (const name of ['content-type', 'authorization', 'guestfs-session', 'guestfs-request-id', 'connect-timeout-ms'])
      expect(headers['access-control-allow-headers']?.toLowerCase().split(', ')).toContain(name);
    expect(headers['access-control-allow-credentials']).toBeUndefined();
  });

  it('reads the errors of calls', async () => {
    const { status, headers } = await http(open.address, '/guestfs.v1.SessionService/GetSession', {
      headers: { ...JSON_TYPE, origin: CONSOLE },
      body: '{"id":"missing"}',
    });
    expect(status).toBe(404);
    expect(headers['access-control-allow-origin']).toBe(CONSOLE);
  });

  it('does not let in others', async () => {
    const headers = { ...JSON_TYPE, origin: 'https://other.example' };
    expect((await http(open.address, LIST, { headers, body: '{}' })).status).toBe(403);
  });
});

it('answers are neither guessed at, nor shown, nor kept by a browser', async () => {
  const { headers } = await http(closed.address, LIST, { headers: JSON_TYPE, body: '{}' });
  expect(headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'content-security-policy': expect.stringContaining("default-src 'none'"),
  });
});
