/** The server's flags: their meaning, values, defaults and environment variables, all in one place. */
import type { Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../common/logger.js';
import { REQUEST_LIMIT } from '../common/messageLimits.js';
import { CERTIFICATE_KINDS, type CertificateKind } from '../security/certificateIdentity.js';
import { ALLOWABLE, type Allowable } from '../security/policy.js';
import { MAX_SMP, MIN_MEMSIZE_MB } from '../qemu/limits.js';
import {
  address,
  addressOrSocket,
  fileMode,
  flag,
  identityPatterns,
  outputPath,
  path,
  repeatable,
  repeatableChoice,
  someText,
  wholeNumber,
} from './flagValues.js';
import { LIMIT_FLAGS, MAX_TIMER_SECONDS, type LimitFlags } from './limitFlags.js';
import { REPLICA_FLAGS, type ReplicaFlags } from './replicaFlags.js';

export const MEBIBYTE = 1024 * 1024;
/** Every request may have this size. */
const MIN_REQUEST_MEMORY_MB = REQUEST_LIMIT / MEBIBYTE;
/** A protobuf message is smaller than 2 GiB. */
const MAX_REQUEST_MEMORY_MB = 2047;
/** A larger value is certainly a mistake. */
const MAX_POOL = 1000;

/** Image roots if none is given. */
export const DEFAULT_IMAGE_ROOTS: readonly string[] = ['images'];

/** The values of all flags: from the command line, otherwise the environment, otherwise the default. */
export interface Flags extends LimitFlags, ReplicaFlags {
  readonly listen: string;
  readonly socketMode: string;
  readonly insecureListen: boolean;
  readonly imageRoot: readonly string[];
  readonly appliance?: string;
  readonly accel: 'auto' | 'kvm' | 'tcg';
  readonly launch: 'template' | 'cold';
  readonly pool: number;
  readonly memsize: number;
  readonly smp: number;
  readonly maxSessions: number;
  readonly requestMemory: number;
  readonly idleTimeout: number;
  readonly drainDelay: number;
  readonly drainGrace: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly identityKinds: readonly CertificateKind[];
  readonly jwtKeys?: string;
  readonly jwtIssuer?: string;
  readonly jwtAudience?: string;
  readonly xfccPeers?: readonly string[];
  readonly insecureIsolation: boolean;
  readonly policy?: string;
  readonly auditLog?: string;
  readonly metricsListen?: string;
  readonly debugService: boolean;
  readonly allow: readonly Allowable[];
  readonly logLevel: LogLevel;
  readonly trace: boolean;
}

function aSwitch(name: string, help: string): Option {
  return flag(name, undefined, help).default(false, 'off');
}

/** All flags but `--help` and `--version`, in the order of the help. */
export const FLAGS: readonly Option[] = [
  flag('listen', 'ADDRESS', 'HOST:PORT, unix:/PATH for a Unix socket, or systemd for the socket of a .socket unit')
    .default('127.0.0.1:50051')
    .argParser(addressOrSocket),
  flag('socket-mode', 'MODE', 'mode of the Unix socket; everyone with permission to connect can use the server')
    .default('600')
    .argParser(fileMode),
  aSwitch('insecure-listen', 'listen without TLS where other machines can connect'),
  repeatable(
    flag('image-root', 'DIR', 'directory from which disk images may be attached; repeatable').default(
      DEFAULT_IMAGE_ROOTS,
      './images, created if missing',
    ),
  ),
  flag(
    'appliance',
    'DIR',
    'fixed or supermin appliance (default: the one that npm start builds, or guestfs-grpc appliance)',
  ).argParser(path),
  flag('accel', 'NAME', 'accelerator of appliances; auto uses KVM if it works, otherwise TCG')
    .choices(['auto', 'kvm', 'tcg'])
    .default('auto'),
  flag('launch', 'HOW', 'how appliances start: template clones a saved appliance, cold boots each one')
    .choices(['template', 'cold'])
    .default('template'),
  flag('pool', 'N', 'clones kept ready for new sessions; for their memory use see docs/capacity.md')
    .default(0)
    .argParser(wholeNumber(0, MAX_POOL)),
  flag('memsize', 'MB', 'memory of an appliance, in MiB').default(1280).argParser(wholeNumber(MIN_MEMSIZE_MB)),
  flag('smp', 'N', 'virtual CPUs of an appliance').default(1).argParser(wholeNumber(1, MAX_SMP)),
  flag('max-sessions', 'N', 'maximum number of concurrent sessions').default(64).argParser(wholeNumber(1)),
  flag(
    'request-memory',
    'MB',
    'memory for the large requests of a client, in MiB (of all clients: twice as much); also the largest file that Write accepts in one message',
  )
    .default(512)
    .argParser(wholeNumber(MIN_REQUEST_MEMORY_MB, MAX_REQUEST_MEMORY_MB)),
  flag('idle-timeout', 'SECONDS', 'idle timeout of sessions, in seconds; 0 disables it')
    .default(3600)
    .argParser(wholeNumber(0)),
  flag(
    'drain-delay',
    'SECONDS',
    'on SIGTERM or SIGINT, report NOT_SERVING but keep serving for this long before the shutdown, so that load balancers notice',
  )
    .default(0)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  flag(
    'drain-grace',
    'SECONDS',
    'time for the shutdown to sync and end all sessions; those left after that are killed, and the server exits with 1',
  )
    .default(60)
    .argParser(wholeNumber(0, MAX_TIMER_SECONDS)),
  ...LIMIT_FLAGS,
  flag('tls-cert', 'FILE', 'certificate chain of the server, PEM; requires --tls-key').argParser(path),
  flag('tls-key', 'FILE', 'private key of the server, PEM').argParser(path),
  flag(
    'client-ca',
    'FILE',
    'CA that client certificates must be signed by, PEM; each session is then private to the identity that created it',
  ).argParser(path),
  repeatableChoice(
    flag(
      'identity-kinds',
      'KINDS',
      'names in client certificates to use as identities, in order of precedence; repeatable, or separated by commas',
    ).default(CERTIFICATE_KINDS, CERTIFICATE_KINDS.join(',')),
    CERTIFICATE_KINDS,
  ),
  flag('jwt-keys', 'FILE', 'public keys of the issuer of bearer tokens, a JSON Web Key Set').argParser(path),
  flag('jwt-issuer', 'NAME', 'issuer (iss) that tokens must have').argParser(someText),
  flag('jwt-audience', 'NAME', 'audience (aud) that tokens must have').argParser(someText),
  flag(
    'xfcc-peers',
    'PATTERNS',
    'identities of proxies whose x-forwarded-client-cert is trusted, such as dns:envoy.*, separated by commas',
  ).argParser(identityPatterns),
  ...REPLICA_FLAGS,
  aSwitch(
    'insecure-isolation',
    'serve several identities even where the host does not let the server keep their machines apart',
  ),
  flag(
    'policy',
    'FILE',
    'what each identity may do, YAML or JSON, reloaded on SIGHUP (default: all that the flags allow, with its own images)',
  ).argParser(path),
  flag(
    'audit-log',
    'FILE',
    'file to append a line of JSON to for each call that changes something, - for standard output; reopened on SIGHUP',
  ).argParser(outputPath),
  flag(
    'metrics-listen',
    'HOST:PORT',
    'address to serve Prometheus metrics (/metrics) and probes (/healthz, /readyz) on, over HTTP',
  ).argParser(address),
  aSwitch('debug-service', 'offer DebugService, which inspects the appliance'),
  repeatableChoice(
    flag('allow', 'WHAT', 'grant clients a permission that is off by default; repeatable').default([], 'none'),
    ALLOWABLE,
  ),
  flag('log-level', 'LEVEL', 'minimum severity of log lines').choices(LOG_LEVELS).default('info'),
  aSwitch('trace', 'emit trace events in every session'),
];
