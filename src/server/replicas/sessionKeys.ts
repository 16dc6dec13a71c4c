/**
 * The secret that the replicas of a service share. It signs session IDs, and what one replica tells another about a
 * call that it passes on. The file has one key per line: the first one signs, all of them are accepted, so that a key
 * can be replaced without invalidating the IDs of open sessions.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** 128 random bits in hexadecimal digits. */
const LEAST_LENGTH = 32;
const MOST_KEYS = 16;

/** What a signature is for: one that was made for one purpose is invalid for another. */
export type Purpose = 'session' | 'forwarded' | 'replica';

async function read(path: string): Promise<readonly Buffer[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.length === 0) throw new Error('it contains no keys');
  if (keys.length > MOST_KEYS) throw new Error(`it contains ${keys.length} keys; at most ${MOST_KEYS} are allowed`);
  const short = keys.findIndex((key) => key.length < LEAST_LENGTH);
  if (short !== -1)
    throw new Error(`key ${short + 1} has fewer than ${LEAST_LENGTH} characters; make one with: openssl rand -hex 32`);
  return keys.map((key) => Buffer.from(key, 'utf8'));
}

export class SessionKeys {
  #keys: readonly Buffer[];

  private constructor(
    keys: readonly Buffer[],
    private readonly path: string,
  ) {
    this.#keys = keys;
  }

  /** @throws Error if the file cannot be read, has no keys, or has one that is too short */
  static async read(path: string): Promise<SessionKeys> {
    return new SessionKeys(await read(path), path);
  }

  /**
   * Reloads the file; if that fails, the current keys stay in use.
   * @throws Error as {@link SessionKeys.read}
   */
  async reload(): Promise<void> {
    this.#keys = await read(this.path);
  }

  /** The signature of a text, made with the first key. */
  sign(purpose: Purpose, text: string): Buffer {
    return hmac(this.#keys[0] as Buffer, purpose, text);
  }

  /** Whether a signature, or the beginning of one, was made with any of the keys. */
  verify(purpose: Purpose, text: string, signature: Buffer): boolean {
    return this.#keys.some((key) => {
      const expected = hmac(key, purpose, text).subarray(0, signature.length);
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    });
  }
}

function hmac(key: Buffer, purpose: Purpose, text: string): Buffer {
  return createHmac('sha256', key).update(purpose).update('\0').update(text).digest();
}
