/** Assembles the server, and shuts it down gracefully on SIGTERM and SIGINT. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { ServerCredentials } from '@grpc/grpc-js';
import { descriptors } from '../common/descriptors.js';
import { messageOf } from '../common/errors.js';
import { createLogger, type Logger } from '../common/logger.js';
import { createRunDirectory, sweepRunDirectories } from '../common/tempDir.js';
import { sleep, withTimeLimit } from '../common/waiting.js';
import { createPreflight, type LaunchPreflight } from '../launcher/preflight.js';
import { createColdLauncher } from '../launcher/coldLauncher.js';
import { createTemplateLauncher, type TemplateLauncher } from '../launcher/templateLauncher.js';
import { rawMarks } from '../images/rawMarks.js';
import { findCgroups, sweepCgroups } from '../jail/cgroups.js';
import { findIsolation, isShared } from '../jail/isolation.js';
import type { Isolation } from '../jail/jailArguments.js';
import { createQemuUsers } from '../qemu/qemuUsers.js';
import { qemuVersionOf } from '../qemu/qemuVersion.js';
import { openAuditLog, type AuditLog } from '../server/auditLog.js';
import { Certificates } from '../server/certificates.js';
import { createIdentify, type Identify } from '../server/identify.js';
import { ownDirectories } from '../security/ownDirectories.js';
import { sameForAll, type AccessPolicy } from '../security/access.js';
import { userIdentity } from '../security/certificateIdentity.js';
import { RolePolicy } from '../security/rolePolicy.js';
import { TokenVerifier } from '../security/tokens.js';
import type { ServerLimits } from '../server/limits.js';
import { countingLaunches } from '../server/launchMetrics.js';
import { collectProcessMetrics } from '../server/metrics.js';
import { serveOperations, type Readiness } from '../server/operationsServer.js';
import { measureMachines } from '../server/qemuMetrics.js';
import { PeerUsers } from '../server/peerUsers.js';
import type { Replicas } from '../server/replicas/replicas.js';
import { serve } from '../server/server.js';
import type { LaunchFacts } from '../server/serverInfo.js';
import { measureSessions } from '../server/sessionMetrics.js';
import { SessionFactory } from '../server/sessionFactory.js';
import { acceleratorOf } from '../session/backendSettings.js';
import { SessionRegistry } from '../session/sessionRegistry.js';
import type { SessionSettings } from '../session/settings.js';
import type { TemplateRequest } from '../launcher/template/templates.js';
import { UsageError } from './commandLine.js';
import { closeInheritedDescriptors } from './inheritedDescriptors.js';
import type { ServerConfig } from './config.js';
import { drainOnUnhandled, survivesLostOutput } from './lastResort.js';
import { keepReloading } from './reloading.js';
import { createReplicas } from './replicas.js';
import { endInOrder, type Part } from './shutdown.js';
import { traceCalls } from './tracing.js';

async function readCertificates(tls: ServerConfig['tls'], logger: Logger): Promise<Certificates | undefined> {
  if (tls === undefined) return undefined;
  const certificates = await Certificates.read(tls).catch((error: unknown) => {
    throw new UsageError(`--tls-cert, --tls-key, --client-ca: ${messageOf(error)}`);
  });
  const watched = [tls.certificate, tls.key, ...(tls.clientCa === undefined ? [] : [tls.clientCa])];
  await keepReloading({ what: 'certificates', watched, reload: () => certificates.reload() }, logger);
  return certificates;
}

/** How clients are identified. */
async function identify(
  { identities, replica }: ServerConfig,
  peerUsers: PeerUsers | undefined,
  replicas: Replicas | undefined,
  logger: Logger,
): Promise<Identify> {
  if (identities === undefined) return () => undefined;
  const { kinds, proxies, tokens: settings } = identities;
  const others = replicas && { identities: replica.identities, forwardedBy: replicas.forwardedBy };
  if (settings === undefined) return createIdentify({ kinds, peerUsers, proxies, replicas: others });
  const tokens = await TokenVerifier.read(settings).catch((error: unknown) => {
    throw new UsageError(`--jwt-keys: ${settings.keys}: ${messageOf(error)}`);
  });
  await keepReloading({ what: 'key set', watched: [settings.keys], reload: () => tokens.reload() }, logger);
  return createIdentify({ kinds, peerUsers, proxies, tokens, replicas: others });
}

