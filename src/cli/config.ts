/** The server's configuration, from flags and environment. */
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { defaultApplianceDirectory } from '../../appliance-builder/location.js';
import { DEFAULT_REQUEST_MEMORY_MB } from '../actions/largeMessages.js';
import { isTrue } from '../common/booleans.js';
import { LOG_LEVELS, type LogLevel } from '../common/logger.js';
import { messageOf } from '../common/errors.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import { ALLOWABLE, type Allowable, type ServerPolicy } from '../security/policy.js';
import { splitAddress } from '../server/address.js';
import { MAX_SMP, MIN_MEMSIZE_MB } from '../server/sessionFactory.js';
import { acceleratorOf } from '../session/backendSettings.js';
import type { SessionSettings } from '../session/settings.js';
import { UsageError, type FlagValues } from './flags.js';

const DEFAULT_SUITE = 'trixie';
const DEFAULT_MEMSIZE_MB = 1280;
const DEFAULT_MAX_SESSIONS = 64;
/** More is a mistake. */
const MAX_POOL = 1000;
const DEFAULT_IDLE_TIMEOUT_S = 3600;
const MEBIBYTE = 1024 * 1024;
/** What every request may be. */
const MIN_REQUEST_MEMORY_MB = REQUEST_LIMIT / MEBIBYTE;
/** The largest message that protobuf has is of 2 GiB. */
const MAX_REQUEST_MEMORY_MB = 2047;
const DEFAULT_LAUNCH_TIMEOUT_MS = 180_000;
const SECOND_MS = 1000;

export interface ServerConfig {
  readonly listen: string;
  readonly metricsListen: string | undefined;
  readonly tls:
    | { readonly certificate: string; readonly key: string; readonly clientCa: string | undefined }
    | undefined;
  readonly policy: ServerPolicy;
  readonly defaults: SessionSettings;
  readonly launch: 'template' | 'cold';
  /** Clones that wait for sessions. */
  readonly pool: number;
  readonly maxSessions: number;
  /** For large requests, bytes. */
  readonly requestMemory: number;
  readonly idleTimeoutMs: number | undefined;
  readonly debugService: boolean;
  readonly logLevel: LogLevel;
}

function text(flags: FlagValues, name: string): string | undefined {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
}

function list(flags: FlagValues, name: string): readonly string[] {
  const value = flags[name];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

function integer(
  what: string,
  value: string | undefined,
  fallback: number,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined || value === '') return fallback;
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= least && number <= most) return number;
  throw new UsageError(
    `${what}: ${value} is not a whole number${most === Number.MAX_SAFE_INTEGER ? ` from ${least}` : ` from ${least} to ${most}`}`,
  );
}

function oneOf<Value extends string>(what: string, value: string, allowed: readonly Value[]): Value {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new UsageError(`${what}: ${value} is none of ${allowed.join(', ')}`);
  return found;
}

function address(what: string, value: string): string {
  if (splitAddress(value) === undefined)
    throw new UsageError(`${what}: ${value} is not an address of the form HOST:PORT`);
  return value;
}

/** As libguestfs reads its own boolean variables. */
function switched(what: string, value: string | undefined): boolean {
  const on = isTrue(value || '0');
  if (on === undefined) throw new UsageError(`${what}: ${String(value)} is not a boolean, such as 0 or 1`);
  return on;
}

/** The accelerator, and the settings that can force one: a flag goes before them. */
function backend(
  flags: FlagValues,
  environment: NodeJS.ProcessEnv,
): Pick<SessionSettings, 'accelerator' | 'backendSettings'> {
  const flag = text(flags, 'accel');
  const given = (environment['LIBGUESTFS_BACKEND_SETTINGS'] ?? '').split(':').filter((setting) => setting !== '');
  if (flag !== undefined) {
    return {
      accelerator: oneOf('--accel', flag, ['auto', 'kvm', 'tcg']),
      backendSettings: given.filter((setting) => !/^force_(tcg|kvm)(=|$)/.test(setting)),
    };
  }
  const settings = { accelerator: 'auto', backendSettings: given } as const;
  try {
    acceleratorOf(settings);
  } catch (error) {
    throw new UsageError(`LIBGUESTFS_BACKEND_SETTINGS: ${messageOf(error)}`);
  }
  return settings;
}

async function imageRoots(flags: FlagValues): Promise<readonly string[]> {
  const given = list(flags, 'image-root');
  if (given.length === 0) {
    await mkdir('images', { recursive: true });
    return [await realpath('images')];
  }
  return Promise.all(
    given.map(async (directory) => {
      try {
        return await realpath(directory);
      } catch (error) {
        throw new UsageError(`--image-root: ${directory}: ${messageOf(error)}`);
      }
    }),
  );
}

