/** What root in an appliance can reach: its own drives, and nothing of other sessions, of the template or of the host. */
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, sha256 } from '../support/diskImages.js';
import { inGuest } from '../support/launchKinds.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, scratchDrive, type SessionClient } from '../support/testClient.js';
import { join } from 'node:path';

const MEBIBYTE = 1 << 20;
/** Kinds of virtio devices that an appliance has: block devices, consoles, random numbers, SCSI. */
const DEVICES = ['0x0002', '0x0003', '0x0004', '0x0008'];

const words = async (session: SessionClient, script: string): Promise<string[]> =>
  String(await inGuest(session, script))
    .split(/\s+/)
    .filter((word) => word !== '');

describeWithAppliance('root in an appliance', () => {
  const scene = serverForTests({ flags: ['--debug-service'] });
  let sessions: [SessionClient, SessionClient];
  let image: string;

  it('has its own drives and its root, no network, and nothing shared with the host', async () => {
    image = emptyImage(join(scene.server.images, 'other.img'), 8);
    sessions = [
      await launchSession(scene.client, [scratchDrive(3 * MEBIBYTE)]),
      await launchSession(scene.client, [scratchDrive(5 * MEBIBYTE), imageDrive('other.img', { writable: true })]),
    ];
    const [first] = sessions;
    const sizes = await words(first, 'for disk in /sys/block/*; do [ -e $disk/device ] && cat $disk/size; done');
    // In sectors.
    expect(sizes.map(Number).filter((size) => size < 2 ** 20)).toEqual([(3 * MEBIBYTE) / 512]);
    expect(sizes).toHaveLength(2);
    expect(await words(first, 'ls /sys/class/net')).toEqual(['lo']);
    const devices = await words(first, 'cat /sys/bus/virtio/devices/*/device');
    expect(devices.filter((kind) => !DEVICES.includes(kind))).toEqual([]);
    expect(await words(first, "grep -E '9p|virtiofs|nfs|cifs' /proc/mounts || true")).toEqual([]);
  });

  it('shares no random numbers with another that was cloned from the same memory', async () => {
    // The first that the kernel gives.
    const numbers = await Promise.all(
      sessions.map((session) => words(session, 'od -An -v -tx1 -N64 -w16 /dev/urandom | tr -d " "')),
    );
    expect(numbers.map((some) => some.length)).toEqual([4, 4]);
    expect(new Set(numbers.flat()).size).toBe(8);
    expect(scene.server.log()).toContain('cloned');
  });

  it('destroys nothing but its own appliance', async () => {
    const [first, second] = sessions;
    const before = await sha256(image);
    const destroy = `
for disk in /sys/block/*; do
  [ -e $disk/device ] || continue
  dd if=/dev/zero of=/dev/\${disk##*/} bs=1M count=64 conv=fsync || true
done 2>/dev/null
echo done`;
    expect(await words(first, destroy)).toEqual(['done']);
    await scene.client.deleteSession(first.id).catch(() => undefined);
    expect(await second.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
    await second.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    expect(await sha256(image)).toBe(before);
    const third = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
    await third.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    await scene.client.deleteSession(third.id);
    await scene.client.deleteSession(second.id);
  });
});