/** Users that can do anything to the server in any case: root, and its own user. */
function operators(): ReadonlySet<string> {
  return new Set([0, geteuid?.() ?? 0].map(userIdentity));
}

/** What clients may do. */
async function access({ identities, policy, policyFile }: ServerConfig, logger: Logger): Promise<AccessPolicy> {
  if (identities === undefined) return sameForAll(policy);
  if (policyFile === undefined) return ownDirectories(policy, logger, identities.users ? operators() : undefined);
  const roles = await RolePolicy.read(policyFile, policy).catch((error: unknown) => {
    throw new UsageError(`--policy: ${policyFile}: ${messageOf(error)}`);
  });
  await keepReloading({ what: 'policy', reload: () => roles.reload() }, logger);
  return roles;
}

/** Connections take descriptors, and so do sessions. */
function withinDescriptors(limits: ServerLimits, logger: Logger): ServerLimits {
  const connections = descriptors.connections(limits.connections);
  // Replicas that know each other are trusted not to have more connections than they need, but no more can be had.
  const connectionsOfReplicas = descriptors.connections(Infinity) - connections;
  if (connections === limits.connections) return { ...limits, connectionsOfReplicas };
  logger.warn('the limit of file descriptors (ulimit -n) allows fewer connections than --max-connections', {
    fileDescriptors: descriptors.limit,
    connections,
  });
  return { ...limits, connections, connectionsOfReplicas };
}

function openAudit({ auditLog: path }: ServerConfig, logger: Logger): AuditLog | undefined {
  if (path === undefined) return undefined;
  try {
    const audit = openAuditLog(path, logger);
    process.on('SIGHUP', () => audit.reopen());
    return audit;
  } catch (error) {
    throw new UsageError(`--audit-log: ${path}: ${messageOf(error)}`);
  }
}

/** A template is usually ready within 20 seconds; if it takes longer, sessions cold-boot until it is. */
const PREPARATION_LIMIT_MS = 30_000;

/** The machine of a session with default settings. */
export function defaultRequest(defaults: SessionSettings): TemplateRequest {
  return {
    ...{
      accelerator: acceleratorOf(defaults),
      qemuBinary: defaults.hv,
      appliancePath: defaults.path,
      temporaryDirectory: defaults.tmpdir,
      cacheDirectory: defaults.cachedir,
    },
    ...{
      memsizeMb: defaults.memsizeMb,
      smp: defaults.smp,
      network: defaults.network,
      selinux: defaults.selinux,
      verbose: defaults.verbose,
      append: defaults.append,
    },
  };
}

/** Prepares for the first session: builds the appliance if needed, chooses KVM or TCG, and creates the template. */
async function prepare(
  preflight: LaunchPreflight,
  templates: TemplateLauncher | undefined,
  { defaults }: ServerConfig,
  logger: Logger,
  found: (facts: LaunchFacts) => void,
): Promise<void> {
  rawMarks.prepare().catch((err: unknown) => logger.error('images cannot be marked', { err }));
  const needs = defaultRequest(defaults);
  const late = new Error('launch preparation timed out');
  try {
    await withTimeLimit(
      PREPARATION_LIMIT_MS,
      () => late,
      [],
      async (limit) => {
        const base = await preflight.run(needs, limit);
        await base.appliance.close();
        const { daemonVersion, kernelVersion } = base.appliance.manifest ?? {};
        const facts = { accelerator: base.accelerator, daemonVersion, kernelVersion };
        found(facts);
        // Nothing waits for it.
        qemuVersionOf(base.qemuBinary).then(
          (qemuVersion) => found({ ...facts, qemuVersion }),
          (err: unknown) => logger.warn('qemu does not state its version', { err }),
        );
        const withoutTemplate = await templates?.prepare(needs, limit);
        const launch = templates === undefined || withoutTemplate !== undefined ? 'cold' : 'template';
        const { accelerator, appliance } = base;
        logger.info('ready to launch', { launch, accelerator, appliance: appliance.directory });
      },
    );
  } catch (error) {
    if (error === late)
      logger.warn('template not ready yet, falling back to cold boot', {
        afterSeconds: PREPARATION_LIMIT_MS / 1000,
      });
    else logger.error('launch preflight failed', { err: error });
  }
}

