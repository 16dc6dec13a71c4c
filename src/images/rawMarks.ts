/**
 * Marks image files that a session has had writable as raw drives: a guest can have written any header into them, so
 * their format is not recognised from their contents, and has to be stated.
 *
 * The mark is an extended attribute of the file, `user.guestfs-grpc.raw`, so it survives a restart of the server, and
 * other servers see it. Where the file system has no extended attributes, and for block devices, the server remembers
 * the mark for as long as it runs.
 */
import { FileMarks } from '../common/fileMarks.js';
import type { OpenImage } from '../security/pathPolicy.js';

export type MarkableImage = Pick<OpenImage, 'handle' | 'identity' | 'kind'>;

export class RawMarks {
  readonly #remembered = new Set<string>();

  constructor(private readonly marks: Pick<FileMarks, 'ask' | 'start'> = new FileMarks('user.guestfs-grpc.raw')) {}

  /** Prepares for the first image. @throws Error if files cannot be marked */
  prepare(): Promise<void> {
    return this.marks.start();
  }

  /** Marks the file as written. Must be awaited before anyone can write to it. */
  async mark(image: MarkableImage): Promise<void> {
    if (image.kind === 'file' && (await this.marks.ask('set', image.handle.fd)) === 'yes') return;
    this.#remembered.add(await nameOf(image));
  }

  /** Whether the file is marked. */
  async isMarked(image: MarkableImage): Promise<boolean> {
    if (image.kind === 'file' && (await this.marks.ask('has', image.handle.fd)) === 'yes') return true;
    return this.#remembered.has(await nameOf(image));
  }

  /** Removes the mark, after the file has been overwritten. */
  async clear(image: MarkableImage): Promise<void> {
    if (image.kind === 'file') await this.marks.ask('clear', image.handle.fd);
    this.#remembered.delete(await nameOf(image));
  }
}

/** A new file can get the inode number of a deleted one, but not its birth time. */
async function nameOf({ handle, identity, kind }: MarkableImage): Promise<string> {
  return kind === 'block' ? identity : `${identity} ${(await handle.stat({ bigint: true })).birthtimeNs}`;
}

/** The marks of this server. */
export const rawMarks = new RawMarks();
