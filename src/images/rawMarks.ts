/**
 * Which image files a session has written as raw drives: a guest can have put any header into them. Unless somebody states
 * their format, they are not taken for what they look like.
 *
 * The mark is an extended attribute of the file, `user.guestfs-grpc.raw`, and so stays with it when the server is started
 * again, or another one has it. Where the file system has no such attributes, and for block devices, this server
 * remembers it for as long as it runs.
 */
import { FileMarks } from '../common/fileMarks.js';
import type { OpenImage } from '../security/pathPolicy.js';

export type MarkableImage = Pick<OpenImage, 'handle' | 'identity' | 'kind'>;

export class RawMarks {
  readonly #remembered = new Set<string>();

  constructor(private readonly marks: Pick<FileMarks, 'ask'> = new FileMarks('user.guestfs-grpc.raw')) {}

  /** From now on, the file has been written as raw. To be awaited before anybody can write to it. */
  async mark(image: MarkableImage): Promise<void> {
    if (image.kind === 'file' && (await this.marks.ask('set', image.handle.fd)) === 'yes') return;
    this.#remembered.add(await nameOf(image));
  }

  /** Whether it has been. */
  async isMarked(image: MarkableImage): Promise<boolean> {
    if (image.kind === 'file' && (await this.marks.ask('has', image.handle.fd)) === 'yes') return true;
    return this.#remembered.has(await nameOf(image));
  }

  /** Nothing is left of what was written. */
  async clear(image: MarkableImage): Promise<void> {
    if (image.kind === 'file') await this.marks.ask('clear', image.handle.fd);
    this.#remembered.delete(await nameOf(image));
  }
}

/** A file that is made later can get the number of one that is gone, but not its time. */
async function nameOf({ handle, identity, kind }: MarkableImage): Promise<string> {
  return kind === 'block' ? identity : `${identity} ${(await handle.stat({ bigint: true })).birthtimeNs}`;
}

/** Of the whole server. */
export const rawMarks = new RawMarks();