/**
 * V8 counts the buffers that files pass through as part of its heap, and scans the entire heap,
 * mostly 40 MB of generated code, whenever it has grown by a few megabytes: ten times a second in
 * a transfer. This makes it wait until the heap has grown by this share, percent.
 */
const HEAP_GROWTH = 100;

/**
 * Logs at the start how tenants are isolated from each other.
 * @returns whether only one identity may be served, because they are not
 */
function logIsolation(isolation: Isolation, config: ServerConfig, logger: Logger): boolean {
  const { kind, as } = isolation;
  if (isolation.kind === 'namespaces') {
    logger.info('qemu and its helpers run in jails', { isolation: kind, as });
    return false;
  }
  const { reason } = isolation;
  if (kind === 'landlock') {
    logger.info('qemu and its helpers are confined by Landlock and seccomp: no namespaces can be made here', {
      ...{ isolation: kind, as, reason },
    });
    return false;
  }
  const oneIdentity = config.identities !== undefined && isShared(isolation) && !config.insecureIsolation;
  const consequence = oneIdentity ? '; only the first identity that creates a session is served' : '';
  logger.warn(
    as === 'root'
      ? 'neither namespaces nor Landlock are available: only their user IDs keep qemu and its helpers apart, and they can use the network and read whatever everyone may read'
      : `neither namespaces nor Landlock are available: qemu and its helpers can do whatever the server's user may do${consequence}`,
    { isolation: kind, as, reason },
  );
  return oneIdentity;
}

/** Logs whether machines are limited by cgroups, and removes the cgroups of a server that was killed. */
async function prepareCgroups(logger: Logger): Promise<void> {
  const cgroups = await findCgroups();
  if (cgroups.version === undefined) {
    logger.info('machines have no cgroups: only the limits of each process apply', {
      reason: cgroups.reason,
    });
    return;
  }
  const { version, parents } = cgroups;
  logger.info('each machine has its own cgroup', { version, below: [...new Set(parents.values())] });
  try {
    const count = await sweepCgroups();
    if (count > 0) logger.info('removed the cgroups of a dead server', { count });
  } catch (error) {
    logger.warn('cannot remove the cgroups of a dead server', { err: error });
  }
}

/** Why no session could have its run directory below `directory`; undefined: one could. */
async function unwritable(directory: string): Promise<string | undefined> {
  try {
    const made = await createRunDirectory(directory, undefined);
    try {
      // A full disk may still have room for a directory.
      await writeFile(join(made.path, 'probe'), Buffer.alloc(4096));
    } finally {
      await made.remove();
    }
    return undefined;
  } catch (error) {
    return `no files can be created in the directory for temporary files: ${messageOf(error)}`;
  }
}

/** Exit code if a session was not synced or was killed, another part of the shutdown failed, or a defect caused it. */
const EXIT_UNCLEAN = 1;

