/** Clones in the pool: they behave like other clones, and nothing of one is left for the next. */
import { expect, it } from '@jest/globals';
import { join } from 'node:path';
import { LaunchKind } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { inGuest, launchAs } from '../support/launchKinds.js';
import { launchSession, serverForTests, settings } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive } from '../support/testClient.js';
import { metricsOf } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;

describeWithAppliance('the pool', () => {
  const scene = serverForTests({ flags: ['--pool', '1', '--debug-service', '--metrics-listen', '127.0.0.1:0'] });
  const taken = (): number => scene.server.log().split('took a clone from the pool').length - 1;
  const qemus = (): readonly number[] =>
    scene.server
      .machines()
      .filter(({ name }) => name.startsWith('qemu'))
      .map(({ pid }) => pid);
  /** Clones that left the pool, in whatever way. */
  let gone = 0;
  /** Resolves when the pool has been filled as often as a clone has left it, and once before. */
  const full = (): Promise<void> =>
    eventually(() => scene.server.log().split('the clone pool is full').length - 1 > gone);

  it('is full when the server listens', async () => {
    expect(qemus()).toHaveLength(1);
    expect(await metricsOf(scene.server)).toContain('guestfs_pool_waiting_clones 1\n');
  });

  it('provides a clone for a session, with the drives in order, and prepares another', async () => {
    const [waiting] = qemus();
    emptyImage(join(scene.server.images, 'third.img'), 3);
    gone += 1;
    const session = await launchSession(scene.client, [
      scratchDrive(MEBIBYTE),
      scratchDrive(2 * MEBIBYTE),
      imageDrive('third.img'),
    ]);
    expect((await scene.client.getSession(session.id)).launch_kind).toBe(LaunchKind.TEMPLATE);
    expect(taken()).toBe(1);
    expect(qemus()).toContain(waiting);
    expect(await session.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb', '/dev/sdc']);
    const sizes = await Promise.all(
      ['a', 'b', 'c'].map((letter) => session.call('blockdev_getsize64', { device: `/dev/sd${letter}` })),
    );
    expect(sizes).toEqual([1n, 2n, 3n].map((size) => size * BigInt(MEBIBYTE)));
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sdc' });
    await session.call('mount', { mountable: '/dev/sdc', mountpoint: '/' });
    await session.call('write', { path: '/file', content: Buffer.from('kept') });
    await scene.client.deleteSession(session.id);
    await full();
    gone += 1;
    const again = await launchSession(scene.client, [imageDrive('third.img')]);
    await again.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
    expect(await again.call('cat', { path: '/file' })).toBe('kept');
    expect(taken()).toBe(2);
    await scene.client.deleteSession(again.id);
  });

  it('provides clones that share nothing', async () => {
    const names: string[] = [];
    for (let count = 0; count < 2; count += 1) {
      await full();
      gone += 1;
      const session = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
      names.push(
        ...(
          await inGuest(
            session,
            'cat /etc/machine-id /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; od -An -N16 -tx1 /dev/urandom; date +%s',
          )
        )
          .trim()
          .split('\n'),
      );
      expect(Math.abs(Number(names.pop()) - Date.now() / 1000)).toBeLessThan(2);
      await scene.client.deleteSession(session.id);
    }
    expect(new Set(names).size).toBe(8);
    expect(taken()).toBe(4);
  });

  it('reports a faulty drive; the clone ends with the launch', async () => {
    await full();
    gone += 1;
    const failure = await failureOf(
      launchSession(scene.client, [imageDrive('third.img'), { ...imageDrive('third.img'), format: 'qcow2' }]),
    );
    expect(failure.info?.reason).toBe('IMAGE_UNUSABLE');
    await full();
    expect(taken()).toBe(4);
  });

  it('is not used for sessions with other settings, which do not affect it', async () => {
    await full();
    const waiting = qemus();
    const session = await launchAs('template', scene, [scratchDrive(MEBIBYTE)], settings({ smp: 2 }));
    expect(taken()).toBe(4);
    await scene.client.deleteSession(session.id);
    expect(qemus()).toEqual(waiting);
  });

  it('prepares another clone when one that waits dies', async () => {
    await full();
    const [waiting = 0] = qemus();
    process.kill(waiting, 'SIGKILL');
    gone += 1;
    await full();
    expect(qemus()).not.toContain(waiting);
    const session = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    expect(scene.server.log()).toContain('a clone in the pool exited unexpectedly');
    expect(taken()).toBe(5);
    await scene.client.deleteSession(session.id);
  });
});
