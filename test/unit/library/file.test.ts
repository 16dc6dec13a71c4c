import { describe, expect, it } from '@jest/globals';
import type { Statns } from '../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { ANSWER_LIMIT } from '../../../src/library/answerLimit.js';
import { fileActions } from '../../../src/library/file.js';
import { attributeActions } from '../../../src/library/fileStatus.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { all, inTurn } from './fakes.js';

function reading(name: string, content: Buffer | string): ReturnType<typeof inTurn> {
  const bytes = Buffer.from(content as string);
  return inTurn(name, {
    files: {
      *download() {
        for (let at = 0; at < bytes.length; at += 8192) yield bytes.subarray(at, at + 8192);
      },
    },
  });
}

describe('cat and read_file', () => {
  it('return the content of the file', async () => {
    const context = reading('cat', 'hello\n');
    expect(await fileActions.cat(context, { path: '/a' })).toEqual({ content: 'hello\n' });
    expect(context.daemon.sent).toEqual([{ action: 'download', request: { remotefilename: '/a' } }]);
    const bytes = Buffer.from([0, 255, 10]);
    expect(await fileActions.read_file(reading('read_file', bytes), { path: '/a' })).toEqual({ content: bytes });
  });

  it('end a string at a zero byte, as in C', async () => {
    expect(await fileActions.cat(reading('cat', 'ab\0cd'), { path: '/a' })).toEqual({ content: 'ab' });
  });

  it('keep bytes that are not UTF-8', async () => {
    expect(await fileActions.cat(reading('cat', Buffer.from([0x63, 0xe9])), { path: '/a' })).toEqual({
      content: 'c\uefe9',
    });
  });

  it('refuse what is too large for clients, and stop its download', async () => {
    const context = reading('read_file', Buffer.alloc(ANSWER_LIMIT + 1));
    await expect(fileActions.read_file(context, { path: '/a' })).rejects.toMatchObject({ reason: 'MESSAGE_TOO_LARGE' });
    await expect(fileActions.read_file(context, { path: '/a' })).rejects.toThrow(/use Download/);
    expect(context.daemon.downloadEnded).toBe('cancelled');
    const { content } = await fileActions.read_file(reading('read_file', Buffer.alloc(ANSWER_LIMIT)), { path: '/a' });
    expect(content.length).toBe(ANSWER_LIMIT);
  });

  it("pass on the daemon's error", async () => {
    const failure = new GuestfsError('ENOENT', '/a: No such file or directory');
    const context = inTurn('cat', {
      files: {
        download: () => {
          throw failure;
        },
      },
    });
    await expect(fileActions.cat(context, { path: '/a' })).rejects.toBe(failure);
  });
});

describe('read_lines', () => {
  it.each([
    ['', []],
    ['\n', ['']],
    ['\r\n', ['']],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\r\nb\n', ['a', 'b']],
    ['a\n\nb', ['a', '', 'b']],
    ['a\r', ['a']],
    ['a\r\r\n', ['a\r']],
    ['ab\0cd\nef\0\r\ng', ['ab', 'ef', 'g']],
    ['a\r\0b\n', ['a']],
  ])('of %j are %j', async (content, lines) => {
    expect(await fileActions.read_lines(reading('read_lines', content), { path: '/a' })).toEqual({ lines });
  });

  it('are refused if they are too many for an answer', async () => {
    await expect(
      fileActions.read_lines(reading('read_lines', '\n'.repeat(ANSWER_LIMIT - 1)), { path: '/a' }),
    ).rejects.toMatchObject({ reason: 'MESSAGE_TOO_LARGE' });
  });
});

describe('write and write_append', () => {
  const script = {
    answers: { internal_write: {}, internal_write_append: {}, upload: {}, upload_offset: {}, filesize: { size: 7n } },
  };
  const small = Buffer.alloc(2 * 1024 * 1024, 1);
  const large = Buffer.alloc(2 * 1024 * 1024 + 1, 2);

  it('send up to 2 MiB in one message', async () => {
    const context = inTurn('write', script);
    await fileActions.write(context, { path: '/a', content: small });
    await fileActions.write_append(context, { path: '/b', content: small });
    expect(context.daemon.actions).toEqual(['internal_write', 'internal_write_append']);
    const requests = context.daemon.sent.map(({ request }) => request as { path: string; content: Buffer });
    expect(requests.map(({ path }) => path)).toEqual(['/a', '/b']);
    for (const { content } of requests) expect(content.equals(small)).toBe(true);
  });

  it('upload more than that', async () => {
    const context = inTurn('write', script);
    await fileActions.write(context, { path: '/a', content: large });
    const [{ content, ...sent } = { content: undefined }] = context.daemon.sent;
    expect(sent).toEqual({ action: 'upload', request: { remotefilename: '/a' }, size: BigInt(large.length) });
    expect(content?.equals(large)).toBe(true);
  });

  it('append more than that at the end of the file', async () => {
    const context = inTurn('write_append', script);
    await fileActions.write_append(context, { path: '/a', content: large });
    const [asked, { content, ...sent } = { content: undefined }] = context.daemon.sent;
    expect(asked).toEqual({ action: 'filesize', request: { file: '/a' } });
    expect(sent).toEqual({
      action: 'upload_offset',
      request: { remotefilename: '/a', offset: 7n },
      size: BigInt(large.length),
    });
    expect(content?.equals(large)).toBe(true);
  });
});

