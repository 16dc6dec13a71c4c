/** Deleted files, raw blocks and scans for patterns: The Sleuth Kit and Yara on file systems that the test makes. */
import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Statns, TskDirent } from '../../gen/proto/guestfs/v1/structs.js';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const CLUSTER = 4096;
/** An entry is in use; without it, it was deleted. */
const ALLOCATED = 1;
/** More than fits into the table of NTFS itself. */
const KEPT = randomBytes(20_000);
const DELETED = randomBytes(50_000);
/** More entries than fit into one message of an answer. */
const MANY = 1100;

const RULES = `
rule Needle {
  strings: $text = "needle in the haystack"
  condition: $text
}
rule Bytes {
  strings: $bytes = { de ad be ef ?? 01 }
  condition: $bytes
}
rule Absent {
  strings: $text = "nowhere to be found"
  condition: $text
}
`;

describeWithAppliance('forensics', () => {
  const scene = serverForTests();
  let session: SessionClient;
  /** Numbers of the files on NTFS before they were deleted. */
  const numbers = new Map<string, bigint>();

  const numberOf = async (path: string): Promise<bigint> =>
    ((await session.call('lstatns', { path })) as Statns).st_ino;
  const walk = async (device: string): Promise<Map<string, TskDirent>> => {
    const entries = (await session.call('filesystem_walk', { device })) as TskDirent[];
    return new Map(entries.map((entry) => [entry.tsk_name, entry]));
  };

  beforeAll(async () => {
    session = await launchSession(scene.client, [
      scratchDrive(16 * MEBIBYTE),
      scratchDrive(16 * MEBIBYTE),
      scratchDrive(MEBIBYTE),
    ]);
    // The appliance is the project's own: that these are missing would be a defect.
    await session.call('available', { groups: ['sleuthkit', 'libtsk', 'libyara'] });

    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('mkdir_p', { path: '/directory/below' });
    await session.call('write', { path: '/directory/file', content: Buffer.alloc(5000, 'f') });
    await session.call('ln_s', { target: 'directory/file', linkname: '/link' });
    await session.call('ln', { target: '/directory/file', linkname: '/hard' });
    await session.call('mkfifo', { mode: 0o600, path: '/fifo' });
    await session.call('mknod_c', { mode: 0o600, devmajor: 1, devminor: 3, path: '/character' });
    await session.call('mknod_b', { mode: 0o600, devmajor: 7, devminor: 0, path: '/block' });
    await session.call('write', { path: '/directory/caf\uefe9', content: Buffer.from('Latin-1') });
    await session.call('write', { path: '/gone', content: Buffer.alloc(3000, 'g') });
    await session.call('utimens', { path: '/directory/file', atsecs: 1000n, atnsecs: 1n, mtsecs: 2000n, mtnsecs: 2n });
    numbers.set('ext4 file', await numberOf('/directory/file'));
    await session.call('rm', { path: '/gone' });
    await session.call('umount', { pathordevice: '/' });

    await session.call('mkfs', { fstype: 'ntfs', device: '/dev/sdb', blocksize: CLUSTER });
    await session.call('mount', { mountable: '/dev/sdb', mountpoint: '/' });
    await session.call('mkdir', { path: '/Folder' });
    await session.call('write', { path: '/Folder/kept.bin', content: KEPT });
    await session.call('write', { path: '/Folder/deleted.bin', content: DELETED });
    for (const name of ['kept', 'deleted']) numbers.set(name, await numberOf(`/Folder/${name}.bin`));
    await session.call('rm', { path: '/Folder/deleted.bin' });
    await session.call('umount', { pathordevice: '/' });
  });

  describe('on ext4', () => {
    it('shows types, names, sizes, links and times', async () => {
      const found = await walk('/dev/sda');
      const inUse = { tsk_flags: ALLOCATED };
      expect(Object.fromEntries(found)).toMatchObject({
        directory: { ...inUse, tsk_type: 'd' },
        'directory/below': { ...inUse, tsk_type: 'd' },
        'directory/file': {
          ...inUse,
          tsk_type: 'r',
          tsk_size: 5000n,
          tsk_nlink: 2n,
          tsk_inode: numbers.get('ext4 file'),
          tsk_atime_sec: 1000n,
          tsk_mtime_sec: 2000n,
          tsk_mtime_nsec: 2n,
        },
        'directory/caf\uefe9': { ...inUse, tsk_type: 'r', tsk_size: 7n },
        hard: { ...inUse, tsk_type: 'r', tsk_size: 5000n, tsk_inode: numbers.get('ext4 file') },
        link: { ...inUse, tsk_type: 'l', tsk_size: 14n, tsk_link: 'directory/file' },
        fifo: { ...inUse, tsk_type: 'f' },
        character: { ...inUse, tsk_type: 'c' },
        block: { ...inUse, tsk_type: 'b' },
      });
      // Linux wipes the names of what is deleted here.
      for (const name of ['gone', 'directory/.', 'directory/..'])
        expect([name, found.has(name)]).toEqual([name, false]);
    });

    it('finds all names of a file', async () => {
      const names = async (inode: bigint): Promise<string[]> =>
        ((await session.call('find_inode', { device: '/dev/sda', inode })) as TskDirent[])
          .map((entry) => entry.tsk_name)
          .sort();
      expect(await names(numbers.get('ext4 file') ?? 0n)).toEqual(['directory/file', 'hard']);
      expect(await names(4000n)).toEqual([]);
    });

    it('downloads a file by its number', async () => {
      expect(await session.download('download_inode', { device: '/dev/sda', inode: numbers.get('ext4 file') })).toEqual(
        Buffer.alloc(5000, 'f'),
      );
      expect(await failureOf(session.download('download_inode', { device: '/dev/sda', inode: -1n }))).toMatchObject({
        details: expect.stringContaining('inode must be >= 0'),
      });
    });
  });

  describe('on NTFS', () => {
    it('shows a deleted file as what it was', async () => {
      const found = await walk('/dev/sdb');
      expect(found.get('Folder/kept.bin')).toMatchObject({
        tsk_flags: ALLOCATED,
        tsk_type: 'r',
        tsk_size: BigInt(KEPT.length),
        tsk_inode: numbers.get('kept'),
      });
      expect(found.get('Folder/deleted.bin')).toMatchObject({
        tsk_flags: 0,
        tsk_size: BigInt(DELETED.length),
        tsk_inode: numbers.get('deleted'),
      });
      expect(found.get('$MFT')).toMatchObject({ tsk_flags: ALLOCATED, tsk_type: 'r', tsk_inode: 0n });
      expect(await session.call('find_inode', { device: '/dev/sdb', inode: numbers.get('deleted') })).toEqual([
        found.get('Folder/deleted.bin'),
      ]);
    });

    it('downloads a deleted file, and an existing one', async () => {
      const inode = (name: string): object => ({ device: '/dev/sdb', inode: numbers.get(name) });
      expect((await session.download('download_inode', inode('deleted'))).equals(DELETED)).toBe(true);
      expect((await session.download('download_inode', inode('kept'))).equals(KEPT)).toBe(true);
      expect((await session.download('ntfscat_i', inode('kept'))).equals(KEPT)).toBe(true);
    });

    it('downloads clusters: all, or those that are free, where the deleted file still is', async () => {
      const some = await session.download('download_blocks', { device: '/dev/sdb', start: 0n, stop: 31n });
      const same: Buffer = await session.call('pread_device', { device: '/dev/sdb', count: 32 * CLUSTER, offset: 0n });
      expect(some.equals(same)).toBe(true);
      const free = await session.download('download_blocks', {
        device: '/dev/sdb',
        start: 0n,
        stop: BigInt((16 * MEBIBYTE) / CLUSTER - 2),
        unallocated: true,
      });
      expect(free.length).toBeLessThan(16 * MEBIBYTE);
      expect([free.includes(DELETED.subarray(0, CLUSTER)), free.includes(KEPT.subarray(0, CLUSTER))]).toEqual([
        true,
        false,
      ]);
      expect(
        (await failureOf(session.download('download_blocks', { device: '/dev/sdb', start: 5n, stop: 5n }))).details,
      ).toContain('stopping address must greater than starting address');
    });
  });

  it('reports a missing file system, and continues to work', async () => {
    for (const [action, request] of [
      ['filesystem_walk', { device: '/dev/sdc' }],
      ['find_inode', { device: '/dev/sdc', inode: 1n }],
    ] as const) {
      expect(await session.failure(action, request)).toMatchObject({
        details: expect.stringContaining('tsk_fs_open_img'),
        info: { metadata: { action } },
      });
    }
    expect(await session.failure('filesystem_walk', { device: '/dev/sdz' })).toMatchObject({
      code: status.NOT_FOUND,
      info: { reason: 'ENOENT' },
    });
    expect(await session.call('find_inode', { device: '/dev/sdb', inode: numbers.get('kept') })).toHaveLength(1);
  });

  describe('by Yara', () => {
    const load = (rules: string | Buffer): Promise<void> => session.upload('yara_load', {}, [Buffer.from(rules)]);
    const scan = async (path: string): Promise<unknown> => session.call('yara_scan', { path });

    beforeAll(async () => {
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      await session.call('write', {
        path: '/haystack',
        content: Buffer.concat([
          Buffer.alloc(100_000, 'hay '),
          Buffer.from('needle in the haystack'),
          Buffer.from('deadbeef7701', 'hex'),
        ]),
      });
    });

    it('needs rules first', async () => {
      expect((await session.failure('yara_scan', { path: '/haystack' })).details).toContain('no yara rules loaded');
      expect((await session.failure('yara_destroy')).details).toContain('no yara rules loaded');
    });

    it('reports which rules match, and which files match none', async () => {
      await load(RULES);
      expect(await scan('/haystack')).toEqual(
        ['Needle', 'Bytes'].map((yara_rule) => ({ yara_name: '/haystack', yara_rule })),
      );
      expect(await scan('/directory/file')).toEqual([]);
      expect(await session.failure('yara_scan', { path: '/none' })).toMatchObject({
        code: status.NOT_FOUND,
        info: { reason: 'ENOENT' },
      });
    });

    it('sends more matches than fit into one message', async () => {
      await load(Array.from({ length: MANY }, (_rule, index) => `rule R${index} { condition: true }`).join('\n'));
      const detections = (await scan('/haystack')) as { yara_rule: string }[];
      expect(detections.map(({ yara_rule }) => yara_rule)).toEqual(
        Array.from({ length: MANY }, (_rule, index) => `R${index}`),
      );
    });

    it('refuses rules that do not compile, and has none then', async () => {
      await load(RULES);
      expect((await failureOf(load('rule Broken { condition: $undefined }\nrule'))).details).toMatch(
        /found \d+ errors when compiling the rules/,
      );
      expect((await session.failure('yara_scan', { path: '/haystack' })).details).toContain('no yara rules loaded');
    });

    it('refuses compiled rules that it cannot load, which the daemon accepts without an answer, and then has none', async () => {
      await load(RULES);
      const refused = await failureOf(load(Buffer.concat([Buffer.from('YARA'), Buffer.alloc(100, 0xff)])));
      expect(refused).toMatchObject({
        code: status.UNKNOWN,
        details: expect.stringContaining('the daemon refused the file'),
        info: { reason: 'DAEMON_ERROR', metadata: { action: 'yara_load' } },
      });
      expect((await session.failure('yara_scan', { path: '/haystack' })).details).toContain('no yara rules loaded');
    });

    it('forgets its rules', async () => {
      await load(RULES);
      await session.call('yara_destroy');
      expect((await session.failure('yara_scan', { path: '/haystack' })).details).toContain('no yara rules loaded');
    });
  });
});
