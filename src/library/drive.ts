/** Drives of a session, and disk images on the server. */
import type { DriveLibraryActions } from '../../gen/libraryActions.js';
import { drivesFromRequest, scratchDriveFromRequest, type AddDriveOptions } from '../images/addDriveRequest.js';
import { createDisk } from '../images/createDisk.js';
import { diskFormat, diskHasBackingFile, diskVirtualSize, type DiskQueryContext } from '../images/diskQueries.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import type { LibraryContext } from './context.js';
import { addDomain } from './domain/addDomain.js';

async function add(
  { session, imageRoots, action, signal }: LibraryContext,
  filename: string,
  options: AddDriveOptions,
): Promise<Record<never, never>> {
  const drives = await drivesFromRequest(filename, options, imageRoots);
  const [drive] = drives;
  if (drives.length === 1 && drive !== undefined) await session.attachDrive(drive, action.name, signal);
  // The disks of an OVA, all or none; not while it runs.
  else session.addDrives(drives, action.name);
  return {};
}

function queries(context: LibraryContext): DiskQueryContext {
  return { imageRoots: context.imageRoots, probe: context.probe, signal: context.signal };
}

export const driveActions: DriveLibraryActions = {
  add_drive: (context, { filename, server, ...options }) =>
    add(context, filename, { ...options, server: server?.values }),
  add_drive_ro: (context, { filename }) => add(context, filename, { readonly: true }),
  add_cdrom: (context, { filename }) => add(context, filename, { readonly: true }),
  // The library has long ignored the type of bus.
  add_drive_with_if: (context, { filename }) => add(context, filename, {}),
  add_drive_ro_with_if: (context, { filename }) => add(context, filename, { readonly: true }),
  add_drive_scratch: async ({ action, session, signal }, { size, ...options }) => {
    await session.attachDrive(scratchDriveFromRequest(size, options), action.name, signal);
    return {};
  },
  add_domain: async (context, request) => ({ nrdisks: await addDomain(context, request) }),
  // The library takes a pointer to a drive; here the drive is named, by either of its names.
  add_libvirt_dom: async (context, request) => ({
    nrdisks: await addDomain(context, { ...request, libvirturi: undefined, allowuuid: true }),
  }),
  remove_drive: async ({ action, session, signal }, { label }) => {
    await session.removeDrive(label, action.name, signal);
    return {};
  },
  max_disks: async () => ({ disks: MAX_DRIVES }),
  disk_create: async (context, request) => {
    const { hv } = context.session.settings;
    await createDisk(request, { ...queries(context), disk: context.disk, qemuBinary: hv });
    return {};
  },
  disk_format: async (context, { filename }) => ({ format: await diskFormat(filename, queries(context)) }),
  disk_virtual_size: async (context, { filename }) => ({ size: await diskVirtualSize(filename, queries(context)) }),
  disk_has_backing_file: async (context, { filename }) => ({
    backingfile: await diskHasBackingFile(filename, queries(context)),
  }),
};
