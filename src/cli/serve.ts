/** Puts the server together, and takes it down in order on SIGTERM and SIGINT. */
import { readFile } from 'node:fs/promises';
import { ServerCredentials } from '@grpc/grpc-js';
import { messageOf } from '../common/errors.js';
import { createLogger, type Logger } from '../common/logger.js';
import { sweepRunDirectories } from '../common/tempDir.js';
import { createGroundwork, type Groundwork } from '../launcher/groundwork.js';
import { createColdLauncher } from '../launcher/coldLauncher.js';
import { createQemuUsers } from '../qemu/qemuUsers.js';
import { serveMetrics } from '../server/metrics.js';
import { serve } from '../server/server.js';
import { SessionFactory } from '../server/sessionFactory.js';
import { SessionRegistry } from '../session/sessionRegistry.js';
import type { ServerConfig } from './config.js';

async function credentials(tls: ServerConfig['tls']): Promise<ServerCredentials> {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const [certificate, key, clientCa] = await Promise.all([readFile(tls.certificate), readFile(tls.key), tls.clientCa === undefined ? null : readFile(tls.clientCa)]);
  return ServerCredentials.createSsl(clientCa, [{ cert_chain: certificate, private_key: key }], clientCa !== null);
}

/** Builds the appliance, if need be, and decides between KVM and TCG before the first session asks. */
function prepare(groundwork: Groundwork, { defaults }: ServerConfig, logger: Logger): void {
  const needs = {
    accelerator: defaults.accelerator, qemuBinary: defaults.hv, appliancePath: defaults.path,
    temporaryDirectory: defaults.tmpdir, cacheDirectory: defaults.cachedir,
  };
  groundwork.lay(needs, new AbortController().signal).then(
    async (ground) => {
      await ground.appliance.close();
      logger.info('ready to launch', { accelerator: ground.accelerator, appliance: ground.appliance.directory });
    },
    (error: unknown) => logger.error('sessions cannot be launched as things are', { error: messageOf(error) }),
  );
}

/** Serves until a signal ends it. */
export async function runServer(config: ServerConfig): Promise<void> {
  const logger = createLogger(config.logLevel);
  await sweepRunDirectories(config.defaults.tmpdir, logger);
  const users = createQemuUsers();
  const groundwork = createGroundwork({ logger, users });
  const launcher = createColdLauncher({ logger, imageRoots: config.policy.imageRoots, users, groundwork });
  const registry = new SessionRegistry(config.maxSessions, logger);
  const factory = new SessionFactory({ defaults: config.defaults, defaultIdleTimeoutMs: config.idleTimeoutMs, launcher, policy: config.policy, logger });
  const server = await serve({
    listen: config.listen, credentials: await credentials(config.tls), registry, factory, policy: config.policy,
    probe: groundwork.imageProbe, debugService: config.debugService, logger,
  });
  const metrics = config.metricsListen === undefined ? undefined : await serveMetrics(config.metricsListen, registry);
  if (metrics !== undefined) logger.info('serving metrics', { address: metrics.address });

  prepare(groundwork, config, logger);

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    // A terminal's Ctrl-C comes twice: to the whole process group, and passed on by npm.
    if (stopping) return;
    stopping = true;
    logger.info('shutting down', { signal, sessions: registry.size });
    void server.stop().then(() => metrics?.close()).finally(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.stdout.write(`listening on ${server.address}\n`);
}
