/** The files that an appliance boots from. */
import type { FileHandle } from 'node:fs/promises';
import type { OpenAppliance } from '../appliance/appliance.js';
import type { RunDirectory } from '../common/tempDir.js';
import { createOverlay } from '../images/temporaryDisk.js';
import { openForEverybody } from '../qemu/plainFile.js';

/** Files that a boot needs besides the appliance's root. */
export interface BootFiles {
  /** Readable by qemu's user. */
  readonly kernel: FileHandle;
  readonly initrd: FileHandle;
  /** Empty qcow2 image that takes the writes to the root. */
  readonly overlay: FileHandle;
}

/** What is opened anew for each boot; `close` can be called twice. */
export type OpenBootFiles = BootFiles & { close(): Promise<void> };

/** Opens them for one machine. @param others whether qemu runs as another user */
export async function openBootFiles(
  appliance: OpenAppliance,
  runDirectory: RunDirectory,
  others: boolean,
): Promise<OpenBootFiles> {
  const opened: { close(): Promise<void> }[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closing ??= Promise.all(opened.map((file) => file.close())).then(() => undefined));
  try {
    const overlay = await createOverlay(runDirectory.path, 'root.qcow2', appliance.rootImage.virtualSize);
    opened.push(overlay.handle);
    const kernel = await openForEverybody(appliance.kernel, runDirectory.path, 'kernel', others);
    opened.push(kernel);
    const initrd = await openForEverybody(appliance.initrd, runDirectory.path, 'initrd', others);
    opened.push(initrd);
    return { overlay: overlay.handle, kernel: kernel.handle, initrd: initrd.handle, close };
  } catch (error) {
    await close();
    throw error;
  }
}