/** The output of internal_readdir. */
function directoryEntries(...names: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(
    names.map((name) => {
      const writer = new XdrEncoder();
      writer.int64(5n);
      writer.int('r'.charCodeAt(0));
      writer.buffer(Buffer.from(name as string));
      return writer.finish();
    }),
  );
}

describe('ls', () => {
  const listing = (...names: readonly (string | Buffer)[]) => ({
    files: { internal_readdir: () => [directoryEntries(...names)] },
  });

  it('sorts by bytes, without the entries of the directory itself', async () => {
    const context = inTurn(
      'ls',
      listing('b', '..', '\u{1f600}', '.', Buffer.from([0xe9]), '.hidden', '...', '\uf000', 'a'),
    );
    expect(await all(fileActions.ls(context, { directory: '/d' }))).toEqual([
      { listing: ['...', '.hidden', 'a', 'b', '\uefe9', '\uf000', '\u{1f600}'] },
    ]);
    expect(context.daemon.sent).toEqual([{ action: 'internal_readdir', request: { dir: '/d' } }]);
  });

  it('answers an empty directory with no batch', async () => {
    expect(await all(fileActions.ls(inTurn('ls', listing('.', '..')), { directory: '/d' }))).toEqual([]);
  });

  it('sorts a directory of 30,000 names in one run', async () => {
    const names = Array.from(
      { length: 30_000 },
      (_, index) => `file-${String((index * 7919) % 30_000).padStart(5, '0')}`,
    );
    const batches = await all(fileActions.ls(inTurn('ls', listing(...names)), { directory: '/d' }));
    expect(batches.flatMap((batch) => batch.listing)).toEqual([...names].sort());
  });

  it('requests only names from older daemons', async () => {
    const context = inTurn('ls', { version: '1.48.6', files: { ls0: () => [Buffer.from('b\0a\0')] } });
    expect(await all(fileActions.ls(context, { directory: '/d' }))).toEqual([{ listing: ['a', 'b'] }]);
    expect(context.daemon.actions).toEqual(['ls0']);
  });

  const failing = (error: Error) => (): Buffer[] => {
    throw error;
  };

  it.each(['ENOENT', 'DAEMON_ERROR', 'ACTION_NOT_IN_DAEMON'])('reports %s with the message of ls0', async (reason) => {
    const words = new GuestfsError('ENOENT', 'ls0_stub: /d');
    const context = inTurn('ls', {
      files: { internal_readdir: failing(new GuestfsError(reason, 'internal_readdir_stub: /d')), ls0: failing(words) },
    });
    await expect(all(fileActions.ls(context, { directory: '/d' }))).rejects.toBe(words);
    expect(context.daemon.actions).toEqual(['internal_readdir', 'ls0']);
  });

  it.each(['OUTCOME_UNKNOWN', 'APPLIANCE_GONE', 'PROTOCOL_ERROR', 'CANCELLED', 'DEADLINE_EXCEEDED'])(
    'does not repeat the call after %s',
    async (reason) => {
      const failure = new GuestfsError(reason, 'no answer');
      const context = inTurn('ls', { files: { internal_readdir: failing(failure) } });
      await expect(all(fileActions.ls(context, { directory: '/d' }))).rejects.toBe(failure);
      expect(context.daemon.actions).toEqual(['internal_readdir']);
    },
  );

  it('does not restart in the middle', async () => {
    const failure = new GuestfsError('DAEMON_ERROR', 'could not send the whole file');
    const context = inTurn('ls', {
      files: {
        *internal_readdir() {
          yield directoryEntries('a');
          throw failure;
        },
      },
    });
    await expect(all(fileActions.ls(context, { directory: '/d' }))).rejects.toBe(failure);
    expect(context.daemon.actions).toEqual(['internal_readdir']);
  });

  it('refuses a name that no file can have', async () => {
    await expect(all(fileActions.ls(inTurn('ls', listing('a\0b')), { directory: '/d' }))).rejects.toMatchObject({
      reason: 'DAEMON_ERROR',
    });
  });
});

