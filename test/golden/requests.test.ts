/** For each call, this project sends exactly the same bytes as libguestfs. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { daemonCalls } from '../../gen/calls/index.js';
import { MAX_CHUNK_SIZE } from '../../src/protocol/constants.js';
import { encodeCall, encodeChunks, encodeLastChunk } from '../../src/protocol/messages.js';
import { callFor, payloadOf, readRecords, RECORDED_VERSION, requestOf, type RequestRecord } from './records.js';

const WORD = 4;
/** Offset of the procedure number in the header. */
const PROCEDURE_AT = 2 * WORD;

const records = readRecords<RequestRecord>('requests.json');
const actions = [...new Set(records.map((record) => record.action))];

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A message in the form of the recordings: without its length word, which must be correct. */
function withoutLength(message: Buffer): Buffer {
  expect(message.readUInt32BE(0)).toBe(message.length - WORD);
  return message.subarray(WORD);
}

function encoded(record: RequestRecord): Buffer {
  // All messages with only a recorded checksum belong to actions with a single procedure.
  const call =
    record.request === undefined
      ? Object.values(daemonCalls).find((candidate) => candidate.action === record.action)
      : callFor(record.action, Buffer.from(record.request, 'hex').readInt32BE(PROCEDURE_AT));
  if (!call) throw new Error(`no codec of ${record.action}`);
  return withoutLength(
    encodeCall(call, requestOf(record), {
      serial: record.serial,
      progressHint: BigInt(record.progressHint ?? 0),
      daemon: RECORDED_VERSION,
    }),
  );
}

/** Everything that goes over the wire for a file. */
function encodedFile(payload: NonNullable<RequestRecord['payload']>): Buffer {
  if (payload.source === 'missing') return encodeLastChunk(true);
  return Buffer.concat([encodeChunks(payloadOf(payload.size)), encodeLastChunk(false)]);
}

/** The chunk messages in the bytes of a file. */
function chunksIn(wire: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < wire.length; ) {
    const length = wire.readUInt32BE(at);
    chunks.push(wire.subarray(at + WORD, at + WORD + length));
    at += WORD + length;
  }
  return chunks;
}

let compared = 0;
let filesCompared = 0;

function compareRequest(record: RequestRecord): void {
  const message = encoded(record);
  const actual =
    record.request === undefined
      ? { case: record.case, length: message.length, sha256: sha256(message) }
      : { case: record.case, request: message.toString('hex') };
  const expected =
    record.request === undefined
      ? { case: record.case, length: record.requestLength, sha256: record.requestSha256 }
      : { case: record.case, request: record.request };
  expect(actual).toEqual(expected);
  compared += 1;
}

function compareFile(record: RequestRecord): void {
  if (record.payload === undefined) return;
  const wire = encodedFile(record.payload);
  const chunks = chunksIn(wire);
  expect(chunks.map((chunk) => chunk.readUInt32BE(WORD))).toEqual(record.chunkSizes);
  if (record.chunks !== undefined) expect(chunks.map((chunk) => chunk.toString('hex'))).toEqual(record.chunks);
  else expect(sha256(wire)).toBe(record.chunksSha256);
  filesCompared += 1;
}

describe('requests recorded from libguestfs 1.48.6', () => {
  it.each(actions)('%s has the same bytes', (action) => {
    for (const record of records) if (record.action === action) compareRequest(record);
  });

  it('every request was compared', () => {
    expect(records.length).toBeGreaterThanOrEqual(2234);
    expect(compared).toBe(records.length);
  });

  it('cover every procedure that 1.48.6 has', () => {
    const procedures = new Set(
      records.map((record) => (record.request ? Buffer.from(record.request, 'hex').readInt32BE(PROCEDURE_AT) : 0)),
    );
    procedures.delete(0);
    expect(procedures.size).toBeGreaterThanOrEqual(492);
  });
});

describe('files recorded from libguestfs 1.48.6', () => {
  const uploads = records.filter((record) => record.payload !== undefined);

  it('their chunks have the same bytes', () => {
    for (const record of uploads) compareFile(record);
  });

  it('every file was compared', () => {
    expect(uploads.length).toBeGreaterThanOrEqual(72);
    expect(filesCompared).toBe(uploads.length);
  });

  it('reach the longest chunk', () => {
    expect(Math.max(...uploads.flatMap((record) => record.chunkSizes ?? []))).toBe(MAX_CHUNK_SIZE);
  });
});
