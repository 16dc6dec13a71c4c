/** All names of devices: canonical_device_name on real ones. */
import { beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { inGuest, linesInGuest } from '../support/launchKinds.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;

describeWithAppliance('the usual name', () => {
  const scene = serverForTests({ flags: ['--debug-service'] });
  let session: SessionClient;
  const canonical = async (device: string, on = session): Promise<string> =>
    on.call('canonical_device_name', { device });

  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(64 * MEBIBYTE)]);
    await session.call('pvcreate', { device: '/dev/sda' });
    await session.call('vgcreate', { volgroup: 'my-group', physvols: ['/dev/sda'] });
    for (const logvol of ['first', 'the-second'])
      await session.call('lvcreate', { logvol, volgroup: 'my-group', mbytes: 16 });
  });

  it.each([
    ['/dev/mapper/my--group-first', '/dev/my-group/first'],
    ['/dev/mapper/my--group-the--second', '/dev/my-group/the-second'],
  ])('of the logical volume %s is %s', async (mapped, usual) => {
    expect(await canonical(mapped)).toBe(usual);
    expect(await canonical(usual)).toBe(usual);
    expect(await session.call('lvs')).toContain(usual);
    expect(await session.call('lvm_canonical_lv_name', { lvname: mapped })).toBe(usual);
  });

  it('of a logical volume that is known by its number is its own', async () => {
    const nodes = await linesInGuest(session, 'for link in /dev/my-group/*; do echo $link $(readlink -f $link); done');
    expect(nodes).toHaveLength(2);
    for (const [usual = '', node = ''] of nodes.map((line) => line.split(' '))) {
      expect(node).toMatch(/^\/dev\/dm-\d+$/);
      expect(await canonical(node)).toBe(usual);
    }
  });

  it.each([
    ['/dev/vda', '/dev/sda'],
    ['/dev/hda3', '/dev/sda3'],
    ['/dev/xvdb1', '/dev/sdb1'],
    ['/dev/sdaa12', '/dev/sdaa12'],
    ['/dev/md0', '/dev/md0'],
    ['/dev/md/name', '/dev/md/name'],
    ['/dev/other/volume', '/dev/other/volume'],
    // Those that there are none of.
    ['/dev/mapper/none', '/dev/mapper/none'],
    ['/dev/dm-99', '/dev/dm-99'],
    ['/dev/mapper/', '/dev/mapper/'],
  ])('of %s is %s', async (device, usual) => {
    expect(await canonical(device)).toBe(usual);
  });

  it('of a mapped device that is no logical volume is the one it has', async () => {
    await inGuest(session, 'dmsetup create other --table "0 2048 linear /dev/my-group/first 0"');
    expect(await canonical('/dev/mapper/other')).toBe('/dev/mapper/other');
  });

  it('is returned without a machine as well, as far as possible', async () => {
    const { id } = await scene.client.createSession();
    const other = new SessionClient(scene.client, id);
    expect(await canonical('/dev/vda1', other)).toBe('/dev/sda1');
    expect(await canonical('/dev/mapper/my--group-first', other)).toBe('/dev/mapper/my--group-first');
    await scene.client.deleteSession(id);
  });
});
