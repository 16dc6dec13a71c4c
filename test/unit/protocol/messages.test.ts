import { describe, expect, it } from '@jest/globals';
import { fileArchitecture, isDir, pwrite, statvfs } from '../../../gen/calls/file.js';
import { listFilesystems, mkfs } from '../../../gen/calls/filesystem.js';
import { internalAutosync, internalWrite } from '../../../gen/calls/internal.js';
import { cryptsetupOpen } from '../../../gen/calls/luks.js';
import { tarIn, tarOut, upload } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { DaemonVersion } from '../../../src/protocol/daemonVersion.js';
import {
  decodeChunk,
  decodeProgress,
  decodeReply,
  encodeCall,
  encodeCancelFlag,
  encodeChunks,
  encodeLastChunk,
  ProtocolError,
} from '../../../src/protocol/messages.js';
import { pattern } from '../../fakes/files.js';
import { FakeDaemon, type ReceivedCall, type ReplyHeader } from '../../fakes/fakeDaemon.js';
import { long, opaque, text, textList, word } from '../../fakes/xdrBytes.js';

const MESSAGE_MAX = 4 * 1024 * 1024;
const HEADER_SIZE = 40;
const NEWEST = new DaemonVersion('1.61.0');

const options = { serial: 5, progressHint: 0n, daemon: NEWEST };

/** The call that a reply is for. */
function call(procedure: number): ReceivedCall {
  return {
    program: 0,
    version: 0,
    procedure,
    direction: 0,
    serial: 5,
    progressHint: 0n,
    optionalArguments: 0n,
    status: 0,
    body: Buffer.alloc(0),
  };
}

/** A reply without its length word. */
function reply(procedure: number, value?: Buffer, header?: ReplyHeader): Buffer {
  return FakeDaemon.replyBytes(call(procedure), value, header).subarray(4);
}

function errorReply(errno: Buffer, message: Buffer, ...more: readonly Buffer[]): Buffer {
  return Buffer.concat([FakeDaemon.headerBytes(call(isDir.procedure), 1), errno, message, ...more]);
}

function isDirOf(bytes: Buffer): unknown {
  return decodeReply(isDir, 5, bytes);
}

