/** `guestfs-grpc gateway`: Connect and gRPC-Web for browsers and curl, in front of a gRPC server. */
import { readFileSync } from 'node:fs';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { Command, CommanderError } from 'commander';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { isTrue } from '../common/booleans.js';
import { messageOf } from '../common/errors.js';
import { createLogger, type Logger } from '../common/logger.js';
import { linkedAbort, sleep } from '../common/waiting.js';
import { readApi } from '../gateway/api.js';
import { GATEWAY_LIMITS, OPENAPI_PATH, serveGateway, type GatewayTls } from '../gateway/gateway.js';
import { measureGateway } from '../gateway/gatewayMetrics.js';
import { notAProxy, Upstream } from '../gateway/upstream.js';
import { isLocal, socketPath, splitAddress } from '../server/address.js';
import { collectProcessMetrics } from '../server/metrics.js';
import { serveOperations } from '../server/operationsServer.js';
import { UsageError } from './commandLine.js';
import { checkGatewayFlags, GATEWAY_FLAGS, type GatewayFlags } from './gatewayFlags.js';
import { survivesLostOutput } from './lastResort.js';
import { keepReloading } from './reloading.js';

const SECOND_MS = 1000;

function commandFor(name: string): Command {
  const command = new Command(name)
    .description('Serves browsers and curl by the Connect and gRPC-Web protocols, in front of a gRPC server.')
    .usage('[FLAGS]')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void process.stdout.write(text),
      writeErr: () => undefined,
      getOutHelpWidth: () => 120,
    });
  for (const option of GATEWAY_FLAGS) command.addOption(option);
  return command;
}

/**
 * The flags of a command line, and of the environment; undefined if the help was printed instead.
 * @throws UsageError
 */
export function gatewayFlags(args: readonly string[], name: string): GatewayFlags | undefined {
  for (const { envVar } of GATEWAY_FLAGS)
    if (envVar !== undefined && process.env[envVar] === '') delete process.env[envVar];
  const command = commandFor(name);
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new UsageError(error.message.replace(/^error: /, ''));
  }
  // To commander, a switch is on whatever the value of its variable.
  if (command.getOptionValueSource('insecureListen') === 'env') {
    const variable = 'GUESTFS_GRPC_GATEWAY_INSECURE_LISTEN';
    const on = isTrue(process.env[variable] ?? '');
    if (on === undefined)
      throw new UsageError(`${variable}: ${process.env[variable]} is not a boolean, such as 0 or 1`);
    command.setOptionValue('insecureListen', on);
  }
  const flags = command.opts<GatewayFlags>();
  checkGatewayFlags(flags);
  return flags;
}

/** @throws Error if a file cannot be read, or certificate and key do not match */
function readTls(certificate: string, key: string, authority: string | undefined): GatewayTls {
  const tls = {
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ...(authority === undefined ? {} : { ca: readFileSync(authority) }),
  };
  createSecureContext(tls);
  return tls;
}

/** Reads files that flags name, now and whenever they change. */
async function reloaded<Contents>(
  what: string,
  watched: readonly string[],
  read: () => Contents,
  logger: Logger,
  use: (contents: Contents) => void = () => undefined,
): Promise<() => Contents> {
  let contents: Contents;
  try {
    contents = read();
  } catch (error) {
    throw new UsageError(`${watched.join(', ')}: ${messageOf(error)}`);
  }
  const reload = async (): Promise<void> => {
    contents = read();
    use(contents);
  };
  await keepReloading({ what, watched, reload }, logger);
  return () => contents;
}

/** How the gateway connects to the server; files are reloaded for new connections. */
async function serverCredentials(
  { server, serverCa: ca, serverCert: certificate, serverKey: key }: GatewayFlags,
  logger: Logger,
): Promise<() => ChannelCredentials> {
  if (ca === undefined) return () => credentials.createInsecure();
  const host = splitAddress(server)?.host ?? '';
  const files = [ca, ...(certificate === undefined || key === undefined ? [] : [certificate, key])];
  const read = (): ChannelCredentials => {
    const [authority = Buffer.alloc(0), own = null, ownKey = null] = files.map((file) => readFileSync(file));
    createSecureContext(
      own === null || ownKey === null ? { ca: authority } : { ca: authority, cert: own, key: ownKey },
    );
    return credentials.createSsl(authority, ownKey, own, {
      // By the address that was given, which can be an IP address.
      checkServerIdentity: (_name, shown) => checkServerIdentity(host, shown),
    });
  };
  return reloaded('certificates for the server', files, read, logger);
}

