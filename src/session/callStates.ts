/** Which kind of call is allowed in which state, and how the others are refused. */
import { ANY_STATE } from '../actions/callRules.js';
import { GuestfsError } from '../common/errors.js';
import type { SessionState, StateName } from './stateMachine.js';

/**
 * The states in which each kind of call is allowed. A session is in STOPPING while its appliance is being shut down;
 * a session that is being deleted accepts no calls at all.
 */
export const CALL_STATES = {
  /** Calls answered without the daemon, out of turn: getters, setters and calls that only inspect the host. */
  outOfTurn: ANY_STATE,
  /** Calls that change what the appliance is launched with. */
  configOnly: ['CONFIG'],
  addDrive: ['CONFIG'],
  attachDrive: ['CONFIG', 'READY'],
  removeDrive: ['CONFIG', 'READY'],
  launch: ['CONFIG'],
  /** Calls to the daemon. */
  daemon: ['READY'],
} as const satisfies Readonly<Record<string, readonly SessionState[]>>;

export type CallKind = keyof typeof CALL_STATES;

/** The facts about a session that determine a refusal. */
interface Refusing {
  readonly id: string;
  readonly state: StateName;
}

const RETRY_AFTER_MS = 1000;

/**
 * Refuses an action that the session's state does not allow.
 * @param allowed a row of {@link CALL_STATES}, or any other states
 * @throws GuestfsError WRONG_STATE naming the state and the ones allowed; APPLIANCE_GONE if the appliance that the
 *   action needs is being shut down; SESSION_UNKNOWN if the session is being deleted or was deleted
 */
export function requireAllowed(session: Refusing, allowed: readonly SessionState[], action: string): void {
  const { id, state } = session;
  if (state === 'DELETING' || state === 'CLOSED')
    throw new GuestfsError('SESSION_UNKNOWN', `the session ${id} was deleted`);
  if (allowed.includes(state)) return;
  if (state === 'STOPPING' && allowed.includes('READY')) throw applianceGone(action);
  throw new GuestfsError('WRONG_STATE', wrongState(action, state, allowed), {
    metadata: { required_state: allowed.join(',') },
  });
}

/** The error of a call that was never sent. */
export function applianceGone(action: string): GuestfsError {
  return new GuestfsError('APPLIANCE_GONE', `the appliance ended before ${action} was sent to it`, {
    retryAfterMs: RETRY_AFTER_MS,
  });
}

function wrongState(action: string, actual: StateName, allowed: readonly SessionState[]): string {
  const needed = `${action} needs a session in state ${allowed.join(' or ')}; this one is in state ${actual}`;
  if (actual === 'CONFIG' && allowed.includes('READY')) return `${needed}: call launch first`;
  if (actual === 'LAUNCHING') return `${needed}: wait until launch has returned`;
  if (actual === 'STOPPING') return `${needed}: wait until shutdown has returned`;
  return needed;
}
