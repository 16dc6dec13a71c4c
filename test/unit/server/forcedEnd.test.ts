/** DeleteSession with `force`: at once, in every state, and without an error about lost data. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { failureOf } from '../../support/testClient.js';

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false });
});
afterAll(() => server.stop());

function end(id: string, force: boolean): Promise<unknown> {
  return server.client.call(SessionServiceService.deleteSession, { id, force });
}

describe('DeleteSession by force', () => {
  it('ends an appliance without a sync', async () => {
    const { machine } = server;
    expect(machine.graces).toEqual([]);
    await end('READY', true);
    expect(machine.graces).toEqual([1000]);
    expect((await failureOf(server.client.getSession('READY'))).info?.reason).toBe('SESSION_UNKNOWN');
  });

  it('ends a session that is being shut down and waits for a sync that never ends', async () => {
    const orderly = failureOf(end('STOPPING', false));
    await end('STOPPING', true);
    expect((await orderly).info?.reason).toBe('OUTCOME_UNKNOWN');
  });

  it('ends a session without an appliance', async () => {
    await end('CONFIG', true);
  });
});
