/** The flags that limit how much clients can use: see docs/limits.md. */
import { availableParallelism, totalmem } from 'node:os';
import { MAX_SMP, MIN_MEMSIZE_MB } from '../qemu/limits.js';
import { DEFAULT_LIMITS, type ServerLimits } from '../server/limits.js';
import type { ClientBudget } from '../session/clientBudget.js';
import { ABANDONED_MS } from '../session/session.js';
import type { SettingLimits } from '../session/settingLimits.js';
import { flag, wholeNumber } from './flagValues.js';

const MEBIBYTE = 1024 * 1024;
const SECOND_MS = 1000;
/** Even on a host with one processor, clients often request more. */
const LEAST_MAX_SMP = 4;
const DAY_SECONDS = 86_400;
/** What HTTP/2 can count. */
const MAX_STREAMS = 2 ** 31 - 1;
/** Timers of Node last for at most 24 days. */
export const MAX_TIMER_SECONDS = 2_000_000;

/** Their values. */
export interface LimitFlags {
  /** MiB; undefined: depends on the machine. */
  readonly maxMemsize?: number;
  /** Undefined: depends on the machine. */
  readonly maxSmp?: number;
  readonly maxIdleTimeout: number;
  readonly maxSessionAge: number;
  /** Undefined: half of all sessions where several identities use the server, else all of them. */
  readonly maxSessionsPerClient?: number;
  readonly maxMemoryPerClient: number;
  readonly maxCpusPerClient: number;
  readonly maxDrivesPerClient: number;
  readonly maxDiskBytesPerClient: number;
  readonly maxConnections: number;
  readonly maxCallsPerClient: number;
  readonly connectionIdleTimeout: number;
  readonly maxCallsPerConnection: number;
  readonly maxConnectionAge: number;
  readonly maxConnectionAgeGrace: number;
  readonly keepaliveInterval: number;
  readonly keepaliveTimeout: number;
  readonly stallTimeout: number;
  readonly abandonedCallTimeout: number;
  readonly unresponsiveTimeout: number;
}

export const LIMIT_FLAGS = [
  flag(
    'max-memsize',
    'MB',
    "maximum memory that a client can give an appliance, in MiB (default: half of the machine's, but not less than --memsize)",
  ).argParser(wholeNumber(MIN_MEMSIZE_MB)),
  flag(
    'max-smp',
    'N',
    "maximum number of virtual CPUs that a client can give an appliance (default: the machine's, but not less than 4 or --smp)",
  ).argParser(wholeNumber(1, MAX_SMP)),
  flag(
    'max-idle-timeout',
    'SECONDS',
    'longest idle timeout that a client can give a session, in seconds; 0 disables the limit',
  )
    .default(DAY_SECONDS)
    .argParser(wholeNumber(0)),
  flag('max-session-age', 'SECONDS', 'end sessions this long after their creation, in use or not; 0 disables it')
    .default(0)
    .argParser(wholeNumber(0)),
  flag(
    'max-sessions-per-client',
    'N',
    'maximum number of sessions of one client (default: half of --max-sessions where clients have identities, else all)',
  ).argParser(wholeNumber(1)),
  flag('max-memory-per-client', 'MB', 'maximum memory of the appliances of one client, in MiB; 0 disables the limit')
    .default(0)
    .argParser(wholeNumber(0)),
  flag(
    'max-cpus-per-client',
    'N',
    'maximum number of virtual CPUs of the appliances of one client; 0 disables the limit',
  )
    .default(0)
    .argParser(wholeNumber(0)),
  flag('max-drives-per-client', 'N', 'maximum number of drives of the appliances of one client; 0 disables the limit')
    .default(0)
    .argParser(wholeNumber(0)),
  flag(
    'max-disk-bytes-per-client',
    'BYTES',
    'how much one client can write to files of the server, in bytes: images that it creates, scratch drives and overlays; 0 disables the limit',
  )
    .default(0)
    .argParser(wholeNumber(0)),
  flag('max-connections', 'N', 'maximum number of open connections; an idle one makes room for a new one')
    .default(DEFAULT_LIMITS.connections)
    .argParser(wholeNumber(1)),
  flag(
    'max-calls-per-client',
    'N',
    'maximum number of calls in flight of one client (identity or, without identities, address)',
  )
    .default(DEFAULT_LIMITS.callsPerClient)
    .argParser(wholeNumber(1)),
  flag('connection-idle-timeout', 'SECONDS', 'close connections after this long without a call; 0 disables it')
    .default(300)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag(
    'max-calls-per-connection',
    'N',
    'maximum number of calls at a time on one connection; others wait in the client',
  )
    .default(DEFAULT_LIMITS.callsPerConnection)
    .argParser(wholeNumber(1, MAX_STREAMS)),
  flag(
    'max-connection-age',
    'SECONDS',
    'ask clients to connect anew after this long, give or take a tenth; calls in progress go on; 0 disables it',
  )
    .default(0)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag(
    'max-connection-age-grace',
    'SECONDS',
    'how long calls may go on after --max-connection-age before their connection is closed; 0: as long as they take',
  )
    .default(0)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag('keepalive-interval', 'SECONDS', 'ping each connection this often to find dead clients; 0 disables it')
    .default((DEFAULT_LIMITS.keepaliveMs ?? 0) / SECOND_MS)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag('keepalive-timeout', 'SECONDS', 'close connections whose client does not answer a ping for this long')
    .default(DEFAULT_LIMITS.keepaliveTimeoutMs / SECOND_MS)
    .argParser(wholeNumber(1, MAX_TIMER_SECONDS)),
  flag('stall-timeout', 'SECONDS', 'end calls whose request makes no progress for this long')
    .default(DEFAULT_LIMITS.stallMs / SECOND_MS)
    .argParser(wholeNumber(1, MAX_TIMER_SECONDS)),
  flag(
    'abandoned-call-timeout',
    'SECONDS',
    "end an appliance whose daemon continues a call for this long, or the session's idle timeout, after the client has abandoned it",
  )
    .default(ABANDONED_MS / SECOND_MS)
    .argParser(wholeNumber(1, MAX_TIMER_SECONDS)),
  flag(
    'unresponsive-timeout',
    'SECONDS',
    'end an appliance whose qemu, or whose idle daemon, does not answer for this long; 0 disables it',
  )
    .default(60)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
];

