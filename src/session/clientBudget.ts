/** Limits the resources that all sessions of one client use together. */
import { limitExceeded } from '../common/limitExceeded.js';
import { NO_OWN_LIMITS, type OwnLimits } from '../security/access.js';

/** The resources that a session with an appliance uses. */
export interface Resources {
  /** MiB. */
  readonly memsizeMb: number;
  readonly smp: number;
  readonly drives: number;
}

/** The maximum of each; undefined: no limit. */
export interface ClientBudget {
  readonly sessions: number | undefined;
  readonly memsizeMb: number | undefined;
  readonly smp: number | undefined;
  readonly drives: number | undefined;
}

export const NO_BUDGET: ClientBudget = { sessions: undefined, memsizeMb: undefined, smp: undefined, drives: undefined };

const RETRY_AFTER_MS = 5000;

const NAMES = {
  sessions: { limit: 'max-sessions-per-client', inRole: 'sessions', what: 'sessions' },
  memsizeMb: { limit: 'max-memory-per-client', inRole: 'memory', what: 'MiB of memory' },
  smp: { limit: 'max-cpus-per-client', inRole: 'cpus', what: 'virtual CPUs' },
  drives: { limit: 'max-drives-per-client', inRole: 'drives', what: 'drives' },
} as const;

function requireUnder(budget: ClientBudget, own: OwnLimits, key: keyof ClientBudget, wanted: number): void {
  const maximum = own[key] ?? budget[key];
  if (maximum === undefined || wanted <= maximum) return;
  const { limit, inRole, what } = NAMES[key];
  const setting = own[key] === undefined ? `--${limit}` : `limits.${inRole} of its role`;
  throw limitExceeded(
    `with this one, the sessions of this client would have ${wanted} ${what}; at most ${maximum} are allowed (${setting})`,
    { limit, maximum, retryAfterMs: RETRY_AFTER_MS },
  );
}

/** @throws GuestfsError LIMIT_EXCEEDED if the client has `others` sessions and may not have another one */
export function requireSession(budget: ClientBudget, others: number): void {
  requireUnder(budget, NO_OWN_LIMITS, 'sessions', others + 1);
}

/**
 * @param own limits of the client, which take precedence over the budget
 * @throws GuestfsError LIMIT_EXCEEDED if a client whose sessions use `others` may not use `more` in addition
 */
export function requireResources(
  budget: ClientBudget,
  others: readonly Resources[],
  more: Resources,
  own: OwnLimits,
): void {
  for (const key of ['memsizeMb', 'smp', 'drives'] as const)
    requireUnder(
      budget,
      own,
      key,
      others.reduce((sum, one) => sum + one[key], more[key]),
    );
}
