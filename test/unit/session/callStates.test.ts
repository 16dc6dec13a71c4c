/** Every kind of call in every state: it is taken, or refused with its reason. */
import { describe, expect, it } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { CALL_STATES, requireAllowed } from '../../../src/session/callStates.js';
import type { Session } from '../../../src/session/session.js';
import type { SessionState, StateName } from '../../../src/session/stateMachine.js';
import { failureOf, thrownBy } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import type { FakeDaemon } from '../../fakes/fakeDaemon.js';
import { FakeMachine, type FakeLauncher } from '../../fakes/fakeLauncher.js';
import { action, drive, launch, never, testSession } from '../../fakes/sessions.js';
import { word } from '../../fakes/xdrBytes.js';

const NAMES: readonly StateName[] = ['CONFIG', 'LAUNCHING', 'READY', 'STOPPING', 'DELETING', 'CLOSED'];
const hot = { ...drive, label: 'hot' };
const asked = { path: '/', followsymlinks: undefined };

/** Answers all calls that come. */
function serve(daemon: FakeDaemon): void {
  const serving = async (): Promise<void> => {
    for (;;) {
      const call = await daemon.nextCall();
      await daemon.reply(call, call.procedure === isDir.procedure ? word(1) : undefined);
    }
  };
  serving().catch(() => undefined); // when the machine is stopped
}

/** Lets the next launch succeed. */
async function comeUp(launcher: FakeLauncher, number: number): Promise<void> {
  const machine = new FakeMachine('1.54.1');
  (await launcher.request(number)).succeed(machine);
  await machine.daemon.launch().catch(() => undefined); // of a launch that was ended
  serve(machine.daemon);
}

interface InState {
  readonly session: Session;
  /** What the state waits for happens. */
  readonly goOn: () => void;
}

/** A session in a state, which it leaves only when it is told to go on. */
async function inState(name: StateName): Promise<InState> {
  const { session, launcher } = testSession();
  if (name === 'CONFIG' || name === 'LAUNCHING') {
    session.addDrive(hot, 'add_drive');
    if (name === 'LAUNCHING') void session.launch(never).catch(() => undefined);
    return { session, goOn: () => void comeUp(launcher, 0) };
  }
  if (name === 'CLOSED') {
    await session.close();
    return { session, goOn: () => undefined };
  }
  const { daemon } = await launch(session, launcher);
  await session.attachDrive(hot, 'add_drive', never);
  if (name === 'STOPPING') void session.shutdown().catch(() => undefined);
  if (name === 'DELETING') void session.close().catch(() => undefined);
  return { session, goOn: () => serve(daemon) };
}

/** Each kind of call that a state can refuse. */
const CALLS: Readonly<Record<string, (session: Session) => Promise<unknown>>> = {
  'out of turn': (session) => session.performOutOfTurn(action('get_memsize'), {}, async () => ({ memsize: 1 })),
  'configuration only': async (session) => session.requireState(CALL_STATES.configOnly, 'set_append'),
  'add a drive': async (session) => session.addDrive(drive, 'add_drive'),
  'add drives': async (session) => session.addDrives([drive, drive], 'add_domain'),
  'attach a drive': (session) => session.attachDrive(drive, 'add_drive', never),
  'remove a drive': (session) => session.removeDrive('hot', 'remove_drive', never),
  launch: (session) => session.launch(never),
  'wait for READY': async (session) => session.requireState(['READY'], 'wait_ready'),
  'call the daemon': (session) =>
    session.perform(action('is_dir'), asked, never, (daemon) => daemon.call(isDir, asked)),
};
type Outcome = 'taken' | 'WRONG_STATE' | 'APPLIANCE_GONE' | 'SESSION_UNKNOWN';
const gone = Object.fromEntries(Object.keys(CALLS).map((kind) => [kind, 'SESSION_UNKNOWN'] as const));
const OUTCOMES: Readonly<Record<StateName, Readonly<Record<string, Outcome>>>> = {
  CONFIG: {
    'out of turn': 'taken',
    'configuration only': 'taken',
    'add a drive': 'taken',
    'add drives': 'taken',
    'attach a drive': 'taken',
    'remove a drive': 'taken',
    launch: 'taken',
    'wait for READY': 'WRONG_STATE',
    'call the daemon': 'WRONG_STATE',
  },
  LAUNCHING: {
    'out of turn': 'taken',
    'configuration only': 'WRONG_STATE',
    'add a drive': 'WRONG_STATE',
    'add drives': 'WRONG_STATE',
    'attach a drive': 'WRONG_STATE',
    'remove a drive': 'WRONG_STATE',
    launch: 'WRONG_STATE',
    'wait for READY': 'WRONG_STATE',
    'call the daemon': 'WRONG_STATE',
  },
  READY: {
    'out of turn': 'taken',
    'configuration only': 'WRONG_STATE',
    'add a drive': 'WRONG_STATE',
    'add drives': 'WRONG_STATE',
    'attach a drive': 'taken',
    'remove a drive': 'taken',
    launch: 'WRONG_STATE',
    'wait for READY': 'taken',
    'call the daemon': 'taken',
  },
  STOPPING: {
    'out of turn': 'taken',
    'configuration only': 'WRONG_STATE',
    'add a drive': 'WRONG_STATE',
    'add drives': 'WRONG_STATE',
    'attach a drive': 'APPLIANCE_GONE',
    'remove a drive': 'APPLIANCE_GONE',
    launch: 'WRONG_STATE',
    'wait for READY': 'APPLIANCE_GONE',
    'call the daemon': 'APPLIANCE_GONE',
  },
  DELETING: gone,
  CLOSED: gone,
};

