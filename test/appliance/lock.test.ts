import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { acquireLock } from '../../appliance-builder/lock.js';
import { quiet } from './context.js';

describe('acquireLock', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lock-'));
    file = join(directory, 'lock');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('has one holder at a time, and logs why the other one waits', async () => {
    const order: string[] = [];
    const first = await acquireLock(quiet(), file);
    const second = acquireLock({ ...quiet(), log: (line) => order.push(line) }, file).then((lock) => {
      order.push('second');
      return lock;
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    order.push('first done');
    await first.release();
    await (await second).release();
    expect(order).toEqual(['another build of this appliance is running; waiting for it', 'first done', 'second']);
  });

  it('does not outlive its holder', async () => {
    const module = new URL('../../appliance-builder/lock.js', import.meta.url).href;
    const script = `
      const { acquireLock } = await import(${JSON.stringify(module)});
      await acquireLock({ log() {}, signal: new AbortController().signal }, ${JSON.stringify(file)});
      console.log('held');
      setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    const waiting = acquireLock(quiet(), file);
    holder.kill('SIGKILL');
    await (await waiting).release();
  });

  it('stops waiting when the build is cancelled', async () => {
    const first = await acquireLock(quiet(), file);
    const stop = new AbortController();
    const waiting = acquireLock(quiet(stop.signal), file);
    setTimeout(() => stop.abort(new Error('enough')), 300);
    await expect(waiting).rejects.toThrow('enough');
    await first.release();
  });
});
