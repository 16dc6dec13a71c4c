/** The server's configuration, from its flags and libguestfs's environment variables. */
import { mkdir, realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { defaultApplianceDirectory } from '../../appliance-builder/location.js';
import { DEFAULT_SUITE } from '../../appliance-builder/suite.js';
import { isTrue } from '../common/booleans.js';
import { messageOf } from '../common/errors.js';
import type { LogLevel } from '../common/logger.js';
import { MIN_MEMSIZE_MB } from '../qemu/limits.js';
import type { CertificateKind } from '../security/certificateIdentity.js';
import type { TokenSettings } from '../security/tokens.js';
import type { ServerPolicy } from '../security/policy.js';
import { isLocal, socketPath } from '../server/address.js';
import { acceleratorOf } from '../session/backendSettings.js';
import type { ServerLimits } from '../server/limits.js';
import type { ClientBudget } from '../session/clientBudget.js';
import type { SessionSettings } from '../session/settings.js';
import { UsageError, type ServerCommandLine } from './commandLine.js';
import { DEFAULT_IMAGE_ROOTS, MEBIBYTE, type Flags } from './flags.js';
import { FROM_SYSTEMD, wholeNumber } from './flagValues.js';
import { clientBudget, secondsOrNone, serverLimits, settingLimits } from './limitFlags.js';
import { replicaConfig, type ReplicaConfig } from './replicaConfig.js';
import { activatedSocket, type ActivatedSocket } from './socketActivation.js';

const LAUNCH_TIMEOUT_MS = 180_000;

/** How clients are identified. */
export interface Identities {
  /** Kinds of names in client certificates that are used. */
  readonly kinds: readonly CertificateKind[];
  readonly tokens: TokenSettings | undefined;
  /** The users of clients on a Unix socket count. */
  readonly users: boolean;
  /** Patterns of proxies' identities. */
  readonly proxies: readonly string[];
}

export interface ServerConfig {
  readonly listen: string;
  /** Of a socket that listens there already; undefined: the server makes its own. */
  readonly listenDescriptor: number | undefined;
  /** Mode of a Unix socket. */
  readonly socketMode: number;
  readonly metricsListen: string | undefined;
  readonly tls:
    | { readonly certificate: string; readonly key: string; readonly clientCa: string | undefined }
    | undefined;
  /** How clients are identified; undefined: they are not. */
  readonly identities: Identities | undefined;
  /** This server as one of several. */
  readonly replica: ReplicaConfig;
  /** Serves several identities also where nothing keeps their machines apart. */
  readonly insecureIsolation: boolean;
  readonly policy: ServerPolicy;
  /** Determines what each identity may do. */
  readonly policyFile: string | undefined;
  /** File of the audit log, or `-`. */
  readonly auditLog: string | undefined;
  readonly defaults: SessionSettings;
  readonly launch: 'template' | 'cold';
  /** Number of clones kept ready for new sessions. */
  readonly pool: number;
  readonly maxSessions: number;
  /** For large requests, bytes. */
  readonly requestMemory: number;
  readonly idleTimeoutMs: number | undefined;
  /** Undefined: sessions have no maximum age. */
  readonly maxSessionAgeMs: number | undefined;
  /** How long a call continues after its client has given up. */
  readonly abandonedCallMs: number;
  /** How the server shuts down. */
  readonly drain: {
    /** How long it goes on after it has said that it ends, milliseconds. */
    readonly delayMs: number;
    /** ... and how long the shutdown then takes at most. */
    readonly graceMs: number;
  };
  /** How long an appliance may say nothing; undefined: any time. */
  readonly unresponsiveMs: number | undefined;
  readonly limits: ServerLimits;
  readonly clientBudget: ClientBudget;
  /** What one client can write to files of the server, bytes; undefined: any amount. */
  readonly diskBytes: number | undefined;
  readonly debugService: boolean;
  readonly logLevel: LogLevel;
}

/** Parses a boolean variable as libguestfs does. */
function switched(what: string, value: string | undefined): boolean {
  const on = isTrue(value || '0');
  if (on === undefined) throw new UsageError(`${what}: ${String(value)} is not a boolean, such as 0 or 1`);
  return on;
}

/** Memory of an appliance, MiB: a flag takes precedence over libguestfs's variable. */
function memsize({ flags, given }: ServerCommandLine, environment: NodeJS.ProcessEnv): number {
  const variable = 'LIBGUESTFS_MEMSIZE';
  const value = environment[variable] ?? '';
  if (given.has('memsize') || value === '') return flags.memsize;
  try {
    return wholeNumber(MIN_MEMSIZE_MB)(value);
  } catch (error) {
    throw new UsageError(`${variable}: '${value}' is invalid. ${messageOf(error)}`);
  }
}

/** The accelerator, and the settings that can force one: a flag takes precedence over them. */
function backend(
  { flags, given }: ServerCommandLine,
  environment: NodeJS.ProcessEnv,
): Pick<SessionSettings, 'accelerator' | 'backendSettings'> {
  const variable = 'LIBGUESTFS_BACKEND_SETTINGS';
  const stated = (environment[variable] ?? '').split(':').filter((setting) => setting !== '');
  const settings = {
    accelerator: flags.accel,
    backendSettings: given.has('accel') ? stated.filter((setting) => !/^force_(tcg|kvm)(=|$)/.test(setting)) : stated,
  };
  try {
    acceleratorOf(settings);
  } catch (error) {
    throw new UsageError(`${variable}: ${messageOf(error)}`);
  }
  return settings;
}

async function imageRoots({ imageRoot }: Flags): Promise<readonly string[]> {
  if (imageRoot === DEFAULT_IMAGE_ROOTS) for (const directory of imageRoot) await mkdir(directory, { recursive: true });
  return Promise.all(
    imageRoot.map(async (directory) => {
      try {
        return await realpath(directory);
      } catch (error) {
        throw new UsageError(`--image-root: ${directory}: ${messageOf(error)}`);
      }
    }),
  );
}

function pool({ pool: size, launch }: Flags): number {
  if (size > 0 && launch === 'cold')
    throw new UsageError('--pool needs --launch template: the pool contains clones of the template');
  return size;
}

function tls({ tlsCert: certificate, tlsKey: key, clientCa }: Flags): ServerConfig['tls'] {
  if (certificate === undefined && key === undefined) {
    if (clientCa !== undefined) throw new UsageError('--client-ca needs --tls-cert and --tls-key');
    return undefined;
  }
  if (certificate === undefined || key === undefined) throw new UsageError('--tls-cert and --tls-key need each other');
  return { certificate, key, clientCa };
}

function listen({ flags, given }: ServerCommandLine, inherited: boolean): string {
  const { listen: address, tlsCert, insecureListen } = flags;
  if (given.has('socketMode') && (inherited || socketPath(address) === undefined))
    throw new UsageError(
      inherited ? '--socket-mode: the mode is that of the .socket unit' : '--socket-mode needs --listen unix:/PATH',
    );
  if (tlsCert === undefined && !insecureListen && !isLocal(address))
    throw new UsageError(
      `--listen ${address}: other machines can connect there, and without TLS everyone reads along; give --tls-cert and --tls-key, or --insecure-listen if something else protects the connections`,
    );
  return address;
}

function tokens({ jwtKeys: keys, jwtIssuer: issuer, jwtAudience: audience }: Flags): TokenSettings | undefined {
  if (keys === undefined && issuer === undefined && audience === undefined) return undefined;
  if (keys === undefined || issuer === undefined || audience === undefined)
    throw new UsageError('--jwt-keys, --jwt-issuer and --jwt-audience need each other');
  return { keys, issuer, audience };
}

function identities(flags: Flags): Identities | undefined {
  const { clientCa, tlsCert, listen: address, identityKinds: kinds, xfccPeers: proxies = [] } = flags;
  const users = tlsCert === undefined && socketPath(address) !== undefined;
  if (proxies.length > 0 && clientCa === undefined && !users)
    throw new UsageError(
      '--xfcc-peers needs --client-ca or --listen unix:/PATH: a proxy that does not prove who it is could be anyone',
    );
  const settings = { kinds, tokens: tokens(flags), users, proxies };
  return clientCa === undefined && settings.tokens === undefined && !users ? undefined : settings;
}

function insecureIsolation({ insecureIsolation: given }: Flags, known: Identities | undefined): boolean {
  if (given && known === undefined)
    throw new UsageError(
      '--insecure-isolation needs --client-ca, --jwt-keys or --listen unix:/PATH: without identities there is one client',
    );
  return given;
}

function policyFile({ policy }: Flags, known: Identities | undefined): string | undefined {
  if (policy !== undefined && known === undefined)
    throw new UsageError('--policy needs --client-ca, --jwt-keys or --listen unix:/PATH: roles are for identities');
  return policy;
}

/** The settings of a session whose client changes none. */
export function defaultSettings(line: ServerCommandLine, environment: NodeJS.ProcessEnv): SessionSettings {
  const { flags } = line;
  /** The first of these variables that is set and not empty. */
  const filled = (...names: readonly string[]): string | undefined =>
    names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
  const machine = { memsizeMb: memsize(line, environment), smp: flags.smp };
  return {
    ...machine,
    limits: settingLimits(flags, { ...machine, idleTimeout: flags.idleTimeout }),
    network: false,
    verbose: switched('LIBGUESTFS_DEBUG', environment['LIBGUESTFS_DEBUG']),
    trace: flags.trace || switched('LIBGUESTFS_TRACE', environment['LIBGUESTFS_TRACE']),
    autosync: true,
    selinux: false,
    pgroup: false,
    recoveryProc: true,
    direct: false,
    identifier: '',
    program: 'guestfs-grpc',
    append: environment['LIBGUESTFS_APPEND'],
    path:
      flags.appliance === undefined
        ? (filled('LIBGUESTFS_PATH') ?? defaultApplianceDirectory(DEFAULT_SUITE, environment))
        : resolve(flags.appliance),
    hv: filled('LIBGUESTFS_HV', 'LIBGUESTFS_QEMU'),
    tmpdir: resolve(filled('LIBGUESTFS_TMPDIR', 'TMPDIR') ?? '/tmp'),
    cachedir: resolve(filled('LIBGUESTFS_CACHEDIR', 'TMPDIR') ?? '/var/tmp'),
    backend: 'direct',
    ...backend(line, environment),
    launchTimeoutMs: LAUNCH_TIMEOUT_MS,
    extraQemuArguments: [],
  };
}

/** Only the server's own user, and root, can be clients. */
function forOwnUser({ listen: address, socketMode }: Flags): boolean {
  return socketPath(address) !== undefined && (Number.parseInt(socketMode, 8) & 0o077) === 0;
}

/** The flags that would have made this socket. */
function flagsOf({ address, mode }: ActivatedSocket): Partial<Flags> {
  return { listen: address, ...(mode === undefined ? {} : { socketMode: mode }) };
}

/**
 * The configuration; creates ./images if no image root is given.
 * @throws UsageError naming the invalid flag or variable
 */
export async function readConfig(given: ServerCommandLine, environment: NodeJS.ProcessEnv): Promise<ServerConfig> {
  const socket = given.flags.listen === FROM_SYSTEMD ? await activatedSocket(environment) : undefined;
  // From here on, the address of the socket counts: whether it is local, whether its clients have users.
  const line = socket === undefined ? given : { ...given, flags: { ...given.flags, ...flagsOf(socket) } };
  const { flags } = line;
  const allowed = new Set(flags.allow);
  const known = identities(flags);
  return {
    listen: listen(line, socket !== undefined),
    listenDescriptor: socket?.descriptor,
    socketMode: Number.parseInt(flags.socketMode, 8),
    metricsListen: flags.metricsListen,
    tls: tls(flags),
    identities: known,
    replica: replicaConfig(flags, known !== undefined),
    insecureIsolation: insecureIsolation(flags, known),
    policyFile: policyFile(flags, known),
    auditLog: flags.auditLog,
    policy: {
      imageRoots: {
        directories: await imageRoots(flags),
        blockDevices: allowed.has('block-devices'),
        backingFiles: allowed.has('backing-files'),
      },
      allowed,
    },
    defaults: defaultSettings(line, environment),
    launch: flags.launch,
    pool: pool(flags),
    maxSessions: flags.maxSessions,
    requestMemory: flags.requestMemory * MEBIBYTE,
    idleTimeoutMs: secondsOrNone(flags.idleTimeout),
    maxSessionAgeMs: secondsOrNone(flags.maxSessionAge),
    abandonedCallMs: flags.abandonedCallTimeout * 1000,
    drain: { delayMs: flags.drainDelay * 1000, graceMs: flags.drainGrace * 1000 },
    unresponsiveMs: secondsOrNone(flags.unresponsiveTimeout),
    limits: serverLimits(flags),
    clientBudget: clientBudget(flags, known !== undefined && !forOwnUser(flags)),
    diskBytes: flags.maxDiskBytesPerClient || undefined,
    debugService: flags.debugService,
    logLevel: flags.logLevel,
  };
}
