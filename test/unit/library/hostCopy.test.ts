import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { DiskQuotas } from '../../../src/images/diskQuota.js';
import { transferActions } from '../../../src/library/transfer.js';
import { inTurn, type Script } from './fakes.js';

let scene: string;
/** The image root. */
let root: string;
beforeEach(() => {
  scene = realpathSync(mkdtempSync(join(tmpdir(), 'host-copy-')));
  root = join(scene, 'root');
  mkdirSync(root);
});
afterEach(() => rmSync(scene, { recursive: true }));

function guest(script: Script): ReturnType<typeof inTurn> {
  return inTurn('copy_in', script, { imageRoots: { directories: [root] } });
}

/** The content of an archive. */
function contents(archive: Buffer | undefined): string[] {
  return execFileSync('tar', ['-tf', '-'], { input: archive }).toString().trim().split('\n').sort();
}

/** An archive of a directory. */
function archive(directory: string, ...names: string[]): Buffer {
  return execFileSync('tar', ['-C', directory, '-cf', '-', ...names]);
}

function* inPieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 8192) yield bytes.subarray(at, at + 8192);
}

describe('copy_in', () => {
  const script = { answers: { is_dir: { dirflag: true }, tar_in: {} } };

  beforeEach(() => {
    mkdirSync(join(root, 'dir', 'sub'), { recursive: true });
    writeFileSync(join(root, 'dir', 'file'), 'hello');
    writeFileSync(join(root, '-x'), 'an option?');
  });

  it.each([
    ['dir', ['dir/', 'dir/file', 'dir/sub/']],
    ['dir/', ['dir/', 'dir/file', 'dir/sub/']],
    ['dir/.', ['./', './file', './sub/']],
    ['dir/file', ['file']],
    ['-x', ['-x']],
  ])('sends %s', async (name, expected) => {
    for (const localpath of [name, `${root}/${name}`]) {
      const context = guest(script);
      await transferActions.copy_in(context, { localpath, remotedir: '/etc' });
      expect(context.daemon.sent[0]).toEqual({ action: 'is_dir', request: { path: '/etc' } });
      expect(context.daemon.sent[1]).toMatchObject({ action: 'tar_in', request: { directory: '/etc' } });
      expect(contents(context.daemon.sent[1]?.content)).toEqual(expected);
    }
  });

  it('copies links as links', async () => {
    symlinkSync('dir', join(root, 'link'));
    const context = guest(script);
    await transferActions.copy_in(context, { localpath: 'link', remotedir: '/' });
    expect(contents(context.daemon.sent[1]?.content)).toEqual(['link']);
  });

  it.each([
    ['/etc/passwd', 'OUTSIDE_IMAGE_ROOTS'],
    ['../outside', 'OUTSIDE_IMAGE_ROOTS'],
    ['out', 'OUTSIDE_IMAGE_ROOTS'],
    ['nosuch', 'IMAGE_MISSING'],
    ['dir/..', 'BAD_ARGUMENT'],
    ['/', 'BAD_ARGUMENT'],
    ['', 'BAD_ARGUMENT'],
  ])('does not send %j', async (localpath, reason) => {
    writeFileSync(join(scene, 'outside'), '');
    symlinkSync('../outside', join(root, 'out'));
    const context = guest(script);
    await expect(transferActions.copy_in(context, { localpath, remotedir: '/' })).rejects.toMatchObject({ reason });
    expect(context.daemon.sent).toEqual([]);
  });

  it('needs a directory in the guest', async () => {
    const context = guest({ answers: { is_dir: { dirflag: false } } });
    await expect(
      transferActions.copy_in(context, { localpath: 'dir', remotedir: '/etc/passwd' }),
    ).rejects.toMatchObject({ reason: 'ENOTDIR' });
  });

  it("fails with the daemon's error", async () => {
    const context = guest({ answers: { is_dir: { dirflag: true }, tar_in: new GuestfsError('ENOSPC', 'full') } });
    await expect(transferActions.copy_in(context, { localpath: 'dir', remotedir: '/' })).rejects.toMatchObject({
      reason: 'ENOSPC',
    });
  });
});