function pool(flags: FlagValues): number {
  const size = integer('--pool', text(flags, 'pool'), 0, 0, MAX_POOL);
  if (size > 0 && text(flags, 'launch') === 'cold')
    throw new UsageError('--pool needs --launch template: what waits are clones');
  return size;
}

function tls(flags: FlagValues): ServerConfig['tls'] {
  const [certificate, key, clientCa] = ['tls-cert', 'tls-key', 'client-ca'].map((name) => text(flags, name));
  if (certificate === undefined && key === undefined) {
    if (clientCa !== undefined) throw new UsageError('--client-ca needs --tls-cert and --tls-key');
    return undefined;
  }
  if (certificate === undefined || key === undefined) throw new UsageError('--tls-cert and --tls-key go together');
  return { certificate, key, clientCa };
}

function defaultSettings(flags: FlagValues, environment: NodeJS.ProcessEnv): SessionSettings {
  /** The first of these variables that says something: an empty one does not. */
  const filled = (...names: readonly string[]): string | undefined =>
    names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
  const appliance = text(flags, 'appliance');
  return {
    memsizeMb: integer(
      '--memsize',
      text(flags, 'memsize') ?? environment['LIBGUESTFS_MEMSIZE'],
      DEFAULT_MEMSIZE_MB,
      MIN_MEMSIZE_MB,
    ),
    smp: integer('--smp', text(flags, 'smp'), 1, 1, MAX_SMP),
    network: false,
    verbose: switched('LIBGUESTFS_DEBUG', environment['LIBGUESTFS_DEBUG']),
    trace: flags['trace'] === true || switched('LIBGUESTFS_TRACE', environment['LIBGUESTFS_TRACE']),
    autosync: true,
    selinux: false,
    pgroup: false,
    recoveryProc: true,
    direct: false,
    identifier: '',
    program: 'guestfs-grpc',
    append: environment['LIBGUESTFS_APPEND'],
    path:
      appliance === undefined
        ? (filled('LIBGUESTFS_PATH') ?? defaultApplianceDirectory(DEFAULT_SUITE, environment))
        : resolve(appliance),
    hv: filled('LIBGUESTFS_HV', 'LIBGUESTFS_QEMU'),
    tmpdir: resolve(filled('LIBGUESTFS_TMPDIR', 'TMPDIR') ?? '/tmp'),
    cachedir: resolve(filled('LIBGUESTFS_CACHEDIR', 'TMPDIR') ?? '/var/tmp'),
    backend: 'direct',
    ...backend(flags, environment),
    launchTimeoutMs: DEFAULT_LAUNCH_TIMEOUT_MS,
    extraQemuArguments: [],
  };
}

/**
 * The configuration; makes ./images when no image root is given.
 * @throws UsageError naming the flag or variable that is wrong
 */
export async function readConfig(flags: FlagValues, environment: NodeJS.ProcessEnv): Promise<ServerConfig> {
  const idleSeconds = integer('--idle-timeout', text(flags, 'idle-timeout'), DEFAULT_IDLE_TIMEOUT_S, 0);
  const metrics = text(flags, 'metrics-listen');
  const allowed = new Set(list(flags, 'allow').map((what): Allowable => oneOf('--allow', what, ALLOWABLE)));
  return {
    listen: address('--listen', text(flags, 'listen') ?? '127.0.0.1:50051'),
    metricsListen: metrics === undefined ? undefined : address('--metrics-listen', metrics),
    tls: tls(flags),
    policy: {
      imageRoots: { directories: await imageRoots(flags), blockDevices: allowed.has('block-devices') },
      allowed,
    },
    defaults: defaultSettings(flags, environment),
    launch: oneOf('--launch', text(flags, 'launch') ?? 'template', ['template', 'cold']),
    pool: pool(flags),
    maxSessions: integer('--max-sessions', text(flags, 'max-sessions'), DEFAULT_MAX_SESSIONS, 1),
    requestMemory:
      integer(
        '--request-memory',
        text(flags, 'request-memory'),
        DEFAULT_REQUEST_MEMORY_MB,
        MIN_REQUEST_MEMORY_MB,
        MAX_REQUEST_MEMORY_MB,
      ) * MEBIBYTE,
    idleTimeoutMs: idleSeconds === 0 ? undefined : idleSeconds * SECOND_MS,
    debugService: flags['debug-service'] === true,
    logLevel: oneOf('--log-level', text(flags, 'log-level') ?? 'info', LOG_LEVELS),
  };
}
