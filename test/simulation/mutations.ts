/**
 * Defects that are put into the real classes on purpose, each of which the simulation must find: one that it misses shows
 * that an invariant is not checked.
 */
import { Semaphore } from '../../src/common/semaphore.js';
import { EventSubscription } from '../../src/events/eventSubscription.js';
import { Undo } from '../../src/launcher/undo.js';
import { Template } from '../../src/launcher/template/template.js';
import { DaemonConnection } from '../../src/protocol/daemonConnection.js';
import { Inbox } from '../../src/protocol/inbox.js';
import { RequestMemory } from '../../src/server/requestMemory.js';
import { CallQueue } from '../../src/session/callQueue.js';
import { RunningAppliance } from '../../src/session/runningAppliance.js';
import { Session } from '../../src/session/session.js';
import { SessionDrives } from '../../src/session/sessionDrives.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { StateMachine } from '../../src/session/stateMachine.js';
import { Turns } from '../../src/session/turns.js';
import { world } from './world.js';

export interface Mutation {
  readonly name: string;
  /** What the violation says. */
  readonly found: RegExp;
  /** Puts the defect in; the returned function takes it out. */
  readonly apply: () => () => void;
}

/** Replaces a method of a class. */
function replacing<Instance, Name extends keyof Instance>(
  { prototype }: { readonly prototype: Instance },
  name: Name,
  replacement: (real: Instance[Name]) => Instance[Name],
): () => () => void {
  return () => {
    const real = prototype[name];
    prototype[name] = replacement(real);
    return () => {
      prototype[name] = real;
    };
  };
}

async function nothing(): Promise<void> {
  // The defect is that nothing happens.
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'calls take no turns',
    found: /before it has answered another|concurrent calls/,
    apply: replacing(CallQueue, 'turn', () => async () => () => undefined),
  },
  {
    name: 'some turns are never given back',
    found: /no end after|have turns/,
    apply: replacing(
      Semaphore,
      'acquire',
      (real) =>
        async function (this: Semaphore, signal) {
          const release = await real.call(this, signal);
          return world().random.once(10) ? () => undefined : release;
        },
    ),
  },
  {
    name: 'a call that was given up occupies its session until the daemon answers',
    found: /after it was cancelled|after its client has given up/,
    apply: replacing(
      Turns,
      'call',
      (real) =>
        function (this: Turns, action, _signal, body) {
          return real.call(this, action, new AbortController().signal, body) as Promise<never>;
        },
    ),
  },
  {
    name: 'the end of the connection is taken for success',
    found: /acknowledged/,
    apply: replacing(
      DaemonConnection,
      'upload',
      (real) =>
        async function (this: DaemonConnection, ...given) {
          return real.apply(this, given).catch(() => ({}) as never) as Promise<never>;
        },
    ),
  },
  {
    name: 'a message of the daemon is lost',
    found: /download|no end after|ends with a defect|echo/,
    apply: replacing(
      Inbox,
      'take',
      (real) =>
        function (this: Inbox) {
          const message = real.call(this);
          return message !== undefined && world().random.once(20) ? real.call(this) : message;
        },
    ),
  },
  {
    name: 'writes that failed are not reported',
    found: /after writes had failed/,
    apply: replacing(SessionDrives, 'requireSound', () => nothing),
  },
  {
    name: 'machines are not cleaned up',
    found: /no end after|running qemu|run directory/,
    apply: replacing(Undo, 'run', () => nothing),
  },
  {
    name: 'templates stay open',
    found: /descriptor of memory file/,
    apply: replacing(Template, 'retire', () => nothing),
  },
  {
    name: 'templates are closed while clones are started from them',
    found: /closed/,
    apply: replacing(
      Template,
      'use',
      () =>
        async function (this: Template, body) {
          return body();
        },
    ),
  },
  {
    name: 'a killed appliance lives on',
    found: /still has open|running qemu|has ended with success|no end after|channel/,
    apply: replacing(
      RunningAppliance,
      'kill',
      () =>
        async function (this: RunningAppliance) {
          this.connection.close();
          return { exitCode: 0, signal: undefined, qemuMessages: '' };
        },
    ),
  },
  {
    name: 'an appliance is killed instead of shut down',
    found: /did not sync|but not its qemu/,
    apply: replacing(
      Session,
      'close',
      (real) =>
        async function (this: Session) {
          await this.kill();
          await real.call(this);
        },
    ),
  },
  {
    name: 'the limits of a client are not applied',
    found: /the limit is/,
    apply: replacing(Session, 'limitBy', () => () => undefined),
  },
  {
    name: 'a session is forgotten before it has ended',
    found: /never ended|no end after|the limit is|is open|has ended|but|left/,
    apply: replacing(
      SessionRegistry,
      'delete',
      (real) =>
        async function (this: SessionRegistry, session) {
          void real.call(this, session).catch(() => undefined);
        },
    ),
  },
  {
    name: 'a state is left by events that it does not allow',
    found: /no transition/,
    apply: replacing(
      StateMachine,
      'move',
      (real) =>
        function (this: StateMachine, event, state) {
          if (event === 'stopped' && world().random.once(3)) real.call(this, 'delete', { name: 'DELETING' } as never);
          real.call(this, event, state as never);
        },
    ),
  },
  {
    name: 'the memory of requests is not given back',
    found: /memory of requests/,
    apply: replacing(RequestMemory, 'giveBack', () => () => undefined),
  },
  {
    name: 'streams of events do not end',
    found: /never ended|no end after/,
    apply: replacing(EventSubscription, 'end', () => () => undefined),
  },
];

/** How many simulations are run to find a defect. */
const MOST = 1500;

/** The first seed whose simulation finds a defect, and what it finds; undefined: none. */
export async function findWith(
  { apply }: Mutation,
  simulate: (seed: number) => Promise<{ readonly violation: string | undefined }>,
): Promise<{ readonly seed: number; readonly violation: string } | undefined> {
  const takeOut = apply();
  try {
    for (let seed = 1; seed <= MOST; seed += 1) {
      const { violation } = await simulate(seed);
      if (violation !== undefined) return { seed, violation };
    }
    return undefined;
  } finally {
    takeOut();
  }
}
