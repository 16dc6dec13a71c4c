import { describe, expect, it } from '@jest/globals';
import {
  StateMachine,
  TRANSITIONS,
  type LifeEvent,
  type SessionState,
  type State,
  type StateName,
} from '../../../src/session/stateMachine.js';

/** Where each event leads from each state; nothing else may happen. Written independently of the table. */
const ALLOWED: Readonly<Record<StateName, Partial<Record<LifeEvent, StateName>>>> = {
  CONFIG: { launch: 'LAUNCHING', delete: 'DELETING' },
  LAUNCHING: { launched: 'READY', launchFailed: 'CONFIG', delete: 'DELETING' },
  READY: { killed: 'CONFIG', exited: 'CONFIG', shutDown: 'STOPPING', delete: 'DELETING' },
  STOPPING: { stopped: 'CONFIG', delete: 'DELETING' },
  DELETING: { deleted: 'CLOSED' },
  CLOSED: {},
};
const SHOWN: Readonly<Record<StateName, SessionState>> = {
  CONFIG: 'CONFIG',
  LAUNCHING: 'LAUNCHING',
  READY: 'READY',
  STOPPING: 'STOPPING',
  DELETING: 'STOPPING',
  CLOSED: 'CLOSED',
};
const NAMES = Object.keys(ALLOWED) as StateName[];
const EVENTS = Object.keys(TRANSITIONS) as LifeEvent[];
/** How each state is reached. */
const WAY: Readonly<Record<StateName, readonly LifeEvent[]>> = {
  CONFIG: [],
  LAUNCHING: ['launch'],
  READY: ['launch', 'launched'],
  STOPPING: ['launch', 'launched', 'shutDown'],
  DELETING: ['delete'],
  CLOSED: ['delete', 'deleted'],
};

/** Makes a transition; the data of the states does not matter here. */
function move(machine: StateMachine, event: LifeEvent): State {
  const state = { name: TRANSITIONS[event].to } as State;
  machine.move(event, state);
  return state;
}

function inState(name: StateName): StateMachine {
  const machine = new StateMachine();
  for (const event of WAY[name]) move(machine, event);
  expect(machine.current.name).toBe(name);
  return machine;
}

describe('StateMachine', () => {
  it('starts in CONFIG, without a previous appliance', () => {
    expect(new StateMachine().current).toEqual({ name: 'CONFIG', previous: undefined });
  });

  it.each(NAMES.flatMap((name) => EVENTS.map((event) => [name, event] as const)))('in %s: %s', (name, event) => {
    const machine = inState(name);
    const before = machine.current;
    const next = ALLOWED[name][event];
    if (next === undefined) {
      expect(() => move(machine, event)).toThrow(`no transition ${event} from state ${name}`);
      expect(machine.current).toBe(before);
    } else {
      expect(move(machine, event)).toBe(machine.current);
      expect(machine.current.name).toBe(next);
    }
  });

  it.each(NAMES)('%s has its public name', (name) => {
    expect(inState(name).shown).toBe(SHOWN[name]);
  });
});