describe('a call', () => {
  it('has the header that the daemon expects', () => {
    const message = encodeCall(
      upload,
      { remotefilename: '/a', progress_hint: undefined },
      { serial: 0x7fffffff, progressHint: 2n ** 40n, daemon: NEWEST },
    );
    expect(message.toString('hex')).toBe(
      Buffer.concat([
        word(HEADER_SIZE + 8),
        word(0x2000f5f5),
        word(4),
        word(66),
        word(0),
        word(0x7fffffff),
        long(2n ** 40n),
        long(0n),
        word(0),
        text('/a'),
      ]).toString('hex'),
    );
  });

  it('says in its bitmask which optional arguments count, and sends all of them', () => {
    const header = (request: Parameters<typeof mkfs.encode>[1]): bigint =>
      encodeCall(mkfs, request, options).readBigUInt64BE(4 + 28);
    const request = {
      fstype: 'ext4',
      device: '/dev/sda',
      blocksize: undefined,
      features: undefined,
      inode: undefined,
      sectorsize: undefined,
      label: undefined,
    };
    expect(header(request)).toBe(0n);
    expect(header({ ...request, blocksize: 0 })).toBe(1n);
    expect(header({ ...request, features: '' })).toBe(2n);
    expect(header({ ...request, label: 'x' })).toBe(16n);
    expect(header({ ...request, blocksize: 1, label: 'x' })).toBe(17n);
    expect(encodeCall(mkfs, request, options)).toHaveLength(
      encodeCall(mkfs, { ...request, blocksize: 1, features: '', label: '' }, options).length,
    );
  });

  it('has the bit of a list that is given and empty', () => {
    const request = {
      directory: '/',
      compress: undefined,
      numericowner: undefined,
      excludes: { values: [] },
      xattrs: undefined,
      selinux: undefined,
      acls: undefined,
    };
    expect(encodeCall(tarOut, request, options).readBigUInt64BE(4 + 28)).toBe(4n);
  });

  it('leaves out an optional argument that came after the daemon', () => {
    const tar = {
      directory: '/',
      compress: undefined,
      xattrs: undefined,
      selinux: undefined,
      acls: undefined,
      keepdirlink: undefined,
      progress_hint: undefined,
    };
    const length = (version: string): number =>
      encodeCall(tarIn, tar, { ...options, daemon: new DaemonVersion(version) }).length;
    expect(length('1.59.1') - length('1.58.0')).toBe(4);
    expect(length('1.60.0')).toBe(length('1.59.1'));
    const crypt = {
      device: '/dev/sda',
      key: 'k',
      mapname: 'm',
      readonly: undefined,
      crypttype: undefined,
      cipher: undefined,
    };
    const cryptLength = (version: string): number =>
      encodeCall(cryptsetupOpen, crypt, { ...options, daemon: new DaemonVersion(version) }).length;
    expect(cryptLength('1.53.3') - cryptLength('1.53.2')).toBe(4);
  });

  it('of exactly the limit is encoded', () => {
    const content = Buffer.alloc(MESSAGE_MAX - HEADER_SIZE - 8 - 4);
    expect(encodeCall(internalWrite, { path: '/a', content }, options)).toHaveLength(4 + MESSAGE_MAX);
  });

  it('over the limit is refused with the limit and its own size', () => {
    const content = Buffer.alloc(MESSAGE_MAX - HEADER_SIZE - 8 - 4 + 1);
    let thrown: unknown;
    try {
      encodeCall(internalWrite, { path: '/a', content }, options);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(GuestfsError);
    expect(thrown).toMatchObject({
      reason: 'MESSAGE_TOO_LARGE',
      details: { metadata: { limit: '4194304', size: '4194308' } },
      message:
        'internal_write: the arguments make a message of 4194308 bytes; the daemon accepts at most 4194304 bytes',
    });
  });

  it('over the limit says what to use instead, where there is such a thing', () => {
    expect(() => encodeCall(pwrite, { path: '/a', content: Buffer.alloc(MESSAGE_MAX), offset: 0n }, options)).toThrow(
      /at most 4194304 bytes; use UploadOffset, which streams/,
    );
  });
});

describe('the chunks of a file', () => {
  it('have at most 8192 bytes, their length and padding, for every length about the edges', () => {
    for (const length of [0, 1, 2, 3, 4, 5, 8191, 8192, 8193, 8194, 8195, 16383, 16384, 16385, 20000]) {
      const data = pattern(length);
      const expected: Buffer[] = [];
      for (let start = 0; start < length; start += 8192)
        expected.push(FakeDaemon.chunkBytes(data.subarray(start, start + 8192)));
      expect(encodeChunks(data).equals(Buffer.concat(expected))).toBe(true);
    }
  });

  it('are made in a buffer that was used before, whatever it holds', () => {
    const used = Buffer.alloc(30_000, 0xff);
    for (const length of [20_001, 8193, 1, 0]) {
      const data = pattern(length);
      const made = encodeChunks(data, used);
      expect(made.buffer).toBe(used.buffer);
      expect(made.equals(encodeChunks(data))).toBe(true);
    }
  });

  it('end with an empty one, or one that cancels', () => {
    expect(encodeLastChunk(false)).toEqual(FakeDaemon.chunkBytes(Buffer.alloc(0)));
    expect(encodeLastChunk(true)).toEqual(FakeDaemon.chunkBytes(Buffer.alloc(0), 1));
    expect(encodeCancelFlag()).toEqual(word(0xffffeeee));
  });

  it('come back as they were', () => {
    expect(decodeChunk(Buffer.concat([word(0), opaque(Buffer.from('abc'))]))).toEqual({
      cancel: false,
      data: Buffer.from('abc'),
    });
    expect(decodeChunk(Buffer.concat([word(1), word(0)]))).toEqual({ cancel: true, data: Buffer.alloc(0) });
  });

  it('are not copied, unless they would keep more than eight times their memory', () => {
    const bytes = Buffer.alloc(65_536);
    const chunk = (size: number): Buffer =>
      FakeDaemon.chunkBytes(pattern(size)).copy(bytes)
        ? decodeChunk(bytes.subarray(4, 12 + size)).data
        : Buffer.alloc(0);
    expect(chunk(8192).buffer).toBe(bytes.buffer);
    expect(chunk(8188).buffer).not.toBe(bytes.buffer);
    expect(chunk(8188).equals(pattern(8188))).toBe(true);
  });

  it.each([
    ['with a cancel word of 2', Buffer.concat([word(2), word(0)]), 'cancel word 2'],
    ['with a negative cancel word', Buffer.concat([word(-1), word(0)]), 'cancel word -1'],
    [
      'with more than 8192 bytes',
      Buffer.concat([word(0), opaque(Buffer.alloc(8193))]),
      '8193 bytes where at most 8192',
    ],
    [
      'with fewer bytes than its length',
      Buffer.concat([word(0), word(8), Buffer.alloc(4)]),
      '8 bytes where 4 are left',
    ],
    ['with padding that is not zero', Buffer.concat([word(0), word(1), Buffer.of(1, 0, 0, 9)]), 'file chunk: '],
    ['with bytes after it', Buffer.concat([word(0), word(0), word(0)]), '4 bytes too many'],
    ['that is empty', Buffer.alloc(0), 'file chunk: '],
    ['that ends in its first word', Buffer.alloc(3), 'file chunk: '],
  ])('one %s breaks the protocol', (_what, bytes, message) => {
    expect(() => decodeChunk(bytes)).toThrow(ProtocolError);
    expect(() => decodeChunk(bytes)).toThrow(message);
  });
});

describe('a progress message', () => {
  it('has procedure, serial, position and total', () => {
    expect(decodeProgress(Buffer.concat([word(66), word(0xffffffff), long(2n ** 64n - 1n), long(0n)]))).toEqual({
      procedure: 66,
      serial: 0xffffffff,
      position: 2n ** 64n - 1n,
      total: 0n,
    });
  });
});

describe('a reply', () => {
  it('gives its value', () => {
    expect(isDirOf(reply(isDir.procedure, word(1)))).toEqual({ dirflag: true });
    expect(decodeReply(fileArchitecture, 5, reply(fileArchitecture.procedure, text('x86_64')))).toEqual({
      arch: 'x86_64',
    });
    expect(decodeReply(internalAutosync, 5, reply(internalAutosync.procedure))).toEqual({});
  });

  it.each<[string, ReplyHeader, string]>([
    ['the wrong program', { program: 0x2000f5f6 }, `program is ${0x2000f5f6}`],
    ['the wrong protocol version', { version: 3 }, 'protocol version is 3, not 4'],
    ['the procedure of another call', { procedure: isDir.procedure + 1 }, 'procedure is'],
    ['the direction of a call', { direction: 0 }, 'direction is 0, not 1'],
    ['an unknown direction', { direction: 2 }, 'direction is 2, not 1'],
    ['the serial number before', { serial: 4 }, 'serial number is 4, not 5'],
    ['the serial number after', { serial: 6 }, 'serial number is 6, not 5'],
    ['an unknown status', { status: 2 }, 'status is 2, not 1'],
    ['a negative status', { status: -1 }, 'status is -1, not 1'],
  ])('with %s breaks the protocol', (_what, header, message) => {
    const bytes = reply(isDir.procedure, word(1), header);
    expect(() => isDirOf(bytes)).toThrow(ProtocolError);
    expect(() => isDirOf(bytes)).toThrow(message);
  });

  it('cut anywhere breaks the protocol', () => {
    const bytes = reply(statvfs.procedure, Buffer.alloc(88, 1));
    expect(decodeReply(statvfs, 5, bytes)).toMatchObject({ statbuf: { bsize: 0x0101010101010101n } });
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeReply(statvfs, 5, bytes.subarray(0, length))).toThrow(ProtocolError);
    }
  });

  it.each([
    ['a boolean that is neither', isDir, word(2)],
    ['bytes after the value', isDir, Buffer.concat([word(1), word(0)])],
    ['a value where there is none', internalAutosync, word(0)],
    ['a string with a NUL', fileArchitecture, text('x\0y')],
    ['a string with bad padding', fileArchitecture, Buffer.concat([word(1), Buffer.of(0x41, 0, 1, 0)])],
    ['a string longer than the message', fileArchitecture, word(1000)],
    ['a hashtable with a key that has no value', listFilesystems, textList(['/dev/sda1'])],
    ['a list with more elements than bytes', listFilesystems, word(0x40000000)],
  ])('with %s breaks the protocol', (_what, { procedure, ...codec }, value) => {
    expect(() => decodeReply({ procedure, ...codec } as typeof isDir, 5, reply(procedure, value))).toThrow(
      ProtocolError,
    );
  });

  it('with an error is that error', () => {
    expect(() => isDirOf(errorReply(text('ENOENT'), text('no such file')))).toThrow(
      new GuestfsError('ENOENT', 'no such file'),
    );
    let thrown: unknown;
    try {
      isDirOf(errorReply(text('ENOENT'), text('no such file')));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ reason: 'ENOENT', message: 'no such file' });
  });

  it('with an error that has no errno is a DAEMON_ERROR', () => {
    let thrown: unknown;
    try {
      isDirOf(errorReply(text(''), text('parse error')));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ reason: 'DAEMON_ERROR', message: 'parse error' });
  });

  it('with control characters in its text shows them by their codes', () => {
    expect(() => isDirOf(errorReply(text('EIO'), text('a\u001b[2Jb\nc')))).toThrow('a\\x1b[2Jb\nc');
  });

  it('with an error of the longest text is taken', () => {
    expect(() => isDirOf(errorReply(text('E'.padEnd(32, 'X')), text('x'.repeat(65536))))).toThrow('x'.repeat(65536));
  });

  it.each([
    ['an errno in lower case', text('enoent'), text('')],
    ['an errno with a space', text('ENOENT '), text('')],
    ['an errno with a newline', text('ENOENT\n'), text('')],
    ['an errno that is none, but a reason of ours', text('CANCELLED'), text('')],
    ['another reason of ours', text('INTERNAL'), text('')],
    ['an errno of 33 bytes', text('E'.repeat(33)), text('')],
    ['an errno that is not UTF-8', opaque(Buffer.of(0x45, 0xff)), text('')],
    ['an errno with a NUL', text('E\0'), text('')],
    ['a text of 64 KiB and a byte', text('EIO'), text('x'.repeat(65537))],
    ['a text with a NUL', text('EIO'), text('a\0b')],
    ['no text', text('EIO'), Buffer.alloc(0)],
  ])('with an error that has %s breaks the protocol', (_what, errno, message) => {
    expect(() => isDirOf(errorReply(errno, message))).toThrow(ProtocolError);
  });

  it('with bytes after an error breaks the protocol', () => {
    expect(() => isDirOf(errorReply(text('EIO'), text('x'), word(0)))).toThrow('4 bytes too many');
  });
});
