/** Prevents two builds of the same appliance at once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

import type { BuildContext } from './command.js';

/** A held lock. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the lock on `file`, and waits while another process holds it.
 *
 * The lock is flock(2), held by a child that ends when its standard input
 * closes: it is released however this process ends, so locks are never
 * stale.
 */
export async function acquireLock(context: BuildContext, file: string): Promise<Lock> {
  const attempt = async (...flags: string[]): Promise<Lock | undefined> => {
    const child = spawn('flock', ['--exclusive', ...flags, file, 'sh', '-c', 'echo held; exec cat >/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(child, 'close');
    const abort = (): void => void child.kill('SIGTERM');
    context.signal.addEventListener('abort', abort, { once: true });
    try {
      const held = await Promise.race([once(child.stdout, 'data').then(() => true), ended.then(() => false)]);
      context.signal.throwIfAborted();
      if (!held) return undefined;
    } finally {
      context.signal.removeEventListener('abort', abort);
    }
    return {
      release: async () => {
        child.stdin.end();
        await ended;
      },
    };
  };
  const lock = await attempt('--nonblock');
  if (lock !== undefined) return lock;
  context.log('another build of this appliance is running; waiting for it');
  const later = await attempt();
  if (later === undefined) throw new Error(`cannot lock ${file}`);
  return later;
}
