/** What an attacker who has taken over a process can do; needs root. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../../test/support/intruder.py', import.meta.url));

/** One attempt: the operation, and its object. */
export type Attempt = readonly [
  what: 'read' | 'list' | 'write' | 'kill' | 'tcp' | 'network' | 'unix' | 'processes' | 'write memory',
  argument: string | number,
];

/** Makes attempts from inside a process; returns how each ended: `done`, or the name of the error. */
export function intrude(pid: number, attempts: readonly Attempt[]): string[] {
  const said = execFileSync('/usr/bin/python3', ['-I', '-S', PROGRAM, String(pid)], {
    input: JSON.stringify(attempts),
    encoding: 'utf8',
  });
  return JSON.parse(said) as string[];
}

const TAKEOVER = fileURLToPath(new URL('../../../test/support/takeover.py', import.meta.url));

/** An attempt of a process that was taken over. */
export type TakenAttempt = readonly [
  what:
    | 'read'
    | 'list'
    | 'write'
    | 'make'
    | 'truncate'
    | 'chmod'
    | 'unlink'
    | 'kill'
    | 'pidfd'
    | 'trace'
    | 'read memory'
    | 'limit'
    | 'tcp'
    | 'udp'
    | 'unix',
  argument: string | number,
];

/** Whether {@link takeOver} works on this machine. */
export const canTakeOver = process.arch === 'x64';

/**
 * Has a running process make attempts itself, by its own system calls; returns how each ended: `done`, or the name of
 * the error. It then goes on where it was.
 */
export function takeOver(pid: number, attempts: readonly TakenAttempt[]): string[] {
  const said = execFileSync('/usr/bin/python3', ['-I', '-S', TAKEOVER, String(pid)], {
    input: JSON.stringify(attempts),
    encoding: 'utf8',
  });
  return JSON.parse(said) as string[];
}
