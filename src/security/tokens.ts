/** Bearer tokens: JSON Web Tokens that an issuer signed for this server, checked against a set of keys in a file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { GuestfsError } from '../common/errors.js';
import { identity, TOKEN_KIND, unauthenticated } from './certificateIdentity.js';

/** Algorithms whose signatures only the issuer can create: not `none`, and no shared keys. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
/** Tolerated difference between the clocks of issuer and server, in seconds. */
const CLOCK_TOLERANCE_S = 30;
/** Maximum number of tokens that are remembered, so that their signatures need not be checked again. */
const MOST_KNOWN = 1000;

export interface TokenSettings {
  /** File of the JSON Web Key Set. */
  readonly keys: string;
  readonly issuer: string;
  /** The name of this server in tokens. */
  readonly audience: string;
}

interface Known {
  readonly identity: string;
  /** When the token expires, milliseconds. */
  readonly expires: number;
}

interface Checked {
  readonly checking: Promise<Known>;
  /** Once the signature is known to be good. */
  known?: Known;
}

async function readKeys(path: string): Promise<JWTVerifyGetKey> {
  const set = JSON.parse(await readFile(path, 'utf8')) as JSONWebKeySet;
  const keys = createLocalJWKSet(set);
  if (set.keys.length === 0) throw new Error('it contains no keys');
  if (set.keys.some(({ kty, d }) => kty === 'oct' || d !== undefined))
    throw new Error('it contains a secret or private key: only public keys are needed to check tokens');
  return keys;
}

export class TokenVerifier {
  #keys: JWTVerifyGetKey;
  /**
   * By hash of the token. It contains promises, so that calls with the same token proceed in the order of arrival,
   * although the first of them waits for the signature check.
   */
  readonly #checked = new Map<string, Checked>();

  private constructor(
    keys: JWTVerifyGetKey,
    private readonly settings: TokenSettings,
  ) {
    this.#keys = keys;
  }

  /** @throws Error if the file is not a set of public keys */
  static async read(settings: TokenSettings): Promise<TokenVerifier> {
    return new TokenVerifier(await readKeys(settings.keys), settings);
  }

  /**
   * Reloads the keys; if that fails, the current ones stay in use.
   * @throws Error if the file is not a set of public keys
   */
  async reload(): Promise<void> {
    this.#keys = await readKeys(this.settings.keys);
    this.#checked.clear();
  }

  /**
   * The identity of a token; at once, if the token has been seen before.
   * @throws GuestfsError UNAUTHENTICATED
   */
  verify(token: string): string | Promise<string> {
    const hash = createHash('sha256').update(token).digest('base64');
    const checked = this.#checked.get(hash) ?? this.#check(token, hash);
    return checked.known === undefined ? this.#verified(checked, hash) : this.#unlessExpired(checked.known, hash);
  }

  async #verified({ checking }: Checked, hash: string): Promise<string> {
    return this.#unlessExpired(await checking, hash);
  }

  #unlessExpired({ identity: found, expires }: Known, hash: string): string {
    if (expires + CLOCK_TOLERANCE_S * 1000 > Date.now()) return found;
    this.#checked.delete(hash);
    throw unauthenticated('the bearer token has expired');
  }

  #check(token: string, hash: string): Checked {
    const checked: Checked = { checking: this.#verifyNow(token) };
    this.#checked.set(hash, checked);
    checked.checking.then(
      (known) => {
        checked.known = known;
        // Only valid tokens push out others.
        if (this.#checked.size > MOST_KNOWN) this.#forgetOldest();
      },
      () => {
        if (this.#checked.get(hash) === checked) this.#checked.delete(hash);
      },
    );
    return checked;
  }

  #forgetOldest(): void {
    const [oldest] = this.#checked.keys();
    if (oldest !== undefined) this.#checked.delete(oldest);
  }

  async #verifyNow(token: string): Promise<Known> {
    const { issuer, audience } = this.settings;
    try {
      const { payload } = await jwtVerify(token, this.#keys, {
        ...{ issuer, audience, algorithms: ALGORITHMS, clockTolerance: CLOCK_TOLERANCE_S },
        requiredClaims: ['exp', 'sub'],
      });
      return { identity: identity(TOKEN_KIND, payload.sub ?? ''), expires: (payload.exp ?? 0) * 1000 };
    } catch (error) {
      if (error instanceof GuestfsError) throw error;
      // jose's messages name claims, but quote no values.
      if (error instanceof errors.JOSEError) throw unauthenticated(`the bearer token is not valid: ${error.message}`);
      throw unauthenticated('the bearer token cannot be read');
    }
  }
}
