/** Reads flags from the command line, and from the environment for flags that are not given. */
import { Command, CommanderError, type Option } from 'commander';
import { isTrue } from '../common/booleans.js';
import { SERVER_VERSION } from '../common/version.js';
import { FLAGS, type Flags } from './flags.js';
import { parts } from './flagValues.js';

/** An invalid invocation. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The flags for starting a server. */
export interface ServerCommandLine {
  readonly flags: Flags;
  /** The flags whose values come from the command line or the environment; those of the others are defaults. */
  readonly given: ReadonlySet<keyof Flags>;
}

/** The help or the version, to print instead of starting a server. */
export interface Information {
  readonly text: string;
}

const ABOUT = 'Serves libguestfs over gRPC.';
const ENVIRONMENT = `
Every flag is also an environment variable, which the flag overrides; an empty variable counts as not set. The variable
of a repeatable flag separates values by commas or colons; that of a flag without a value is 1 or 0. LIBGUESTFS_PATH, LIBGUESTFS_HV,
LIBGUESTFS_MEMSIZE, LIBGUESTFS_TMPDIR, LIBGUESTFS_CACHEDIR, LIBGUESTFS_APPEND, LIBGUESTFS_DEBUG, LIBGUESTFS_TRACE and
LIBGUESTFS_BACKEND_SETTINGS have the same meaning as in libguestfs; flags override them.`;

function serverCommand(name: string, print: (text: string) => void): Command {
  const command = new Command(name)
    .description(ABOUT)
    .usage('[FLAGS]')
    .helpOption(false)
    .addHelpText('after', ENVIRONMENT)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => undefined, getOutHelpWidth: () => 120 });
  for (const option of FLAGS) command.addOption(option);
  command
    .version(`guestfs-grpc ${SERVER_VERSION}`, '--version', 'print the version and exit')
    // Not commander's option, which is processed after the environment: help must work if that is invalid.
    .option('--help', 'print this text and exit')
    .on('option:help', () => command.help());
  return command;
}

/** Removes the flags' empty variables from the environment: commander treats an empty variable as a value. */
function unsetEmptyVariables(): void {
  for (const { envVar } of FLAGS) if (envVar !== undefined && process.env[envVar] === '') delete process.env[envVar];
}

/**
 * Handles what commander does not: it treats a variable as a single value of a repeatable flag, and a switch as on
 * whatever the value of its variable.
 */
function settle(command: Command, option: Option): void {
  const { envVar } = option;
  const name = option.attributeName();
  if (envVar === undefined || command.getOptionValueSource(name) !== 'env') return;
  const value = process.env[envVar] ?? '';
  if (option.isBoolean()) {
    const on = isTrue(value);
    if (on === undefined) throw new UsageError(`${envVar}: ${value} is not a boolean, such as 0 or 1`);
    command.setOptionValueWithSource(name, on, 'env');
  } else if (Array.isArray(option.defaultValue)) {
    const all = parts(value);
    command.setOptionValueWithSource(name, all.length === 0 ? option.defaultValue : all, 'env');
  }
}

/**
 * The flags of the command line; those that are not given come from the environment of the process, from which empty
 * variables of flags are removed.
 * @param args without the names of program and script
 * @param name of the command, for its help
 * @throws UsageError
 */
export function readCommandLine(args: readonly string[], name = 'npm start --'): ServerCommandLine | Information {
  let text = '';
  unsetEmptyVariables();
  const command = serverCommand(name, (part) => (text += part));
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { text };
    throw new UsageError(error.message.replace(/^error: /, ''));
  }
  for (const option of FLAGS) settle(command, option);
  const names = FLAGS.map((option) => option.attributeName() as keyof Flags);
  const given = names.filter((name) => !['default', undefined].includes(command.getOptionValueSource(name)));
  return { flags: command.opts<Flags>(), given: new Set(given) };
}
