/** Inspects the disk as if its contents were unknown. */
import { InspectionServiceService as Inspection } from '../../gen/proto/guestfs/v1/inspection.js';
import { MountServiceService } from '../../gen/proto/guestfs/v1/mount.js';
import { HOSTNAME } from '../guest/systemFiles.js';
import type { Guide } from '../guide.js';

export async function inspection(guide: Guide): Promise<void> {
  await guide.call(MountServiceService.umountAll, {}, 'start with nothing mounted');
  const {
    roots: [root],
  } = await guide.call(
    Inspection.inspectOs,
    {},
    ({ roots }) => `operating systems on ${roots.join(', ') || 'nothing'}`,
  );
  if (root === undefined) throw new Error('the inspection found no operating system');
  await guide.call(Inspection.inspectGetProductName, { root }, ({ product }) => product);
  await guide.call(Inspection.inspectGetDistro, { root }, ({ distro }) => distro);
  await guide.call(Inspection.inspectGetArch, { root }, ({ arch }) => arch);
  const { hostname } = await guide.call(Inspection.inspectGetHostname, { root }, (found) => found.hostname);
  if (hostname !== HOSTNAME) throw new Error(`the inspection found the host name ${hostname}`);
  const { mountpoints } = await guide.call(Inspection.inspectGetMountpoints, { root }, (found) =>
    [...found.mountpoints].map(([path, device]) => `${path} ${device}`).join(', '),
  );
  // A mount point must exist before it can be used: shortest first.
  const shortestFirst = [...mountpoints].sort(([one], [other]) => one.length - other.length);
  await guide.together(async (call) => {
    for (const [mountpoint, mountable] of shortestFirst)
      await call(MountServiceService.mount, { mountable, mountpoint });
  }, 'everything in its fstab');
  await guide.call(
    Inspection.inspectListApplications2,
    { root },
    ({ applications2: list }) =>
      `${list.length} packages: ${list.map(({ app2_name: name, app2_version: version }) => `${name} ${version}`).join(', ')}`,
  );
}
