/** This project decodes a real daemon's answers to the same values as libguestfs. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { decodeTskDirent, decodeYaraDetection } from '../../gen/calls/structs.js';
import { isFileOut } from '../../src/actions/shape.js';
import { GuestfsError } from '../../src/common/errors.js';
import { FrameDecoder } from '../../src/protocol/frameDecoder.js';
import { decodeChunk, decodeReply, encodeChunks, encodeLastChunk } from '../../src/protocol/messages.js';
import { XdrDecoder } from '../../src/xdr/decoder.js';
import {
  actionOf,
  callFor,
  payloadOf,
  readRecords,
  recordedStruct,
  recordedValue,
  type ReplyRecord,
} from './records.js';

/** Offset of the procedure number in the header of a message. */
const PROCEDURE_AT = 8;

const records = readRecords<ReplyRecord>('replies.json');
const actions = [...new Set(records.map((record) => record.action))];

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A daemon's stream of messages through the frame decoder. */
function framesOf(record: ReplyRecord): string[] {
  const reply = Buffer.from(record.reply, 'hex');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(reply.length);
  const wire = Buffer.concat([...(record.before ?? []).map((hex) => Buffer.from(hex, 'hex')), length, reply]);
  return [...new FrameDecoder().push(wire)].map((frame) => frame.kind);
}

/** The value of a reply, or its error in the form of the recordings. */
function replyOf(record: ReplyRecord): { readonly value: unknown } | { readonly error: unknown } {
  const reply = Buffer.from(record.reply, 'hex');
  const call = callFor(record.action, reply.readInt32BE(PROCEDURE_AT));
  try {
    return {
      value: recordedValue(actionOf(record.action), decodeReply(call, record.serial, reply) as Record<string, unknown>),
    };
  } catch (error) {
    if (!(error instanceof GuestfsError)) throw error;
    return { error: { errno: error.reason === 'DAEMON_ERROR' ? '' : error.reason, message: error.message } };
  }
}

let compared = 0;
let filesCompared = 0;

function compareReply(record: ReplyRecord): void {
  expect(framesOf(record)).toEqual([
    ...(record.before ?? []).map((hex) => (hex === 'ffffeeee' ? 'cancel' : 'progress')),
    'message',
  ]);
  // The reply to a download is empty, whether it succeeds or is cancelled later.
  const fileFollows = record.chunkSizes !== undefined;
  if (fileFollows) expect(replyOf(record)).toEqual({ value: null });
  else if (record.error) expect(replyOf(record)).toEqual({ error: record.error });
  else expect(replyOf(record)).toEqual({ value: record.value });
  compared += 1;
}

/** Struct for struct, one in each chunk, as the library-side actions of this kind read them. */
const CHUNK_READERS: Readonly<Record<string, (chunk: Buffer) => unknown>> = {
  filesystem_walk: (chunk) => recordedStruct('tsk_dirent', decodeTskDirent(new XdrDecoder(chunk))),
  find_inode: (chunk) => recordedStruct('tsk_dirent', decodeTskDirent(new XdrDecoder(chunk))),
  yara_scan: (chunk) => recordedStruct('yara_detection', decodeYaraDetection(new XdrDecoder(chunk))),
};

interface RecordedFile {
  readonly hex?: string;
  readonly size?: number;
  readonly sha256?: string;
  readonly byteFormula?: string;
}

function compareFile(record: ReplyRecord): void {
  const value = record.value as RecordedFile | undefined;
  if (record.chunks !== undefined) {
    const chunks = record.chunks.map((hex) => decodeChunk(Buffer.from(hex, 'hex')));
    expect(chunks.map((chunk) => chunk.data.length)).toEqual(record.chunkSizes);
    expect(chunks.map((chunk) => chunk.cancel)).toEqual(
      chunks.map((_, index) => record.cancelled === true && index === chunks.length - 1),
    );
    const data = chunks.map((chunk) => chunk.data);
    const reader = CHUNK_READERS[record.via ?? ''];
    if (reader) expect(data.slice(0, -1).map(reader)).toEqual(record.value);
    else expect(Buffer.concat(data).toString('hex')).toBe(value?.hex);
  } else if (value?.byteFormula !== undefined) {
    const payload = payloadOf(value.size ?? 0);
    expect(sha256(payload)).toBe(value.sha256);
    expect(sha256(Buffer.concat([encodeChunks(payload), encodeLastChunk(false)]))).toBe(record.chunksSha256);
  } else {
    // For these, only checksums are recorded.
    expect(record.chunksSha256).toMatch(/^[0-9a-f]{64}$/);
  }
  filesCompared += 1;
}

describe('replies recorded from a daemon of 1.48.6', () => {
  it.each(actions)('%s is understood', (action) => {
    for (const record of records) if (record.action === action) compareReply(record);
  });

  it('every reply was compared', () => {
    expect(records.length).toBeGreaterThanOrEqual(387);
    expect(compared).toBe(records.length);
  });
});

describe('files recorded from a daemon of 1.48.6', () => {
  const downloads = records.filter((record) => record.chunkSizes !== undefined);

  it('are for actions that send files', () => {
    for (const record of downloads) expect(isFileOut(actionOf(record.action))).toBe(true);
  });

  it('have the chunks and the contents that libguestfs received', () => {
    for (const record of downloads) compareFile(record);
  });

  it('every file was compared', () => {
    expect(downloads.length).toBeGreaterThanOrEqual(19);
    expect(filesCompared).toBe(downloads.length);
  });
});
