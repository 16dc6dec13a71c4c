/** Connections of misbehaving clients. */
import { once } from 'node:events';
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { EventServiceService } from '../../../gen/proto/guestfs/v1/event.js';
import type { ServerLimits } from '../../../src/server/limits.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { distantRelay } from '../../support/distantRelay.js';
import { eventually } from '../../support/eventually.js';
import { failureOf, TestClient } from '../../support/testClient.js';
import { openCall } from '../../support/openCall.js';

const LIMITS = { connections: 8, connectionIdleMs: 1000, handshakeMs: 500, callsPerClient: 20, stallMs: 60_000 };

let server: FakeServer;
let sockets: Socket[];
let sessions: ClientHttp2Session[];
beforeEach(async () => {
  server = await startFakeServer({ allowed: [], debugService: false, serverLimits: LIMITS });
  sockets = [];
  sessions = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  for (const session of sessions) session.destroy();
  await server.stop();
});

function socket(): Socket {
  const [host, port] = server.address.split(':');
  const made = connect(Number(port), host);
  made.on('error', () => undefined);
  made.resume();
  sockets.push(made);
  return made;
}

function session(): ClientHttp2Session {
  const made = connectHttp2(`http://${server.address}`, { maxSendHeaderBlockLength: 1 << 20 });
  made.on('error', () => undefined);
  sessions.push(made);
  return made;
}

const EMPTY = Buffer.alloc(5);
const LIST = SessionServiceService.listSessions.path;
const SUBSCRIBE = EventServiceService.subscribe.path;

describe('a connection', () => {
  it('without an HTTP/2 preface is closed', async () => {
    await once(socket(), 'close');
  });

  it('without a call after the preface is closed as idle', async () => {
    await once(session(), 'close');
  });

  it('with a call is not', async () => {
    const one = session();
    openCall(one, SUBSCRIBE).end(EMPTY);
    await setTimeout(2500);
    expect(one.closed).toBe(false);
  });

  it('that is silent makes room before one that is idle', async () => {
    const idle = session();
    await once(idle, 'remoteSettings');
    // Those that are silent come in numbers, and are refused or closed.
    const silent = Array.from({ length: 3 * LIMITS.connections }, socket);
    await Promise.all(silent.map((one) => once(one, 'close')));
    expect(idle.closed).toBe(false);
    const call = openCall(idle, LIST);
    call.end(EMPTY);
    await once(call, 'response');
  });

  it('that is idle makes room for new ones', async () => {
    for (let count = 0; count < 2 * LIMITS.connections; count += 1) {
      const one = session();
      await Promise.race([once(one, 'remoteSettings'), once(one, 'close')]);
    }
    const other = new TestClient(server.address);
    await other.createSession({ session_id: 'other' });
    other.close();
  });
});

