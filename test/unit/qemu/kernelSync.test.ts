import { PassThrough, type Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { syncKernel } from '../../../src/qemu/kernelSync.js';
import { duplexPair } from '../../fakes/duplexPair.js';

const LIMIT_MS = 200;
const NEVER = new Promise<never>(() => undefined);

/** A kernel behind a serial console that takes a key after each BREAK. */
function kernel(answers: Readonly<Record<string, readonly string[]>>): {
  readonly monitor: { execute(command: string, given?: object): Promise<unknown> };
  readonly console: Duplex;
  readonly gone: Promise<unknown>;
  readonly did: string[];
} {
  const [console, own] = duplexPair();
  console.resume();
  const did: string[] = [];
  own.on('data', (bytes: Buffer) => {
    const key = bytes.toString('latin1');
    did.push(key);
    for (const text of answers[key] ?? []) own.write(text);
  });
  const execute = async (command: string, given?: object): Promise<unknown> => {
    did.push(`${command} ${JSON.stringify(given)}`);
    return {};
  };
  return { monitor: { execute }, console, gone: NEVER, did };
}

describe('the kernel of an appliance', () => {
  it('is made to sync, and waited for, whatever else the console says', async () => {
    const one = kernel({
      7: ['[   5.0] sysrq: Changing Loglevel\n', '[   5.0] sysrq: Loglevel set to 7\n'],
      s: ['[   5.1] sysrq: Emergency Sync\n', 'x'.repeat(1000), '[   5.2] Emergency Sy', 'nc complete\n'],
      u: ['[   5.3] Emergency Remount complete\n'],
    });
    expect(await syncKernel(one, LIMIT_MS)).toBe(true);
    const sendBreak = 'chardev-send-break {"id":"console"}';
    expect(one.did).toEqual([sendBreak, '7', sendBreak, 's', sendBreak, 'u']);
    expect(one.console.listenerCount('data')).toBe(0);
  });

  it('that does not say so has not synced', async () => {
    expect(await syncKernel(kernel({ 7: ['sysrq: This sysrq operation is disabled.\n'] }), LIMIT_MS)).toBe(false);
  });

  it('is not waited for any longer if qemu says nothing', async () => {
    const monitor = { execute: () => new Promise(() => undefined) };
    expect(await syncKernel({ monitor, console: new PassThrough(), gone: NEVER }, LIMIT_MS)).toBe(false);
  });

  it('is not waited for after its machine has ended', async () => {
    const one = { ...kernel({}), gone: Promise.resolve() };
    expect(await syncKernel(one, 3_600_000)).toBe(false);
  });

  it('is not reached without a monitor', async () => {
    const monitor = { execute: () => Promise.reject(new Error('closed')) };
    await expect(syncKernel({ monitor, console: new PassThrough(), gone: NEVER }, LIMIT_MS)).rejects.toThrow('closed');
  });
});
