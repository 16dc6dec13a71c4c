/**
 * `guestfs-grpc drain`: takes a server on this machine out of service for new sessions, and can wait until its sessions
 * have ended. A signal, since whoever may send one may do anything to the server: it needs no certificate, token or
 * permission, in whatever way the server identifies its clients. Meant for hooks such as Kubernetes's preStop.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { messageOf } from '../common/errors.js';
import { UsageError } from './commandLine.js';
import { address, wholeNumber } from './flagValues.js';
import { MAX_TIMER_SECONDS } from './limitFlags.js';

/** Process 1 of a container passes on signals to the server, or is the server. */
const CONTAINERS_FIRST = 1;
const LOOK_MS = 1000;
const SECOND_MS = 1000;
/** All addresses of a machine are reached at this one. */
const ANYWHERE = /^(?:0\.0\.0\.0|\[::\])(?=:)/;

interface DrainFlags {
  readonly pid: number;
  readonly wait: number;
  readonly metrics?: string;
}

function commandFor(name: string, print: (text: string) => void): Command {
  return new Command(name)
    .description('Drains a server on this machine: it takes no new sessions, and serves those that it has.')
    .option('--pid <PID>', 'process of the server', wholeNumber(1), CONTAINERS_FIRST)
    .option(
      '--wait <SECONDS>',
      'wait until the server has no sessions, for this long at most',
      wholeNumber(0, MAX_TIMER_SECONDS),
      0,
    )
    .option(
      '--metrics <HOST:PORT>',
      "the server's --metrics-listen, needed to wait (default: GUESTFS_GRPC_METRICS_LISTEN)",
      address,
    )
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => undefined });
}

function parse(args: readonly string[], name: string): DrainFlags | undefined {
  const command = commandFor(name, (text) => process.stdout.write(text));
  try {
    return command.parse(args, { from: 'user' }).opts<DrainFlags>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new UsageError(error.message.replace(/^error: /, ''));
  }
}

/** The number of sessions in a page of metrics. */
export function sessionsIn(metrics: string): number {
  const values = [...metrics.matchAll(/^guestfs_sessions\{[^}]*\} (\d+)$/gm)].map(([, value]) => Number(value));
  if (values.length === 0) throw new Error('the metrics do not have guestfs_sessions');
  return values.reduce((sum, value) => sum + value, 0);
}

async function untilEmpty(metrics: string, waitMs: number): Promise<number> {
  const until = performance.now() + waitMs;
  for (;;) {
    const response = await fetch(`http://${metrics.replace(ANYWHERE, '127.0.0.1')}/metrics`);
    const sessions = sessionsIn(await response.text());
    const left = until - performance.now();
    if (sessions === 0 || left <= 0) return sessions;
    await sleep(Math.min(LOOK_MS, left));
  }
}

/**
 * Drains.
 * @param name of the command, for its help
 * @throws UsageError, Error for a server that cannot be drained, or whose sessions cannot be counted
 */
export async function drain(args: readonly string[], environment: NodeJS.ProcessEnv, name: string): Promise<void> {
  const flags = parse(args, name);
  if (flags === undefined) return;
  const metrics = flags.metrics ?? (environment['GUESTFS_GRPC_METRICS_LISTEN'] || undefined);
  if (flags.wait > 0 && metrics === undefined)
    throw new UsageError('--wait needs --metrics or GUESTFS_GRPC_METRICS_LISTEN: the sessions are counted there');
  try {
    process.kill(flags.pid, 'SIGUSR2');
  } catch (error) {
    throw new Error(`process ${flags.pid} cannot be drained: ${messageOf(error)}`, { cause: error });
  }
  if (flags.wait === 0 || metrics === undefined) return;
  const left = await untilEmpty(metrics, flags.wait * SECOND_MS);
  process.stdout.write(`sessions left: ${left}\n`);
}
