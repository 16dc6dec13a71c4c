/** Appliances with daemons of different versions, and made by different tools. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { builtAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, SessionClient, TestClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;

function applianceOf(suite: string): string {
  const directory = builtAppliance(suite);
  if (directory === undefined)
    throw new Error(`there is no appliance of ${suite}: npm run appliance -- --suite ${suite}`);
  return directory;
}

/** A session on `appliance`, launched; with a file system on /dev/sda, a physical volume on /dev/sdb. */
function sessionOn(appliance: () => string): { readonly session: SessionClient; readonly version: string } {
  const scene = serverForTests(() => ({ flags: ['--appliance', appliance(), '--debug-service'] }));
  let session: SessionClient | undefined;
  let version = '';
  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(32 * MEBIBYTE), scratchDrive(32 * MEBIBYTE)]);
    version = (await scene.client.getSession(session.id)).daemon_version;
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
  });
  return {
    get session() {
      if (session === undefined) throw new Error('there is no session');
      return session;
    },
    get version() {
      return version;
    },
  };
}

type Scene = ReturnType<typeof sessionOn>;

/** Actions that are implemented differently for different versions, with the same result. */
function worksAlike(scene: Scene): void {
  it('lists directories', async () => {
    const { session } = scene;
    await session.call('mkdir', { path: '/many' });
    for (const name of ['b', 'a', 'caf\uefe9']) await session.call('touch', { path: `/many/${name}` });
    await session.call('ln_s', { target: 'a', linkname: '/many/link' });
    expect(await session.call('ls', { directory: '/many' })).toEqual(['a', 'b', 'caf\uefe9', 'link']);
    const entries = (await session.call('readdir', { dir: '/many' })) as { name: string; ftyp: string; ino: bigint }[];
    expect(entries.map(({ name, ftyp }) => `${ftyp} ${name}`).sort()).toEqual([
      'd .',
      'd ..',
      'l link',
      'r a',
      'r b',
      'r caf\uefe9',
    ]);
    expect(entries.every(({ ino }) => ino > 0n)).toBe(true);
    expect(await session.call('find', { directory: '/many/' })).toEqual(['a', 'b', 'caf\uefe9', 'link']);
    expect(await session.failure('readdir', { dir: '/none' })).toMatchObject({
      code: status.NOT_FOUND,
      info: { reason: 'ENOENT' },
    });
  });

  it('shows physical volumes', async () => {
    const { session } = scene;
    await session.call('pvcreate', { device: '/dev/sdb' });
    expect(await session.call('pvs')).toEqual(['/dev/sdb']);
    const volumes = (await session.call('pvs_full')) as object[];
    expect(volumes).toEqual([
      expect.objectContaining({ pv_name: '/dev/sdb', pv_fmt: 'lvm2', dev_size: BigInt(32 * MEBIBYTE) }),
    ]);
  });

  it('reads and writes files', async () => {
    const { session } = scene;
    const contents = Buffer.alloc(300_000, 'contents ');
    await session.upload('upload', { remotefilename: '/file' }, [contents]);
    expect(await session.download('download', { remotefilename: '/file' })).toEqual(contents);
    expect(await session.call('stat', { path: '/file' })).toMatchObject({ size: 300_000n });
  });
}

/** What the daemon cannot send, or clients cannot receive, is refused with an alternative. */
function refusesLargeAnswers(scene: Scene): void {
  describe('to a client with the limits that clients have', () => {
    let client: TestClient;
    const failure = (action: string, request: object): Promise<GuestfsRpcError> =>
      new SessionClient(client, scene.session.id).failure(action, request);
    const refused = (action: string, instead: string): object => ({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringMatching(new RegExp(`^${action}: the answer is larger than 4194304 bytes.*${instead}`)),
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: { action, limit: String(4 * MEBIBYTE) } },
    });

    beforeAll(async () => {
      client = new TestClient(scene.session.client.address, undefined, {});
      await scene.session.call('fill_pattern', { pattern: `${'x'.repeat(1023)}\n`, len: 5 * MEBIBYTE, path: '/large' });
      await scene.session.call('fill', { c: 0xe9, len: 2 * MEBIBYTE, path: '/latin' });
    });
    afterAll(() => client.close());

    it.each<[string, object, string]>([
      ['strings', { path: '/large' }, 'use Download'],
      ['grep', { regex: 'x', path: '/large' }, 'fewer lines'],
      ['tail_n', { nrlines: 5000, path: '/large' }, 'fewer lines'],
      ['pread', { path: '/large', count: 4 * MEBIBYTE, offset: 0n }, 'use DownloadOffset'],
      ['pread_device', { device: '/dev/sda', count: 4 * MEBIBYTE - 1, offset: 0n }, 'use DownloadOffset'],
    ])('it is so of %s, whose answer the daemon cannot send', async (action, request, instead) => {
      expect(await failure(action, request)).toMatchObject(refused(action, instead));
    });

    it.each<[string, object, string]>([
      ['cat', { path: '/latin' }, 'use Download'],
      ['head_n', { nrlines: 1, path: '/latin' }, 'fewer lines'],
    ])('it is so of %s, whose bytes become more on their way', async (action, request, instead) => {
      expect(await failure(action, request)).toMatchObject(refused(action, instead));
    });
  });
}

