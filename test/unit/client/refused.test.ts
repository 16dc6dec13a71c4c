/** What the client refuses or explains itself: wrong arguments, what was closed, servers that are not there or of another age. */
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connect, GuestfsRpcError, type Guest, type GuestfsClient } from '../../../clients/typescript/src/index.js';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { freePort } from '../../support/diskServers.js';
import { serve, type Served } from './server.js';

let served: Served;
let guest: Guest;
let calls: number;

/** The methods as a program in JavaScript sees them. */
type Loose = Record<string, (...given: unknown[]) => unknown>;
const loose = (): Loose => guest as unknown as Loose;

beforeEach(async () => {
  calls = 0;
  const answer = (_call: unknown, settle: (error: null, value: object) => void): void => {
    calls += 1;
    settle(null, { id: 's1' });
  };
  served = await serve([
    [SessionServiceService, { createSession: answer, deleteSession: answer }],
    [FileServiceService, { exists: answer, write: answer, statns: answer, touch: answer }],
  ]);
  guest = await served.client.session();
  calls = 0;
});
afterEach(() => served.close());

async function refused(call: () => unknown): Promise<GuestfsRpcError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof GuestfsRpcError) return error;
    throw error;
  }
  throw new Error('the call was made');
}

describe('wrong arguments are BAD_ARGUMENT, and nothing is sent', () => {
  it.each<[string, () => unknown, string]>([
    [
      'a missing argument',
      () => loose()['mount']?.('/dev/sda'),
      'mountpoint has to be a string of valid Unicode, and is undefined',
    ],
    [
      'a number as a path',
      () => loose()['exists']?.(5),
      'path has to be a string of valid Unicode, and is of type number',
    ],
    ['null', () => loose()['exists']?.(null), 'path has to be a string of valid Unicode, and is null'],
    ['half a character', () => loose()['exists']?.('\ud800'), 'path has to be a string of valid Unicode'],
    [
      'a text as bytes',
      () => loose()['write']?.('/a', 'text'),
      'content has to be bytes (a Uint8Array), and is of type string',
    ],
    [
      'a number of 64 bits',
      () => loose()['truncateSize']?.('/a', 5),
      'size has to be a bigint of 64 bits, such as 1024n',
    ],
    ['a bigint that is too large', () => guest.truncateSize('/a', 2n ** 64n), 'size has to be a bigint of 64 bits'],
    ['a fraction', () => guest.sleep(0.5), 'secs has to be a number, whole, of 32 bits'],
    ['a text as a list', () => loose()['echoDaemon']?.('words'), 'words has to be a list of strings'],
    [
      'an unknown option',
      () => loose()['mkfs']?.('ext4', '/dev/sda', { lable: 'x' }),
      'lable is not an option of mkfs; there are blocksize, features',
    ],
    [
      'an option of another object',
      () => loose()['mkfs']?.('ext4', '/dev/sda', { toString: 'x' }),
      'toString is not an option of mkfs',
    ],
    [
      'a wrong type of option',
      () => loose()['mkfs']?.('ext4', '/dev/sda', { label: 5 }),
      'label has to be a string of valid Unicode, and is of type number',
    ],
    [
      'options that are none',
      () => loose()['exists']?.('/a', '/b'),
      'an option of exists belongs into an object, which is of type string',
    ],
    ['a deadline that is none', () => loose()['exists']?.('/a', { deadline: 'tomorrow' }), 'deadline has to be a Date'],
    ['an invalid date', () => guest.exists('/a', { deadline: new Date('x') }), 'deadline has to be a Date'],
    ['a signal that is none', () => loose()['exists']?.('/a', { signal: true }), 'signal has to be an AbortSignal'],
    ['a request ID with blanks', () => guest.exists('/a', { requestId: 'a b' }), 'requestId has to be 1 to 64'],
    ['progress for nobody', () => loose()['exists']?.('/a', { onProgress: true }), 'onProgress has to be a function'],
    ['no source', () => loose()['upload']?.('/local/path', '/a'), 'the source has to be bytes'],
    ['a source of texts', () => loose()['upload']?.(['text'], '/a'), 'the source yielded a string, not bytes'],
    ['a download of nothing', () => loose()['download']?.(), 'remotefilename has to be a string'],
  ])('%s', async (_what, call, message) => {
    const error = await refused(call);
    expect(error.message).toContain(message);
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'BAD_ARGUMENT' });
    expect(error.action).toMatch(/^[a-z0-9_]+$/);
    expect(calls).toBe(0);
  });

  it('without the value, which may be a secret', async () => {
    const secret = ['hunter2'];
    const error = await refused(() => loose()['luksOpen']?.('/dev/sda', secret, 'name'));
    expect(`${error.message} ${error.stack}`).not.toContain('hunter2');
  });

  it.each<[string, unknown, string]>([
    ['an unknown option', { drivez: [] }, 'drivez is not an option of a session; there are drives, launch'],
    [
      'a drive without a source',
      { drives: [{ writable: true }] },
      'a drive has one of path, scratchSize, remote, not 0 of them',
    ],
    ['a drive with two', { drives: [{ path: 'a', scratchSize: 1n }] }, 'not 2 of them'],
    [
      'an unknown option of a drive',
      { drives: [{ path: 'a', readonly: true }] },
      'readonly is not an option of a drive',
    ],
    ['a drive that is a path', { drives: ['disk.img'] }, 'an option of a drive belongs into an object'],
    ['an unknown setting', { settings: { memory: 5 } }, 'memory is not a setting; there are memsize'],
    [
      'a remote image without a server of texts',
      { drives: [{ remote: { protocol: 'nbd', server: 'host' } }] },
      'server has to be a list',
    ],
    ['a time that is none', { idleTimeout: NaN }, 'idleTimeout is no number of seconds'],
    ['labels that are none', { labels: { a: 1 } }, 'labels have to be strings'],
    ['no options', null, 'belongs into an object, which is null'],
  ])('for a session: %s', async (_what, options, message) => {
    const error = await refused(() => served.client.session(options as never));
    expect(error.message).toContain(message);
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'BAD_ARGUMENT' });
    expect(calls).toBe(0);
  });

  it.each(['', 'a b', 'ü', undefined, 5])('for the ID of a session: %p', async (id) => {
    expect(await refused(() => served.client.attach(id as never))).toMatchObject({ reason: 'BAD_ARGUMENT' });
  });

  it.each(['', undefined, 5])('for an address: %p', async (address) => {
    expect(await refused(() => connect(address as never))).toMatchObject({ reason: 'BAD_ARGUMENT' });
  });
});

