/** The RPC Inspect: its report on damaged and encrypted images, and how it ends. */
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import type { InspectDrive, InspectedImage, InspectResponse } from '../../gen/proto/guestfs/v1/inspection_report.js';
import type { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { builtAppliance, describeWhen, describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run, sha256 } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { alpine, alpineTree } from '../support/guests/alpine.js';
import { broken } from '../support/guests/broken.js';
import { dpkgStatus } from '../support/guests/dpkg.js';
import { encrypted, encryptedKey } from '../support/guests/encrypted.js';
import { makeGuest, mountAll, writeTree } from '../support/guests/guest.js';
import { reportedSystems } from '../support/guests/observed.js';
import { serverForTests, settings } from '../support/scene.js';
import { asFailure, failureOf, remoteDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer } from '../support/testServer.js';

/** More packages than fit in one message. */
const MANY = 20_000;
const LARGEST_MESSAGE = 4 * 1024 * 1024;

const drive = (path: string): InspectDrive => ({
  source: { $case: 'path', value: path },
  format: 'raw',
  blocksize: undefined,
  backing_formats: [],
});

function imageOf(report: readonly InspectResponse[]): InspectedImage {
  const part = report[0]?.part;
  if (part?.$case !== 'image') throw new Error('the image does not come first');
  return part.value;
}

const warningsOf = (report: readonly InspectResponse[]) => report.flatMap(({ warnings }) => warnings);

describeWithAppliance('Inspect', () => {
  const scene = serverForTests({ flags: ['--max-sessions', '2'] });
  let image: string;

  beforeAll(async () => {
    image = await makeGuest(scene.client, scene.server.images, alpine);
  });

  it('describes drives, partitions and file systems', async () => {
    const disk = emptyImage(join(scene.server.images, 'disk.img'), 64);
    run('sgdisk', '--new=1:2048:67583', '--change-name=1:first', '--typecode=1:8200', '--new=2:67584:0', disk);
    const report = await scene.client.inspect({ drives: [drive(image), drive('disk.img')] });
    const { devices, partitions, filesystems, encrypted_devices: closed, roots } = imageOf(report);
    expect(devices).toEqual([
      { device: '/dev/sda', size: BigInt(alpine.mebibytes << 20), partition_table: '' },
      { device: '/dev/sdb', size: BigInt(64 << 20), partition_table: 'gpt' },
    ]);
    expect(partitions).toEqual([
      {
        partition: '/dev/sdb1',
        device: '/dev/sdb',
        number: 1,
        start: 1n << 20n,
        size: 32n << 20n,
        name: 'first',
        gpt_type: '0657FD6D-A4AB-43C4-84E5-0933C84B4F4F',
        mbr_id: undefined,
      },
      expect.objectContaining({ partition: '/dev/sdb2', device: '/dev/sdb', number: 2, start: 33n << 20n, name: '' }),
    ]);
    expect(filesystems).toEqual([
      {
        mountable: '/dev/sda',
        type: 'ext4',
        label: '',
        uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
        size: BigInt(alpine.mebibytes << 20),
      },
      { mountable: '/dev/sdb1', type: 'unknown', label: '', uuid: '', size: 32n << 20n },
      expect.objectContaining({ mountable: '/dev/sdb2', type: 'unknown' }),
    ]);
    expect(closed).toEqual([]);
    expect(roots).toEqual(['/dev/sda']);
    expect(warningsOf(report)).toEqual([]);
  });

  it('finds no system on an installation medium, and identifies it', async () => {
    const tree = join(scene.server.images, 'medium');
    mkdirSync(join(tree, 'casper'), { recursive: true });
    mkdirSync(join(tree, '.disk'));
    writeFileSync(join(tree, '.disk', 'info'), 'Ubuntu 24.04 LTS "Noble Numbat" - Release amd64 (20240424)');
    writeFileSync(join(tree, 'casper', 'filesystem.squashfs'), 'hsqs');
    run('genisoimage', '-quiet', '-R', '-V', 'Ubuntu 24.04', '-o', join(scene.server.images, 'live.iso'), tree);
    const report = await scene.client.inspect({ drives: [drive('live.iso')] });
    expect(imageOf(report)).toMatchObject({
      filesystems: [{ mountable: '/dev/sda', type: 'iso9660', label: 'Ubuntu 24.04' }],
      roots: [],
    });
    expect(report).toHaveLength(1);
  });

  it('opens encrypted devices with the given keys, and writes nothing', async () => {
    const secret = await makeGuest(scene.client, scene.server.images, encrypted);
    const before = await sha256(join(scene.server.images, secret));
    const drives = [drive(secret)];

    const closed = await scene.client.inspect({ drives });
    const device = { device: '/dev/sda2', type: 'crypto_LUKS', opened_as: '' };
    expect(imageOf(closed)).toMatchObject({
      filesystems: [{ mountable: '/dev/sda1' }],
      encrypted_devices: [device],
      roots: [],
    });

    const opened = await scene.client.inspect({ drives, keys: [encryptedKey] });
    expect(warningsOf(opened)).toEqual([]);
    expect(imageOf(opened).encrypted_devices).toEqual([
      { ...device, opened_as: expect.stringMatching(/^\/dev\/mapper\/luks-[0-9a-f-]{36}$/) },
    ]);
    expect(reportedSystems(opened)).toEqual(encrypted.systems);

    const wrong = await scene.client.inspect({
      drives,
      keys: [
        { device: '/dev/sda2', key: 'wrong' },
        { device: '/dev/sda9', key: 'none' },
      ],
    });
    expect(warningsOf(wrong)).toEqual([
      expect.objectContaining({ field: 'keys[0]', action: 'cryptsetup_open' }),
      expect.objectContaining({ field: 'keys[1]', action: 'vfs_type' }),
    ]);
    expect(imageOf(wrong)).toMatchObject({ encrypted_devices: [device], roots: [] });
    expect(scene.server.log()).not.toContain(encryptedKey.key);
    expect(await sha256(join(scene.server.images, secret))).toBe(before);
  });

  it('reports what remains of a broken system, and warns of the rest', async () => {
    const report = await scene.client.inspect({
      drives: [drive(await makeGuest(scene.client, scene.server.images, broken))],
    });
    expect(imageOf(report).filesystems).toMatchObject([
      { mountable: '/dev/sda1', type: 'ext4' },
      { mountable: '/dev/sda2', type: 'ext4', label: 'lost' },
    ]);
    expect(reportedSystems(report)).toEqual(broken.systems);
    const warned = warningsOf(report).map(({ field, action }) => `${field} ${action}`);
    expect(warned).toEqual(
      expect.arrayContaining([
        'roots mount_ro',
        'mountpoints[/data] mount_ro',
        'mountpoints[/file] mount_ro',
        'applications inspect_list_applications2',
      ]),
    );
    expect(warned).toHaveLength(4);
  });

  it('lists more applications than fit into one message', async () => {
    const packages = Array.from({ length: MANY }, (_unused, index) => ({
      name: `package-${String(index).padStart(6, '0')}`,
      version: '1.0-1',
      description: 'x'.repeat(200),
    }));
    const many = await makeGuest(scene.client, scene.server.images, {
      name: 'many',
      mebibytes: 128,
      systems: [],
      fill: async (session) => {
        await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
        await mountAll(session, { '/': '/dev/sda' });
        await writeTree(session, {
          '/bin/sh': alpineTree['/bin/sh'] ?? '',
          '/etc/hosts': '',
          '/etc/debian_version': '12.7\n',
          '/var/lib/dpkg/available': '',
        });
        await session.upload(
          'upload',
          { remotefilename: '/var/lib/dpkg/status' },
          packages.map((one) => Buffer.from(dpkgStatus([one]))),
        );
      },
    });
    const report = await scene.client.inspect({ drives: [drive(many)] });
    const batches = report.flatMap(({ part }) => (part?.$case === 'applications' ? [part.value.applications] : []));
    expect(batches.length).toBeGreaterThan(3);
    for (const batch of batches)
      expect(
        JSON.stringify(batch, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)).length,
      ).toBeLessThan(LARGEST_MESSAGE);
    expect(batches.flat().map((one) => one.app2_name)).toEqual(packages.map(({ name }) => name));

    const without = await scene.client.inspect({ drives: [drive(many)], without_applications: true });
    expect(without.map(({ part }) => part?.$case)).toEqual(['image', 'system']);
  });

  it('uses the stated format of an image, and recognises it if none is stated', async () => {
    run(
      'qemu-img',
      'convert',
      '-f',
      'raw',
      '-O',
      'qcow2',
      join(scene.server.images, image),
      join(scene.server.images, 'alpine.qcow2'),
    );
    for (const format of ['qcow2', undefined]) {
      const report = await scene.client.inspect({
        drives: [{ ...drive('alpine.qcow2'), format }],
        without_applications: true,
      });
      expect([format, imageOf(report).devices]).toEqual([
        format,
        [{ device: '/dev/sda', size: BigInt(alpine.mebibytes << 20), partition_table: '' }],
      ]);
      expect(imageOf(report).roots).toEqual(['/dev/sda']);
    }
    const raw = await scene.client.inspect({ drives: [drive('alpine.qcow2')] });
    expect(imageOf(raw)).toMatchObject({
      devices: [{ size: BigInt(statSync(join(scene.server.images, 'alpine.qcow2')).size) }],
      roots: [],
    });
  });

  it('has an appliance with the requested settings', async () => {
    const stream = scene.client.openInspect({
      drives: [drive(image)],
      without_applications: true,
      settings: settings({ trace: true }),
      session_id: 'traced',
    });
    const ended = once(stream.resume(), 'end');
    await once(stream, 'metadata');
    const { event, ended: closed } = await scene.client.subscribe('traced', [EventType.TRACE]);
    await event((one) => one.detail?.$case === 'message' && one.detail.value.includes('inspect_os'));
    await ended;
    await closed;
    const late = await failureOf(
      scene.client.inspect({
        drives: [drive(image)],
        settings: settings({ launch_timeout: { seconds: 0n, nanos: 1_000_000 } }),
      }),
    );
    expect(late).toMatchObject({ code: status.DEADLINE_EXCEEDED, info: { reason: 'LAUNCH_TIMEOUT' } });
    expect(scene.server.machines()).toEqual([]);
  });

  it('counts as a session', async () => {
    const others = await Promise.all([scene.client.createSession(), scene.client.createSession()]);
    expect(await failureOf(scene.client.inspect({ drives: [drive(image)] }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: { reason: 'TOO_MANY_SESSIONS' },
    });
    for (const { id } of others) await scene.client.deleteSession(id);
  });

  it('has a visible session while it runs, which ends when it is cancelled', async () => {
    const stream = scene.client.openInspect({ drives: [drive(image)], session_id: 'inspected' });
    const failed = once(stream, 'error');
    await once(stream, 'metadata');
    const session = await scene.client.getSession('inspected');
    expect(session).toMatchObject({ id: 'inspected', drives: 1 });
    expect(session.labels.get('rpc')).toBe('Inspect');
    expect(await failureOf(scene.client.inspect({ drives: [drive(image)], session_id: 'inspected' }))).toMatchObject({
      code: status.ALREADY_EXISTS,
    });
    stream.cancel();
    expect(asFailure((await failed)[0])).toMatchObject({ code: status.CANCELLED });
    await eventually(() =>
      scene.client.getSession('inspected').then(
        () => false,
        ({ code }: GuestfsRpcError) => code === status.NOT_FOUND,
      ),
    );
    expect(scene.server.machines()).toEqual([]);
  });

  it('leaves nothing behind when it is cancelled in the middle of its work', async () => {
    const stream = scene.client.openInspect({ drives: [drive(image)] });
    const failed = once(stream, 'error');
    await once(stream, 'data');
    expect(scene.server.machines()).toHaveLength(1);
    stream.cancel();
    await failed;
    await eventually(() => scene.server.machines().length === 0);
  });

  it('ends at its deadline, and leaves nothing behind', async () => {
    const failure = await failureOf(scene.client.inspect({ drives: [drive(image)] }, { deadline: Date.now() + 700 }));
    expect(failure.code).toBe(status.DEADLINE_EXCEEDED);
    await eventually(() => scene.server.machines().length === 0);
  });

  it.each([
    ['no drives', {}, 'drives: '],
    ['an image that is not there', { drives: [drive('missing.img')] }, "image 'missing.img' does not exist"],
    ['an image elsewhere', { drives: [drive('/etc/hostname')] }, 'not under an image root'],
    ['a block size of no kind', { drives: [{ ...drive('alpine.img'), blocksize: 1000 }] }, 'drives[0]: blocksize'],
    [
      'a drive that is nowhere',
      { drives: [{ source: undefined, format: undefined, blocksize: undefined, backing_formats: [] }] },
      'drives[0]: source',
    ],
    [
      'a drive of the network, which the server does not allow',
      {
        drives: [
          {
            source: remoteDrive({ protocol: 'nbd', server: ['localhost'] }).source as InspectDrive['source'],
            format: undefined,
            blocksize: undefined,
            backing_formats: [],
          },
        ],
      },
      '--allow remote-drives',
    ],
    [
      'settings that no appliance can have',
      { drives: [drive('alpine.img')], settings: settings({ smp: 0 }) },
      'settings.smp',
    ],
    [
      'a network where none is allowed',
      { drives: [drive('alpine.img')], settings: settings({ network: true }) },
      '--allow network',
    ],
    ['a format that there is not', { drives: [{ ...drive('alpine.img'), format: 'r/a/w' }] }, 'format'],
    ['a key for no device', { drives: [drive('alpine.img')], keys: [{ device: '', key: 'x' }] }, 'keys[0].device'],
    [
      'a key that cannot be one',
      { drives: [drive('alpine.img')], keys: [{ device: '/dev/sda1', key: '\0' }] },
      'keys[0].key',
    ],
  ])('refuses %s', async (_what, request, why) => {
    const failure = await failureOf(scene.client.inspect(request));
    expect([status.INVALID_ARGUMENT, status.NOT_FOUND, status.PERMISSION_DENIED]).toContain(failure.code);
    expect(failure.details).toContain(why);
    expect(scene.server.machines()).toEqual([]);
  });
});

describeWithAppliance('Inspect on a server that stops', () => {
  it('ends, and leaves nothing behind', async () => {
    const server = await startTestServer();
    const client = new TestClient(server.address);
    await makeGuest(client, server.images, alpine);
    const stream = client.openInspect({ drives: [drive('alpine.img')] });
    const failed = once(stream, 'error');
    await once(stream, 'metadata');
    await eventually(() => server.machines().length > 0);
    expect(await server.stop()).toEqual(CLEAN_END);
    expect(asFailure((await failed)[0])).toMatchObject({ code: status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    client.close();
  });
});

describeWhen(
  'Inspect with an older daemon',
  builtAppliance('bookworm') === undefined ? 'there is no appliance of bookworm' : undefined,
  () => {
    const scene = serverForTests(() => ({ flags: ['--appliance', builtAppliance('bookworm') ?? ''] }));

    it('reports what it cannot find out', async () => {
      const report = await scene.client.inspect({
        drives: [drive(await makeGuest(scene.client, scene.server.images, alpine))],
      });
      expect(warningsOf(report)).toEqual([
        expect.objectContaining({ field: 'build_id', action: 'inspect_get_build_id', reason: 'ACTION_NOT_IN_DAEMON' }),
      ]);
      expect(reportedSystems(report)).toMatchObject(alpine.systems);
    });
  },
);
