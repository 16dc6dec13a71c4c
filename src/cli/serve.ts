/** Puts the server together, and takes it down in order on SIGTERM and SIGINT. */
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { ServerCredentials } from '@grpc/grpc-js';
import { createLogger, type Logger } from '../common/logger.js';
import { sweepRunDirectories } from '../common/tempDir.js';
import { withTimeLimit } from '../common/waiting.js';
import { createPreflight, type LaunchPreflight } from '../launcher/preflight.js';
import { createColdLauncher } from '../launcher/coldLauncher.js';
import { createTemplateLauncher, type TemplateLauncher } from '../launcher/templateLauncher.js';
import { createQemuUsers } from '../qemu/qemuUsers.js';
import { serveMetrics } from '../server/metrics.js';
import { serve } from '../server/server.js';
import { SessionFactory } from '../server/sessionFactory.js';
import { acceleratorOf } from '../session/backendSettings.js';
import { SessionRegistry } from '../session/sessionRegistry.js';
import type { SessionSettings } from '../session/settings.js';
import type { TemplateRequest } from '../launcher/template/templates.js';
import type { ServerConfig } from './config.js';
import { endInOrder, type Part } from './shutdown.js';

async function credentials(tls: ServerConfig['tls']): Promise<ServerCredentials> {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const [certificate, key, clientCa] = await Promise.all([
    readFile(tls.certificate),
    readFile(tls.key),
    tls.clientCa === undefined ? null : readFile(tls.clientCa),
  ]);
  return ServerCredentials.createSsl(clientCa, [{ cert_chain: certificate, private_key: key }], clientCa !== null);
}

/** A template is ready in ten to twenty seconds; where it takes longer, sessions are booted until it is. */
const PREPARATION_LIMIT_MS = 30_000;

/** The machines of sessions that state nothing of their own. */
function defaultRequest(defaults: SessionSettings): TemplateRequest {
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

/** Builds the appliance, if need be, decides between KVM and TCG, and makes the template, before the first session asks. */
async function prepare(
  preflight: LaunchPreflight,
  templates: TemplateLauncher | undefined,
  { defaults }: ServerConfig,
  logger: Logger,
): Promise<void> {
  const needs = defaultRequest(defaults);
  const late = new Error('preparing takes too long');
  try {
    await withTimeLimit(
      PREPARATION_LIMIT_MS,
      () => late,
      [],
      async (limit) => {
        const base = await preflight.run(needs, limit);
        await base.appliance.close();
        const withoutTemplate = await templates?.prepare(needs, limit);
        const launch = templates === undefined || withoutTemplate !== undefined ? 'cold' : 'template';
        const { accelerator, appliance } = base;
        logger.info('ready to launch', { launch, accelerator, appliance: appliance.directory });
      },
    );
  } catch (error) {
    if (error === late)
      logger.warn('the first sessions are booted: there is no template yet', {
        afterSeconds: PREPARATION_LIMIT_MS / 1000,
      });
    else logger.error('sessions cannot be launched as things are', { err: error });
  }
}

/**
 * V8 counts the buffers that files pass through as part of its heap, and looks through all of
 * the heap, which is 40 MB of generated code mostly, whenever it has grown by a few megabytes: ten
 * times a second in a transfer. It is to do so when the heap has grown by this share, percent.
 */
const HEAP_GROWTH = 100;

/** How the process exits when a session could not be synced, or anything else failed, on the way out. */
const EXIT_UNCLEAN = 1;

/** Serves until a signal ends it; then the process exits with 0, or with 1 if the shutdown failed. */
export async function runServer(config: ServerConfig): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
  const logger = createLogger(config.logLevel);
  await sweepRunDirectories(config.defaults.tmpdir, logger);
  const users = createQemuUsers();
  const preflight = createPreflight({
    logger,
    users,
    qemuBinary: config.defaults.hv,
    appliancePath: config.defaults.path,
    anySkeleton: config.policy.allowed.has('custom-qemu'),
  });
  const launching = { logger, imageRoots: config.policy.imageRoots, users, preflight };
  const pool = config.pool === 0 ? {} : { pool: { size: config.pool, request: defaultRequest(config.defaults) } };
  const templates = config.launch === 'template' ? createTemplateLauncher({ ...launching, ...pool }) : undefined;
  const launcher = templates ?? createColdLauncher(launching);
  const registry = new SessionRegistry(config.maxSessions, logger);
  const factory = new SessionFactory({
    defaults: config.defaults,
    defaultIdleTimeoutMs: config.idleTimeoutMs,
    launcher,
    logger,
  });
  /** The last to be ended comes first. */
  const parts: Part[] = templates === undefined ? [] : [{ name: 'templates', end: () => templates.close() }];
  let stopping = false;
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    // A terminal's Ctrl-C comes twice: to the whole process group, and passed on by npm.
    if (stopping) return;
    stopping = true;
    logger.info('shutting down', { signal, sessions: registry.size });
    process.exit((await endInOrder(parts.reverse(), logger)) ? 0 : EXIT_UNCLEAN);
  };
  process.on('SIGTERM', (signal) => void stop(signal));
  process.on('SIGINT', (signal) => void stop(signal));

  const server = await serve({
    listen: config.listen,
    credentials: await credentials(config.tls),
    registry,
    factory,
    policy: config.policy,
    probe: preflight.imageProbe,
    debugService: config.debugService,
    requestMemory: config.requestMemory,
    logger,
  });
  const metrics =
    config.metricsListen === undefined
      ? undefined
      : await serveMetrics(config.metricsListen, { registry, waitingClones: () => templates?.waiting });
  if (metrics !== undefined) {
    logger.info('serving metrics', { address: metrics.address });
    parts.push({ name: 'metrics', end: () => metrics.close() });
  }
  parts.push({ name: 'sessions and connections', end: () => server.stop() });
  await prepare(preflight, templates, config, logger);
  process.stdout.write(`listening on ${server.address}\n`);
}
