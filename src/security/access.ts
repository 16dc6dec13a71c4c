/** What one client may do; asked anew for every call, so that a changed policy counts from the next call on. */
import type { CallRules } from '../actions/callRules.js';
import type { ImageRoots } from './pathPolicy.js';
import type { Allowable, ServerPolicy } from './policy.js';

export interface Access {
  /** Where the client's images may be. What holds on to it sees changes of the policy, too. */
  readonly imageRoots: ImageRoots;
  /** Permissions that the client has. */
  readonly allowed: ReadonlySet<Allowable>;
  /** Most sessions at a time; undefined: as many as the server has. */
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

/** For a server without identities: everyone may do what the flags say. */
export function sameForAll({ imageRoots, allowed }: ServerPolicy): AccessPolicy {
  const access: Access = { imageRoots, allowed, maxSessions: undefined, requireCall: () => undefined };
  return { of: async () => access };
}
