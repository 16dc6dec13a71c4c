/** udev in a running appliance: the scripts that replace its programs, and what they must not change. */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;

describe.each(['trixie', 'bookworm'])('udev in the appliance of %s', (suite) => {
  describeWhen(
    'scripts',
    builtAppliance(suite) === undefined ? `there is no appliance: npm run appliance -- --suite ${suite}` : undefined,
    () => {
      const scene = serverForTests(() => ({ flags: ['--appliance', builtAppliance(suite) ?? '', '--debug-service'] }));
      let session: SessionClient;
      const shell = async (command: string): Promise<string[]> =>
        String(await session.call('debug', { subcmd: 'sh', extraargs: [command] }))
          .split('\n')
          .filter((line) => line !== '');

      beforeAll(async () => {
        session = await launchSession(scene.client, [
          scratchDrive(64 * MEBIBYTE, { label: 'system' }),
          scratchDrive(64 * MEBIBYTE),
        ]);
      });

      it('wait for udev without the real program when it has nothing to do', async () => {
        const programs = await shell('sleep 1; strace -f -qq -e trace=execve -e signal=none udevadm settle 2>&1');
        expect(programs.map((line) => /execve\("([^"]*)"/.exec(line)?.[1])).toEqual([
          expect.stringMatching(/^\/s?bin\/udevadm$/),
        ]);
      });

      it('print the same for each disk as the real program', async () => {
        expect(
          await shell(`option=$(grep -ho -m 1 -e '--[a-z]*listed' /usr/lib/udev/rules.d/60-persistent-storage.rules | head -1)
        for disk in /dev/sda /dev/sdb; do
          /usr/lib/udev/scsi_id --export $option -d $disk >/tmp/script
          /usr/lib/guestfs-grpc/scsi_id --export $option -d $disk >/tmp/program
          cmp /tmp/script /tmp/program 2>&1
          strace -f -qq -e trace=execve -e signal=none /usr/lib/udev/scsi_id --export $option -d $disk 2>&1 >/dev/null | grep -c execve
        done`),
        ).toEqual(['1', '1']);
      });

      it('do not change the links of disks', async () => {
        expect(
          await shell(
            'cd /dev; for link in disk/guestfs/system disk/by-id/scsi-0QEMU_QEMU_HARDDISK_system disk/by-path/*-scsi-0:0:1:0; do readlink -f $link; done',
          ),
        ).toEqual(['/dev/sda', '/dev/sda', '/dev/sdb']);
      });

      // Each write happens while udev is idle, like the daemon's: while udev works on a device, it does not watch it.
      it('wait until udev has handled a label, a table or a partition', async () => {
        expect(
          await shell(`
        echo ',,L' | sfdisk -q /dev/sda >/dev/null 2>&1
        udevadm settle
        mke2fs -q /dev/sda1
        mke2fs -q /dev/sdb
        udevadm settle
        for round in 1 2 3 4 5 6 7 8; do
          for disk in sda1 sdb; do
            printf $disk-$round | dd of=/dev/$disk bs=1 seek=1144 conv=notrunc 2>/dev/null
            udevadm settle
            [ "$(readlink -f /dev/disk/by-label/$disk-$round)" = /dev/$disk ] || echo "no link $disk-$round"
          done
          blockdev --rereadpt /dev/sda
          udevadm settle
          [ -b /dev/sda1 ] && [ -e /dev/disk/guestfs/system1 ] || echo "no partition in round $round"
        done
        echo done`),
        ).toEqual(['done']);
      });

      it('load no driver for a disk once the appliance is up', async () => {
        expect(await shell('lsmod | grep -cw ^sd_mod; lsmod | grep -cw ^sg; true')).toEqual(['1', '0']);
      });
    },
  );
});
