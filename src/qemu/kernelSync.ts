/**
 * Makes the kernel of an appliance write everything that it has in memory and make its filesystems read-only, whatever
 * its programs are doing. The daemon, which is asked for this otherwise, does one thing at a time. Linux does it by keys of
 * its SysRq, which follow a BREAK on the serial console; the appliance's kernel has them enabled, as Debian's has.
 */
import type { Duplex } from 'node:stream';
import { inTime } from '../common/waiting.js';

/** ID of the console's character device. */
export const CONSOLE_CHARDEV = 'console';

/** What the console says after each key. */
const STEPS = [
  // Otherwise a quiet kernel does not say when it is done.
  { key: '7', answer: 'Changing Loglevel' },
  { key: 's', answer: 'Emergency Sync complete' },
  { key: 'u', answer: 'Emergency Remount complete' },
] as const;

/** How much of the console's output is compared, characters: more than the longest answer. */
const COMPARED = 256;

export interface SyncedKernel {
  readonly monitor: { execute(command: string, given?: object): Promise<unknown> };
  readonly console: Duplex;
  /** Resolves when qemu has ended. */
  readonly gone: Promise<unknown>;
}

/** @returns whether the kernel says that it is done, within `limitMs` for each step */
export async function syncKernel({ monitor, console, gone }: SyncedKernel, limitMs: number): Promise<boolean> {
  const ended = gone.then(() => false);
  for (const { key, answer } of STEPS) {
    const heard = listenFor(console, answer);
    const step = async (): Promise<boolean> => {
      // A key counts only after a BREAK, and a BREAK for one key.
      await monitor.execute('chardev-send-break', { id: CONSOLE_CHARDEV });
      console.write(key);
      return heard.done;
    };
    try {
      if (!(await inTime(limitMs, false, Promise.race([step(), ended])))) return false;
    } finally {
      heard.stop();
    }
  }
  return true;
}

function listenFor(console: Duplex, text: string): { readonly done: Promise<boolean>; stop(): void } {
  let end = '';
  let hear = (): void => undefined;
  const done = new Promise<boolean>((resolve) => {
    hear = () => resolve(true);
  });
  const listen = (bytes: Buffer): void => {
    end = (end + bytes.toString('latin1')).slice(-COMPARED - bytes.length);
    if (end.includes(text)) hear();
    end = end.slice(-COMPARED);
  };
  console.on('data', listen);
  return { done, stop: () => console.off('data', listen) };
}