/** Each way to end an appliance or a session, which no state refuses. */
const ENDS: Readonly<Record<string, (session: Session) => Promise<void>>> = {
  shutdown: (session) => session.shutdown(),
  kill: (session) => session.kill(),
  close: (session) => session.close(),
};

describe('every kind of call in every state', () => {
  it.each(NAMES.flatMap((name) => Object.keys(CALLS).map((kind) => [name, kind] as const)))(
    'in %s: %s',
    async (name, kind) => {
      const { session, goOn } = await inState(name);
      const drives = session.drives;
      let outcome: string | undefined;
      const call = CALLS[kind]?.(session).then(
        () => {
          outcome = 'taken';
        },
        (error: unknown) => {
          outcome = GuestfsError.from(error).reason;
        },
      );
      await quiet();
      const expected = OUTCOMES[name][kind];
      if (expected !== 'taken') {
        // A refusal does not wait for anything, and changes nothing.
        expect(outcome).toBe(expected);
        expect(session.drives).toEqual(drives);
      }
      goOn();
      await call;
      expect(outcome).toBe(expected);
      await session.kill();
    },
  );

  it.each(NAMES.flatMap((name) => Object.keys(ENDS).map((kind) => [name, kind] as const)))(
    'in %s: %s, which has its effect',
    async (name, kind) => {
      const { session, goOn } = await inState(name);
      const ended = ENDS[kind]?.(session).catch((error: unknown) => error);
      goOn();
      const failure = await ended;
      // A kill is no failure of its own; nothing fails that can go on.
      expect(failure).toBeUndefined();
      const isGone = kind === 'close' || name === 'DELETING' || name === 'CLOSED';
      expect(session.state).toBe(isGone ? 'CLOSED' : 'CONFIG');
      expect(session.machine).toBeUndefined();
    },
  );
});

describe('a refusal', () => {
  it.each(
    NAMES.filter((name) => name !== 'DELETING' && name !== 'CLOSED').flatMap((name) =>
      NAMES.filter((other) => other !== name && other !== 'DELETING').map((other) => [name, other] as const),
    ),
  )('in %s names the state and the one needed, %s', (state, needed) => {
    const failure = thrownBy(() => requireAllowed({ id: 's', state }, [needed as SessionState], 'mkdir'));
    if (state === 'STOPPING' && needed === 'READY') {
      expect(failure).toMatchObject({ reason: 'APPLIANCE_GONE', details: { retryAfterMs: 1000 } });
    } else {
      expect(failure).toMatchObject({
        reason: 'WRONG_STATE',
        details: { metadata: { required_state: needed } },
        message: expect.stringContaining(`mkdir needs a session in state ${needed}; this one is in state ${state}`),
      });
    }
  });

  it.each([
    ['CONFIG', ['READY'], 'call launch first'],
    ['LAUNCHING', ['READY'], 'wait until launch has returned'],
    ['LAUNCHING', ['CONFIG'], 'wait until launch has returned'],
    ['STOPPING', ['CONFIG'], 'wait until shutdown has returned'],
  ] as const)('in %s says how to get to %p', (state, allowed, hint) => {
    expect(() => requireAllowed({ id: 's', state }, allowed, 'mkdir')).toThrow(hint);
  });

  it('names all states that would do', () => {
    expect(() => requireAllowed({ id: 's', state: 'CONFIG' }, ['LAUNCHING', 'READY'], 'x')).toThrow(
      'x needs a session in state LAUNCHING or READY',
    );
  });

  it('of a session that is gone names it, not its state', async () => {
    const { session } = testSession();
    await session.close();
    expect(await failureOf(session.launch(never))).toMatchObject({ message: 'the session test was deleted' });
  });
});
