/** The connections to another replica: what one client does to them happens to no other. */
import { once } from 'node:events';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { credentials, Metadata, status, type StatusObject } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { SessionServiceService } from '../../../../gen/proto/guestfs/v1/session.js';
import { PeerLink, type PeerCall } from '../../../../src/server/replicas/peerLink.js';
import { ResetBudget } from '../../../../src/server/replicas/resetBudget.js';
import { eventually } from '../../../support/eventually.js';

jest.setTimeout(60_000);

const IDLE_MS = 300;
/** More than a server lets one connection reset. */
const MANY = 1200;
/** What one client may have in flight. */
const MOST_CALLS = 3200;

/** A server that begins to answer every call, and never ends one. */
let server: Http2Server;
let connections: Set<unknown>;
let link: PeerLink;
beforeEach(async () => {
  const sessions = (connections = new Set<unknown>());
  server = createServer({ settings: { maxConcurrentStreams: 250 } });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined).once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  link = new PeerLink(`127.0.0.1:${port}`, () => credentials.createInsecure(), IDLE_MS);
});
const open = new Set<PeerCall>();
afterEach(async () => {
  for (const call of open) call.cancel();
  open.clear();
  link.close();
  server.close();
  await once(server, 'close');
});

async function begin(client: string): Promise<{ readonly call: PeerCall; readonly ended: Promise<StatusObject> }> {
  const call = await link.call(client, '/any/call', new Metadata(), {
    deadline: Infinity,
    connectBy: Date.now() + 5000,
  });
  const ended = new Promise<StatusObject>((resolve) => call.once('status', resolve));
  call.on('error', () => undefined).on('data', () => undefined);
  open.add(call);
  void ended.then(() => open.delete(call));
  await Promise.race([new Promise((resolve) => call.once('metadata', resolve)), ended]);
  return { call, ended };
}

async function cancelMany(client: string): Promise<void> {
  for (let count = 0; count < MANY; count++) {
    const { call, ended } = await begin(client);
    call.cancel();
    await ended;
  }
}

describe('a client that cancels more calls than a connection survives', () => {
  it('ends no call of another client, and none of its own', async () => {
    const calls = [await begin('victim'), await begin('attacker')];
    const ends: StatusObject[] = [];
    for (const { ended } of calls) void ended.then((end) => ends.push(end));
    await cancelMany('attacker');
    expect((await begin('attacker')).call).toBeDefined();
    expect(ends).toEqual([]);
  });
});

describe('a client with as many calls as it may have', () => {
  it('has the next one refused, and keeps no other client, and not the replica itself, from calling', async () => {
    for (let count = 0; count < MOST_CALLS; count += 100)
      await Promise.all(Array.from({ length: 100 }, () => begin('busy')));
    await expect(begin('busy')).rejects.toMatchObject({
      reason: 'LIMIT_EXCEEDED',
      details: { metadata: { limit: 'forwarded-calls', maximum: String(MOST_CALLS) } },
    });
    expect((await begin('other')).call).toBeDefined();
    const soon = { metadata: new Metadata(), deadline: Date.now() + 200 };
    // It is sent: this server never answers.
    await expect(link.ask(undefined, SessionServiceService.getServerInfo, {}, soon)).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });
});

describe('the connection of a client', () => {
  it('is closed when it has been without a call for a while', async () => {
    const { call, ended } = await begin('one');
    const other = await begin('other');
    expect(connections.size).toBe(2);
    call.cancel();
    await ended;
    await eventually(() => connections.size === 1);
    expect(other.call.destroyed).toBe(false);
  });
});

describe('a budget of resets', () => {
  it('is filled again with time', () => {
    const now = jest.spyOn(performance, 'now');
    try {
      now.mockReturnValue(0);
      const budget = new ResetBudget();
      for (let count = 0; count < 900; count++) budget.add();
      expect(budget.covers(1)).toBe(false);
      now.mockReturnValue(10_000);
      expect([budget.covers(300), budget.covers(301)]).toEqual([true, false]);
    } finally {
      now.mockRestore();
    }
  });
});
