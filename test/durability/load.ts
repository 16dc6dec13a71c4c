/** A mixed load on one file system: files are written, changed, renamed and removed, and promises of durability asked for. */
import { createHash } from 'node:crypto';
import type { Random } from '../fuzz/engine/random.js';
import type { SessionClient } from '../support/testClient.js';
import type { FileSystem } from './fileSystems.js';
import type { Change, Ledger } from './ledger.js';

/** Directories in which the files are. */
export const DIRECTORIES: readonly string[] = ['/one', '/two', '/two/deep'];
const FILES_EACH = 8;
const PATHS = DIRECTORIES.flatMap((directory) =>
  Array.from({ length: FILES_EACH }, (_, index) => `${directory}/file${index}`),
);
const SMALL_BYTES = 6000;
const LARGE_BYTES = 400_000;
/** A file that has become larger than this is replaced. */
const MAX_BYTES = 600_000;

/** The device with the file system. */
export const DEVICE = '/dev/sda';

export function sha256Of(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** What a step did. */
export type Step = 'changed' | 'promised' | 'ended';

export interface LoadOptions {
  readonly session: SessionClient;
  readonly fileSystem: FileSystem;
  readonly random: Random;
  readonly ledger: Ledger;
  /** Contents of all files, kept up to date. */
  readonly files: Map<string, Buffer>;
  /** The current position for the ledger. */
  readonly position: () => number;
}

export class Load {
  /** Files whose content was changed since the last promise. */
  readonly #dirty = new Set<string>();
  /** Files that a call is changing, or was changing when it failed. */
  unanswered: ReadonlySet<string> = new Set();

  constructor(private readonly options: LoadOptions) {}

  /** Makes one change, or asks for a promise; 'ended' when the session was ended with one. */
  async step(): Promise<Step> {
    const { random } = this.options;
    const choice = random.below(100);
    if (choice < 4) return this.end();
    if (choice < 22) return this.#promise();
    if (choice < 40) return this.#write(this.#any(), this.#bytes(SMALL_BYTES));
    if (choice < 50) return this.#upload(this.#any(), this.#bytes(LARGE_BYTES));
    const path = this.#existing();
    if (path === undefined) return this.#write(this.#any(), this.#bytes(SMALL_BYTES));
    if (choice < 63) return this.#overwrite(path);
    if (choice < 73) return this.#append(path);
    if (choice < 78) return this.#truncate(path);
    if (choice < 92) return this.#rename(path, this.#any());
    return this.#remove(path);
  }

  /** Ends the session with a promise. */
  async end(): Promise<Step> {
    const { session, random } = this.options;
    // A shutdown leaves an empty session behind, whose deletion promises nothing more.
    if (random.once(3)) {
      await session.call('shutdown');
      this.#promised();
    }
    await session.client.deleteSession(session.id);
    this.#promised();
    return 'ended';
  }

  async #promise(): Promise<Step> {
    const { session, random, fileSystem } = this.options;
    const call = session.call.bind(session);
    const kinds: readonly { readonly name: string; readonly args?: object; readonly then?: () => Promise<unknown> }[] =
      [
        { name: 'sync' },
        { name: 'sync' },
        { name: 'umount', args: { pathordevice: '/' }, then: () => mount(session) },
        { name: 'umount_all', then: () => mount(session) },
        {
          name: 'remount',
          args: { mountpoint: '/', rw: false },
          then: () => call('remount', { mountpoint: '/', rw: true }),
        },
        ...(fileSystem.name === 'btrfs' ? [{ name: 'btrfs_filesystem_sync', args: { fs: '/' } }] : []),
      ];
    const { name, args = {}, then } = random.of(kinds);
    await call(name, args);
    this.#promised();
    await then?.();
    return 'promised';
  }

  #promised(): void {
    const { ledger, position } = this.options;
    ledger.promise(position());
    this.#dirty.clear();
  }

  #write(path: string, content: Buffer): Promise<Step> {
    return this.#change(new Map([[path, content]]), false, (session) => session.call('write', { path, content }));
  }

  #upload(path: string, content: Buffer): Promise<Step> {
    return this.#change(new Map([[path, content]]), false, (session) =>
      session.upload('upload', { remotefilename: path }, [content]),
    );
  }

  #overwrite(path: string): Promise<Step> {
    const { random } = this.options;
    const old = this.#content(path);
    const content = this.#bytes(SMALL_BYTES);
    const offset = random.below(old.length + 1);
    const both = Buffer.alloc(Math.max(old.length, offset + content.length));
    old.copy(both);
    content.copy(both, offset);
    return this.#change(new Map([[path, both]]), false, (session) =>
      session.call('pwrite', { path, content, offset: BigInt(offset) }),
    );
  }

  #append(path: string): Promise<Step> {
    const content = this.#bytes(SMALL_BYTES);
    return this.#change(new Map([[path, Buffer.concat([this.#content(path), content])]]), false, (session) =>
      session.call('write_append', { path, content }),
    );
  }

  #truncate(path: string): Promise<Step> {
    const old = this.#content(path);
    const size = this.options.random.below(old.length + 1);
    return this.#change(new Map([[path, old.subarray(0, size)]]), false, (session) =>
      session.call('truncate_size', { path, size: BigInt(size) }),
    );
  }

  #rename(from: string, to: string): Promise<Step> {
    if (from === to) return this.#remove(from);
    const content = this.#content(from);
    const after = new Map<string, Buffer | undefined>([
      [from, undefined],
      [to, content],
    ]);
    return this.#change(after, !this.#dirty.has(from), (session) =>
      session.call('rename', { oldpath: from, newpath: to }),
    );
  }

  #remove(path: string): Promise<Step> {
    return this.#change(new Map([[path, undefined]]), true, (session) => session.call('rm', { path }));
  }

  /** Notes what a call will change, makes it, and applies the changes. */
  async #change(
    after: ReadonlyMap<string, Buffer | undefined>,
    atomic: boolean,
    call: (session: SessionClient) => Promise<unknown>,
  ): Promise<Step> {
    const { session, ledger, files, position } = this.options;
    const changes: Change[] = [...after].map(([path, content]) => ({
      path,
      state: content === undefined ? undefined : sha256Of(content),
      atomic,
    }));
    ledger.change(position(), changes);
    this.unanswered = new Set(after.keys());
    await call(session);
    this.unanswered = new Set();
    for (const [path, content] of after) {
      if (content === undefined) files.delete(path);
      else files.set(path, content);
      if (!atomic) this.#dirty.add(path);
    }
    return 'changed';
  }

  #any(): string {
    return this.options.random.of(PATHS);
  }

  #existing(): string | undefined {
    const { files, random } = this.options;
    const small = [...files].filter(([, content]) => content.length <= MAX_BYTES);
    return small.length === 0 ? undefined : random.of(small)[0];
  }

  #content(path: string): Buffer {
    return this.options.files.get(path) ?? Buffer.alloc(0);
  }

  /** Bytes that do not compress and occur nowhere else. */
  #bytes(most: number): Buffer {
    const { random } = this.options;
    const bytes = Buffer.alloc(1 + random.below(most));
    for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(random.bits(), at);
    return bytes;
  }
}

/** Mounts the file system, which replays its journal if it has to. */
export async function mount(session: SessionClient): Promise<void> {
  await session.call('mount', { mountable: DEVICE, mountpoint: '/' });
}

/** Makes the file system and its directories, durably, and leaves it mounted. */
export async function makeFileSystem(session: SessionClient, { name }: FileSystem): Promise<void> {
  await session.call('mkfs', { fstype: name, device: DEVICE });
  await mount(session);
  for (const path of DIRECTORIES) await session.call('mkdir', { path });
  await session.call('sync');
}
