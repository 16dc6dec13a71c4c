import { describe, expect, it } from '@jest/globals';
import { FrameDecoder, type Frame } from '../../../src/protocol/frameDecoder.js';
import { ProtocolError } from '../../../src/protocol/messages.js';
import { pattern } from '../../fakes/files.js';
import { memoryInUse } from '../../fakes/memory.js';
import { long, word } from '../../fakes/xdrBytes.js';

const LAUNCH = word(0xf5f55ff5);
const CANCEL = word(0xffffeeee);
const PROGRESS = Buffer.concat([word(0xffff5555), word(66), word(7), long(2n ** 40n), long(2n ** 63n)]);
const MESSAGE_MAX = 4 * 1024 * 1024;

function message(bytes: Buffer): Buffer {
  return Buffer.concat([word(bytes.length), bytes]);
}

/** A frame in short form. */
function told(frame: Frame): string {
  switch (frame.kind) {
    case 'message':
      return `message ${frame.bytes.toString('hex')}`;
    case 'progress':
      return `progress ${frame.progress.procedure} ${frame.progress.serial} ${frame.progress.position}/${frame.progress.total}`;
    default:
      return frame.kind;
  }
}

/** The frames of a stream that arrives in these pieces. */
function decoded(...parts: readonly Buffer[]): string[] {
  const decoder = new FrameDecoder();
  // Recorded at once: the bytes of a frame are valid until the next push.
  return parts.flatMap((part) => Array.from(decoder.push(part), told));
}

const FIRST = pattern(11, 1);
const SECOND = pattern(40, 2);
const STREAM = Buffer.concat([
  LAUNCH,
  PROGRESS,
  message(FIRST),
  CANCEL,
  message(Buffer.alloc(0)),
  PROGRESS,
  PROGRESS,
  CANCEL,
  message(SECOND),
  LAUNCH,
  message(pattern(1, 3)),
]);
const FRAMES = [
  'launch',
  'progress 66 7 1099511627776/9223372036854775808',
  `message ${FIRST.toString('hex')}`,
  'cancel',
  'message ',
  'progress 66 7 1099511627776/9223372036854775808',
  'progress 66 7 1099511627776/9223372036854775808',
  'cancel',
  `message ${SECOND.toString('hex')}`,
  'launch',
  `message ${pattern(1, 3).toString('hex')}`,
];

describe('FrameDecoder', () => {
  it('yields the frames of a stream that arrives in one piece', () => {
    expect(decoded(STREAM)).toEqual(FRAMES);
  });

  it('yields the same frames wherever the stream is split once', () => {
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      expect({ cut, frames: decoded(STREAM.subarray(0, cut), STREAM.subarray(cut)) }).toEqual({ cut, frames: FRAMES });
    }
  });

  it('yields the same frames wherever the stream is split twice', () => {
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      for (let second = cut; second <= STREAM.length; second += 1) {
        const frames = decoded(STREAM.subarray(0, cut), STREAM.subarray(cut, second), STREAM.subarray(second));
        if (frames.join() !== FRAMES.join()) throw new Error(`cut at ${cut} and ${second}: ${frames.join()}`);
      }
    }
  });

  it.each([1, 2, 3, 5, 7, 13, 64])('yields the same frames from pieces of %d bytes', (size) => {
    const parts = Array.from({ length: Math.ceil(STREAM.length / size) }, (_, index) =>
      STREAM.subarray(index * size, (index + 1) * size),
    );
    expect(decoded(...parts)).toEqual(FRAMES);
  });

  it('accepts empty pieces', () => {
    expect(
      decoded(Buffer.alloc(0), LAUNCH.subarray(0, 2), Buffer.alloc(0), LAUNCH.subarray(2), Buffer.alloc(0)),
    ).toEqual(['launch']);
  });

  it('yields a frame as soon as its last byte has arrived, and not before', () => {
    const decoder = new FrameDecoder();
    expect([...decoder.push(STREAM.subarray(0, 3))]).toEqual([]);
    expect([...decoder.push(STREAM.subarray(3, 4))]).toEqual([{ kind: 'launch' }]);
    expect([...decoder.push(STREAM.subarray(4, 31))]).toEqual([]);
    expect(Array.from(decoder.push(STREAM.subarray(31, 32)), told)).toEqual([FRAMES[1]]);
  });

  it('accepts a message of exactly the limit, and keeps its bytes in order', () => {
    const bytes = pattern(MESSAGE_MAX);
    const stream = message(bytes);
    const decoder = new FrameDecoder();
    const frames = [
      stream.subarray(0, 100_001),
      stream.subarray(100_001, 3_000_000),
      stream.subarray(3_000_000),
    ].flatMap((part) => [...decoder.push(part)]);
    expect(frames).toHaveLength(1);
    expect(frames[0]?.kind === 'message' && frames[0].bytes.equals(bytes)).toBe(true);
  });

  it.each([
    ['one byte over the limit', MESSAGE_MAX + 1],
    ['the greatest length', 0xffffffff],
    ['a length next to the cancel flag', 0xffffeeef],
    ['a length next to the launch flag', 0xf5f55ff4],
    ['a length next to the progress flag', 0xffff5554],
    ['a negative length', 0x80000000],
  ])('refuses %s', (_what, length) => {
    expect(() => [...new FrameDecoder().push(word(length))]).toThrow(ProtocolError);
    expect(() => [...new FrameDecoder().push(word(length))]).toThrow(
      new RegExp(`message of ${length} bytes; at most 4194304 are allowed`),
    );
  });

  it('yields the frames before a refused length, however the stream is split', () => {
    const stream = Buffer.concat([CANCEL, message(FIRST), word(MESSAGE_MAX + 1)]);
    for (let cut = 0; cut <= stream.length; cut += 1) {
      const decoder = new FrameDecoder();
      const frames: string[] = [];
      expect(() => {
        for (const part of [stream.subarray(0, cut), stream.subarray(cut)])
          for (const frame of decoder.push(part)) frames.push(told(frame));
      }).toThrow(ProtocolError);
      expect({ cut, frames }).toEqual({ cut, frames: ['cancel', `message ${FIRST.toString('hex')}`] });
    }
  });

  it('allocates nothing for a length before its bytes arrive', () => {
    const before = memoryInUse();
    const decoders = Array.from({ length: 100 }, () => {
      const decoder = new FrameDecoder();
      for (const _ of decoder.push(Buffer.concat([word(MESSAGE_MAX), Buffer.alloc(10)])))
        throw new Error('no frame yet');
      return decoder;
    });
    expect(memoryInUse() - before).toBeLessThan(1024 * 1024);
    expect(decoders).toHaveLength(100);
  });

  it('uses no more than a few times the memory of a message that arrives byte by byte', () => {
    const size = 512 * 1024;
    const decoder = new FrameDecoder();
    const before = memoryInUse();
    for (const _ of decoder.push(word(MESSAGE_MAX))) throw new Error('no frame yet');
    // Like the stream of a socket: each piece has its own memory.
    for (let count = 0; count < size; count += 1)
      for (const _ of decoder.push(Buffer.allocUnsafeSlow(1))) throw new Error('no frame yet');
    expect(memoryInUse() - before).toBeLessThan(4 * size);
    expect([...decoder.push(Buffer.alloc(MESSAGE_MAX - size))]).toHaveLength(1);
  });
});
