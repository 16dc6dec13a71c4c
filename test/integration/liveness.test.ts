/** Appliances that no longer answer, because qemu was stopped: their sessions end anyway, and so does a shutdown. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage } from '../support/diskImages.js';
import { launchSession } from '../support/scene.js';
import { imageDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { logged, startTestServer, type TestServer } from '../support/testServer.js';

/** The qemu of a session, by the name that it is started with. */
function qemuOf(server: TestServer, { id }: SessionClient): number {
  const qemu = server
    .machines()
    .find(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(`guestfs-${id}`));
  if (qemu === undefined) throw new Error(`no qemu for ${id}`);
  return qemu.pid;
}

describeWithAppliance('a qemu that is stopped', () => {
  it('is detected, in a session and in the shutdown of a server, and ended; no synced data is lost', async () => {
    const server = await startTestServer({ flags: ['--unresponsive-timeout', '6', '--drain-grace', '6'] });
    const client = new TestClient(server.address);
    const image = (name: string): string => emptyImage(join(server.images, name), 64);
    const open = async (name: string): Promise<SessionClient> => {
      image(name);
      const session = await launchSession(client, [imageDrive(name)]);
      await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      await session.call('write', { path: '/kept', content: Buffer.from('still here') });
      await session.call('sync');
      return session;
    };

    const hung = await open('hung.img');
    const { event } = await client.subscribe(hung.id);
    process.kill(qemuOf(server, hung), 'SIGSTOP');
    const started = performance.now();
    expect(await hung.failure('list_devices')).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'UNRESPONSIVE' },
      details: expect.stringContaining('qemu has not answered for'),
    });
    expect(performance.now() - started).toBeLessThan(10_000);
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect((await client.getSession(hung.id)).state).toBe(SessionState.CONFIG);
    // Its image can be used again.
    const heir = await launchSession(client, [imageDrive('hung.img')]);
    await heir.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    expect(Buffer.from(await heir.call('read_file', { path: '/kept' })).toString()).toBe('still here');
    await client.deleteSession(heir.id);

    const sound = await open('sound.img');
    await sound.call('write', { path: '/late', content: Buffer.from('not synced by the client') });
    const late = await open('late.img');
    process.kill(qemuOf(server, late), 'SIGSTOP');
    const asked = performance.now();
    server.process.kill('SIGTERM');
    const [code] = (await once(server.process, 'exit')) as [number];
    expect(performance.now() - asked).toBeLessThan(10_000);
    expect(code).toBe(1);
    expect(logged(server, 'session ended with an error: data may be lost')).toEqual([
      expect.objectContaining({ level: 'error', session: late.id }),
    ]);
    expect(debugfs(join(server.images, 'sound.img'), 0, 'cat /late')).toBe('not synced by the client');
    client.close();
    expect(await server.stop()).toEqual({ code: 1, processes: [], files: [] });
  });
});
