/** The systemd journal, as systemd writes it: entries made on the host, read in a guest. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, it } from '@jest/globals';
import type { Xattr } from '../../gen/proto/guestfs/v1/structs.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, type SessionClient } from '../support/testClient.js';

/** Its location in Debian: it is not a command for users. */
const JOURNAL_REMOTE = '/lib/systemd/systemd-journal-remote';
const BOOT_ID = '0123456789abcdef0123456789abcdef';
const FIRST_USEC = 1_700_000_000_000_000n;
const SECOND_USEC = 1_000_000n;
/** How much systemd reads of a field by default. */
const DEFAULT_THRESHOLD = 65536n;

/** Every byte there is. */
const BINARY = Buffer.from(Array.from({ length: 256 }, (_byte, index) => index));
/** Long enough to be compressed, short enough for one chunk of the daemon's. */
const LONG = Buffer.alloc(6000, 'long ');
/** More than the daemon can send at once. */
const TOO_LONG = Buffer.alloc(20_000, 'too long ');

type Fields = Readonly<Record<string, Buffer>>;

const ENTRIES: readonly Fields[] = [
  { MESSAGE: Buffer.from('the first'), PRIORITY: Buffer.from('6'), SYSLOG_IDENTIFIER: Buffer.from('test') },
  { MESSAGE: Buffer.from('has bytes'), BINARY },
  { MESSAGE: Buffer.from('is long'), LONG },
  { MESSAGE: Buffer.from('has = and\na second line'), EMPTY: Buffer.alloc(0) },
  { MESSAGE: Buffer.from('is too long'), TOO_LONG },
  { MESSAGE: Buffer.from('the last') },
];

/** One field in the journal's export format: as bytes with their length, which all values but empty ones can be written as. */
function exported(name: string, value: Buffer): Buffer {
  if (value.length === 0) return Buffer.from(`${name}=\n`);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from('\n')]);
}

function makeJournal(path: string): void {
  const input = Buffer.concat(
    ENTRIES.flatMap((fields, index) => [
      Buffer.from(
        `__REALTIME_TIMESTAMP=${FIRST_USEC + BigInt(index) * SECOND_USEC}\n__MONOTONIC_TIMESTAMP=${index + 1}\n_BOOT_ID=${BOOT_ID}\n`,
      ),
      ...Object.entries(fields).map(([name, value]) => exported(name, value)),
      Buffer.from('\n'),
    ]),
  );
  const { status: code, stderr } = spawnSync(JOURNAL_REMOTE, [`--output=${path}`, '-'], { input });
  expect([code, stderr.toString()]).toEqual([0, expect.stringContaining(`${ENTRIES.length} entries`)]);
}