/** Serves until a signal ends it; then the process exits with 0, or with 1 if the shutdown failed. */
export async function runServer(config: ServerConfig): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
  survivesLostOutput();
  const inherited = closeInheritedDescriptors();
  const logger = createLogger(config.logLevel);
  if (inherited.length > 0) logger.info('closed descriptors of the process that started the server', { inherited });
  const oneIdentity = logIsolation(await findIsolation(), config, logger);
  await sweepRunDirectories(config.defaults.tmpdir, logger);
  await prepareCgroups(logger);
  const users = createQemuUsers();
  const preflight = createPreflight({
    logger,
    users,
    qemuBinary: config.defaults.hv,
    appliancePath: config.defaults.path,
    anySkeleton: config.policy.allowed.has('custom-qemu'),
  });
  const launching = { logger, users, preflight };
  const pool = config.pool === 0 ? {} : { pool: { size: config.pool, request: defaultRequest(config.defaults) } };
  const templates = config.launch === 'template' ? createTemplateLauncher({ ...launching, ...pool }) : undefined;
  const launcher = countingLaunches(templates ?? createColdLauncher(launching));
  const registry = new SessionRegistry(config.maxSessions, logger, config.clientBudget, { oneIdentity });
  const factory = new SessionFactory({
    defaults: config.defaults,
    defaultIdleTimeoutMs: config.idleTimeoutMs,
    maxAgeMs: config.maxSessionAgeMs,
    abandonedMs: config.abandonedCallMs,
    unresponsiveMs: config.unresponsiveMs,
    launcher,
    logger,
  });
  /** In start order; the shutdown is in reverse order. */
  const parts: Part[] = [];
  const tracing = await traceCalls(process.env, config.replica.id, logger);
  // Last, after the calls that the others end.
  if (tracing !== undefined) parts.push({ name: 'traces', end: () => tracing.close() });
  if (templates !== undefined) parts.push({ name: 'templates', end: () => templates.close() });
  let stopping = false;
  let announceEnd = (): void => undefined;
  const stop = async (why: { readonly signal: NodeJS.Signals } | { readonly defect: true }): Promise<void> => {
    // Ctrl-C arrives twice: sent to the whole process group by the terminal, and forwarded by npm.
    if (stopping) return;
    stopping = true;
    const { delayMs } = config.drain;
    logger.info('shutting down', { ...why, sessions: registry.size });
    announceEnd();
    if (delayMs > 0) await sleep(delayMs);
    const clean = await endInOrder(parts.reverse(), config.drain, logger);
    process.exit(clean && 'signal' in why ? 0 : EXIT_UNCLEAN);
  };
  drainOnUnhandled(logger, () => void stop({ defect: true }));
  process.on('SIGTERM', (signal) => void stop({ signal }));
  process.on('SIGINT', (signal) => void stop({ signal }));
  // What can be reloaded has listeners of its own; without any, the signal would kill the server.
  process.on('SIGHUP', (signal) => logger.info('reloading what can be reloaded', { signal }));
  process.on('SIGUSR2', (signal) => {
    logger.info('drained by a signal', { signal });
    registry.closeToNew(true);
  });

  const audit = openAudit(config, logger);
  const peerUsers = config.identities?.users === true ? new PeerUsers(logger) : undefined;
  const certificates = await readCertificates(config.tls, logger);
  const kinds = config.identities?.kinds ?? [];
  const replicas = await createReplicas(config.replica, certificates, kinds, logger);
  let launch: LaunchFacts = {};
  const server = await serve({
    listen: config.listen,
    descriptor: config.listenDescriptor,
    socketMode: config.socketMode,
    credentials: certificates?.credentials() ?? ServerCredentials.createInsecure(),
    identify: await identify(config, peerUsers, replicas, logger),
    peerUsers,
    registry,
    factory,
    replicas,
    advertised: config.replica.advertised,
    info: () => ({
      ...{ replica: config.replica.id, launch, settings: config.defaults.limits },
      sessionsPerClient: config.clientBudget.sessions,
    }),
    access: await access(config, logger),
    probe: preflight.imageProbe,
    debugService: config.debugService,
    channelz: config.policy.allowed.has('channelz'),
    requestMemory: config.requestMemory,
    limits: withinDescriptors(config.limits, logger),
    diskBytes: config.diskBytes,
    // `parse_environment` can bring back a path that a flag has replaced.
    directories: {
      ...config.defaults,
      path: [config.defaults.path, process.env['LIBGUESTFS_PATH'] ?? ''].join(':'),
    },
    logger,
    audit,
    tracer: tracing?.tracer,
  });
  let leaving = false;
  if (config.metricsListen !== undefined) {
    collectProcessMetrics();
    measureMachines({ states: () => registry.machineStates() });
    measureSessions({ registry, maxSessions: config.maxSessions, waitingClones: () => templates?.waiting });
    const readiness: Readiness = async () =>
      leaving ? 'the server is shutting down' : unwritable(config.defaults.tmpdir);
    const room = (): string | undefined => {
      if (registry.freePlaces > 0) return undefined;
      return registry.isDraining ? 'the server is drained' : 'no place is free';
    };
    const operations = await serveOperations(config.metricsListen, readiness, room, logger);
    logger.info('serving metrics', { address: operations.address });
    parts.push({ name: 'metrics', end: () => operations.close() });
  }
  announceEnd = () => {
    leaving = true;
    server.announceEnd();
  };
  // Calls get one half of the time, syncs the other.
  parts.push({ name: 'sessions and connections', end: (grace) => server.stop(grace, config.drain.graceMs / 2) });
  // The log then shows from the start who the others are.
  void replicas?.peers?.refresh();
  await prepare(preflight, templates, config, logger, (facts) => {
    launch = facts;
  });
  process.stdout.write(`listening on ${server.address}\n`);
}
