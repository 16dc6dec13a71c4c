/** ext4 on one partition; LVM on the other, with ext4 on two logical volumes. */
import { FilesystemServiceService } from '../../gen/proto/guestfs/v1/filesystem.js';
import { LvmServiceService } from '../../gen/proto/guestfs/v1/lvm.js';
import { HOME_VOLUME, ROOT_VOLUME, VOLUME_GROUP } from '../guest/systemFiles.js';
import type { Guide } from '../guide.js';
import { BOOT_PARTITION, LVM_PARTITION } from './partitions.js';

const ROOT_SIZE_MB = 512;
const HOME_SIZE_MB = 256;

export async function filesystems(guide: Guide): Promise<void> {
  await guide.call(
    FilesystemServiceService.mkfs,
    { fstype: 'ext4', device: BOOT_PARTITION, label: 'boot' },
    `ext4 on ${BOOT_PARTITION}`,
  );
  await guide.call(LvmServiceService.pvcreate, { device: LVM_PARTITION }, `physical volume ${LVM_PARTITION}`);
  await guide.call(
    LvmServiceService.vgcreate,
    { volgroup: VOLUME_GROUP, physvols: [LVM_PARTITION] },
    `volume group ${VOLUME_GROUP}`,
  );
  await guide.call(
    LvmServiceService.lvcreate,
    { logvol: 'root', volgroup: VOLUME_GROUP, mbytes: ROOT_SIZE_MB },
    `${ROOT_VOLUME}, ${ROOT_SIZE_MB} MiB`,
  );
  await guide.call(
    LvmServiceService.lvcreate,
    { logvol: 'home', volgroup: VOLUME_GROUP, mbytes: HOME_SIZE_MB },
    `${HOME_VOLUME}, ${HOME_SIZE_MB} MiB`,
  );
  for (const device of [ROOT_VOLUME, HOME_VOLUME])
    await guide.call(FilesystemServiceService.mkfs, { fstype: 'ext4', device }, `ext4 on ${device}`);
  await guide.call(FilesystemServiceService.listFilesystems, {}, ({ fses }) =>
    [...fses].map(([device, type]) => `${device}: ${type}`).join(', '),
  );
}
