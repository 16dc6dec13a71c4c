/** Calls that are repeated, given up and cancelled, with a real daemon. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { retryingProxy } from '../support/retryingProxy.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient, TestClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SIZE = 512 * MEBIBYTE;

describeWithAppliance('a call', () => {
  const scene = serverForTests();

  it('that a proxy repeats again and again is made once', async () => {
    const { id } = await launchSession(scene.client, [scratchDrive(SIZE)]);
    const events = await scene.client.subscribe(id, [EventType.FINISHED]);
    const proxy = await retryingProxy(scene.server.address, { attemptMs: 20, attempts: 5000 });
    const client = new TestClient(proxy.address);
    await new SessionClient(client, id).call('zero_device', { device: '/dev/sda' });
    expect(proxy.attempts.get('/guestfs.v1.DeviceService/ZeroDevice')).toBeGreaterThan(1);
    client.close();
    await proxy.close();
    await scene.client.deleteSession(id);
    await events.ended;
    expect(
      events.events.filter(({ detail }) => detail?.$case === 'call' && detail.value.action === 'zero_device'),
    ).toEqual([
      expect.objectContaining({
        detail: expect.objectContaining({ value: expect.objectContaining({ error_reason: '' }) }),
      }),
    ]);
  });

  it('that nobody waits for and the daemon does not finish costs no data when the session ends', async () => {
    const image = join(scene.server.images, 'abandoned.img');
    emptyImage(image, 64);
    const session = await launchSession(scene.client, [imageDrive(image)]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('write', { path: '/file', content: Buffer.from('not synced') });
    const requestId = 'sleeper';
    const sleeps = failureOf(session.call('sleep', { secs: 300 }, { requestId }));
    const calls = scene.client.sessionAt(session.id);
    await eventually(async () => (await calls.calls()).length === 1);
    await calls.cancelCall(requestId);
    expect(await sleeps).toMatchObject({ code: status.CANCELLED });
    expect(await calls.calls()).toMatchObject([{ name: 'sleep', abandoned: true }]);
    const before = performance.now();
    await scene.client.deleteSession(session.id);
    expect(performance.now() - before).toBeLessThan(30_000);
    const later = await launchSession(scene.client, [imageDrive(image, { writable: false })]);
    await later.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
    expect(await later.call('cat', { path: '/file' })).toBe('not synced');
    await scene.client.deleteSession(later.id);
    rmSync(image);
  });
});
