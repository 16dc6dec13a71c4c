/** Directories and files that make the image look like a small Linux system. */
import { AttributeServiceService } from '../../gen/proto/guestfs/v1/attribute.js';
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import { MountServiceService } from '../../gen/proto/guestfs/v1/mount.js';
import { directories, files, HOME_VOLUME, links, programs, ROOT_VOLUME } from '../guest/systemFiles.js';
import type { Guide } from '../guide.js';
import { BOOT_PARTITION } from './partitions.js';

const PROGRAM_MODE = 0o755;

export async function writeFiles(guide: Guide): Promise<void> {
  await guide.call(MountServiceService.mount, { mountable: ROOT_VOLUME, mountpoint: '/' }, `${ROOT_VOLUME} on /`);
  await guide.together(async (call) => {
    for (const path of directories) await call(FileServiceService.mkdirP, { path });
    for (const link of links) await call(FileServiceService.lnS, link);
  }, directories.join(' '));
  await guide.call(
    MountServiceService.mount,
    { mountable: BOOT_PARTITION, mountpoint: '/boot' },
    `${BOOT_PARTITION} on /boot`,
  );
  await guide.call(
    MountServiceService.mount,
    { mountable: HOME_VOLUME, mountpoint: '/home' },
    `${HOME_VOLUME} on /home`,
  );
  await guide.together(async (call) => {
    for (const [path, content] of files) await call(FileServiceService.write, { path, content });
    for (const path of programs) await call(AttributeServiceService.chmod, { mode: PROGRAM_MODE, path });
  }, 'a small Linux system');
}
