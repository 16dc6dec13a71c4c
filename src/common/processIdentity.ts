/**
 * Identifies a process uniquely, so that it is not confused with a later one with the
 * same PID, nor with one in another container.
 */
import { readFile, readlink } from 'node:fs/promises';

/** A process: its PID namespace, its PID there, and its start time (clock ticks after boot). */
export interface ProcessIdentity {
  readonly namespace: string;
  readonly pid: number;
  readonly startTime: string;
}

/** Identity of a process in this PID namespace; undefined if there is none with that PID. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const [stat, namespace] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined),
    ownNamespace(),
  ]);
  if (stat === undefined) return undefined;
  // The second field, the command name, is in parentheses and may contain any character.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], fields[19]];
  if (startTime === undefined || state === 'Z' || state === 'X') return undefined;
  return { namespace, pid, startTime };
}

/** Whether exactly this process is still running; undefined if it is in another PID namespace and thus unknown. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean | undefined> {
  if (identity.namespace !== (await ownNamespace())) return undefined;
  return (await identityOf(identity.pid))?.startTime === identity.startTime;
}

/** The identity as one word, for file names. */
export function formatIdentity({ namespace, pid, startTime }: ProcessIdentity): string {
  return `${namespace}-${pid}-${startTime}`;
}

/** The reverse of {@link formatIdentity}. */
export function parseIdentity(word: string): ProcessIdentity | undefined {
  const match = /^(\d+)-(\d+)-(\d+)$/.exec(word);
  return match === null
    ? undefined
    : { namespace: match[1] as string, pid: Number(match[2]), startTime: match[3] as string };
}

async function ownNamespace(): Promise<string> {
  return /\d+/.exec(await readlink('/proc/self/ns/pid'))?.[0] ?? '0';
}