/**
 * Finds out what the server makes of the gateway, for the operator.
 * @throws UsageError if the server takes the gateway for its clients
 */
async function introduce(upstream: Upstream, flags: GatewayFlags, hasIdentity: boolean, logger: Logger): Promise<void> {
  const { server, listen } = flags;
  try {
    if ((await upstream.anonymous()) === 'refused') return;
  } catch (error) {
    logger.warn('the server does not answer yet', { server, reason: messageOf(error) });
    return;
  }
  if (hasIdentity) throw new UsageError(notAProxy(server));
  if (!isLocal(listen))
    logger.warn(
      'the server identifies no clients: whoever can connect to the gateway can use all sessions and images',
      {
        server,
      },
    );
}

/**
 * Serves until a signal ends it.
 * @param name of the command, for its help
 * @throws UsageError
 */
export async function runGateway(args: readonly string[], name: string): Promise<void> {
  const flags = gatewayFlags(args, name);
  if (flags === undefined) return;
  survivesLostOutput();
  const logger = createLogger(flags.logLevel);
  const { server, tlsCert, tlsKey, clientCa } = flags;
  const hasIdentity = socketPath(server) !== undefined || flags.serverCert !== undefined;
  const upstream = new Upstream({
    ...{ address: server, hasIdentity, logger },
    credentials: await serverCredentials(flags, logger),
  });
  await introduce(upstream, flags, hasIdentity, logger);
  let use = (_tls: GatewayTls): void => undefined;
  const tls =
    tlsCert === undefined || tlsKey === undefined
      ? undefined
      : await reloaded(
          'certificates',
          [tlsCert, tlsKey, ...(clientCa === undefined ? [] : [clientCa])],
          () => readTls(tlsCert, tlsKey, clientCa),
          logger,
          (contents) => use(contents),
        );
  const gateway = await serveGateway({
    listen: flags.listen,
    tls: tls?.(),
    api: await readApi(),
    upstream,
    admission: { origins: flags.allowOrigin, hosts: flags.allowHost },
    limits: {
      ...GATEWAY_LIMITS,
      connections: flags.maxConnections,
      callsPerClient: flags.maxCallsPerClient,
      stallMs: flags.stallTimeout * SECOND_MS,
    },
    logger,
  });
  use = (contents) => gateway.setTls(contents);
  let stopping = false;
  const operations =
    flags.metricsListen === undefined
      ? undefined
      : await serveOperations(
          flags.metricsListen,
          async () => (stopping ? 'the gateway is shutting down' : upstream.objection()),
          undefined,
          logger,
        );
  if (operations !== undefined) {
    collectProcessMetrics();
    measureGateway(gateway.measured);
    logger.info('serving metrics', { address: operations.address });
  }
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.info('shutting down', { signal });
    gateway.announceEnd();
    await sleep(flags.drainDelay * SECOND_MS);
    const grace = linkedAbort([], {
      milliseconds: flags.drainGrace * SECOND_MS,
      makeError: () => new Error('calls are still in flight'),
    });
    const cutOff = await gateway.close(grace.signal);
    grace.release();
    if (cutOff > 0) logger.warn('calls were cut off: they took longer than --drain-grace', { calls: cutOff });
    upstream.close();
    await operations?.close();
    process.exit(0);
  };
  process.on('SIGTERM', (signal) => void stop(signal));
  process.on('SIGINT', (signal) => void stop(signal));
  process.on('SIGHUP', (signal) => logger.info('reloading what can be reloaded', { signal }));
  logger.info('serving Connect and gRPC-Web', { server, openApi: OPENAPI_PATH });
  process.stdout.write(`listening on ${gateway.address}\n`);
}