describeWithAppliance('the journal', () => {
  const scene = serverForTests();
  let session: SessionClient;

  const entry = async (): Promise<Record<string, Buffer>> => {
    const fields = (await session.call('journal_get')) as Xattr[];
    return Object.fromEntries(fields.map(({ attrname, attrval }) => [attrname, Buffer.from(attrval)]));
  };
  const open = async (): Promise<void> => session.call('journal_open', { directory: '/var/log/journal' });
  const skipTo = async (index: number): Promise<void> => {
    await open();
    expect(await session.call('journal_skip', { skip: BigInt(index + 1) })).toBe(BigInt(index + 1));
  };

  beforeAll(async () => {
    const directory = join(scene.server.images, 'tree', 'var', 'log', 'journal');
    mkdirSync(directory, { recursive: true });
    makeJournal(join(directory, 'system.journal'));
    run(
      'mke2fs',
      '-q',
      '-t',
      'ext4',
      '-d',
      join(scene.server.images, 'tree'),
      emptyImage(join(scene.server.images, 'disk.img'), 32),
    );
    session = await launchSession(scene.client, [imageDrive('disk.img', { writable: false })]);
    await session.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
  });

  it('has to be open before it is queried', async () => {
    for (const action of [
      'journal_next',
      'journal_get',
      'journal_get_realtime_usec',
      'journal_get_data_threshold',
      'journal_close',
    ]) {
      expect(await session.failure(action)).toMatchObject({
        details: expect.stringContaining("you must call 'journal-open' first"),
        info: { metadata: { action } },
      });
    }
    expect(await session.failure('journal_open', { directory: '/none' })).toMatchObject({
      code: status.NOT_FOUND,
      info: { reason: 'ENOENT' },
    });
  });

  it('is read entry by entry, with all fields and times', async () => {
    await open();
    for (const [index, fields] of ENTRIES.entries()) {
      expect(await session.call('journal_next')).toBe(true);
      expect(await session.call('journal_get_realtime_usec')).toBe(FIRST_USEC + BigInt(index) * SECOND_USEC);
      if ('TOO_LONG' in fields) continue;
      expect(await entry()).toEqual({ ...fields, _BOOT_ID: Buffer.from(BOOT_ID) });
      // The position has not moved.
      expect(await entry()).toEqual({ ...fields, _BOOT_ID: Buffer.from(BOOT_ID) });
    }
    expect(await session.call('journal_next')).toBe(false);
    await session.call('journal_close');
  });

  it('is skipped through, both ways', async () => {
    const skip = (entries: number): Promise<bigint> => session.call('journal_skip', { skip: BigInt(entries) });
    await open();
    expect(await skip(2)).toBe(2n);
    expect((await entry())['MESSAGE']?.toString()).toBe('has bytes');
    expect(await skip(0)).toBe(0n);
    expect(await skip(-1)).toBe(1n);
    expect((await entry())['MESSAGE']?.toString()).toBe('the first');
    expect(await skip(100)).toBe(BigInt(ENTRIES.length - 1));
    expect((await entry())['MESSAGE']?.toString()).toBe('the last');
    expect(await skip(-100)).toBe(BigInt(ENTRIES.length - 1));
    expect((await entry())['MESSAGE']?.toString()).toBe('the first');
  });

  it('has a threshold, up to which values are complete', async () => {
    await skipTo(2);
    expect(await session.call('journal_get_data_threshold')).toBe(DEFAULT_THRESHOLD);
    await session.call('journal_set_data_threshold', { threshold: 1000n });
    expect(await session.call('journal_get_data_threshold')).toBe(1000n);
    const { LONG: perhapsCut = Buffer.alloc(0), MESSAGE: message } = await entry();
    expect(perhapsCut.length).toBeGreaterThanOrEqual(1000 - 'LONG='.length);
    expect(LONG.subarray(0, perhapsCut.length).equals(perhapsCut)).toBe(true);
    expect(message?.toString()).toBe('is long');
    await session.call('journal_set_data_threshold', { threshold: 0n });
    expect((await entry())['LONG']?.equals(LONG)).toBe(true);
    // It is the open journal's, not the session's.
    await open();
    expect(await session.call('journal_get_data_threshold')).toBe(DEFAULT_THRESHOLD);
  });

  it('reports a field that is longer than its daemon can send, and continues', async () => {
    await skipTo(4);
    const failure = await session.failure('journal_get', {}, { deadline: Date.now() + 20_000 });
    expect(failure).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('use Download'),
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: { action: 'journal_get', limit: '8192' } },
    });
    expect(failure.details).toContain(`${TOO_LONG.length + 'TOO_LONG='.length} bytes`);
    expect(await session.call('journal_get_realtime_usec')).toBe(FIRST_USEC + 4n * SECOND_USEC);
    expect(await session.call('journal_next')).toBe(true);
    expect((await entry())['MESSAGE']?.toString()).toBe('the last');
  });

  it('is closed once', async () => {
    await open();
    await session.call('journal_close');
    expect((await session.failure('journal_close')).details).toContain("you must call 'journal-open' first");
  });
});