/** The limits of connections and calls. */
export function serverLimits(flags: LimitFlags): ServerLimits {
  return {
    ...DEFAULT_LIMITS,
    connections: flags.maxConnections,
    callsPerClient: flags.maxCallsPerClient,
    callsPerConnection: flags.maxCallsPerConnection,
    connectionIdleMs: secondsOrNone(flags.connectionIdleTimeout),
    connectionAgeMs: secondsOrNone(flags.maxConnectionAge),
    connectionAgeGraceMs: secondsOrNone(flags.maxConnectionAgeGrace),
    keepaliveMs: secondsOrNone(flags.keepaliveInterval),
    keepaliveTimeoutMs: flags.keepaliveTimeout * SECOND_MS,
    stallMs: flags.stallTimeout * SECOND_MS,
  };
}

/**
 * What the sessions of one client can use together.
 * @param isShared whether several identities use the server
 */
export function clientBudget(flags: LimitFlags & { readonly maxSessions: number }, isShared: boolean): ClientBudget {
  const half = isShared ? Math.ceil(flags.maxSessions / 2) : undefined;
  return {
    sessions: flags.maxSessionsPerClient ?? half,
    memsizeMb: flags.maxMemoryPerClient || undefined,
    smp: flags.maxCpusPerClient || undefined,
    drives: flags.maxDrivesPerClient || undefined,
  };
}

/** Converts seconds to milliseconds; undefined for 0, which means no limit. */
export function secondsOrNone(seconds: number): number | undefined {
  return seconds === 0 ? undefined : seconds * SECOND_MS;
}

/** The limits for settings; the server's own defaults are always within them. */
export function settingLimits(
  { maxMemsize, maxSmp, maxIdleTimeout }: LimitFlags,
  defaults: { readonly memsizeMb: number; readonly smp: number; readonly idleTimeout: number },
): SettingLimits {
  const idleTimeout = maxIdleTimeout === 0 ? 0 : Math.max(maxIdleTimeout, defaults.idleTimeout);
  return {
    memsizeMb: Math.max(maxMemsize ?? Math.floor(totalmem() / MEBIBYTE / 2), defaults.memsizeMb),
    smp: Math.max(maxSmp ?? Math.max(availableParallelism(), LEAST_MAX_SMP), defaults.smp),
    idleTimeoutMs: secondsOrNone(idleTimeout),
  };
}