/** An action, or an argument, that was added later. */
function refusesWhatCameLater(scene: Scene, action: string, request: object, since: string): void {
  it(`says that ${action} came with ${since}`, async () => {
    const failure = await scene.session.failure(action, request);
    expect(failure).toMatchObject({
      code: status.UNIMPLEMENTED,
      info: { reason: 'ACTION_NOT_IN_DAEMON', metadata: { action, since, daemon_version: scene.version } },
    });
    expect(failure.details).toContain(since);
    expect(failure.details).toContain(scene.version);
  });
}

/** A daemon is without the optional groups whose tools its appliance lacks. */
function namesMissingGroups(scene: Scene): void {
  it('names the optional group that it lacks', async () => {
    const { session, version } = scene;
    expect(await session.call('feature_available', { groups: ['wipefs'] })).toBe(true);
    await session.call('debug', { subcmd: 'sh', extraargs: ['rm "$(command -v wipefs)"'] });
    expect(await session.call('feature_available', { groups: ['wipefs'] })).toBe(false);
    const metadata = { optional_group: 'wipefs', daemon_version: version };
    for (const [failure, reason] of [
      [await session.failure('available', { groups: ['lvm2', 'wipefs'] }), 'GROUP_NOT_AVAILABLE'],
      [await session.failure('wipefs', { device: '/dev/sdb' }), 'ENOTSUP'],
    ] as const) {
      expect(failure).toMatchObject({
        code: status.UNIMPLEMENTED,
        details: expect.stringContaining('wipefs'),
        info: { reason, metadata },
      });
      expect(failure.details).toContain(version);
    }
  });
}

describe('the appliance of Debian 13', () => {
  const scene = sessionOn(() => applianceOf('trixie'));

  it('has a newer daemon, and reports its version', () => {
    expect(scene.version).toMatch(/^1\.54\.\d+$/);
  });

  worksAlike(scene);
  refusesWhatCameLater(scene, 'xfs_info2', { pathordevice: '/dev/sda' }, '1.59.2');
  refusesWhatCameLater(scene, 'e2fsck', { device: '/dev/sdb', forceno: true }, '1.55.13');

  refusesLargeAnswers(scene);
  namesMissingGroups(scene);

  it('has what 1.48 has not', async () => {
    await scene.session.call('part_disk', { device: '/dev/sdb', parttype: 'gpt' });
    const uuid: string = await scene.session.call('part_get_gpt_guid', { device: '/dev/sdb', partnum: 1 });
    expect(await scene.session.call('findfs_partuuid', { uuid: uuid.toLowerCase() })).toBe('/dev/sdb1');
  });
});

describe('the appliance of Debian 12', () => {
  const scene = sessionOn(() => applianceOf('bookworm'));

  it('has an older daemon, and reports its version', () => {
    expect(scene.version).toMatch(/^1\.48\.\d+$/);
  });

  worksAlike(scene);
  refusesWhatCameLater(scene, 'findfs_partuuid', { uuid: '12345678-1234-1234-1234-123456789abc' }, '1.53.5');
  refusesWhatCameLater(scene, 'xfs_info2', { pathordevice: '/dev/sda' }, '1.59.2');
  refusesWhatCameLater(
    scene,
    'cryptsetup_open',
    { device: '/dev/sdb', key: 'key', mapname: 'map', cipher: 'aes' },
    '1.53.3',
  );

  refusesLargeAnswers(scene);
  namesMissingGroups(scene);
});

describe('an appliance that does not state its version', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'appliance-'));
    for (const name of ['kernel', 'initrd', 'root', 'README.fixed'])
      symlinkSync(join(applianceOf('trixie'), name), join(directory, name));
  });
  afterAll(() => rm(directory, { recursive: true }));

  describe('booted', () => {
    const scene = sessionOn(() => directory);

    it('is asked', () => {
      // As precisely as the daemon's procedures reveal it.
      expect(scene.version).toBe('1.53.5');
    });

    worksAlike(scene);
    refusesWhatCameLater(scene, 'xfs_info2', { pathordevice: '/dev/sda' }, '1.59.2');
  });
});

describe("an appliance of libguestfs's own make", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'appliance-'));
    mkdirSync(join(directory, 'fixed'));
    await promisify(execFile)('libguestfs-make-fixed-appliance', [join(directory, 'fixed')], {
      env: {
        ...process.env,
        PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
        TMPDIR: directory,
        LIBGUESTFS_BACKEND: 'direct',
        LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
      },
    });
  });
  afterAll(() => rm(directory, { recursive: true }));

  describe('booted', () => {
    const scene = sessionOn(() => join(directory, 'fixed'));

    it('is probed for its version', () => {
      expect(scene.version).toMatch(/^1\.\d+\.\d+$/);
    });

    worksAlike(scene);
  });
});
