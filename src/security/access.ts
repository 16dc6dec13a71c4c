/** What one client may do; determined anew for every call, so a changed policy applies from the next call on. */
import type { CallRules } from '../actions/callRules.js';
import type { ImageRoots } from './pathPolicy.js';
import type { Allowable, ServerPolicy } from './policy.js';

/** Limits that a role has instead of those that the flags give every client. */
export interface OwnLimits {
  readonly sessions?: number | undefined;
  /** MiB. */
  readonly memsizeMb?: number | undefined;
  readonly smp?: number | undefined;
  readonly drives?: number | undefined;
  /** Of files on the host. */
  readonly diskBytes?: number | undefined;
}

/** The flags count. */
export const NO_OWN_LIMITS: OwnLimits = {};

export interface Access {
  /** Where the client's images may be. An object that is kept reflects later changes of the policy. */
  readonly imageRoots: ImageRoots;
  /** The client's permissions. */
  readonly allowed: ReadonlySet<Allowable>;
  /** The client's own limits. An object that is kept reflects later changes of the policy. */
  readonly limits: OwnLimits;
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
  const access: Access = { imageRoots, allowed, limits: NO_OWN_LIMITS, requireCall: () => undefined };
  return { of: async () => access };
}
