/** Images that someone on the host truncates, deletes, replaces or makes read-only while they are attached. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage } from '../support/diskImages.js';
import { launchSession } from '../support/scene.js';
import { failureOf, imageDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { logged, startTestServer, type TestServer } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;

/** What the client is told. */
const changed = (change: string, device: string, image: string): object => ({
  code: status.DATA_LOSS,
  info: { reason: 'IMAGE_CHANGED', metadata: expect.objectContaining({ change, device }) },
  details: expect.stringContaining(`image '${image}' of ${device}`),
});

/** Tries to lock a file as other programs do: a POSIX lock, and a lock of an open file description. */
function lockable(path: string): string {
  const script = `
import fcntl, os, struct, sys
file = os.open(sys.argv[1], os.O_RDWR)
for command in (fcntl.F_SETLK, 37):
    try:
        for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK):
            fcntl.fcntl(file, command, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
        print("free")
    except OSError as error:
        print(os.strerror(error.errno))
`;
  return execFileSync('python3', ['-c', script, path], { encoding: 'utf8' }).trim().replace('\n', ', ');
}

describeWithAppliance('an image that is changed on the host while it is attached', () => {
  let server: TestServer;
  let client: TestClient;
  const at = (name: string): string => join(server.images, name);
  const withFiles = async (name: string, format = 'raw'): Promise<SessionClient> => {
    if (format === 'raw') emptyImage(at(name), 64);
    else execFileSync('qemu-img', ['create', '-q', '-f', format, at(name), '64M']);
    const session = await launchSession(client, [imageDrive(name, { format })]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('write', { path: '/kept', content: Buffer.from('still here') });
    return session;
  };

  it('is reported by all calls that promise that data is safe, and by the end of the server', async () => {
    server = await startTestServer({ flags: ['--allow', 'backing-files'] });
    client = new TestClient(server.address);

    // Made read-only: qemu has it open already, and nothing is lost.
    const one = await withFiles('one.img');
    await one.call('sync');
    chmodSync(at('one.img'), 0o444);
    await one.call('write', { path: '/more', content: Buffer.from('written later') });
    await one.call('sync');
    expect(debugfs(at('one.img'), 0, 'cat /more')).toBe('written later');

    // Truncated: found by each of these calls, even if the guest makes the file longer again.
    truncateSync(at('one.img'), 8 * MEBIBYTE);
    expect(await one.failure('sync')).toMatchObject(changed('truncated', '/dev/sda', 'one.img'));
    truncateSync(at('one.img'), 64 * MEBIBYTE);
    expect(await one.failure('umount_all')).toMatchObject(changed('truncated', '/dev/sda', 'one.img'));
    expect(await failureOf(client.deleteSession(one.id))).toMatchObject(changed('truncated', '/dev/sda', 'one.img'));

    // A qcow2 image: it is shorter than what was written to it, though longer than when it was attached.
    const two = await withFiles('two.qcow2', 'qcow2');
    await two.call('fill', { c: 1, len: 16 * MEBIBYTE, path: '/large' });
    await two.call('sync');
    const long = statSync(at('two.qcow2')).size;
    expect(long).toBeGreaterThan(16 * MEBIBYTE);
    truncateSync(at('two.qcow2'), long - 4 * MEBIBYTE);
    expect(await two.failure('sync')).toMatchObject(changed('truncated', '/dev/sda', 'two.qcow2'));

    // Replaced, while it is attached to a running session.
    emptyImage(at('three.img'), 8);
    await two.call('add_drive', { filename: 'three.img', format: 'raw', label: 'three' });
    emptyImage(at('new.img'), 8);
    renameSync(at('new.img'), at('three.img'));
    expect(await two.failure('remove_drive', { label: 'three' })).toMatchObject({
      code: status.DATA_LOSS,
      info: { reason: 'IMAGE_CHANGED', metadata: expect.objectContaining({ change: 'replaced' }) },
    });
    expect(await two.call('list_devices')).toEqual(['/dev/sda']);
    expect(await two.failure('shutdown')).toMatchObject(changed('truncated', '/dev/sda', 'two.qcow2'));
    await client.deleteSession(two.id);

    // A drive that is only read: what was there may have been read as zeros. A missing name changes nothing.
    emptyImage(at('read.img'), 8);
    const read = await launchSession(client, [imageDrive('read.img', { writable: false })]);
    rmSync(at('read.img'));
    await read.call('sync');
    await client.deleteSession(read.id);

    // Deleted: the end of the server has this exit code, and the log the reason.
    const last = await withFiles('last.img');
    rmSync(at('last.img'));
    client.close();
    server.process.kill('SIGTERM');
    await once(server.process, 'exit');
    expect(logged(server, 'session ended with an error: data may be lost')).toEqual([
      expect.objectContaining({
        level: 'error',
        session: last.id,
        err: expect.objectContaining({ reason: 'IMAGE_CHANGED' }),
      }),
    ]);
    expect(await server.stop()).toEqual({ code: 1, processes: [], files: [] });
  });

  it('is locked as long as the session has it, for every program that looks', async () => {
    server = await startTestServer();
    client = new TestClient(server.address);
    const session = await withFiles('locked.img', 'qcow2');
    const info = (): string =>
      execFileSync('qemu-img', ['info', at('locked.img')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(info).toThrow('lock');
    const busy = 'Resource temporarily unavailable';
    expect(lockable(at('locked.img'))).toBe(`${busy}, ${busy}`);
    await session.call('umount_all');
    await session.call('sync');
    expect(lockable(at('locked.img'))).toBe(`${busy}, ${busy}`);
    await client.deleteSession(session.id);
    expect(lockable(at('locked.img'))).toBe('free, free');
    expect(info()).toContain('virtual size');
    client.close();
    expect(await server.stop()).toMatchObject({ code: 0, processes: [] });
  });
});
