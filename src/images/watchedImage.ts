/**
 * Notices what happens on the host to an image while a drive uses it.
 *
 * qemu keeps the file open, and no lock prevents others from truncating or removing it. Afterwards qemu reads zeros where
 * data was, or writes to a file that nobody will find again, and both succeed.
 */
import { open, readlink, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { fileIdentity, O_PATH, systemErrorCode, type OpenImage } from '../security/pathPolicy.js';

/** What has happened: it is shorter; it has no name any more; its name leads to another file. */
export type ImageChange = 'truncated' | 'deleted' | 'replaced';

/** How a drive uses the file. */
export interface ImageWatchOptions {
  /** How messages refer to it. */
  readonly subject: string;
  /** Whether the drive writes to it, so that it must keep its name. */
  readonly written: boolean;
  /** The block node that writes to it and makes it longer; undefined: none does. */
  readonly growsBy: string | undefined;
}

/** The name that NFS gives to a file that was removed while it is open. */
const REMOVED_ON_NFS = /^\.nfs[0-9a-f]{16,}$/;

export class WatchedImage {
  readonly subject: string;
  readonly growsBy: string | undefined;
  readonly #written: boolean;
  /** What was found earlier: it stays, even if the file looks as before again. */
  #found: ImageChange | undefined;

  private constructor(
    private readonly file: FileHandle,
    private readonly image: Pick<OpenImage, 'path' | 'identity' | 'size'>,
    { subject, written, growsBy }: ImageWatchOptions,
  ) {
    this.subject = subject;
    this.growsBy = growsBy;
    this.#written = written;
  }

  /** Starts to watch a file, until {@link close}. The reference to it neither has nor keeps any lock. */
  static async start(image: OpenImage, options: ImageWatchOptions): Promise<WatchedImage> {
    return new WatchedImage(await open(`/proc/self/fd/${image.handle.fd}`, O_PATH), image, options);
  }

  /**
   * What has happened to the file since then; undefined: nothing that affects the drive.
   * @param end the end of what qemu has written to it
   * @throws GuestfsError if the file cannot be examined
   */
  async change(end: bigint): Promise<ImageChange | undefined> {
    this.#found ??= await this.#look(end).catch((error: unknown) => {
      const code = systemErrorCode(error);
      // On NFS, the server has removed it.
      if (code === 'ESTALE') return 'deleted' as const;
      if (code === undefined) throw error;
      throw new GuestfsError(code, `${this.subject} cannot be examined on the server's host any more: ${code}`, {
        cause: error,
      });
    });
    return this.#found;
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async #look(end: bigint): Promise<ImageChange | undefined> {
    const { path, identity, size } = this.image;
    const now = await this.file.stat({ bigint: true });
    if (this.#written) {
      const named = await stat(path, { bigint: true }).then(fileIdentity, () => undefined);
      if (named !== undefined && named !== identity) return 'replaced';
      // With another name it is not lost.
      if (now.nlink === 0n || REMOVED_ON_NFS.test(basename(await readlink(`/proc/self/fd/${this.file.fd}`))))
        return 'deleted';
    }
    return now.size < (end > size ? end : size) ? 'truncated' : undefined;
  }
}
