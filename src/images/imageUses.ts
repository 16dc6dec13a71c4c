/**
 * Which image files the machines of this server use, and how.
 *
 * The header of an image in a format other than raw can name other files. It is checked before qemu reads it, and must
 * not change in between; but a user of the same file as a raw drive can write any header into it, at any time. So a
 * file is never written as raw and read in another format at the same time. (qemu's own locks keep two writers apart,
 * including writers in other programs.)
 */
import { GuestfsError } from '../common/errors.js';
import type { OpenImage } from '../security/pathPolicy.js';

/** How a file is used: raw or in a format with a header of its own; `create` overwrites it. */
export type ImageUse = 'raw read' | 'raw write' | 'format read' | 'format write' | 'create';

const IN_FORMAT: readonly ImageUse[] = ['format read', 'format write'];

/** The uses with which each use conflicts. */
const CONFLICTS: Readonly<Record<ImageUse, readonly ImageUse[]>> = {
  'raw read': [],
  'raw write': [...IN_FORMAT, 'create'],
  'format read': ['raw write', 'create'],
  'format write': ['raw write', 'create'],
  create: ['raw write', ...IN_FORMAT, 'create'],
};

const DESCRIPTIONS: Readonly<Record<ImageUse, string>> = {
  'raw read': 'read as a raw drive',
  'raw write': 'written as a raw drive',
  'format read': 'in use in a format other than raw',
  'format write': 'in use in a format other than raw',
  create: 'being created',
};

type Identified = Pick<OpenImage, 'identity'>;

/** The uses of all images, by identity. */
export class ImageUses {
  readonly #uses = new Map<string, ImageUse[]>();

  /**
   * Begins a use.
   * @returns a function that ends it; may be called more than once
   * @throws GuestfsError IMAGE_LOCKED naming the use that it conflicts with
   */
  begin({ identity }: Identified, use: ImageUse, subject: string): () => void {
    const uses = this.#uses.get(identity) ?? [];
    const conflict = uses.find((other) => CONFLICTS[use].includes(other));
    if (conflict !== undefined) {
      throw new GuestfsError(
        'IMAGE_LOCKED',
        `${subject} cannot be used now: it is ${DESCRIPTIONS[conflict]} by a session of this server`,
      );
    }
    uses.push(use);
    this.#uses.set(identity, uses);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      uses.splice(uses.indexOf(use), 1);
      if (uses.length === 0) this.#uses.delete(identity);
    };
  }
}

/** For the entire server: a file is the same in all sessions. */
const usesOfServer = new ImageUses();

/** The images that one machine, or one call, uses; by drive, as drives can be detached. */
export class ImageClaims {
  readonly #ends = new Map<string, (() => void | Promise<void>)[]>();
  #extents = 0;

  constructor(private readonly uses = usesOfServer) {}

  /**
   * Claims an image for a drive.
   * @throws GuestfsError IMAGE_LOCKED
   */
  claim(drive: string, image: Identified, use: ImageUse, subject: string): void {
    this.keep(drive, this.uses.begin(image, use, subject));
  }

  /**
   * Counts the extents of a drive.
   * @returns how many the machine has now
   */
  addExtents(drive: string, count: number): number {
    this.#extents += count;
    this.keep(drive, () => {
      this.#extents -= count;
    });
    return this.#extents;
  }

  /** Has `end` called when the images of a drive are given up. */
  keep(drive: string, end: () => void | Promise<void>): void {
    const ends = this.#ends.get(drive) ?? [];
    ends.push(end);
    this.#ends.set(drive, ends);
  }

  /** Releases the images of a drive. */
  async release(drive: string): Promise<void> {
    const ends = this.#ends.get(drive) ?? [];
    this.#ends.delete(drive);
    await Promise.all(ends.map(async (end) => end()));
  }

  /** Releases all images, once no qemu has them open. */
  async releaseAll(): Promise<void> {
    await Promise.all([...this.#ends.keys()].map((drive) => this.release(drive)));
  }
}
