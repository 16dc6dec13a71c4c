/** A drive in the configuration of a session. */
import type { ImageRoots } from '../security/pathPolicy.js';
import type { RemoteSource } from './remoteSource.js';

export type CacheMode = 'writeback' | 'unsafe';
export type Discard = 'disable' | 'enable' | 'besteffort';

/** Where the content of a drive is. */
export type DriveSource =
  /**
   * An image under an image root; `path` is the resolved absolute path, which can reveal more about the host than the
   * client knows: messages use `name`, as the client gave it. All files opened for the drive, now or later, must be
   * under the roots of the client that added it.
   */
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly name: string;
      readonly roots: ImageRoots;
      /** The drive is this file in the image, which is an OVA. */
      readonly disk?: string;
    }
  /** Content on a server on the network; its Unix socket, if it has one, is under the roots of the client. */
  | { readonly kind: 'remote'; readonly remote: RemoteSource; readonly roots: ImageRoots }
  /** An empty drive that vanishes with the session; `size` in bytes. */
  | { readonly kind: 'scratch'; readonly size: bigint };

/** One attached image. */
export interface Drive {
  readonly source: DriveSource;
  /** `raw`, `qcow2`, ...; undefined: it is probed (never for a remote drive). */
  readonly format: string | undefined;
  /** Formats of the backing files whose overlay does not state it, from the top. */
  readonly backingFormats?: readonly string[] | undefined;
  /** Passphrase of an image that is itself encrypted. Must not be written anywhere. */
  readonly key?: string | undefined;
  /** Writes go to an overlay that vanishes with the session. */
  readonly readonly: boolean;
  /** Appears as `/dev/disk/guestfs/<label>`. */
  readonly label: string | undefined;
  /** undefined: writeback. */
  readonly cacheMode: CacheMode | undefined;
  readonly discard: Discard;
  readonly copyOnRead: boolean;
  /** Logical and physical block size, bytes: 512 or 4096; undefined: qemu's default. */
  readonly blockSize: number | undefined;
}
