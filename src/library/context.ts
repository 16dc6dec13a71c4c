/** What a library action needs. */
import type { ActionDef, Permission } from '../actions/types.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { ImageRoots } from '../security/pathPolicy.js';

export interface LibraryContext {
  readonly action: ActionDef;
  readonly session: Session;
  /** Aborts when the client disconnects or cancels, or its deadline passes. */
  readonly signal: AbortSignal;
  /** What the client calls its call by; undefined: it has given no name. */
  readonly requestId: string | undefined;
  /** The directories in which files on the server may be. */
  readonly imageRoots: ImageRoots;
  /** What may be written there. */
  readonly disk: DiskQuota;
  /**
   * Requires a permission that the action declares as needed only in some cases.
   * @throws GuestfsError NOT_ALLOWED naming the setting that allows it
   */
  readonly requireFound: (permission: Permission) => void;
  /** Opens images whose format only qemu understands. */
  readonly probe: ForeignImageProbe;
  /**
   * The daemon; only for the actions that need it, which run in their turn.
   * @throws Error for any other action
   */
  readonly daemon: Daemon;
}
