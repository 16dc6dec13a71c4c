/** Files of the host that clients write, with real machines: how much they can write, and which formats to state. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient } from '../support/testClient.js';

const MIB = 1 << 20;
const QUOTA = 96 * MIB;

describeWithAppliance('a client with a quota of bytes', () => {
  const scene = serverForTests({ flags: ['--max-disk-bytes-per-client', String(QUOTA), '--allow', 'host-actions'] });
  const refused = {
    code: status.RESOURCE_EXHAUSTED,
    info: {
      reason: 'LIMIT_EXCEEDED',
      metadata: expect.objectContaining({ limit: 'max-disk-bytes-per-client', maximum: String(QUOTA) }),
    },
  };

  it('cannot write more in any way, and can use space again when it is freed', async () => {
    const { client, server } = scene;
    const first = new SessionClient(client, (await client.createSession()).id);
    await first.call('disk_create', { filename: 'disk.img', format: 'raw', size: BigInt(8 * MIB) });
    expect(
      await first.failure('disk_create', { filename: 'large.qcow2', format: 'qcow2', size: BigInt(89 * MIB) }),
    ).toMatchObject(refused);
    expect(readdirSync(server.images)).toEqual(['disk.img']);

    const session = await launchSession(client, [imageDrive('disk.img'), scratchDrive(64 * MIB)]);
    const drives = [scratchDrive(25 * MIB)];
    expect(await failureOf(client.createSession({ drives, launch: true }))).toMatchObject(refused);
    expect(await session.failure('add_drive_scratch', { size: BigInt(25 * MIB) })).toMatchObject(refused);
    // An overlay can become as large as its image.
    await session.call('add_drive_scratch', { size: BigInt(20 * MIB), label: 'more' });
    expect(await session.failure('add_drive', { filename: 'disk.img', readonly: true })).toMatchObject(refused);
    await session.call('remove_drive', { label: 'more' });

    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sdb' });
    await session.call('mount', { mountable: '/dev/sdb', mountpoint: '/' });
    await session.call('fill', { c: 1, len: 30 * MIB, path: '/large' });
    await session.call('write', { path: '/small', content: Buffer.from('small') });
    await session.call('mkdir', { path: '/both' });
    expect(await session.failure('copy_out', { remotepath: '/large', localdir: '.' })).toMatchObject(refused);
    await session.call('mv', { src: '/large', dest: '/both/large' });
    expect(await session.failure('copy_out', { remotepath: '/both', localdir: '.' })).toMatchObject(refused);
    expect(readdirSync(server.images)).toEqual(['disk.img']);
    await session.call('copy_out', { remotepath: '/small', localdir: '.' });
    expect(readFileSync(join(server.images, 'small'), 'utf8')).toBe('small');

    await client.deleteSession(session.id);
    const again = await launchSession(client, [scratchDrive(80 * MIB)]);
    await client.deleteSession(again.id);
    await client.deleteSession(first.id);
  });

  it('must state the format of an image into which its guest has written a header', async () => {
    const { client, server } = scene;
    const header = join(server.temporary, 'header.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', header, '1M']);
    const session = await launchSession(client, [imageDrive('disk.img', { format: undefined })]);
    await session.upload('upload', { remotefilename: '/dev/sda' }, [readFileSync(header)]);
    execFileSync('rm', [header]);
    await client.deleteSession(session.id);
    const drive = imageDrive('disk.img', { format: undefined, writable: false });
    expect(await failureOf(client.createSession({ drives: [drive], launch: true }))).toMatchObject({
      code: status.FAILED_PRECONDITION,
      info: { reason: 'IMAGE_UNUSABLE' },
      details: expect.stringContaining('state its format'),
    });
    const stated = await launchSession(client, [{ ...drive, format: 'raw' }]);
    expect(await stated.call('blockdev_getsize64', { device: '/dev/sda' })).toBe(BigInt(8 * MIB));
    await client.deleteSession(stated.id);
  });
});
