/** copy_in and copy_out: between directories of the server and a guest, where the server allows it. */
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Statns } from '../../gen/proto/guestfs/v1/structs.js';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests, type Scene } from '../support/scene.js';
import { scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const LARGE = Buffer.alloc(3 * MEBIBYTE, 'large ');
/** A name that is no UTF-8: by its bytes on the server, and as clients write it. */
const LATIN_1 = Buffer.from('caf\xe9', 'latin1');
const LATIN_1_AS_TEXT = 'caf\uefe9';

async function sessionWithFileSystem({ client }: Scene): Promise<SessionClient> {
  const session = await launchSession(client, [scratchDrive(64 * MEBIBYTE)]);
  await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
  await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
  return session;
}

const inDirectory = (directory: string, name: Buffer): Buffer => Buffer.concat([Buffer.from(`${directory}/`), name]);
const modeOf = (path: string): string => (lstatSync(path).mode & 0o7777).toString(8);

describeWithAppliance('copies between server and guest', () => {
  const scene = serverForTests({ flags: ['--allow', 'host-actions'] });
  let session: SessionClient;
  let root: string;

  const modeInGuest = async (path: string): Promise<string> =>
    Number(((await session.call('lstatns', { path })) as Statns).st_mode & 0o7777n).toString(8);

  beforeAll(async () => {
    root = scene.server.images;
    const tree = join(root, 'tree');
    mkdirSync(join(tree, 'below', 'empty'), { recursive: true });
    writeFileSync(join(tree, 'file'), 'contents');
    writeFileSync(join(tree, 'below', 'large'), LARGE);
    writeFileSync(join(tree, '-x'), 'no option');
    writeFileSync(join(tree, 'with spaces'), '');
    writeFileSync(inDirectory(tree, LATIN_1), 'Latin-1');
    symlinkSync('below/large', join(tree, 'link'));
    symlinkSync('../nowhere', join(tree, 'dangling'));
    linkSync(join(tree, 'file'), join(tree, 'hard'));
    chmodSync(join(tree, 'file'), 0o640);
    chmodSync(join(tree, 'below', 'large'), 0o4755);
    chmodSync(join(tree, 'below'), 0o750);
    utimesSync(join(tree, 'file'), 1000, 1_000_000_000);
    mkdirSync(join(root, 'out'));
    session = await sessionWithFileSystem(scene);
  });

  it('are copied into the guest: directories, contents, modes, links and names', async () => {
    await session.call('copy_in', { localpath: join(root, 'tree'), remotedir: '/' });
    expect(await session.call('find', { directory: '/tree/' })).toEqual(
      [
        '-x',
        'below',
        'below/empty',
        'below/large',
        LATIN_1_AS_TEXT,
        'dangling',
        'file',
        'hard',
        'link',
        'with spaces',
      ].sort((one, other) => (one < other ? -1 : 1)),
    );
    expect(((await session.call('read_file', { path: '/tree/below/large' })) as Buffer).equals(LARGE)).toBe(true);
    expect(await session.call('cat', { path: `/tree/${LATIN_1_AS_TEXT}` })).toBe('Latin-1');
    expect(await Promise.all(['file', 'below', 'below/large'].map((name) => modeInGuest(`/tree/${name}`)))).toEqual([
      '640',
      '750',
      '4755',
    ]);
    expect(await session.call('readlinklist', { path: '/tree', names: ['link', 'dangling', 'file'] })).toEqual([
      'below/large',
      '../nowhere',
      '',
    ]);
    const [file, hard] = (await session.call('lstatnslist', { path: '/tree', names: ['file', 'hard'] })) as Statns[];
    expect(file).toMatchObject({
      st_ino: hard?.st_ino,
      st_nlink: 2n,
      st_mtime_sec: 1_000_000_000n,
      st_uid: BigInt(process.getuid?.() ?? 0),
    });
  });

  it('can be of one file, by a path relative to an image root, over an existing one', async () => {
    await session.call('mkdir', { path: '/single' });
    await session.call('write', { path: '/single/file', content: Buffer.from('older and longer contents') });
    await session.call('copy_in', { localpath: 'tree/file', remotedir: '/single' });
    expect(await session.call('cat', { path: '/single/file' })).toBe('contents');
    expect(await session.call('ls', { directory: '/single' })).toEqual(['file']);
  });

  it('are copied out of the guest: directories, contents, modes, links and names', async () => {
    await session.call('mkdir_p', { path: '/guest/below/empty' });
    await session.call('write', { path: '/guest/file', content: Buffer.from('from the guest') });
    await session.call('write', { path: '/guest/below/large', content: LARGE });
    await session.call('write', { path: `/guest/${LATIN_1_AS_TEXT}`, content: Buffer.from('Latin-1') });
    await session.call('ln_s', { target: '/etc/passwd', linkname: '/guest/link' });
    await session.call('ln', { target: '/guest/file', linkname: '/guest/hard' });
    await session.call('mkfifo', { mode: 0o600, path: '/guest/fifo' });
    await session.call('chmod', { mode: 0o640, path: '/guest/file' });
    await session.call('chmod', { mode: 0o4755, path: '/guest/below/large' });
    await session.call('chmod', { mode: 0o750, path: '/guest/below' });
    await session.call('chown', { owner: 1234, group: 1234, path: '/guest/below/large' });
    await session.call('copy_out', { remotepath: '/guest', localdir: join(root, 'out') });
    const out = join(root, 'out', 'guest');
    expect(readdirSync(join(root, 'out'))).toEqual(['guest']);
    expect(
      readdirSync(out, { encoding: 'buffer' })
        .map((name) => name.toString('latin1'))
        .sort(),
    ).toEqual(['below', 'caf\xe9', 'fifo', 'file', 'hard', 'link']);
    expect(readdirSync(join(out, 'below')).sort()).toEqual(['empty', 'large']);
    expect(readFileSync(join(out, 'below', 'large')).equals(LARGE)).toBe(true);
    expect(readFileSync(inDirectory(out, LATIN_1), 'utf8')).toBe('Latin-1');
    expect(readlinkSync(join(out, 'link'))).toBe('/etc/passwd');
    expect(lstatSync(join(out, 'hard')).ino).toBe(lstatSync(join(out, 'file')).ino);
    expect(lstatSync(join(out, 'fifo')).isFIFO()).toBe(true);
    // No file from the guest is set-user-ID on the server.
    expect([modeOf(join(out, 'file')), modeOf(join(out, 'below')), modeOf(join(out, 'below', 'large'))]).toEqual([
      '640',
      '750',
      '755',
    ]);
    expect(lstatSync(join(out, 'below', 'large')).uid).toBe(process.getuid?.());
  });

  it('are copied out as one file, over an existing one, and merged into an existing directory', async () => {
    mkdirSync(join(root, 'merged', 'guest'), { recursive: true });
    writeFileSync(join(root, 'merged', 'guest', 'file'), 'older and longer than the one in the guest');
    writeFileSync(join(root, 'merged', 'guest', 'mine'), 'stays');
    await session.call('copy_out', { remotepath: '/guest', localdir: 'merged' });
    expect(readFileSync(join(root, 'merged', 'guest', 'file'), 'utf8')).toBe('from the guest');
    expect(readFileSync(join(root, 'merged', 'guest', 'mine'), 'utf8')).toBe('stays');
    await session.call('copy_out', { remotepath: '/guest/below/large', localdir: 'merged' });
    expect(readFileSync(join(root, 'merged', 'large')).equals(LARGE)).toBe(true);
  });

  it('are unchanged when copied in and out', async () => {
    await session.call('copy_out', { remotepath: '/tree', localdir: join(root, 'merged') });
    const shape = (directory: string): unknown[] =>
      readdirSync(directory, { recursive: true, encoding: 'latin1' })
        .sort()
        .map((name) => {
          const path = inDirectory(directory, Buffer.from(name, 'latin1'));
          const { size, nlink } = lstatSync(path);
          return [
            name,
            lstatSync(path).isDirectory()
              ? 'directory'
              : lstatSync(path).isSymbolicLink()
                ? readlinkSync(path)
                : [size, nlink, (lstatSync(path).mode & 0o777).toString(8)],
          ];
        });
    expect(shape(join(root, 'merged', 'tree'))).toEqual(shape(join(root, 'tree')));
  });

  it('follow no link that is in their place', async () => {
    mkdirSync(join(root, 'elsewhere'));
    symlinkSync('../elsewhere', join(root, 'out', 'trap'));
    await session.call('mkdir', { path: '/trap' });
    await session.call('write', { path: '/trap/caught', content: Buffer.from('x') });
    await session.call('copy_out', { remotepath: '/trap', localdir: join(root, 'out') });
    expect(lstatSync(join(root, 'out', 'trap')).isDirectory()).toBe(true);
    expect(readdirSync(join(root, 'out', 'trap'))).toEqual(['caught']);
    expect(readdirSync(join(root, 'elsewhere'))).toEqual([]);
  });

  describe('are refused', () => {
    beforeAll(() => {
      writeFileSync(join(root, '..', 'outside'), 'not for guests');
      symlinkSync('../outside', join(root, 'leads-out'));
      symlinkSync('/etc', join(root, 'directory-out'));
    });

    it.each([
      ['an absolute path', '/etc/passwd', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['a path that climbs out', '../outside', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['a link that leads out', 'leads-out', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['a path through such a link', 'directory-out/passwd', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['what is not there', 'missing', 'IMAGE_MISSING', status.NOT_FOUND],
      ['what has no name', '/', 'BAD_ARGUMENT', status.INVALID_ARGUMENT],
    ])('into the guest, from %s', async (_what, localpath, reason, code) => {
      expect(await session.failure('copy_in', { localpath, remotedir: '/' })).toMatchObject({
        code,
        info: { reason, metadata: { action: 'copy_in' } },
      });
    });

    it.each([
      ['an absolute path', '/tmp', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['a path that climbs out', '..', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['a link that leads out', 'directory-out', 'OUTSIDE_IMAGE_ROOTS', status.PERMISSION_DENIED],
      ['what is not there', 'missing', 'IMAGE_MISSING', status.NOT_FOUND],
      ['a file', 'tree/file', 'ENOTDIR', status.FAILED_PRECONDITION],
    ])('out of the guest, to %s', async (_what, localdir, reason, code) => {
      expect(await session.failure('copy_out', { remotepath: '/guest', localdir })).toMatchObject({
        code,
        info: { reason, metadata: { action: 'copy_out' } },
      });
    });

    it('if the file does not exist in the guest', async () => {
      expect(await session.failure('copy_in', { localpath: 'tree', remotedir: '/guest/file' })).toMatchObject({
        info: { reason: 'ENOTDIR' },
      });
      expect(await session.failure('copy_in', { localpath: 'tree', remotedir: '/none' })).toMatchObject({
        details: expect.stringContaining('/none'),
      });
      for (const remotepath of ['/none', '/guest/fifo'])
        expect(await session.failure('copy_out', { remotepath, localdir: 'out' })).toMatchObject({
          info: { reason: 'EINVAL' },
        });
      expect(await session.failure('copy_out', { remotepath: '/guest/..', localdir: 'out' })).toMatchObject({
        info: { reason: 'BAD_ARGUMENT' },
      });
    });
  });

  it('leave nothing incomplete', () => {
    expect(readdirSync(root).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(readdirSync(join(root, 'out')).sort()).toEqual(['guest', 'trap']);
  });
});

describeWithAppliance('copies between server and guest, where the server does not allow them', () => {
  const scene = serverForTests();

  it('are refused, with what allows them and what clients use instead', async () => {
    const session = await sessionWithFileSystem(scene);
    mkdirSync(join(scene.server.images, 'tree'));
    for (const [action, request, instead] of [
      ['copy_in', { localpath: 'tree', remotedir: '/' }, ['TarIn', 'Upload']],
      ['copy_out', { remotepath: '/lost+found', localdir: 'tree' }, ['TarOut', 'Download']],
    ] as const) {
      const failure = await session.failure(action, request);
      expect(failure).toMatchObject({
        code: status.PERMISSION_DENIED,
        info: { reason: 'NOT_ALLOWED', metadata: { action, setting: '--allow host-actions' } },
      });
      for (const word of ['--allow host-actions', ...instead]) expect(failure.details).toContain(word);
    }
    expect(await session.call('ls', { directory: '/' })).toEqual(['lost+found']);
    expect(readdirSync(join(scene.server.images, 'tree'))).toEqual([]);
    await scene.client.deleteSession(session.id);
  });
});
