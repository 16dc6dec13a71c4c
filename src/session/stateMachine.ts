/**
 * The life cycle of a session: its states, the data of each state, and the events that lead from one to another.
 *
 * The state is the only record of what the session's appliance is doing, and only {@link StateMachine.move}
 * changes it.
 */
import type { LinkedAbort } from '../common/waiting.js';
import type { OrderlyEnd } from './ending.js';
import type { RunningAppliance } from './runningAppliance.js';

/** The states shown to clients: libguestfs's, and two for a session that, or whose appliance, is ending. */
export type SessionState = 'CONFIG' | 'LAUNCHING' | 'READY' | 'STOPPING' | 'CLOSED';

/** A state with its data. */
export type State =
  /** No appliance. `previous` resolves, and never rejects, when the previous one has released all its resources. */
  | { readonly name: 'CONFIG'; readonly previous: Promise<void> | undefined }
  /** The appliance is starting: `abort` ends the launch, `over` resolves, and never rejects, when it has ended. */
  | {
      readonly name: 'LAUNCHING';
      readonly abort: LinkedAbort;
      readonly over: Promise<void>;
      readonly previous: Promise<void> | undefined;
    }
  /** The daemon accepts calls. */
  | { readonly name: 'READY'; readonly appliance: RunningAppliance }
  /** The appliance is being shut down properly; the session remains usable. */
  | { readonly name: 'STOPPING'; readonly appliance: RunningAppliance; readonly end: OrderlyEnd }
  /** The session is being deleted, which takes until its appliance, if it has one, has ended. */
  | {
      readonly name: 'DELETING';
      readonly appliance: RunningAppliance | undefined;
      readonly end: OrderlyEnd | undefined;
      readonly deletion: Promise<void>;
    }
  /** It has ended. `failure`: data was or may have been lost; undefined: everything was written. */
  | { readonly name: 'CLOSED'; readonly failure: unknown };

export type StateName = State['name'];
export type StateNamed<Name extends StateName> = Extract<State, { readonly name: Name }>;

/** The public name of each state. Clients need not distinguish a shutdown from a deletion. */
const SHOWN: Readonly<Record<StateName, SessionState>> = {
  CONFIG: 'CONFIG',
  LAUNCHING: 'LAUNCHING',
  READY: 'READY',
  STOPPING: 'STOPPING',
  DELETING: 'STOPPING',
  CLOSED: 'CLOSED',
};

/** The events of a session. An event in a state that does not allow it is a defect. */
export const TRANSITIONS = {
  launch: { from: ['CONFIG'], to: 'LAUNCHING' },
  launched: { from: ['LAUNCHING'], to: 'READY' },
  launchFailed: { from: ['LAUNCHING'], to: 'CONFIG' },
  /** The appliance was killed. */
  killed: { from: ['READY'], to: 'CONFIG' },
  /** The appliance ended unexpectedly, or violated the protocol. */
  exited: { from: ['READY'], to: 'CONFIG' },
  shutDown: { from: ['READY'], to: 'STOPPING' },
  stopped: { from: ['STOPPING'], to: 'CONFIG' },
  delete: { from: ['CONFIG', 'LAUNCHING', 'READY', 'STOPPING'], to: 'DELETING' },
  deleted: { from: ['DELETING'], to: 'CLOSED' },
} as const satisfies Readonly<Record<string, { readonly from: readonly StateName[]; readonly to: StateName }>>;

export type LifeEvent = keyof typeof TRANSITIONS;
/** The state that an event leads to. */
export type StateAfter<Event extends LifeEvent> = StateNamed<(typeof TRANSITIONS)[Event]['to']>;

export class StateMachine {
  #current: State = { name: 'CONFIG', previous: undefined };

  get current(): State {
    return this.#current;
  }

  /** The state, as shown to clients. */
  get shown(): SessionState {
    return SHOWN[this.#current.name];
  }

  /** Moves to `state`, or fails if the event cannot happen in the current one. */
  move<Event extends LifeEvent>(event: Event, state: StateAfter<Event>): void {
    const from: readonly StateName[] = TRANSITIONS[event].from;
    if (!from.includes(this.#current.name)) throw new Error(`no transition ${event} from state ${this.#current.name}`);
    this.#current = state;
  }
}
