/** A server with few file descriptors, most of them taken by connections: it refuses calls, and keeps its sessions. */
import { readdirSync } from 'node:fs';
import { connect, type ClientHttp2Session } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession } from '../support/scene.js';
import { scratchDrive, TestClient } from '../support/testClient.js';
import { failureOf } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer } from '../support/testServer.js';

const LIMIT = 256;

describeWithAppliance('a server with few descriptors', () => {
  it('refuses launches when it has too few, and continues everything else', async () => {
    const server = await startTestServer({ before: `ulimit -n ${LIMIT}` });
    expect(
      logged(server, 'the limit of file descriptors (ulimit -n) allows fewer connections than --max-connections'),
    ).toHaveLength(1);
    const client = new TestClient(server.address);
    const mine = await launchSession(client, [scratchDrive(1 << 20)]);
    const idle: ClientHttp2Session[] = [];
    for (let count = 0; count < LIMIT; count += 1)
      idle.push(connect(`http://${server.address}`).on('error', () => undefined));
    let refused = 0;
    for (let count = 0; count < 12; count += 1) {
      const failure = await failureOf(launchSession(client, [scratchDrive(1 << 20)])).catch(() => undefined);
      // There were still enough descriptors.
      if (failure === undefined) continue;
      expect(failure).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        info: { reason: 'LIMIT_EXCEEDED', metadata: expect.objectContaining({ limit: 'file-descriptors' }) },
      });
      refused += 1;
    }
    expect(refused).toBeGreaterThan(0);
    expect(await mine.call('list_devices')).toEqual(['/dev/sda']);
    expect(readdirSync(`/proc/${String(server.process.pid)}/fd`).length).toBeLessThan(LIMIT);
    for (const connection of idle) connection.destroy();
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});
