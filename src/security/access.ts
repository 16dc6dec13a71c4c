/** What one client may do; determined anew for every call, so a changed policy applies from the next call on. */
import type { CallRules } from '../actions/callRules.js';
import type { ImageRoots } from './pathPolicy.js';
import type { Allowable, ServerPolicy } from './policy.js';

export interface Access {
  /** Where the client's images may be. An object that is kept reflects later changes of the policy. */
  readonly imageRoots: ImageRoots;
  /** The client's permissions. */
  readonly allowed: ReadonlySet<Allowable>;
  /** Maximum number of sessions at a time; undefined: no limit besides the server's. */
  readonly maxSessions: number | undefined;
  /** @throws GuestfsError NOT_ALLOWED if the client may not make such calls */
  requireCall(rules: CallRules): void;
}

/** Decides what clients may do. */
export interface AccessPolicy {
  /**
   * @param identity undefined on a server without identities
   * @throws GuestfsError NOT_ALLOWED for an identity that may do nothing
   */
  of(identity: string | undefined): Promise<Access>;
}

/** For a server without identities: every client may do what the flags allow. */
export function sameForAll({ imageRoots, allowed }: ServerPolicy): AccessPolicy {
  const access: Access = { imageRoots, allowed, maxSessions: undefined, requireCall: () => undefined };
  return { of: async () => access };
}
