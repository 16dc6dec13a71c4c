/** Bearer tokens: JSON Web Tokens that an issuer signed for this server, checked against a set of keys in a file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { GuestfsError } from '../common/errors.js';
import { identity, TOKEN_KIND, unauthenticated } from './certificateIdentity.js';

/** Signatures that only the issuer can make; never `none`, and none with a key that the server has, too. */
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
/** Clocks of issuer and server may differ by this, seconds. */
const CLOCK_TOLERANCE_S = 30;
/** Tokens whose signature need not be checked again. */
const MOST_KNOWN = 1000;

export interface TokenSettings {
  /** File of the JSON Web Key Set. */
  readonly keys: string;
  readonly issuer: string;
  /** What the tokens call this server. */
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
  if (set.keys.length === 0) throw new Error('there is no key in it');
  if (set.keys.some(({ kty, d }) => kty === 'oct' || d !== undefined))
    throw new Error('it has a secret or private key: public keys are all that is needed to check tokens');
  return keys;
}

export class TokenVerifier {
  #keys: JWTVerifyGetKey;
  /**
   * By hash of the token. It holds promises, so that calls with one token go on in the order in which they came,
   * although the first of them waits for the signature to be checked.
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
   * Reads the keys again; when that fails, they stay as they are.
   * @throws Error if the file is not a set of public keys
   */
  async reload(): Promise<void> {
    this.#keys = await readKeys(this.settings.keys);
    this.#checked.clear();
  }

  /**
   * The identity that a token stands for; at once, if the token has been seen before.
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
        // Only good tokens make others be forgotten.
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
      // jose's messages name claims and quote nothing.
      if (error instanceof errors.JOSEError) throw unauthenticated(`the bearer token is refused: ${error.message}`);
      throw unauthenticated('the bearer token cannot be read');
    }
  }
}
