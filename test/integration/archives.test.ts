/** Archives out of a guest and back into it: what tar_out and tar_in keep, leave out, and compress. */
import { spawnSync } from 'node:child_process';
import { beforeAll, expect, it } from '@jest/globals';
import type { Statns, Xattr } from '../../gen/proto/guestfs/v1/structs.js';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const CONTENT = Buffer.alloc(200_000, 'contents that can be compressed ');
const ACL = 'user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n';

/** The content of an archive, according to this machine's tar. */
function listed(archive: Buffer, ...options: readonly string[]): string[] {
  const { status, stdout, stderr } = spawnSync('tar', ['-tvf', '-', ...options], {
    input: archive,
    maxBuffer: 64 * MEBIBYTE,
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
  });
  expect([status, stderr.toString()]).toEqual([0, '']);
  return stdout.toString().trim().split('\n');
}

/** How archives begin that are compressed in a way; lzma has no such mark. */
const MARKS: Readonly<Record<string, string>> = {
  gzip: '1f8b',
  bzip2: '425a68',
  xz: 'fd377a585a00',
  zstd: '28b52ffd',
  lzop: '894c5a4f',
  compress: '1f9d',
};

describeWithAppliance('an archive', () => {
  const scene = serverForTests();
  let session: SessionClient;

  const attributes = async (path: string): Promise<string[]> =>
    ((await session.call('lgetxattrs', { path })) as Xattr[]).map(
      ({ attrname, attrval }) => `${attrname}=${Buffer.from(attrval).toString('latin1')}`,
    );
  const statusOf = async (path: string): Promise<object> => {
    const { st_mode, st_uid, st_gid, st_size, st_mtime_sec } = (await session.call('lstatns', { path })) as Statns;
    return { mode: Number(st_mode).toString(8), uid: st_uid, gid: st_gid, size: st_size, mtime: st_mtime_sec };
  };
  /** Unpacks into a new directory, and returns its name. */
  const unpacked = async (archive: Buffer, options: object = {}): Promise<string> => {
    const directory: string = await session.call('mkdtemp', { tmpl: '/unpackedXXXXXX' });
    await session.upload(
      'tar_in',
      { directory, ...options },
      [...Array(Math.ceil(archive.length / MEBIBYTE)).keys()].map((index) =>
        archive.subarray(index * MEBIBYTE, (index + 1) * MEBIBYTE),
      ),
    );
    return directory;
  };

  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(64 * MEBIBYTE)]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('mkdir_p', { path: '/tree/below/empty' });
    await session.call('write', { path: '/tree/file', content: CONTENT });
    await session.call('write', { path: '/tree/below/left.tmp', content: Buffer.from('left out') });
    await session.call('write', { path: '/tree/left.tmp', content: Buffer.from('left out') });
    await session.call('write', { path: '/tree/caf\uefe9', content: Buffer.from('Latin-1') });
    await session.call('ln_s', { target: 'below/nowhere', linkname: '/tree/link' });
    await session.call('ln', { target: '/tree/file', linkname: '/tree/below/hard' });
    await session.call('chown', { owner: 0, group: 5, path: '/tree/file' });
    await session.call('chmod', { mode: 0o4750, path: '/tree/file' });
    await session.call('chown', { owner: 1234, group: 4321, path: '/tree/below' });
    await session.call('utimens', {
      path: '/tree/below',
      atsecs: 1000n,
      atnsecs: 0n,
      mtsecs: 1_000_000_000n,
      mtnsecs: 0n,
    });
    await session.call('setxattr', { xattr: 'user.kept', val: 'value', vallen: 5, path: '/tree/file' });
    await session.call('write', { path: '/tree/shared', content: Buffer.from('shared') });
    await session.call('acl_set_file', { path: '/tree/shared', acltype: 'access', acl: ACL });
  });

  it('has everything, and restores it', async () => {
    const archive = await session.download('tar_out', { directory: '/tree' });
    const lines = listed(archive, '--numeric-owner');
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^-rwsr-x--- 0\/5 +200000 .* \.\/(file|below\/hard)$/),
        expect.stringMatching(/^drwxr-xr-x 1234\/4321 +0 2001-09-09 01:46 \.\/below\/$/),
        expect.stringMatching(/^lrwxrwxrwx .* \.\/link -> below\/nowhere$/),
        expect.stringMatching(/\.\/below\/empty\/$/),
        expect.stringMatching(/^hrwsr-x--- .* link to \.\/(file|below\/hard)$/),
      ]),
    );
    const copy = await unpacked(archive);
    for (const name of ['file', 'below', 'link', 'below/hard', 'below/empty', 'caf\uefe9']) {
      expect([name, await statusOf(`${copy}/${name}`)]).toEqual([name, await statusOf(`/tree/${name}`)]);
    }
    expect(await session.call('read_file', { path: `${copy}/file` })).toEqual(CONTENT);
    expect(await session.call('readlink', { path: `${copy}/link` })).toBe('below/nowhere');
    const links = (await session.call('lstatns', { path: `${copy}/below/hard` })) as Statns;
    expect(links.st_nlink).toBe(2n);
  });

  it('has names of owners unless numbers are requested', async () => {
    const owners = async (options: object): Promise<string[]> =>
      listed(await session.download('tar_out', { directory: '/tree', ...options }))
        .filter((line) => /\.\/file$|hard$/.test(line))
        .map((line) => line.split(' ')[1] ?? '');
    expect(await owners({})).toContain('root/tty');
    expect(await owners({ numericowner: true })).toContain('0/5');
  });

  it('leaves out what is excluded', async () => {
    const names = async (excludes: string[]): Promise<string[]> =>
      listed(await session.download('tar_out', { directory: '/tree', excludes: { values: excludes } })).map(
        (line) => line.split(' ').at(-1) ?? '',
      );
    expect((await names([])).filter((name) => name.endsWith('left.tmp'))).toEqual(
      expect.arrayContaining(['./left.tmp', './below/left.tmp']),
    );
    const rest = await names(['*.tmp', './below/empty']);
    expect(rest.filter((name) => /tmp|empty/.test(name))).toEqual([]);
    expect(rest).toEqual(expect.arrayContaining(['./', './below/']));
  });

  it.each([...Object.keys(MARKS), 'lzma'])('is compressed by %s, and back', async (compress) => {
    const archive = await session.download('tar_out', { directory: '/tree', compress });
    if (compress !== 'lzma')
      expect(archive.subarray(0, (MARKS[compress] ?? '').length / 2).toString('hex')).toBe(MARKS[compress]);
    expect(archive.length).toBeLessThan(CONTENT.length / 4);
    const copy = await unpacked(archive, { compress });
    expect(((await session.call('read_file', { path: `${copy}/below/hard` })) as Buffer).equals(CONTENT)).toBe(true);
    const plain = await session.download('tar_out', { directory: copy });
    expect(listed(plain).length).toBe(listed(await session.download('tar_out', { directory: '/tree' })).length);
  });

  it('has extended attributes and ACLs if requested, both ways', async () => {
    const acl = async (path: string): Promise<string> =>
      ((await session.call('acl_get_file', { path, acltype: 'access' })) as string).trim();
    const everything = await session.download('tar_out', { directory: '/tree', xattrs: true, acls: true });
    const kept = await unpacked(everything, { xattrs: true, acls: true });
    expect(await attributes(`${kept}/file`)).toEqual(['user.kept=value']);
    expect(await acl(`${kept}/shared`)).toBe(await acl('/tree/shared'));
    expect(await acl(`${kept}/shared`)).toContain('user:1234:r--');
    const ignored = await unpacked(everything);
    expect(await attributes(`${ignored}/file`)).toEqual([]);
    expect(await acl(`${ignored}/shared`)).not.toContain('1234');
    const without = await unpacked(await session.download('tar_out', { directory: '/tree' }), {
      xattrs: true,
      acls: true,
    });
    expect(await attributes(`${without}/file`)).toEqual([]);
  });

  it.each([
    ['tar_out', 'of a directory that is not there', { directory: '/none' }, /none/],
    [
      'tar_out',
      'compressed in a way that there is not',
      { directory: '/tree', compress: 'zip' },
      /unknown compression type: zip/,
    ],
  ])('is refused by %s: %s', async (action, _what, request, why) => {
    expect(await failureOf(session.download(action, request))).toMatchObject({
      details: expect.stringMatching(why),
      info: { metadata: { action } },
    });
    await session.call('ping_daemon');
  });

  it('is refused if its compression differs from the stated one', async () => {
    const archive = await session.download('tar_out', { directory: '/tree', compress: 'gzip' });
    const failure = await failureOf(unpacked(archive, { compress: 'xz' }));
    expect(failure).toMatchObject({
      details: expect.stringMatching(/tar|xz/),
      info: { metadata: { action: 'tar_in' } },
    });
    await session.call('ping_daemon');
  });
});
