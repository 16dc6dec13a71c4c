/** What a library-side action has to work with. */
import type { ActionDef } from '../actions/types.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { ServerPolicy } from '../security/policy.js';

export interface LibraryContext {
  readonly action: ActionDef;
  readonly session: Session;
  /** Aborts when the client is gone, its deadline has passed, or it cancelled. */
  readonly signal: AbortSignal;
  /** What the server's configuration allows. */
  readonly policy: ServerPolicy;
  /** Opens images whose format only qemu understands. */
  readonly probe: ForeignImageProbe;
  /**
   * The daemon; only for the actions that need it, which run in their turn.
   * @throws Error for any other action
   */
  readonly daemon: Daemon;
}
