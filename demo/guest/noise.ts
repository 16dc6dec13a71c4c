/** Large files with incompressible contents that are the same every time. */
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

const PIECE = Buffer.alloc(1024 * 1024);

/** Writes a file of this many MiB and returns its SHA-256. */
export async function writeNoise(path: string, mebibytes: number): Promise<string> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  const hash = createHash('sha256');
  const out = createWriteStream(path);
  for (let written = 0; written < mebibytes; written += 1) {
    const piece = cipher.update(PIECE);
    hash.update(piece);
    if (!out.write(piece)) await once(out, 'drain');
  }
  out.end();
  await finished(out);
  return hash.digest('hex');
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: PIECE.length })) hash.update(piece as Buffer);
  return hash.digest('hex');
}
