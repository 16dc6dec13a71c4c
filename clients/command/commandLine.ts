/** The command line of `guestfs-grpc inspect`. */
import { readFileSync } from 'node:fs';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { InspectKey } from '../../gen/proto/guestfs/v1/inspection_report.js';
import { CA, CERTIFICATE, KEY, TOKEN } from './server.js';

/** How a report is printed. */
export const FORMATS = ['json', 'cyclonedx'] as const;
export type Format = (typeof FORMATS)[number];

/** What the command is asked to do. */
export interface InspectCommandLine {
  readonly images: readonly string[];
  readonly server: string;
  readonly format: Format;
  readonly imageFormat: string | undefined;
  readonly keys: readonly InspectKey[];
}

/** An invalid invocation. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const ABOUT = `Reports what is on disk images: operating systems, file systems and applications. The
images are those of one machine, in its order, and named as the server sees them. They are not written to.`;
const ENVIRONMENT = `
Environment:
  ${CA}      file of the CA's certificate, for tls:; by default, Node.js's own
  ${CERTIFICATE}    file of the client's certificate
  ${KEY}     file of its key
  ${TOKEN}   a bearer token

Exit codes: 0 success; 1 failure; 2 unusable command line; 75 failure, but the same command can succeed
later: the server is full or shuts down, or the connection was lost.`;

function keyOf(text: string): InspectKey {
  const [, device, kind, value = ''] = /^(\/[^:]*):(key|file):(.+)$/s.exec(text) ?? [];
  if (device === undefined)
    throw new InvalidArgumentError('It must have the form DEVICE:key:PASSPHRASE or DEVICE:file:PATH.');
  if (kind === 'key') return { device, key: value };
  try {
    // As libguestfs's tools: the newline that editors add is not part of a passphrase.
    return { device, key: readFileSync(value, 'utf8').replace(/\n$/, '') };
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function addKey(text: string, keys: readonly InspectKey[]): readonly InspectKey[] {
  return [...keys, keyOf(text)];
}

/**
 * Reads the command line.
 * @param args after the name of the command
 * @returns the text of the help, if that was asked for
 * @throws UsageError
 */
export function readInspectCommandLine(args: readonly string[]): InspectCommandLine | string {
  let text = '';
  const command = new Command('guestfs-grpc inspect')
    .description(ABOUT)
    .usage('[OPTIONS] IMAGE...')
    .addArgument(new Argument('<images...>', 'paths on the server'))
    .addOption(
      new Option('--server <ADDRESS>', 'host:port, tls:host:port or unix:/path')
        .env('GUESTFS_GRPC_SERVER')
        .default('127.0.0.1:50051'),
    )
    .addOption(new Option('--format <FORMAT>', 'of the report').choices(FORMATS).default('json'))
    .option('--image-format <FORMAT>', 'of all images: raw, qcow2, ...; by default, the server probes it')
    .addOption(
      new Option('--key <KEY>', 'for an encrypted device: DEVICE:key:PASSPHRASE or DEVICE:file:PATH; repeatable')
        .argParser(addKey)
        .default([], ''),
    )
    .addHelpText('after', ENVIRONMENT)
    .exitOverride()
    .configureOutput({ writeOut: (part) => (text += part), writeErr: () => undefined, getOutHelpWidth: () => 120 });
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return text;
    throw new UsageError(error.message.replace(/^error: /, ''));
  }
  const options = command.opts<{ server: string; format: Format; imageFormat?: string; key: readonly InspectKey[] }>();
  return {
    images: command.processedArgs[0] as string[],
    server: options.server,
    format: options.format,
    imageFormat: options.imageFormat,
    keys: options.key,
  };
}
