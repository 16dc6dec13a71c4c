/** The files that an appliance boots from. */
import type { FileHandle } from 'node:fs/promises';
import type { OpenAppliance } from '../appliance/appliance.js';
import { createOverlay } from '../images/temporaryDisk.js';
import { openForEverybody } from '../qemu/plainFile.js';
import type { MachineSite } from './startMachine.js';

/** Files that a boot needs in addition to the appliance's root. */
export interface BootFiles {
  /** Readable by qemu's user. */
  readonly kernel: FileHandle;
  readonly initrd: FileHandle;
  /** Empty qcow2 image that receives the writes to the root. */
  readonly overlay: FileHandle;
}

/** Opens the boot files of one machine; they are closed once it has been started. */
export async function openBootFiles(
  appliance: OpenAppliance,
  { runDirectory, otherUser, closeOnceStarted }: Pick<MachineSite, 'runDirectory' | 'otherUser' | 'closeOnceStarted'>,
): Promise<BootFiles> {
  const overlay = await createOverlay(runDirectory.path, 'root.qcow2', appliance.rootImage.virtualSize);
  closeOnceStarted('overlay of the root', overlay.handle);
  const kernel = await openForEverybody(appliance.kernel, runDirectory.path, 'kernel', otherUser);
  closeOnceStarted('kernel', kernel);
  const initrd = await openForEverybody(appliance.initrd, runDirectory.path, 'initrd', otherUser);
  closeOnceStarted('initrd', initrd);
  return { overlay: overlay.handle, kernel: kernel.handle, initrd: initrd.handle };
}
