/** Size and checksums of files: uploads are compared with what the client expects; downloads report them in trailers. */
import { createHash, type Hash } from 'node:crypto';
import { Metadata } from '@grpc/grpc-js';
import { crc32c } from '../common/crc32c.js';
import { badArgument, GuestfsError } from '../common/errors.js';
import type { FileArguments } from './fileMessages.js';

/** Metadata key of FileOut calls: the names of the requested checksums, separated by commas. */
export const CHECKSUM_KEY = 'guestfs-checksum';
const CHECKSUM_NAMES = ['sha256', 'crc32c'] as const;
type ChecksumName = (typeof CHECKSUM_NAMES)[number];

const SHA256_SIZE = 32;

function crcText(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}

/** Computes the size and the requested checksums. */
class Digest {
  #size = 0n;
  readonly #sha256: Hash | undefined;
  #crc32c: number | undefined;

  constructor(names: readonly ChecksumName[]) {
    if (names.includes('sha256')) this.#sha256 = createHash('sha256');
    if (names.includes('crc32c')) this.#crc32c = 0;
  }

  /** The size in bytes. */
  get size(): bigint {
    return this.#size;
  }

  add(bytes: Buffer): void {
    this.#size += BigInt(bytes.length);
    this.#sha256?.update(bytes);
    if (this.#crc32c !== undefined) this.#crc32c = crc32c(bytes, this.#crc32c);
  }

  /** The checksums, in hexadecimal digits; no more can be added afterwards. */
  end(): ReadonlyMap<ChecksumName, string> {
    const checksums = new Map<ChecksumName, string>();
    if (this.#sha256 !== undefined) checksums.set('sha256', this.#sha256.digest('hex'));
    if (this.#crc32c !== undefined) checksums.set('crc32c', crcText(this.#crc32c));
    return checksums;
  }
}

/** The expected size and checksums of an uploaded file. */
interface Expected {
  readonly size: bigint | undefined;
  readonly checksums: ReadonlyMap<ChecksumName, string>;
}

/** @throws GuestfsError BAD_ARGUMENT */
function expectedOf({ exact_size: size, sha256, crc32c: crc }: FileArguments): Expected {
  if (size !== undefined && size < 0n) throw badArgument('exact_size', 'must not be negative');
  if (sha256 !== undefined && sha256.length !== SHA256_SIZE)
    throw badArgument('sha256', `must be ${SHA256_SIZE} bytes, not ${sha256.length}`);
  const checksums = new Map<ChecksumName, string>();
  if (sha256 !== undefined) checksums.set('sha256', Buffer.from(sha256).toString('hex'));
  if (crc !== undefined) checksums.set('crc32c', crcText(crc));
  return { size, checksums };
}

function mismatch(check: string, expected: string, received: string, text: string): GuestfsError {
  return new GuestfsError('CHECKSUM_MISMATCH', text, { metadata: { check, expected, received } });
}

function wrongSize(expected: bigint, received: bigint): GuestfsError {
  return mismatch(
    'exact_size',
    String(expected),
    String(received),
    received > expected
      ? `exact_size: ${expected} bytes were expected, ${received} bytes have been received already`
      : `exact_size: ${expected} bytes were expected, ${received} bytes were received`,
  );
}

async function* checked(chunks: AsyncIterable<Buffer>, { size, checksums }: Expected): AsyncGenerator<Buffer> {
  const digest = new Digest([...checksums.keys()]);
  for await (const chunk of chunks) {
    digest.add(chunk);
    if (size !== undefined && digest.size > size) throw wrongSize(size, digest.size);
    yield chunk;
  }
  if (size !== undefined && digest.size !== size) throw wrongSize(size, digest.size);
  for (const [name, received] of digest.end()) {
    const expected = checksums.get(name) ?? '';
    if (received !== expected)
      throw mismatch(name, expected, received, `${name}: ${expected} was expected, ${received} was received`);
  }
}

/**
 * The check of an upload, by its arguments: it passes the chunks through and throws at the end if they do not match.
 * Without expectations it does nothing.
 * @throws GuestfsError BAD_ARGUMENT; CHECKSUM_MISMATCH while the chunks are read
 */
export function uploadCheck(request: FileArguments): (chunks: AsyncIterable<Buffer>) => AsyncIterable<Buffer> {
  const expected = expectedOf(request);
  if (expected.size === undefined && expected.checksums.size === 0) return (chunks) => chunks;
  return (chunks) => checked(chunks, expected);
}

/** Computes what the trailers of a download report. */
export interface DownloadCheck {
  add(pieces: readonly Buffer[]): void;
  /** The trailers, once the file is complete. */
  trailers(): Metadata;
}

/**
 * The check that a FileOut call's metadata requests; undefined if none.
 * @throws GuestfsError BAD_ARGUMENT
 */
export function downloadCheck(metadata: Metadata): DownloadCheck | undefined {
  const asked = metadata.get(CHECKSUM_KEY);
  if (asked.length === 0) return undefined;
  const names = asked
    .join(',')
    .split(',')
    .map((name) => name.trim());
  const unknown = names.find((name) => !(CHECKSUM_NAMES as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw badArgument(CHECKSUM_KEY, `unknown checksum '${unknown}'; use ${CHECKSUM_NAMES.join(' or ')}`);
  const digest = new Digest(names as ChecksumName[]);
  return {
    add: (pieces) => {
      for (const piece of pieces) digest.add(piece);
    },
    trailers: () => {
      const trailers = new Metadata();
      trailers.set('guestfs-size', String(digest.size));
      for (const [name, value] of digest.end()) trailers.set(`guestfs-${name}`, value);
      return trailers;
    },
  };
}
