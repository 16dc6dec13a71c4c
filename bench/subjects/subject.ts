/** The subjects: this service, another version of it, and libguestfs. A measurement is written once for all of them. */

/** A drive for an appliance to be measured. */
export type BenchDrive = { readonly path: string; readonly format: 'raw' } | { readonly scratchSize: bigint };

/** The cost of listing names. */
export interface Listing {
  readonly seconds: number;
  readonly names: number;
  /** Time to the first names, for subjects that deliver them before the list is complete. */
  readonly firstSeconds?: number;
}

/** A launched appliance. Times are in seconds, measured at the caller. */
export interface Machine {
  /** Time until the daemon is ready. */
  readonly launchSeconds: number;
  /** Makes ext4 on the first drive and mounts it on /. */
  format(): Promise<void>;
  /** Mounts the first drive on /, without writing to it. */
  mountReadOnly(): Promise<void>;
  upload(local: string, remote: string, size: bigint): Promise<number>;
  download(remote: string, local: string): Promise<number>;
  /** SHA-256, computed in the appliance. */
  checksum(remote: string): Promise<string>;
  /** Makes the smallest call to the daemon, this many times in a row. */
  echo(count: number): Promise<readonly number[]>;
  find(directory: string): Promise<Listing>;
  readdir(directory: string): Promise<Listing>;
  close(): Promise<void>;
}

export const SUBJECTS = ['service', 'other', 'library', 'stock'] as const;
export type SubjectId = (typeof SUBJECTS)[number];

export const SUBJECT_TITLES: Readonly<Record<SubjectId, string>> = {
  service: 'guestfs-grpc',
  other: 'the other checkout',
  library: 'libguestfs',
  stock: 'libguestfs, stock appliance',
};

export interface Subject {
  readonly id: SubjectId;
  /** Read-only drives, except scratch ones. */
  launch(drives: readonly BenchDrive[]): Promise<Machine>;
  close(): Promise<void>;
}