describe('what was closed', () => {
  it('a session that was ended', async () => {
    await guest.end();
    calls = 0;
    const ended = {
      code: status.FAILED_PRECONDITION,
      reason: 'SESSION_ENDED',
      details: 'the session s1 has been ended',
    };
    expect(await refused(() => guest.exists('/a'))).toMatchObject({ ...ended, action: 'exists' });
    expect(await refused(() => guest.ls('/'))).toMatchObject(ended);
    expect(await refused(() => guest.upload(Buffer.from('a'), '/a'))).toMatchObject(ended);
    expect(await refused(() => guest.download('/a').bytes())).toMatchObject(ended);
    expect(await refused(() => guest.progress())).toMatchObject(ended);
    expect(await refused(() => guest.describe())).toMatchObject(ended);
    await guest.end();
    await guest.endByForce();
    expect(calls).toBe(0);
  });

  it('a client', async () => {
    served.client.close();
    const closed = { code: status.FAILED_PRECONDITION, reason: 'CLIENT_CLOSED', details: 'the client was closed' };
    expect(await refused(() => guest.exists('/a'))).toMatchObject(closed);
    expect(await refused(() => guest.end())).toMatchObject(closed);
    expect(await refused(() => served.client.session())).toMatchObject(closed);
    served.client.close();
  });
});

describe('servers', () => {
  it('that are not there', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    using client: GuestfsClient = connect(address);
    const error = await refused(() => client.session({ drives: [{ path: 'disk.img' }] }));
    expect(error).toMatchObject({ code: status.UNAVAILABLE, reason: 'UNREACHABLE', errno: undefined });
    expect(error.message).toContain(
      `SessionService/CreateSession: UNAVAILABLE (UNREACHABLE): the server at ${address} cannot be reached, or the connection was lost: `,
    );
  });

  it('that are older or newer', async () => {
    const error = await refused(() => guest.mkdir('/a'));
    expect(error).toMatchObject({ code: status.UNIMPLEMENTED, reason: 'NOT_IN_SERVER', action: 'mkdir' });
    expect(error.details).toContain(`the server at ${served.address} does not have this RPC: it is older or newer`);
  });

  it('that leave out the answer', async () => {
    const error = await refused(() => guest.statns('/a'));
    expect(error).toMatchObject({ code: status.INTERNAL, reason: 'INCOMPLETE_ANSWER', action: 'statns' });
  });

  it('that vanish', async () => {
    served.close();
    const other = connect(served.address).attach('s1');
    expect(await refused(() => other.exists('/a'))).toMatchObject({ reason: 'UNREACHABLE', action: 'exists' });
  });
});
