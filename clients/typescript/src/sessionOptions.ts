/** Options for a new session, and the request that they become. */
import type { Duration } from '../../../gen/proto/google/protobuf/duration.js';
import type { CreateSessionRequest, SessionSettings } from '../../../gen/proto/guestfs/v1/session.js';
import { checkFields } from './argumentTypes.js';
import { driveSpec, type Drive } from './drives.js';
import { clientError } from './error.js';

/** Settings of the appliance; the server has defaults for those left out. */
export interface Settings {
  /** Memory in MiB. */
  readonly memsize?: number | undefined;
  /** Virtual processors. */
  readonly smp?: number | undefined;
  /** Gives the appliance a network; the server must allow it. */
  readonly network?: boolean | undefined;
  /** Verbose messages from the daemon and the appliance's kernel. */
  readonly verbose?: boolean | undefined;
  /** Sends trace events for each call. */
  readonly trace?: boolean | undefined;
  /** Syncs and unmounts when the session ends; on by default. */
  readonly autosync?: boolean | undefined;
  /** Time limit of a launch, in seconds. */
  readonly launchTimeout?: number | undefined;
}

/** Options for a new session; the server has defaults for those left out. */
export interface SessionOptions {
  /** The drives: the first is /dev/sda. */
  readonly drives?: readonly Drive[] | undefined;
  /** Launches the appliance. Default: false. */
  readonly launch?: boolean | undefined;
  /** Memory, processors and so on. */
  readonly settings?: Settings | undefined;
  /** A name for the session: 1 to 64 of `A-Z a-z 0-9 . _ -`. Default: a random one. */
  readonly sessionId?: string | undefined;
  /** The session ends after this many seconds without a call. */
  readonly idleTimeout?: number | undefined;
  /** Labels of your choice. */
  readonly labels?: ReadonlyMap<string, string> | Readonly<Record<string, string>> | undefined;
}

const RPC = 'SessionService/CreateSession';
const NANOSECONDS = 1e9;

const OPTIONS = {
  drives: 'list',
  launch: 'bool',
  settings: 'object',
  sessionId: 'string',
  idleTimeout: 'number',
  labels: 'object',
} as const;

const SETTINGS = {
  memsize: 'int',
  smp: 'int',
  network: 'bool',
  verbose: 'bool',
  trace: 'bool',
  autosync: 'bool',
  launchTimeout: 'number',
} as const;

function duration(name: string, seconds: number | undefined): Duration | undefined {
  if (seconds === undefined) return undefined;
  if (!Number.isFinite(seconds)) throw clientError(RPC, 'BAD_ARGUMENT', `${name} is no number of seconds: ${seconds}`);
  const whole = Math.trunc(seconds);
  return { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * NANOSECONDS) };
}

function settingsOf(settings: Settings | undefined): SessionSettings | undefined {
  if (settings === undefined) return undefined;
  checkFields(RPC, 'a setting', settings, SETTINGS);
  const { launchTimeout, ...others } = settings;
  return { ...others, launch_timeout: duration('launchTimeout', launchTimeout) };
}

function labelsOf(labels: SessionOptions['labels'] = {}): Map<string, string> {
  const given: Iterable<readonly [string, string]> =
    labels instanceof Map ? (labels as ReadonlyMap<string, string>) : Object.entries(labels as Record<string, string>);
  const map = new Map(given);
  for (const [label, value] of map)
    if (typeof label !== 'string' || typeof value !== 'string')
      throw clientError(RPC, 'BAD_ARGUMENT', 'labels have to be strings, with strings as values');
  return map;
}

/**
 * The request that creates a session.
 * @throws GuestfsRpcError BAD_ARGUMENT
 */
export function createSessionRequest(options: SessionOptions): CreateSessionRequest {
  checkFields(RPC, 'an option of a session', options, OPTIONS);
  const { drives = [], launch = false, settings, sessionId, idleTimeout, labels } = options;
  return {
    drives: drives.map((drive) => driveSpec(RPC, drive)),
    launch,
    settings: settingsOf(settings),
    session_id: sessionId,
    idle_timeout: duration('idleTimeout', idleTimeout),
    labels: labelsOf(labels),
  };
}
