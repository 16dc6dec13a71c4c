/**
 * An appliance: the kernel, initrd and root image that a virtual machine boots from.
 *
 * Its files are opened as one set: a supermin appliance can be replaced at any moment, and a kernel
 * must not be combined with the modules of another generation.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { MANIFEST_NAME, readManifest, type ApplianceManifest } from './manifest.js';
import { inspectRoot, type RootImage } from './rootImage.js';

/** The location of an appliance. */
export interface Appliance {
  /** Built in advance, or by supermin from the packages of this host. */
  readonly kind: 'fixed' | 'supermin';
  /** Directory with `kernel`, `initrd` and `root`. */
  readonly directory: string;
}

/** The files of an appliance, open for reading. */
export interface OpenAppliance extends Appliance {
  readonly kernel: FileHandle;
  readonly initrd: FileHandle;
  readonly root: FileHandle;
  readonly rootImage: RootImage;
  /** The file system that the initrd mounts as the root. */
  readonly rootUuid: string;
  readonly manifest: ApplianceManifest | undefined;
  close(): Promise<void>;
}

/** Names of an appliance's files. */
export const APPLIANCE_FILES = ['kernel', 'initrd', 'root'] as const;

/**
 * Opens an appliance.
 * @throws GuestfsError `APPLIANCE_UNUSABLE`
 */
export async function openAppliance(appliance: Appliance): Promise<OpenAppliance> {
  const handles: FileHandle[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(handles.splice(0).map((handle) => handle.close()));
  };
  try {
    const directory = await open(appliance.directory, 'r');
    handles.push(directory);
    // Through the open directory, so that all files are of one generation even if the path now leads to another.
    const inside = (name: string): string => `/proc/self/fd/${directory.fd}/${name}`;
    const manifest = await readManifest(inside(MANIFEST_NAME));
    const [kernel, initrd, root] = await openFiles(appliance, inside, manifest, handles);
    const rootImage = await inspectRoot(root, join(appliance.directory, 'root'));
    const rootUuid = rootImage.uuid ?? manifest?.rootUuid;
    if (rootUuid === undefined) {
      throw new GuestfsError(
        'APPLIANCE_UNUSABLE',
        `${join(appliance.directory, 'root')} is a qcow2 image and no ${MANIFEST_NAME} states the UUID of its file system; convert it to raw`,
      );
    }
    return { ...appliance, kernel, initrd, root, rootImage, rootUuid, manifest, close };
  } catch (error) {
    await close();
    if (error instanceof GuestfsError) throw error;
    throw new GuestfsError(
      'APPLIANCE_UNUSABLE',
      `the appliance in ${appliance.directory} cannot be opened: ${(error as Error).message.replace(/\/proc\/self\/fd\/\d+\//, '')}`,
      { cause: error },
    );
  }
}

async function openFiles(
  appliance: Appliance,
  inside: (name: string) => string,
  manifest: ApplianceManifest | undefined,
  handles: FileHandle[],
): Promise<readonly [FileHandle, FileHandle, FileHandle]> {
  const files: FileHandle[] = [];
  for (const name of APPLIANCE_FILES) {
    const file = await open(inside(name), 'r');
    handles.push(file);
    files.push(file);
    const { size } = await file.stat();
    const expected = manifest?.sizes.get(name);
    // Cheap enough for every launch, and detects an interrupted copy.
    if (size === 0 || (expected !== undefined && size !== expected)) {
      throw new GuestfsError(
        'APPLIANCE_UNUSABLE',
        `${join(appliance.directory, name)} has ${size} bytes${expected === undefined ? '' : ` instead of the ${expected} in its manifest`}; rebuild the appliance`,
      );
    }
  }
  return files as [FileHandle, FileHandle, FileHandle];
}
