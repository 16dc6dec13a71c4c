/** Full disks below what the server itself writes; durability.test.ts has those below images. Only root can mount them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { LaunchKind } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { itWhen } from '../support/itWhen.js';
import { launchSession } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
const asRoot = itWhen('full disks', process.geteuid?.() === 0 ? undefined : 'only root can mount file systems');

describeWithAppliance('a full disk', () => {
  let small: string;
  const mount = (mebibytes: number): void =>
    void execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=755`, 'tmpfs', small]);
  beforeEach(() => {
    small = mkdtempSync(join(tmpdir(), 'small-'));
  });
  afterEach(() => {
    execFileSync('umount', ['-l', small]);
    rmSync(small, { recursive: true });
  });

  asRoot('below run directories refuses launches; below overlays and scratch disks, sync says so', async () => {
    mount(48);
    const server = await startTestServer({ temporary: small, env: { LIBGUESTFS_TMPDIR: small } });
    const client = new TestClient(server.address);
    emptyImage(join(server.images, 'a.img'), 200);
    const noSpace = { code: status.RESOURCE_EXHAUSTED, info: { reason: 'ENOSPC' } };

    for (const drive of [imageDrive('a.img', { writable: false }), scratchDrive(200 * MEBIBYTE)]) {
      const session = await launchSession(client, [drive]);
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      // For now, the data is in the appliance's memory.
      await session.call('fill', { c: 1, len: 60 * MEBIBYTE, path: '/large' });
      expect(await session.failure('sync')).toMatchObject({
        ...noSpace,
        details: expect.stringContaining('has no space left for the drive'),
      });
      // Nothing of it was to be kept.
      await client.deleteSession(session.id);
    }

    const filler = join(small, 'filler');
    try {
      writeFileSync(filler, Buffer.alloc(64 * MEBIBYTE));
    } catch {
      // It is full now.
    }
    expect(await failureOf(launchSession(client, [imageDrive('a.img', { writable: false })]))).toMatchObject(noSpace);
    rmSync(filler);
    const later = await launchSession(client, [imageDrive('a.img', { writable: false })]);
    await client.deleteSession(later.id);
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  asRoot('below the template store costs only the next start: sessions are cloned from memory', async () => {
    mount(1);
    const server = await startTestServer({ env: { LIBGUESTFS_CACHEDIR: small } });
    const client = new TestClient(server.address);
    const session = await launchSession(client, [scratchDrive(MEBIBYTE)]);
    expect((await client.getSession(session.id)).launch_kind).toBe(LaunchKind.TEMPLATE);
    expect(logged(server, 'cannot store a template: it will be recreated after a restart')).toHaveLength(1);
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});
