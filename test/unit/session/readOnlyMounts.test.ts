/** Mounts for writing that turn out to be read-only. */
import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { requireMountedAsAsked } from '../../../src/session/readOnlyMounts.js';

const READ_ONLY = 1n;

/** Makes the check, with these answers of the daemon; returns its failure, and the actions that were asked for. */
async function check(
  options: string | undefined,
  { flag = READ_ONLY, printed = '' } = {},
): Promise<{ readonly failure: unknown; readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const request = { mountable: '/dev/sda1', mountpoint: '/', ...(options === undefined ? {} : { options }) };
  const failure: unknown = await requireMountedAsAsked(request, (call) => {
    asked.push(call.action);
    return Promise.resolve({ statbuf: { flag }, result: printed } as never);
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { failure, asked };
}

describe('a mount for writing', () => {
  it('of the NTFS of a hibernated Windows is undone, and fails', async () => {
    for (const options of [undefined, 'noatime', '']) {
      const { failure, asked } = await check(options, { printed: 'hibernated\n' });
      expect(asked).toEqual(['statvfs', 'debug', 'umount']);
      expect(failure).toBeInstanceOf(GuestfsError);
      expect(failure).toMatchObject({
        reason: 'NTFS_HIBERNATED',
        message: expect.stringMatching(/^\/dev\/sda1 is not mounted: Windows is hibernated.*remove_hiberfile$/),
      });
    }
  });

  it('of anything else that can only be read succeeds', async () => {
    expect(await check(undefined)).toEqual({ failure: undefined, asked: ['statvfs', 'debug'] });
  });

  it('stays if the daemon does not say whether it is writable', async () => {
    for (const [reason, fails] of [
      ['ENOSYS', false],
      ['DAEMON_ERROR', false],
      ['APPLIANCE_GONE', true],
    ] as const) {
      const checked = requireMountedAsAsked({ mountable: '/dev/sda1', mountpoint: '/' }, () =>
        Promise.reject(new GuestfsError(reason, 'no answer')),
      );
      expect(
        await checked.then(
          () => false,
          () => true,
        ),
      ).toBe(fails);
    }
  });

  it('that is writable takes one more question', async () => {
    expect(await check(undefined, { flag: 0n })).toEqual({ failure: undefined, asked: ['statvfs'] });
  });
});

it('a mount for reading is not examined', async () => {
  expect(await check('noatime,ro', { printed: 'hibernated\n' })).toEqual({ failure: undefined, asked: [] });
});