describe('copy_out', () => {
  /** A guest with one directory, which is archived here. */
  function withDirectory(bytes: Buffer): ReturnType<typeof guest> {
    return guest({
      answers: { is_file: { fileflag: false }, is_dir: { dirflag: true } },
      files: { tar_out: () => inPieces(bytes) },
    });
  }
  function withFile(text: string): ReturnType<typeof guest> {
    return guest({
      answers: { is_file: { fileflag: true } },
      files: { download: () => [Buffer.from(text.slice(0, 2)), Buffer.from(text.slice(2))] },
    });
  }
  let source: string;
  beforeEach(() => {
    source = join(scene, 'source');
    mkdirSync(join(source, 'sub'), { recursive: true });
    writeFileSync(join(source, 'sub', 'file'), 'hello');
    writeFileSync(join(source, 'program'), '#!', { mode: 0o755 });
    symlinkSync('/etc/passwd', join(source, 'link'));
  });

  it('writes a file', async () => {
    const context = withFile('contents');
    await transferActions.copy_out(context, { remotepath: '/etc/caf\uefe9', localdir: root });
    expect(context.daemon.sent.at(-1)).toEqual({ action: 'download', request: { remotefilename: '/etc/caf\uefe9' } });
    expect(readdirSync(root, 'buffer')).toEqual([Buffer.from('caf\xe9', 'latin1')]);
    expect(readFileSync(Buffer.from(`${root}/caf\xe9`, 'latin1'), 'utf8')).toBe('contents');
  });

  it('replaces a file, and a link instead of its target', async () => {
    writeFileSync(join(scene, 'outside'), 'untouched');
    symlinkSync('../outside', join(root, 'hostname'));
    await transferActions.copy_out(withFile('guest'), { remotepath: '/etc/hostname', localdir: '.' });
    expect(readFileSync(join(root, 'hostname'), 'utf8')).toBe('guest');
    expect(readFileSync(join(scene, 'outside'), 'utf8')).toBe('untouched');
  });

  it('replaces a file, and a link, by a directory', async () => {
    mkdirSync(join(scene, 'outside'));
    for (const put of [
      () => symlinkSync('../outside', join(root, 'source')),
      () => writeFileSync(join(root, 'source'), 'a file'),
    ]) {
      rmSync(join(root, 'source'), { recursive: true, force: true });
      put();
      await transferActions.copy_out(withDirectory(archive(source, '.')), { remotepath: '/source', localdir: root });
      expect(readdirSync(join(root, 'source')).sort()).toEqual(['link', 'program', 'sub']);
      expect(readdirSync(join(scene, 'outside'))).toEqual([]);
    }
  });

  it('does not replace a directory by a file', async () => {
    mkdirSync(join(root, 'hostname'));
    await expect(
      transferActions.copy_out(withFile('guest'), { remotepath: '/etc/hostname', localdir: root }),
    ).rejects.toMatchObject({ reason: 'EISDIR' });
    expect(readdirSync(root)).toEqual(['hostname']);
  });

  it('unpacks a directory', async () => {
    const context = withDirectory(archive(source, '.'));
    await transferActions.copy_out(context, { remotepath: '/usr/source/', localdir: root });
    expect(context.daemon.sent.at(-1)).toEqual({ action: 'tar_out', request: { directory: '/usr/source/' } });
    expect(readdirSync(root)).toEqual(['source']);
    expect(readdirSync(join(root, 'source')).sort()).toEqual(['link', 'program', 'sub']);
    expect(readFileSync(join(root, 'source', 'sub', 'file'), 'utf8')).toBe('hello');
    expect(readlinkSync(join(root, 'source', 'link'))).toBe('/etc/passwd');
    expect(statSync(join(root, 'source', 'program')).mode & 0o111).not.toBe(0);
  });

  it('merges with existing files', async () => {
    mkdirSync(join(root, 'source', 'sub'), { recursive: true });
    writeFileSync(join(root, 'source', 'sub', 'file'), 'old');
    writeFileSync(join(root, 'source', 'sub', 'other'), 'kept');
    await transferActions.copy_out(withDirectory(archive(source, '.')), { remotepath: '/source', localdir: root });
    expect(readFileSync(join(root, 'source', 'sub', 'file'), 'utf8')).toBe('hello');
    expect(readFileSync(join(root, 'source', 'sub', 'other'), 'utf8')).toBe('kept');
  });

  it("puts the content of the guest's root into the directory itself", async () => {
    await transferActions.copy_out(withDirectory(archive(source, '.')), { remotepath: '/', localdir: root });
    expect(readdirSync(root).sort()).toEqual(['link', 'program', 'sub']);
  });

  it('moves directories without write permission', async () => {
    chmodSync(join(source, 'sub'), 0o555);
    const bytes = archive(source, '.');
    chmodSync(join(source, 'sub'), 0o755);
    await transferActions.copy_out(withDirectory(bytes), { remotepath: '/', localdir: root });
    expect(statSync(join(root, 'sub')).mode & 0o777).toBe(0o555);
    chmodSync(join(root, 'sub'), 0o755);
  });

  it('a link from an earlier copy does not redirect the next one', async () => {
    mkdirSync(join(scene, 'elsewhere'));
    const first = join(scene, 'first');
    mkdirSync(first);
    symlinkSync(join(scene, 'elsewhere'), join(first, 'x'));
    await transferActions.copy_out(withDirectory(archive(first, '.')), { remotepath: '/evil', localdir: root });
    const second = join(scene, 'second');
    mkdirSync(join(second, 'x'), { recursive: true });
    writeFileSync(join(second, 'x', 'planted'), 'evil');
    await transferActions.copy_out(withDirectory(archive(second, 'x/planted')), {
      remotepath: '/evil',
      localdir: root,
    });
    expect(readdirSync(join(scene, 'elsewhere'))).toEqual([]);
    expect(readFileSync(join(root, 'evil', 'x', 'planted'), 'utf8')).toBe('evil');
    expect(readdirSync(root)).toEqual(['evil']);
  });

  it('names that lead out of the archive have no effect', async () => {
    const bytes = execFileSync('tar', [
      '-C',
      source,
      '-cPf',
      '-',
      '--transform',
      's,^program$,../../escaped,',
      'program',
      'sub/file',
    ]);
    await transferActions
      .copy_out(withDirectory(bytes), { remotepath: '/evil', localdir: root })
      .catch(() => undefined);
    expect(existsSync(join(root, 'escaped'))).toBe(false);
    expect(existsSync(join(scene, 'escaped'))).toBe(false);
  });

  it('keeps no permissions of others', async () => {
    chmodSync(join(source, 'program'), 0o6755);
    const bytes = execFileSync('tar', [
      '-C',
      source,
      '--owner=nobody',
      '--group=nogroup',
      '--mode=u+s',
      '-cf',
      '-',
      '.',
    ]);
    await transferActions.copy_out(withDirectory(bytes), { remotepath: '/source', localdir: root });
    const { mode, uid } = statSync(join(root, 'source', 'program'));
    expect(mode & 0o7000).toBe(0);
    expect(uid).toBe(process.getuid?.());
  });

  it('leaves nothing behind when it fails', async () => {
    await expect(
      transferActions.copy_out(withDirectory(Buffer.from('not an archive'.repeat(100))), {
        remotepath: '/source',
        localdir: root,
      }),
    ).rejects.toMatchObject({ message: expect.stringContaining('tar') });
    const broken = guest({
      answers: { is_file: { fileflag: false }, is_dir: { dirflag: true } },
      files: {
        *tar_out() {
          yield archive(source, '.').subarray(0, 1024);
          throw new GuestfsError('EIO', 'broken');
        },
      },
    });
    await expect(transferActions.copy_out(broken, { remotepath: '/source', localdir: root })).rejects.toMatchObject({
      reason: 'EIO',
    });
    expect(readdirSync(root)).toEqual([]);
  });

  it("writes no more than the client's quota, and leaves nothing of a refused copy", async () => {
    const copy = async (context: ReturnType<typeof guest>, quotas: DiskQuotas): Promise<unknown> => {
      const disk = quotas.of({ client: 'a', imageRoots: context.imageRoots, limits: {} });
      return transferActions.copy_out(
        { ...context, daemon: context.daemon, disk },
        { remotepath: '/x', localdir: root },
      );
    };
    const refused = { reason: 'LIMIT_EXCEEDED', details: { metadata: { limit: 'max-disk-bytes-per-client' } } };
    const quotas = new DiskQuotas(16384);
    const tooMuch = withFile('x'.repeat(20_000));
    await expect(copy(tooMuch, quotas)).rejects.toMatchObject(refused);
    expect(tooMuch.daemon.downloadEnded).toBe('cancelled');
    // As an archive it is small enough, but each file and directory takes 4 KiB.
    for (const name of ['a', 'b', 'c', 'd']) writeFileSync(join(source, name), name);
    const small = archive(source, '-b1', 'a', 'b', 'c', 'd');
    expect(small.length).toBeLessThan(16384);
    await expect(copy(withDirectory(small), quotas)).rejects.toMatchObject(refused);
    expect(readdirSync(root)).toEqual([]);
    await copy(withFile('x'.repeat(16_000)), quotas);
    await expect(copy(withFile('x'), quotas)).rejects.toMatchObject(refused);
    await copy(withFile('x'), new DiskQuotas(undefined));
    expect(readFileSync(join(root, 'x'), 'utf8')).toBe('x');
  });

  it('tolerates a tar that stops reading', async () => {
    const bytes = Buffer.concat([Buffer.alloc(10240, 'x'), Buffer.alloc(4 * 1024 * 1024, 'y')]);
    await expect(
      transferActions.copy_out(withDirectory(bytes), { remotepath: '/source', localdir: root }),
    ).rejects.toMatchObject({ message: expect.stringContaining('tar subprocess failed') });
    // The data after the end of an archive is padding.
    await transferActions.copy_out(
      withDirectory(Buffer.concat([archive(source, '.'), Buffer.alloc(4 * 1024 * 1024)])),
      { remotepath: '/source', localdir: root },
    );
    expect(readdirSync(root)).toEqual(['source']);
  });

  it.each([
    ['/etc', 'OUTSIDE_IMAGE_ROOTS'],
    ['nosuch', 'IMAGE_MISSING'],
    ['file', 'ENOTDIR'],
  ])('does not write to %s', async (localdir, reason) => {
    writeFileSync(join(root, 'file'), '');
    await expect(transferActions.copy_out(withFile('x'), { remotepath: '/x', localdir })).rejects.toMatchObject({
      reason,
    });
  });

  it('refuses an invalid name', async () => {
    await expect(
      transferActions.copy_out(withFile('x'), { remotepath: '/x/..', localdir: root }),
    ).rejects.toMatchObject({ reason: 'BAD_ARGUMENT' });
    const neither = guest({ answers: { is_file: { fileflag: false }, is_dir: { dirflag: false } } });
    await expect(transferActions.copy_out(neither, { remotepath: '/dev/null', localdir: root })).rejects.toMatchObject({
      reason: 'EINVAL',
    });
  });
});

describe('user_cancel', () => {
  it('does nothing if nothing is running', async () => {
    expect(await transferActions.user_cancel(guest({}), {})).toEqual({});
  });
});