describe('a connection of a server with other limits', () => {
  async function limited(
    limits: Partial<ServerLimits>,
    check: (one: ClientHttp2Session, address: string) => Promise<void>,
  ): Promise<void> {
    const other = await startFakeServer({ allowed: [], debugService: false, serverLimits: limits });
    const one = connectHttp2(`http://${other.address}`);
    one.on('error', () => undefined);
    try {
      await check(one, other.address);
    } finally {
      one.destroy();
      await other.stop();
    }
  }

  it('carries as many calls at a time as the server allows', async () => {
    await limited({ callsPerConnection: 7 }, async (one) => {
      await eventually(() => one.remoteSettings.maxConcurrentStreams === 7);
    });
  });

  it('that has reached its age gets no new calls; those that are open go on', async () => {
    await limited({ connectionAgeMs: 500 }, async (one) => {
      const goaways: number[] = [];
      one.on('goaway', (code: number) => goaways.push(code));
      const call = openCall(one, SUBSCRIBE);
      call.end(EMPTY);
      await once(call, 'response');
      await eventually(() => one.closed);
      await setTimeout(1000);
      expect(call.closed).toBe(false);
      expect(new Set(goaways)).toEqual(new Set([constants.NGHTTP2_NO_ERROR]));
    });
  });

  it('that has reached its age is closed after a while, if there is a limit for that', async () => {
    await limited({ connectionAgeMs: 300, connectionAgeGraceMs: 300 }, async (one) => {
      const call = openCall(one, SUBSCRIBE);
      call.end(EMPTY);
      await once(call, 'response');
      await once(call, 'close');
    });
  });

  it.each([
    ['as idle', { connectionIdleMs: 500 }],
    ['at its age', { connectionAgeMs: 500 }],
  ])('that ends %s says which calls it has not accepted', async (_, limits) => {
    await limited(limits, async (_one, address) => {
      const relay = await distantRelay(address, 700);
      const distant = connectHttp2(`http://${relay.address}`);
      try {
        distant.on('error', () => undefined);
        await once(distant, 'remoteSettings');
        const told = once(distant, 'goaway');
        const call = openCall(distant, LIST);
        call.on('error', () => undefined);
        call.end(EMPTY);
        expect((await told).slice(0, 2)).toEqual([constants.NGHTTP2_NO_ERROR, 0]);
        if (!call.closed) await new Promise((resolve) => call.once('close', resolve));
        expect(call.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
      } finally {
        distant.destroy();
        await relay.close();
      }
    });
  });

  it('lasts, if its age is the longest that there is', async () => {
    await limited({ connectionAgeMs: 2 ** 31 - 1 }, async (one) => {
      await setTimeout(500);
      expect(one.closed).toBe(false);
    });
  });

  it('whose client is dead is closed, and no other', async () => {
    await limited({ keepaliveMs: 300, keepaliveTimeoutMs: 300, connectionIdleMs: undefined }, async (one, address) => {
      const [host, port] = address.split(':');
      const dead = connect(Number(port), host);
      dead.on('error', () => undefined);
      dead.resume();
      sockets.push(dead);
      // The preface and empty settings, and then nothing.
      dead.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      dead.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      await once(dead, 'close');
      expect(one.closed).toBe(false);
    });
  });
});

describe('a connection with many calls at once', () => {
  it('goes on, and answers all of them', async () => {
    const subscription = await server.client.subscribe('CONFIG');
    for (let round = 0; round < 20; round += 1) {
      const calls = Array.from({ length: LIMITS.callsPerClient / 2 }, () =>
        server.sessions.CONFIG.call('set_program', { program: 'x'.repeat(1000) }),
      );
      await Promise.all(calls);
    }
    subscription.cancel();
  });
});

describe('metadata', () => {
  it('above the limit ends only its call', async () => {
    const one = session();
    const subscription = openCall(one, SUBSCRIBE);
    subscription.end(EMPTY);
    await once(subscription, 'response');
    const large = openCall(one, LIST, { 'x-large': 'X'.repeat(40_000) });
    large.end(EMPTY);
    await new Promise((resolve) => large.once('close', resolve));
    expect(large.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    const after = openCall(one, LIST);
    after.end(EMPTY);
    await once(after, 'response');
    expect(subscription.closed).toBe(false);
  });

  it('above the limit of HTTP/2 closes the connection at once, even if the client does not', async () => {
    // A client that ignores GOAWAY, as it only forwards the bytes of a real one.
    const recorded = await recordedCalls();
    const raw = socket();
    let received = 0;
    raw.on('data', ({ length }: Buffer) => {
      received += length;
    });
    raw.write(recorded);
    const started = Date.now();
    await once(raw, 'close');
    expect(received).toBeGreaterThan(0);
    expect(Date.now() - started).toBeLessThan(5000);
  });
});

/** The bytes of a subscription, and of a call with 100 KiB of metadata, on one connection. */
async function recordedCalls(): Promise<Buffer> {
  const bytes: Buffer[] = [];
  const recorder = createServer((one) => {
    one.on('error', () => undefined);
    one.on('data', (data: Buffer) => bytes.push(data));
  });
  recorder.listen(0, '127.0.0.1');
  await once(recorder, 'listening');
  const { port } = recorder.address() as { port: number };
  const client = connectHttp2(`http://127.0.0.1:${port}`, { maxSendHeaderBlockLength: 1 << 20 });
  client.on('error', () => undefined);
  openCall(client, SUBSCRIBE).end(EMPTY);
  openCall(client, LIST, { 'x-large': 'X'.repeat(100 << 10) }).end(EMPTY);
  await setTimeout(500);
  client.destroy();
  recorder.close();
  return Buffer.concat(bytes);
}

describe('calls in flight', () => {
  it('of one client are limited, on all its connections', async () => {
    const clients = [new TestClient(server.address), new TestClient(server.address)];
    const streams = [];
    // The fake server's own client has two calls in flight.
    for (let count = 2; count < LIMITS.callsPerClient; count += 1)
      streams.push(await (clients[count % 2] as TestClient).subscribe('CONFIG'));
    const failure = await failureOf(server.client.createSession());
    expect(failure).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: {
        reason: 'LIMIT_EXCEEDED',
        metadata: expect.objectContaining({ limit: 'max-calls-per-client', maximum: '20' }),
      },
    });
    for (const stream of streams) {
      stream.cancel();
      await stream.ended.catch(() => undefined);
    }
    await eventually(() =>
      server.client.createSession().then(
        () => true,
        () => false,
      ),
    );
    for (const client of clients) client.close();
  });
});
