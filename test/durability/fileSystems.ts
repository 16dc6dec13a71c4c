/** File systems of the durability tests: how they are made and checked. */

/** A file system. */
export interface FileSystem {
  readonly name: 'ext4' | 'xfs' | 'btrfs';
  /** Size of its image, MiB; XFS refuses to be smaller. */
  readonly mebibytes: number;
  /**
   * A command of the appliance that checks it without changing anything, and fails unless it is faultless. The tools of
   * the appliance are those that the file system was made with; older ones of a host might not know its features.
   */
  readonly check: string;
}

export const FILE_SYSTEMS: readonly FileSystem[] = [
  { name: 'ext4', mebibytes: 96, check: 'e2fsck -fn' },
  { name: 'xfs', mebibytes: 320, check: 'xfs_repair -n' },
  { name: 'btrfs', mebibytes: 256, check: 'btrfs check --readonly' },
];

/** Formats of images. */
export type ImageFormat = 'raw' | 'qcow2';
export const IMAGE_FORMATS: readonly ImageFormat[] = ['raw', 'qcow2'];

/** What is tested: a file system in an image. */
export interface Subject {
  readonly fileSystem: FileSystem;
  readonly format: ImageFormat;
}

export const SUBJECTS: readonly Subject[] = IMAGE_FORMATS.flatMap((format) =>
  FILE_SYSTEMS.map((fileSystem) => ({ fileSystem, format })),
);

export function nameOf({ fileSystem, format }: Subject): string {
  return `${fileSystem.name} on ${format}`;
}
