/** Sessions on a fake launcher, for tests. */
import { allActions } from '../../src/actions/areas.js';
import type { ActionDef } from '../../src/actions/types.js';
import { silentLogger } from '../../src/common/logger.js';
import type { DeliveredEvent } from '../../src/events/eventSubscription.js';
import type { EventKind } from '../../src/events/sessionEvent.js';
import type { Drive } from '../../src/images/drive.js';
import { Session, type SessionOptions } from '../../src/session/session.js';
import type { SessionSettings } from '../../src/session/settings.js';
import type { FakeDaemon } from './fakeDaemon.js';
import { FakeLauncher, FakeMachine } from './fakeLauncher.js';

export const never = new AbortController().signal;

export const drive: Drive = {
  source: { kind: 'file', path: '/images/disk.img', name: 'disk.img', roots: { directories: ['/images'] } },
  format: 'raw',
  readonly: true,
  label: undefined,
  cacheMode: 'writeback',
  discard: 'disable',
  copyOnRead: false,
  blockSize: undefined,
};

/** A server's default settings. */
export const defaultSettings: SessionSettings = {
  memsizeMb: 512,
  smp: 1,
  network: false,
  verbose: false,
  trace: false,
  autosync: true,
  selinux: false,
  pgroup: false,
  recoveryProc: true,
  direct: false,
  identifier: '',
  program: '',
  append: undefined,
  path: '/appliance',
  hv: undefined,
  tmpdir: '/tmp',
  cachedir: '/var/tmp',
  backend: 'direct',
  backendSettings: [],
  accelerator: 'auto',
  launchTimeoutMs: 60_000,
  extraQemuArguments: [],
};

export interface TestSession {
  readonly session: Session;
  readonly launcher: FakeLauncher;
}

export function testSession(
  changed: Partial<SessionSettings> = {},
  options: Partial<SessionOptions> = {},
): TestSession {
  const launcher = new FakeLauncher();
  const session = new Session({
    id: 'test',
    settings: { ...defaultSettings, ...changed },
    launcher,
    logger: silentLogger,
    labels: new Map(),
    owner: undefined,
    idleTimeoutMs: 60_000,
    ...options,
  });
  return { session, launcher };
}

export interface LaunchedSession extends TestSession {
  readonly machine: FakeMachine;
  readonly daemon: FakeDaemon;
}

/** A session whose appliance is up. */
export async function launched(
  changed: Partial<SessionSettings> = {},
  daemonVersion: string | undefined = '1.54.1',
): Promise<LaunchedSession> {
  const { session, launcher } = testSession(changed);
  return { session, launcher, ...(await launch(session, launcher, daemonVersion)) };
}

/** Starts its appliance. */
export async function launch(
  session: Session,
  launcher: FakeLauncher,
  daemonVersion: string | undefined = '1.54.1',
): Promise<{ readonly machine: FakeMachine; readonly daemon: FakeDaemon }> {
  const machine = new FakeMachine(daemonVersion);
  session.addDrive(drive, 'add_drive');
  const number = launcher.requests.length;
  const up = session.launch(never);
  (await launcher.request(number)).succeed(machine);
  await machine.daemon.launch();
  await up;
  return { machine, daemon: machine.daemon };
}

const actionsByName = new Map(allActions.map((action) => [action.name, action]));

export function action(name: string): ActionDef {
  const found = actionsByName.get(name);
  if (!found) throw new Error(`no action ${name}`);
  return found;
}

/** An event in short form. */
export function told({ event }: DeliveredEvent): string {
  switch (event.kind) {
    case 'progress':
      return `progress ${event.progress.action} ${event.progress.position}/${event.progress.total}`;
    case 'queued':
    case 'started':
      return `${event.kind} ${event.call.action} ${event.call.number}`;
    case 'finished':
      return `finished ${event.call.action} ${event.call.number}${event.call.errorReason === '' ? '' : `: ${event.call.errorReason}`}`;
    default:
      return 'message' in event ? `${event.kind} ${event.message}` : event.kind;
  }
}

/** All events of a session, in short form; complete once the session is closed. */
export function listen(
  session: Session,
  kinds: readonly EventKind[] = [],
): { readonly events: string[]; readonly done: Promise<void> } {
  const events: string[] = [];
  const subscription = session.events.subscribe(kinds);
  const done = (async () => {
    for await (const event of subscription) events.push(told(event));
  })();
  return { events, done };
}
