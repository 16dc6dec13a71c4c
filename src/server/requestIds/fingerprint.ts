/** Fingerprints of requests, which tell a repeated call from another one with the same request ID. */
import { createHash, type Hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Content from this size on is hashed by itself rather than encoded with the request, which would copy it. Bytes. */
const LARGE = 64 * 1024;
/** How much is hashed in one turn of the event loop, bytes: a few milliseconds. */
const AT_ONCE = 4 * 1024 * 1024;

async function updateWith(hash: Hash, bytes: Buffer): Promise<void> {
  for (let start = 0; start < bytes.length; start += AT_ONCE) {
    if (start > 0) await nextTurn();
    hash.update(bytes.subarray(start, start + AT_ONCE));
  }
}

/**
 * The fingerprint of a request. Requests can contain keys: it reveals nothing about them that a hash does not.
 * @param serialize encodes it
 */
export async function fingerprintOf(serialize: (request: object) => Buffer, request: object): Promise<string> {
  const large = Object.entries(request).filter(
    (entry): entry is [string, Buffer] => Buffer.isBuffer(entry[1]) && entry[1].length >= LARGE,
  );
  const rest = large.length === 0 ? request : { ...request };
  const hash = createHash('sha256');
  for (const [name, content] of large) {
    (rest as Record<string, unknown>)[name] = Buffer.alloc(0);
    hash.update(`${name} ${content.length} `);
    await updateWith(hash, content);
  }
  await updateWith(hash, serialize(rest));
  return hash.digest('base64');
}
