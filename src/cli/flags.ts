/** The server's flags: each is also an environment variable GUESTFS_GRPC_<FLAG>. */
import { parseArgs } from 'node:util';
import { DEFAULT_REQUEST_MEMORY_MB } from '../actions/largeMessages.js';

/** A flag; the help and the parsing both follow from this. */
export interface FlagDef {
  readonly name: string;
  /** What stands for the value in the help; none: the flag takes no value. */
  readonly value?: string;
  /** Can be given more than once. */
  readonly repeatable?: true;
  readonly help: string;
}

export const FLAGS: readonly FlagDef[] = [
  { name: 'listen', value: 'HOST:PORT', help: 'address to serve on (default 127.0.0.1:50051)' },
  {
    name: 'image-root',
    value: 'DIR',
    repeatable: true,
    help: 'directory that images may be in (default ./images, made if absent)',
  },
  { name: 'appliance', value: 'DIR', help: 'fixed or supermin appliance (default: the one that npm start makes)' },
  { name: 'accel', value: 'auto|kvm|tcg', help: 'what runs the appliance (default auto: KVM where it works)' },
  {
    name: 'launch',
    value: 'template|cold',
    help: 'how appliances come up: cloned from one that has booted (default), or by booting',
  },
  { name: 'pool', value: 'N', help: 'clones that wait for sessions, each some 150 MB (default 0)' },
  { name: 'memsize', value: 'MB', help: 'memory of an appliance, MiB (default 1280)' },
  { name: 'smp', value: 'N', help: 'virtual CPUs of an appliance (default 1)' },
  { name: 'max-sessions', value: 'N', help: 'most sessions at a time (default 64)' },
  {
    name: 'request-memory',
    value: 'MB',
    help: `memory for all large requests together, MiB: the largest file that write takes (default ${DEFAULT_REQUEST_MEMORY_MB})`,
  },
  { name: 'idle-timeout', value: 'SECONDS', help: 'end sessions not used for so long; 0: never (default 3600)' },
  { name: 'tls-cert', value: 'FILE', help: 'certificate chain, PEM; with --tls-key' },
  { name: 'tls-key', value: 'FILE', help: 'private key, PEM' },
  {
    name: 'client-ca',
    value: 'FILE',
    help: 'require client certificates of this CA, PEM; sessions then belong to their identity',
  },
  { name: 'metrics-listen', value: 'HOST:PORT', help: 'serve Prometheus metrics over HTTP at /metrics' },
  { name: 'debug-service', help: 'serve DebugService' },
  {
    name: 'allow',
    value: 'WHAT',
    repeatable: true,
    help: 'allow remote-drives, block-devices, network, host-actions or custom-qemu',
  },
  { name: 'log-level', value: 'LEVEL', help: 'debug, info, warn or error (default info)' },
  { name: 'trace', help: 'trace events in every session' },
  { name: 'version', help: 'the version of the server' },
  { name: 'help', help: 'this text' },
];

/** What one asks for once, and does not configure. */
const ONLY_ARGUMENTS: ReadonlySet<string> = new Set(['version', 'help']);

/** Values as given; a repeatable flag has a list. */
export type FlagValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** An invocation that cannot be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

function environmentName(flag: string): string {
  return `GUESTFS_GRPC_${flag.toUpperCase().replaceAll('-', '_')}`;
}

function booleanOf(name: string, value: string): boolean {
  if (['1', 'true', 'yes', 'on'].includes(value.toLowerCase())) return true;
  if (['0', 'false', 'no', 'off', ''].includes(value.toLowerCase())) return false;
  throw new UsageError(`${environmentName(name)}: ${value} is neither true nor false`);
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Record<string, string | boolean | readonly string[]> {
  const values: Record<string, string | boolean | readonly string[]> = {};
  for (const { name, value, repeatable } of FLAGS) {
    const given = environment[environmentName(name)];
    if (given === undefined || ONLY_ARGUMENTS.has(name)) continue;
    if (value === undefined) values[name] = booleanOf(name, given);
    else values[name] = repeatable ? given.split(/[:,]/).filter((part) => part !== '') : given;
  }
  return values;
}

/**
 * Flags of the command line, and where they are silent those of the environment, where
 * repeatable ones are separated by commas or colons.
 * @throws UsageError
 */
export function parseFlags(args: readonly string[], environment: NodeJS.ProcessEnv): FlagValues {
  const options = Object.fromEntries(
    FLAGS.map((flag) => [
      flag.name,
      {
        type: flag.value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: flag.repeatable ?? false,
      },
    ]),
  );
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true, allowPositionals: false });
    return { ...fromEnvironment(environment), ...values } as FlagValues;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The help text. */
export function usage(): string {
  const rows = FLAGS.map(
    (flag) =>
      [
        `  --${flag.name}${flag.value === undefined ? '' : ` ${flag.value}`}`,
        flag.help + (flag.repeatable ? '; repeatable' : ''),
      ] as const,
  );
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return (
    `Serves libguestfs over gRPC.\n\nUsage: npm start -- [FLAGS]\n\n${rows.map(([left, right]) => left.padEnd(width) + right).join('\n')}\n\n` +
    'Each flag is also an environment variable: GUESTFS_GRPC_LISTEN, GUESTFS_GRPC_IMAGE_ROOT, ...\n'
  );
}