describe('find', () => {
  const listing = (name: 'find0', text: string) => ({ files: { [name]: () => [Buffer.from(text)] } });

  it('sorts', async () => {
    const finding = inTurn('find', listing('find0', 'b/c\0b\0a\0'));
    expect(await all(fileActions.find(finding, { directory: '/d' }))).toEqual([{ names: ['a', 'b', 'b/c'] }]);
    expect(finding.daemon.sent).toEqual([{ action: 'find0', request: { directory: '/d' } }]);
  });

  it('answers an empty directory with no batch', async () => {
    expect(await all(fileActions.find(inTurn('find', listing('find0', '')), { directory: '/d' }))).toEqual([]);
  });

  it('returns the first names of a large tree before the last have arrived', async () => {
    let finish: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const context = inTurn('find', {
      files: {
        async *find0() {
          yield Buffer.from(Array.from({ length: 1000 }, (_, index) => `${9999 - index}\0`).join(''));
          await slow;
          yield Buffer.from('zz\0');
        },
      },
    });
    const source = fileActions.find(context, { directory: '/' })[Symbol.asyncIterator]();
    const first = (await source.next()).value as { names: string[] };
    expect(first.names.length).toBe(1000);
    expect(first.names[0]).toBe('9000');
    finish();
    expect((await source.next()).value).toEqual({ names: ['zz'] });
  });
});

describe('readdir', () => {
  const entry = { ino: 5n, ftyp: 'd', name: '.' };

  it('reads a file of records from newer daemons', async () => {
    const writer = new XdrEncoder();
    writer.int64(5n);
    writer.int('d'.charCodeAt(0));
    writer.string('.');
    const context = inTurn('readdir', { files: { internal_readdir: () => [writer.finish()] } });
    expect(await all(fileActions.readdir(context, { dir: '/d' }))).toEqual([{ entries: [entry] }]);
  });

  it('requests a list from older daemons', async () => {
    const context = inTurn('readdir', {
      version: '1.48.6',
      answers: { readdir: { entries: Array.from({ length: 1001 }, () => entry) } },
    });
    const batches = await all(fileActions.readdir(context, { dir: '/d' }));
    expect(batches.map((batch) => batch.entries.length)).toEqual([1000, 1]);
    expect(context.daemon.sent).toEqual([{ action: 'readdir', request: { dir: '/d' } }]);
  });
});

describe('status of files', () => {
  const status = Object.fromEntries(
    [
      'dev',
      'ino',
      'mode',
      'nlink',
      'uid',
      'gid',
      'rdev',
      'size',
      'blksize',
      'blocks',
      'atime_sec',
      'atime_nsec',
      'mtime_sec',
      'mtime_nsec',
      'ctime_sec',
      'ctime_nsec',
      'spare1',
      'spare2',
      'spare3',
      'spare4',
      'spare5',
      'spare6',
    ].map((name, index) => [`st_${name}`, BigInt(index)]),
  ) as unknown as Statns;
  const old = {
    dev: 0n,
    ino: 1n,
    mode: 2n,
    nlink: 3n,
    uid: 4n,
    gid: 5n,
    rdev: 6n,
    size: 7n,
    blksize: 8n,
    blocks: 9n,
    atime: 10n,
    mtime: 12n,
    ctime: 14n,
  };
  const names = Array.from({ length: 2001 }, (_, index) => `n${index}`);

  it('stat and lstat leave out fractions of seconds', async () => {
    const context = inTurn('stat', { answers: { statns: { statbuf: status }, lstatns: { statbuf: status } } });
    expect(await fileActions.stat(context, { path: '/a' })).toEqual({ statbuf: old });
    expect(await fileActions.lstat(context, { path: '/a' })).toEqual({ statbuf: old });
    expect(context.daemon.actions).toEqual(['statns', 'lstatns']);
  });

  it('lists are queried for a thousand names at a time', async () => {
    const context = inTurn('lstatlist', {
      answers: {
        internal_lstatnslist: (request: { names: string[] }) => ({ statbufs: request.names.map(() => status) }),
      },
    });
    expect((await fileActions.lstatlist(context, { path: '/d', names })).statbufs).toEqual(names.map(() => old));
    expect(context.daemon.sent.map(({ request }) => (request as { names: string[] }).names.length)).toEqual([
      1000, 1000, 1,
    ]);
    expect((await fileActions.lstatnslist(context, { path: '/d', names: ['a'] })).statbufs).toEqual([status]);
  });

  it('so are links and extended attributes', async () => {
    const links = inTurn('readlinklist', {
      answers: {
        internal_readlinklist: (request: { names: string[] }) => ({ links: request.names.map((name) => `to ${name}`) }),
      },
    });
    expect((await fileActions.readlinklist(links, { path: '/d', names })).links).toEqual(
      names.map((name) => `to ${name}`),
    );
    const xattr = { attrname: '', attrval: Buffer.from('0') };
    const attributes = inTurn('lxattrlist', {
      answers: { internal_lxattrlist: (request: { names: string[] }) => ({ xattrs: request.names.map(() => xattr) }) },
    });
    expect((await attributeActions.lxattrlist(attributes, { path: '/d', names })).xattrs.length).toBe(2001);
    expect(attributes.daemon.sent.length).toBe(3);
  });

  it('nothing is queried for an empty list', async () => {
    const context = inTurn('lstatnslist', {});
    expect(await fileActions.lstatnslist(context, { path: '/nosuch', names: [] })).toEqual({ statbufs: [] });
    expect(context.daemon.sent).toEqual([]);
  });
});
