/** The code that splits the daemon's bytes into frames, and decodes the chunks of files in them. */
import { CANCEL_FLAG, LAUNCH_FLAG, PROGRESS_FLAG } from '../../../src/protocol/constants.js';
import { FrameDecoder, type Frame } from '../../../src/protocol/frameDecoder.js';
import {
  answersCall,
  CANCEL_CHUNK,
  decodeChunk,
  encodeChunks,
  encodeLastChunk,
  ProtocolError,
} from '../../../src/protocol/messages.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';
import { asRead, cut, inPieces } from './pieces.js';

/** The frames in some pieces, and whether decoding ended with an error. */
function framesIn(pieces: readonly Buffer[]): { frames: Frame[]; refused: boolean } {
  const decoder = new FrameDecoder();
  const frames: Frame[] = [];
  const done = unlessRefused([ProtocolError], () => {
    for (const piece of pieces)
      turn(() => {
        for (const frame of decoder.push(piece)) frames.push(frame);
      });
    return true;
  });
  return { frames, refused: done !== true };
}

/** Faster than a general comparison of objects; there can be a million frames. */
function isSame(some: readonly Frame[], others: readonly Frame[]): boolean {
  return (
    some.length === others.length &&
    some.every((one, index) => {
      const other = others[index];
      if (one.kind === 'message') return other?.kind === 'message' && other.bytes.equals(one.bytes);
      if (one.kind !== 'progress') return other?.kind === one.kind;
      return other?.kind === 'progress' && other.progress.position === one.progress.position;
    })
  );
}

function checkChunk(bytes: Buffer): void {
  const chunk = unlessRefused([ProtocolError], () => decodeChunk(bytes));
  if (chunk === undefined) return;
  ensure(chunk.data.length <= bytes.length, 'a chunk has more data than its message');
  if (chunk.data.length === 0) {
    const last = encodeLastChunk(chunk.cancel).subarray(4);
    ensure(bytes.equals(last), 'the last chunk is not encoded as it was received');
  } else if (!chunk.cancel) {
    ensure(encodeChunks(chunk.data).subarray(4).equals(bytes), 'a chunk is not encoded as it was received');
  }
}

function words(...values: number[]): Buffer {
  const encoder = new XdrEncoder();
  for (const value of values) encoder.unsignedInt(value);
  return encoder.finish();
}

export const frames: Target = {
  name: 'frames',
  about: "the daemon's frames and chunks",
  longest: 1024,
  stretched: 1 << 20,
  seeds: () =>
    [
      words(LAUNCH_FLAG),
      words(CANCEL_FLAG, 0),
      words(PROGRESS_FLAG, 1, 2, 0, 50, 0, 100),
      encodeChunks(Buffer.from('some data')),
      Buffer.concat([encodeChunks(Buffer.alloc(40)), encodeLastChunk(false)]),
      Buffer.concat([words(CANCEL_CHUNK.length), CANCEL_CHUNK]),
    ].flatMap((bytes) => [inPieces(1, bytes), inPieces(256, bytes)]),
  run(input) {
    const { bytes, pieces } = cut(input);
    const whole = framesIn(asRead(bytes));
    const inParts = framesIn(pieces);
    ensure(whole.refused === inParts.refused, 'whether bytes are refused depends on how they are split');
    ensure(isSame(whole.frames, inParts.frames), 'the frames depend on how the bytes are split');
    let length = 0;
    for (const frame of whole.frames) {
      if (frame.kind !== 'message') continue;
      length += frame.bytes.length;
      answersCall(1, frame.bytes);
      checkChunk(frame.bytes);
    }
    ensure(length <= bytes.length, 'the frames have more bytes than the input');
  },
};
