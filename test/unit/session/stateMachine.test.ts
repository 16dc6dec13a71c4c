import { describe, expect, it } from '@jest/globals';
import { StateMachine, type SessionState, type Transition } from '../../../src/session/stateMachine.js';

const STATES: readonly SessionState[] = ['CONFIG', 'LAUNCHING', 'READY', 'CLOSED'];
const TRANSITIONS: readonly Transition[] = ['launch', 'launched', 'stopped', 'close'];

/** Where a transition leads from each state; what is not here must not happen. */
const ALLOWED: Readonly<Record<SessionState, Partial<Record<Transition, SessionState>>>> = {
  CONFIG: { launch: 'LAUNCHING', close: 'CLOSED' },
  LAUNCHING: { launched: 'READY', stopped: 'CONFIG', close: 'CLOSED' },
  READY: { stopped: 'CONFIG', close: 'CLOSED' },
  CLOSED: {},
};

/** A machine in this state. */
function inState(state: SessionState): StateMachine {
  const machine = new StateMachine();
  if (state === 'LAUNCHING' || state === 'READY') machine.move('launch');
  if (state === 'READY') machine.move('launched');
  if (state === 'CLOSED') machine.move('close');
  expect(machine.state).toBe(state);
  return machine;
}

describe('StateMachine', () => {
  it('begins in CONFIG', () => {
    expect(new StateMachine().state).toBe('CONFIG');
  });

  it.each(STATES.flatMap((state) => TRANSITIONS.map((transition) => [state, transition] as const)))(
    'in %s: %s',
    (state, transition) => {
      const machine = inState(state);
      const next = ALLOWED[state][transition];
      if (next === undefined) {
        expect(() => machine.move(transition)).toThrow(`no transition ${transition} from state ${state}`);
        expect(machine.state).toBe(state);
      } else {
        machine.move(transition);
        expect(machine.state).toBe(next);
      }
    },
  );

  it.each(STATES)('in %s lets pass what is allowed there, and names the states otherwise', (state) => {
    const machine = inState(state);
    machine.require([state], 'mkdir');
    machine.require(STATES, 'mkdir');
    for (const other of STATES.filter((candidate) => candidate !== state)) {
      let thrown: unknown;
      try {
        machine.require([other], 'mkdir');
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({
        reason: 'WRONG_STATE',
        details: { metadata: { required_state: other } },
        message: expect.stringContaining(`mkdir needs a session in state ${other}; this one is in state ${state}`),
      });
    }
  });

  it.each([
    ['CONFIG', ['READY'], 'call launch first'],
    ['LAUNCHING', ['READY'], 'wait until launch has answered'],
    ['LAUNCHING', ['CONFIG'], 'wait until launch has answered'],
  ] as const)('in %s says how to get to %p', (state, allowed, hint) => {
    expect(() => inState(state).require(allowed, 'mkdir')).toThrow(hint);
  });

  it('names all states that would do', () => {
    expect(() => new StateMachine().require(['LAUNCHING', 'READY'], 'x')).toThrow(
      'x needs a session in state LAUNCHING or READY',
    );
  });
});
