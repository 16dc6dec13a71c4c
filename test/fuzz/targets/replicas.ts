/** What clients can send to replicas in the place of IDs and statements that only replicas can sign. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { GuestfsError } from '../../../src/common/errors.js';
import { intervalIn } from '../../../src/server/capacity.js';
import { forwardedBy, forwardedHeader, FORWARDED_HEADER } from '../../../src/server/replicas/forwarded.js';
import { idOf, placeOf } from '../../../src/server/replicas/sessionIds.js';
import { SessionKeys } from '../../../src/server/replicas/sessionKeys.js';
import { ensure, unlessRefused, type Target } from '../engine/target.js';

const IDENTITY = 'cn:alice';
const SIGNATURE_BYTES = 32;
const STATEMENT = { from: 'r1', to: { replica: 'r2', run: 'abcdefgh' }, identity: IDENTITY, client: IDENTITY };

let made: Promise<SessionKeys> | undefined;

async function makeKeys(): Promise<SessionKeys> {
  const directory = mkdtempSync(join(tmpdir(), 'fuzz-keys-'));
  try {
    const path = join(directory, 'keys');
    writeFileSync(path, '0123456789abcdef0123456789abcdef');
    return await SessionKeys.read(path);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function checkId(keys: SessionKeys, id: string): void {
  const place = unlessRefused([GuestfsError], () => placeOf(keys, id, IDENTITY));
  ensure(
    place === undefined || idOf(keys, place, IDENTITY) === id,
    'an ID is accepted that was not made for its client',
  );
  const foreign = unlessRefused([GuestfsError], () => placeOf(keys, id, 'cn:bob'));
  ensure(foreign === undefined, 'an ID of another client is accepted');
}

function checkStatement(keys: SessionKeys, value: Buffer): void {
  const metadata = new Metadata();
  metadata.set(FORWARDED_HEADER, value);
  const statement = unlessRefused([GuestfsError], () => forwardedBy(keys, metadata));
  if (statement === undefined) return;
  const [signature, text] = [value.subarray(0, SIGNATURE_BYTES), value.subarray(SIGNATURE_BYTES)];
  ensure(
    keys.sign('forwarded', text.toString('utf8')).equals(signature),
    'a statement is accepted without a signature',
  );
}

function checkInterval(request: Buffer): void {
  const interval = unlessRefused([Error], () => intervalIn(request));
  ensure(interval === undefined || (interval >= 1000 && interval <= 3_600_000), 'an interval is outside its limits');
}

const FORMS = 4;

export const replicas: Target = {
  name: 'replicas',
  about: 'session IDs that name their replica, statements of replicas about calls, and requests for load reports',
  longest: 1024,
  stretched: 64 * 1024,
  async seeds() {
    made ??= makeKeys();
    const keys = await made;
    const id = idOf(keys, { name: 'build', replica: 'r1', run: 'abcdefgh' }, IDENTITY);
    return [
      Buffer.from(`\0${id}`),
      Buffer.from('\0a.b.r-1.abcdefgh.0123456789abcdef'),
      Buffer.concat([Buffer.from([1]), forwardedHeader(keys, STATEMENT)]),
      Buffer.concat([Buffer.from([1]), forwardedHeader(keys, { from: 'r1', nonce: 'n' })]),
      Buffer.concat([Buffer.from([2]), Buffer.from(JSON.stringify(STATEMENT))]),
      Buffer.from([3, 0x0a, 0x04, 0x08, 0x05, 0x10, 0x07]),
      Buffer.from([3]),
    ];
  },
  async run(input) {
    made ??= makeKeys();
    const keys = await made;
    const rest = input.subarray(1);
    switch ((input[0] ?? 0) % FORMS) {
      case 0:
        return checkId(keys, rest.toString('utf8'));
      case 1:
        return checkStatement(keys, rest);
      case 2:
        // A replica of another version, or one that has been taken over.
        return checkStatement(keys, Buffer.concat([keys.sign('forwarded', rest.toString('utf8')), rest]));
      default:
        return checkInterval(rest);
    }
  },
};
