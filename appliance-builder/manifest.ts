/** The manifest of an appliance: its contents, and the inputs that it was built from. */
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Version of the manifest's format; increases when older readers would misread it. */
export const MANIFEST_FORMAT = 1;

/** Name of the manifest in the appliance's directory. */
export const MANIFEST_FILE = 'manifest.json';

/** Size and checksum of one file of the appliance. */
export interface ManifestFile {
  readonly sha256: string;
  readonly size: number;
}

/** The content of `manifest.json`. */
export interface Manifest {
  readonly formatVersion: number;
  /** Hash of the build's inputs apart from the packages; see inputs.ts. */
  readonly inputsHash: string;
  readonly suite: string;
  /** Debian's name of the architecture, such as `amd64`. */
  readonly architecture: string;
  /** Version of guestfsd, such as `1.54.1`. */
  readonly daemonVersion: string;
  readonly kernelVersion: string;
  /** UUID of the file system in `root`; goes on the kernel command line. */
  readonly rootUuid: string;
  /** Version of each Debian package with files in the appliance. */
  readonly packages: Readonly<Record<string, string>>;
  readonly files: {
    readonly kernel: ManifestFile;
    readonly initrd: ManifestFile;
    readonly root: ManifestFile;
  };
  /**
   * When its kernel was built, in ISO 8601. Nothing in the appliance is newer: the time of its own build is nowhere,
   * because builds from the same packages are identical.
   */
  readonly sourceDate: string;
}

/** Reads the manifest of an appliance; undefined if there is none or it has another format version. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, MANIFEST_FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const manifest = JSON.parse(text) as Manifest;
    return manifest.formatVersion === MANIFEST_FORMAT ? manifest : undefined;
  } catch {
    // A manifest that cannot be read belongs to no finished build: build again.
    return undefined;
  }
}

/** Size and checksum of a file; holes count as the zeros that they read as. */
export async function describeFile(path: string): Promise<ManifestFile> {
  const hash = createHash('sha256');
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafe(4 << 20);
    let size = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return { sha256: hash.digest('hex'), size };
      hash.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/**
 * The upstream version in a Debian version: `1.54.1` for `1:1.54.1-2+deb13u1`.
 * Suffixes that packagers add (`+dfsg`, `~rc1`) are not part of the version that the daemon reports.
 */
export function upstreamVersion(debianVersion: string): string {
  const [version = ''] = debianVersion
    .replace(/^\d+:/, '')
    .replace(/-[^-]*$/, '')
    .split(/[+~]/);
  return version;
}
