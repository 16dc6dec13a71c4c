/** The flags of `guestfs-grpc gateway`: see docs/browsers.md. */
import { InvalidArgumentError, Option } from 'commander';
import { isAbsolute } from 'node:path';
import { LOG_LEVELS, type LogLevel } from '../common/logger.js';
import { isLocal, socketPath, splitAddress } from '../server/address.js';
import { UsageError } from './commandLine.js';
import { address, path, wholeNumber } from './flagValues.js';
import { MAX_TIMER_SECONDS } from './limitFlags.js';

/** Their values. */
export interface GatewayFlags {
  readonly listen: string;
  readonly insecureListen: boolean;
  readonly server: string;
  readonly serverCa?: string;
  readonly serverCert?: string;
  readonly serverKey?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly allowOrigin: readonly string[];
  readonly allowHost: readonly string[];
  readonly maxConnections: number;
  readonly maxCallsPerClient: number;
  readonly stallTimeout: number;
  readonly drainDelay: number;
  readonly drainGrace: number;
  readonly metricsListen?: string;
  readonly logLevel: LogLevel;
}

/** A flag of the gateway, with its own variable: a server and its gateway can share an environment. */
function flag(name: string, value: string | undefined, help: string): Option {
  const variable = `GUESTFS_GRPC_GATEWAY_${name.toUpperCase().replaceAll('-', '_')}`;
  return new Option(`--${name}${value === undefined ? '' : ` <${value}>`}`, help).env(variable);
}

/** A flag that can be given more than once, or with several values separated by commas. */
function list(option: Option, check: (value: string) => string): Option {
  return option
    .default([], 'none')
    .argParser((value: string, previous: readonly string[]) => [
      ...previous,
      ...value.split(',').map((part) => check(part.trim())),
    ]);
}

function origin(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.origin === value) return value;
  throw new InvalidArgumentError(
    'It must be an origin as browsers write it, such as https://console.example or http://localhost:3000.',
  );
}

function hostName(value: string): string {
  if (/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(value)) return value.toLowerCase();
  throw new InvalidArgumentError('It must be the name of a host, without a port.');
}

function server(value: string): string {
  const socket = socketPath(value);
  if (socket === undefined ? splitAddress(value) !== undefined : isAbsolute(socket)) return value;
  throw new InvalidArgumentError('It must have the form HOST:PORT or unix:/PATH.');
}

/** All flags, in the order of the help. */
export const GATEWAY_FLAGS: readonly Option[] = [
  flag('listen', 'HOST:PORT', 'address to serve Connect and gRPC-Web on, over HTTP/1.1')
    .default('127.0.0.1:8080')
    .argParser(address),
  flag('insecure-listen', undefined, 'listen without TLS where other machines can connect').default(false, 'off'),
  flag('server', 'ADDRESS', 'the gRPC server, HOST:PORT or unix:/PATH').default('127.0.0.1:50051').argParser(server),
  flag(
    'server-ca',
    'FILE',
    "CA that the server's certificate must be signed by, PEM; the connection then has TLS",
  ).argParser(path),
  flag(
    'server-cert',
    'FILE',
    "certificate that the gateway shows to the server, PEM; the server's --xfcc-peers must name it",
  ).argParser(path),
  flag('server-key', 'FILE', 'its private key, PEM').argParser(path),
  flag('tls-cert', 'FILE', 'certificate chain of the gateway, PEM; requires --tls-key').argParser(path),
  flag('tls-key', 'FILE', 'private key of the gateway, PEM').argParser(path),
  flag(
    'client-ca',
    'FILE',
    'CA that client certificates must be signed by, PEM; the server is told whose certificate it is',
  ).argParser(path),
  list(flag('allow-origin', 'ORIGIN', 'origin of web pages that may make calls; repeatable'), origin),
  list(
    flag(
      'allow-host',
      'NAME',
      'name by which clients call the gateway, besides localhost and IP addresses; repeatable',
    ),
    hostName,
  ),
  flag('max-connections', 'N', 'maximum number of connections').default(256).argParser(wholeNumber(1)),
  flag('max-calls-per-client', 'N', 'maximum number of calls in flight from a client')
    .default(64)
    .argParser(wholeNumber(1)),
  flag('stall-timeout', 'SECONDS', 'how long a client may make no progress with sending a request or reading an answer')
    .default(30)
    .argParser(wholeNumber(1, MAX_TIMER_SECONDS)),
  flag(
    'metrics-listen',
    'HOST:PORT',
    'address for Prometheus metrics at /metrics and probes at /healthz and /readyz, over HTTP; whoever can connect there reads the metrics',
  ).argParser(address),
  flag(
    'drain-delay',
    'SECONDS',
    'on SIGTERM or SIGINT, say at /readyz that the gateway is ending, but keep serving for this long, so that load balancers notice',
  )
    .default(0)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag('drain-grace', 'SECONDS', 'on SIGTERM or SIGINT, how long calls in flight may go on')
    .default(10)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag('log-level', 'LEVEL', 'minimum severity of log lines').choices(LOG_LEVELS).default('info'),
];

/**
 * Checks what a flag cannot know of the others.
 * @throws UsageError
 */
export function checkGatewayFlags(flags: GatewayFlags): void {
  const { listen, insecureListen, tlsCert, tlsKey, clientCa } = flags;
  const { server: upstream, serverCa, serverCert, serverKey } = flags;
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new UsageError('--tls-cert and --tls-key need each other');
  if ((serverCert === undefined) !== (serverKey === undefined))
    throw new UsageError('--server-cert and --server-key need each other');
  if (clientCa !== undefined && tlsCert === undefined)
    throw new UsageError('--client-ca needs --tls-cert and --tls-key');
  if (serverCert !== undefined && serverCa === undefined) throw new UsageError('--server-cert needs --server-ca');
  const isSocket = socketPath(upstream) !== undefined;
  if (serverCa !== undefined && isSocket) throw new UsageError('--server-ca: there is no TLS on a Unix socket');
  if (tlsCert === undefined && !insecureListen && !isLocal(listen))
    throw new UsageError(
      `--listen ${listen}: other machines can connect there, and without TLS everyone reads along; give --tls-cert and --tls-key, or --insecure-listen if something else protects the connections`,
    );
  if (serverCa === undefined && !insecureListen && !isLocal(upstream))
    throw new UsageError(
      `--server ${upstream}: the server is on another machine, and without TLS everyone reads along; give --server-ca, or --insecure-listen if something else protects the connections`,
    );
  if (clientCa !== undefined && serverCert === undefined && !isSocket)
    throw new UsageError(
      '--client-ca needs --server-cert or --server unix:/PATH: the server believes only a proxy that it knows who its clients are',
    );
}
