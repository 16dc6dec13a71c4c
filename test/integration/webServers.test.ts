/** Drives on web servers, as guests see them. */
import { chmodSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { nginx, type DiskServer } from '../support/diskServers.js';
import { eventually } from '../support/eventually.js';
import { faultyWebServer, type FaultyWebServer } from '../support/faultyWebServer.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, remoteDrive } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SIZE = 16 * MEBIBYTE;
const WORDS = Buffer.from('what is in the image');
const WORDS_AT = 9 * MEBIBYTE;
/** Longer than one request may take, and all that the kernel of the appliance tries. */
const PATIENCE_MS = 150_000;

describeWithAppliance('a drive on a web server', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  const content = Buffer.alloc(SIZE);
  WORDS.copy(content, WORDS_AT);
  let web: FaultyWebServer;
  let drive: DriveSpec;
  const request = { device: '/dev/sda', count: WORDS.length, offset: BigInt(WORDS_AT) };

  beforeEach(async () => {
    web = await faultyWebServer(content);
    drive = remoteDrive({ protocol: 'http', server: [web.address], filename: '/disk.img' }, { format: 'raw' });
  });
  afterEach(() => web.stop());

  it('whose server stops to answer fails with an I/O error, and is read again when it is back', async () => {
    const session = await launchSession(scene.client, [drive]);
    web.fault = { kind: 'stalls' };
    const failure = await failureOf(session.call('pread_device', request, { deadline: Date.now() + PATIENCE_MS }));
    expect(failure.info?.reason).toBe('EIO');
    web.fault = { kind: 'none' };
    expect(await session.call('pread_device', request)).toEqual(WORDS);
    await scene.client.deleteSession(session.id);
  });

  it('whose server does not answer does not keep its session from ending', async () => {
    const session = await launchSession(scene.client, [drive]);
    const before = web.requests();
    web.fault = { kind: 'silent' };
    const reading = failureOf(session.call('checksum_device', { csumtype: 'crc', device: '/dev/sda' }));
    await eventually(() => web.requests() > before);
    await scene.client.deleteSession(session.id);
    expect((await reading).code).toBe(status.ABORTED);
  });
});

describeWithAppliance('many drives on a web server of the same host', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let web: DiskServer;

  beforeAll(async () => {
    const raw = emptyImage(join(scene.server.images, 'disk.img'), 64);
    run('sh', '-c', `tr '\\0' x <${raw} >${raw}.x && qemu-img convert -c -f raw -O qcow2 ${raw}.x ${raw}.qcow2`);
    chmodSync(scene.server.images, 0o755);
    web = await nginx({ root: scene.server.images, directory: mkdtempSync(join(scene.server.images, 'nginx-')) });
  });
  afterAll(() => web.stop());

  it('are read to their ends at the same time', async () => {
    const drive = (filename: string, format: string): DriveSpec =>
      remoteDrive({ protocol: 'http', server: [web.address], filename }, { format });
    const drives = Array.from({ length: 4 }, () => [
      drive('/disk.img.x', 'raw'),
      drive('/disk.img.qcow2', 'qcow2'),
    ]).flat();
    const sessions = await Promise.all([0, 1].map(() => launchSession(scene.client, drives)));
    const sums = await Promise.all(
      sessions.map(async (session) => {
        const devices: readonly string[] = await session.call('list_devices');
        const found: string[] = [];
        for (const device of devices) found.push(await session.call('checksum_device', { csumtype: 'crc', device }));
        return found;
      }),
    );
    expect(new Set(sums.flat()).size).toBe(1);
    await Promise.all(sessions.map(({ id }) => scene.client.deleteSession(id)));
  });
});
