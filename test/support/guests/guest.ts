/**
 * Disk images with systems that an inspection recognises, created from scratch through the
 * service. They cannot boot: they only have the structures on disk that libguestfs examines.
 */
import { join, posix } from 'node:path';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { emptyImage } from '../diskImages.js';
import { launchSession } from '../scene.js';
import { imageDrive, type SessionClient, type TestClient } from '../testClient.js';

/** Locations of Windows system files. */
export interface ExpectedWindows {
  readonly systemroot: string;
  readonly currentControlSet: string;
  readonly softwareHive: string;
  readonly systemHive: string;
}

/** What an inspection must find out about a system; facts left out are empty or missing. */
export interface ExpectedSystem {
  readonly root: string;
  readonly type: string;
  readonly distro: string;
  readonly productName: string;
  readonly productVariant?: string;
  readonly version: readonly [major: number, minor: number];
  readonly hostname: string;
  readonly arch: string;
  readonly packageFormat: string;
  readonly packageManagement: string;
  readonly buildId?: string;
  readonly osinfo: string;
  /** Devices by mount point. */
  readonly mountpoints: Readonly<Record<string, string>>;
  /** Sorted: the order in which they are found is irrelevant. */
  readonly filesystems: readonly string[];
  readonly driveMappings?: Readonly<Record<string, string>>;
  /** Facts specific to Windows. */
  readonly windows?: ExpectedWindows;
  /** Name, version and release of each, by name. */
  readonly applications: readonly (readonly [name: string, version: string, release: string])[];
}

/** A kind of image, and what is in it. */
export interface Guest {
  readonly name: string;
  readonly mebibytes: number;
  /** Creates its content on the first drive of a session, /dev/sda. */
  readonly fill: (session: SessionClient) => Promise<void>;
  readonly systems: readonly ExpectedSystem[];
  /** Further facts about some applications, by name. */
  readonly applicationDetails?: Readonly<Record<string, Partial<Application2>>>;
}

/** Creates a guest's image in a directory, and returns its name there. */
export async function makeGuest(
  client: TestClient,
  directory: string,
  { name, mebibytes, fill }: Guest,
): Promise<string> {
  const image = `${name}.img`;
  emptyImage(join(directory, image), mebibytes);
  const session = await launchSession(client, [imageDrive(image)]);
  await fill(session);
  await client.deleteSession(session.id);
  return image;
}

/** Files by path: text, bytes, or a link. */
export type Tree = Readonly<Record<string, string | Buffer | { readonly link: string }>>;

/** Programs only show the processor architecture; they need not run. */
export async function writeTree(session: SessionClient, tree: Tree): Promise<void> {
  for (const [path, content] of Object.entries(tree)) {
    await session.call('mkdir_p', { path: posix.dirname(path) });
    if (typeof content === 'object' && 'link' in content)
      await session.call('ln_s', { target: content.link, linkname: path });
    else await session.call('write', { path, content: Buffer.from(content) });
  }
}

export async function makeDirectories(session: SessionClient, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await session.call('mkdir_p', { path });
}

/** Mounts file systems for writing, in the order given. */
export async function mountAll(session: SessionClient, mountpoints: Readonly<Record<string, string>>): Promise<void> {
  for (const [mountpoint, mountable] of Object.entries(mountpoints)) {
    if (mountpoint !== '/') await session.call('mkdir_p', { path: mountpoint });
    await session.call('mount', { mountable, mountpoint });
  }
}

/** A partition table with consecutive partitions of these sizes, in MiB; the last one takes the remaining space. */
export async function partition(session: SessionClient, table: 'mbr' | 'gpt', sizes: readonly number[]): Promise<void> {
  await session.call('part_init', { device: '/dev/sda', parttype: table });
  let start = 1;
  for (const size of sizes) {
    await session.call('part_add', {
      device: '/dev/sda',
      prlogex: 'p',
      startsect: BigInt(start * 2048),
      endsect: BigInt((start + size) * 2048 - 1),
    });
    start += size;
  }
  await session.call('part_add', {
    device: '/dev/sda',
    prlogex: 'p',
    startsect: BigInt(start * 2048),
    endsect: -2048n,
  });
}
