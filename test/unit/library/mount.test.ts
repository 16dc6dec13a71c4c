import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import type { LibraryContext } from '../../../src/library/context.js';
import { mountActions } from '../../../src/library/mount.js';
import { inTurn } from './fakes.js';

describe('parts of mountables', () => {
  const parsed = (im_device: string, im_volume: string) => ({
    answers: { internal_parse_mountable: { mountable: { im_type: 1, im_device, im_volume } } },
  });

  it('are told', async () => {
    const context = inTurn('mountable_device', parsed('/dev/sda1', 'sub/vol'));
    expect(await mountActions.mountable_device(context, { mountable: 'btrfsvol:/dev/sda1/sub/vol' })).toEqual({
      device: '/dev/sda1',
    });
    expect(await mountActions.mountable_subvolume(context, { mountable: 'btrfsvol:/dev/sda1/sub/vol' })).toEqual({
      subvolume: 'sub/vol',
    });
  });

  it('a device has no subvolume', async () => {
    await expect(
      mountActions.mountable_subvolume(inTurn('mountable_subvolume', parsed('/dev/sda1', '')), {
        mountable: '/dev/sda1',
      }),
    ).rejects.toMatchObject({ reason: 'EINVAL' });
  });

  it('something that is not a mountable has none either; an appliance that ends is an error', async () => {
    const failing = (reason: string): LibraryContext =>
      inTurn('mountable_subvolume', { answers: { internal_parse_mountable: new GuestfsError(reason, 'x') } });
    await expect(mountActions.mountable_subvolume(failing('ENOENT'), { mountable: 'x' })).rejects.toMatchObject({
      reason: 'EINVAL',
      message: 'not a btrfs subvolume identifier',
    });
    await expect(mountActions.mountable_device(failing('ENOENT'), { mountable: 'x' })).rejects.toMatchObject({
      reason: 'ENOENT',
    });
    for (const reason of ['OUTCOME_UNKNOWN', 'EINTR', 'CANCELLED']) {
      await expect(mountActions.mountable_subvolume(failing(reason), { mountable: 'x' })).rejects.toMatchObject({
        reason,
      });
    }
  });
});
