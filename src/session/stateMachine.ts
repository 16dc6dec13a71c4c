/** The states of a session, and what moves it from one to another. */
import { GuestfsError } from '../common/errors.js';

/** libguestfs's states, and one more for a session that is being or was deleted. */
export type SessionState = 'CONFIG' | 'LAUNCHING' | 'READY' | 'CLOSED';

/** What happens to a session's appliance. */
export type Transition = 'launch' | 'launched' | 'stopped' | 'close';

const TRANSITIONS: Record<Transition, { readonly from: readonly SessionState[]; readonly to: SessionState }> = {
  launch: { from: ['CONFIG'], to: 'LAUNCHING' },
  launched: { from: ['LAUNCHING'], to: 'READY' },
  stopped: { from: ['LAUNCHING', 'READY'], to: 'CONFIG' },
  close: { from: ['CONFIG', 'LAUNCHING', 'READY'], to: 'CLOSED' },
};

/** Holds the state; {@link move} is the only thing that changes it. */
export class StateMachine {
  #state: SessionState = 'CONFIG';

  get state(): SessionState {
    return this.#state;
  }

  /** Moves, or fails if the transition is not one from this state. */
  move(transition: Transition): void {
    const { from, to } = TRANSITIONS[transition];
    if (!from.includes(this.#state)) throw new Error(`no transition ${transition} from state ${this.#state}`);
    this.#state = to;
  }

  /** @throws GuestfsError WRONG_STATE naming the state and the ones allowed */
  require(allowed: readonly SessionState[], action: string): void {
    if (allowed.includes(this.#state)) return;
    throw new GuestfsError('WRONG_STATE', wrongState(action, this.#state, allowed), {
      metadata: { required_state: allowed.join(',') },
    });
  }
}

function wrongState(action: string, actual: SessionState, allowed: readonly SessionState[]): string {
  const needed = `${action} needs a session in state ${allowed.join(' or ')}; this one is in state ${actual}`;
  if (actual === 'CONFIG' && allowed.includes('READY')) return `${needed}: call launch first`;
  if (actual === 'LAUNCHING') return `${needed}: wait until launch has answered`;
  return needed;
}
