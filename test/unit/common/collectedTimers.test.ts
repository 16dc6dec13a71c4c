import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';

/** Each time limit of waiting.ts, which must fire although garbage is collected meanwhile. */
const LIMITS: Readonly<Record<string, string>> = {
  inTime: `waiting.inTime(300, 'late', new Promise(() => {}))`,
  withTimeout: `waiting.withTimeout(300, () => new Error('late'), new Promise(() => {})).catch(({ message }) => message)`,
  sleep: `waiting.sleep(300).then(() => 'late')`,
  'sleep with a signal': `waiting.sleep(300, new AbortController().signal).then(() => 'late')`,
  linkedAbort: `new Promise((resolve) => {
    const { signal } = waiting.linkedAbort([new AbortController().signal], { milliseconds: 300, makeError: () => new Error('late') });
    signal.addEventListener('abort', () => resolve(signal.reason.message));
  })`,
  withTimeLimit: `waiting.withTimeLimit(300, () => new Error('late'), [new AbortController().signal], (signal) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason.message))))`,
  'a limit under another': `waiting.withTimeLimit(60_000, () => new Error('never'), [], (outer) =>
    waiting.withTimeLimit(300, () => new Error('late'), [outer], (signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason.message)))))`,
  onAbort: `new Promise((resolve) => {
    const { signal } = waiting.linkedAbort([], { milliseconds: 300, makeError: () => new Error('late') });
    waiting.onAbort(signal, ({ message }) => resolve(message));
  })`,
};

function outcome(expression: string): string {
  const waiting = new URL('../../../src/common/waiting.js', import.meta.url).href;
  const script = `
    const waiting = await import(${JSON.stringify(waiting)});
    const collecting = setInterval(gc, 20);
    const limit = ${expression};
    const tooLate = setTimeout(() => { console.log('it never fired'); process.exit(); }, 10_000);
    console.log(await limit);
    clearInterval(collecting);
    clearTimeout(tooLate);
  `;
  const args = ['--expose-gc', '--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return stdout.trim() || stderr;
}

describe('while garbage is collected, a time limit fires:', () => {
  it.each(Object.entries(LIMITS))('%s', (_name, expression) => {
    expect(outcome(expression)).toBe('late');
  });
});
