import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { PreflightResult } from '../../../../src/launcher/preflight.js';
import { GuestfsError } from '../../../../src/common/errors.js';
import { CloneFailed } from '../../../../src/launcher/template/blame.js';
import { Template } from '../../../../src/launcher/template/template.js';
import { Templates, type NoTemplate, type TemplateRequest } from '../../../../src/launcher/template/templates.js';
import { storeWithAppliance } from '../../../../src/launcher/template/applianceTemplates.js';
import { createQemuUsers } from '../../../../src/qemu/qemuUsers.js';
import { eventually } from '../../../support/eventually.js';
import { contentsOf, TemplateScene } from './scene.js';

// Each memory file is a process: many of them take a while on a busy machine.
jest.setTimeout(30_000);

const never = new AbortController().signal;

/** The creation of a template, which the test ends. */
interface Making {
  readonly key: string;
  readonly request: TemplateRequest;
  readonly signal: AbortSignal;
  succeed(): Promise<void>;
  fail(reason: string): void;
}

let scene: TemplateScene;
let templates: Templates;
let base: PreflightResult;
let makings: Making[];

function start(): Templates {
  return new Templates({
    logger: scene.logger,
    users: createQemuUsers(),
    preflight: scene.preflight(),
    make: (key, request, _ground, _options, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
        const number = makings.length + 1;
        makings.push({
          key,
          signal,
          request: request as TemplateRequest,
          fail: (reason) => reject(new Error(reason)),
          succeed: async () => resolve(await scene.template(key, `making ${number}`)),
        });
      }),
  });
}

beforeEach(async () => {
  scene = new TemplateScene();
  base = await scene.base();
  makings = [];
  templates = start();
});
afterEach(async () => {
  jest.useRealTimers();
  await templates.close();
  await base.appliance.close();
  await scene.remove();
});

const get = (changes: Partial<TemplateRequest> = {}): Promise<Template | NoTemplate> =>
  templates.get({ ...scene.request, ...changes }, base, never);
async function made(changes: Partial<TemplateRequest> = {}): Promise<Template> {
  const template = await get(changes);
  if (!(template instanceof Template)) throw new Error(`no template: ${template.reason}`);
  return template;
}
/** The creation with this number, from 0, once it has started. */
async function making(number = 0): Promise<Making> {
  await eventually(() => makings.length > number);
  return makings[number] as Making;
}
/** Creates a template. */
async function make(changes: Partial<TemplateRequest> = {}): Promise<Template> {
  const number = makings.length;
  await get(changes);
  await (await making(number)).succeed();
  await templates.idle();
  return made(changes);
}
const kept = (): string[] => (existsSync(scene.kept) ? readdirSync(scene.kept) : []);
const keptFor = (key: string): Promise<void> => eventually(() => existsSync(join(scene.kept, key)));

describe('templates', () => {
  it('are created for later requests: no request waits', async () => {
    expect(await get()).toEqual({ reason: 'its template is being created' });
    expect(await get()).toEqual({ reason: 'its template is being created' });
    await (await making()).succeed();
    await templates.idle();
    expect(await contentsOf(await made(), 'memory')).toBe('memory of making 1');
    expect(makings).toHaveLength(1);
    expect(await made()).toBe(await made());
  });

  it('are created one at a time', async () => {
    await get();
    expect(await get({ smp: 2 })).toEqual({ reason: 'a template for other settings is being created' });
    await (await making()).succeed();
    await templates.idle();
    expect(makings).toHaveLength(1);
    await make({ smp: 2 });
    expect(makings.map(({ request }) => request.smp)).toEqual([1, 2]);
  });

  it('are created with a separate preflight, which is closed', async () => {
    await get();
    await making();
    expect(scene.openGrounds).toBe(2);
    (await making()).fail('over');
    await templates.idle();
    expect(scene.openGrounds).toBe(1);
  });

  it('are not created from an appliance that was replaced meanwhile', async () => {
    await get();
    writeFileSync(scene.path('kernel'), 'another');
    await templates.idle();
    expect(makings).toEqual([]);
    expect(scene.warnings).toEqual([
      {
        message: 'no template for now: falling back to cold boot',
        fields: { template: expect.any(String), reason: 'the appliance was replaced', retryAfterSeconds: 30 },
      },
    ]);
  });

  it('are stored, and found by the next server', async () => {
    const { key } = await make();
    await keptFor(key);
    await templates.close();
    templates = start();
    expect(await contentsOf(await made(), 'memory')).toBe('memory of making 1');
    expect(makings).toHaveLength(1);
  });

  it('are loaded once for concurrent requests', async () => {
    await keptFor((await make()).key);
    await templates.close();
    templates = start();
    const [first, second] = await Promise.all([made(), made()]);
    expect(first).toBe(second);
  });

  it('exist as long as the server if they cannot be stored', async () => {
    rmSync(scene.cache, { recursive: true });
    writeFileSync(scene.cache, 'a file');
    const template = await make();
    await eventually(() => scene.warnings.length > 0);
    expect(await made()).toBe(template);
    expect(scene.warnings).toEqual([
      { message: expect.stringContaining('cannot store a template'), fields: expect.anything() },
    ]);
  });

  it('are limited to four in memory: the least recently used one is closed, and reloaded when requested', async () => {
    const held: Template[] = [];
    for (const smp of [1, 2, 3, 4]) held.push(await make({ smp }));
    for (const { key } of held) await keptFor(key);
    expect(held.map(({ retired }) => retired)).toEqual([false, false, false, false]);
    await made({ smp: 1 });
    await make({ smp: 5 });
    expect(held.map(({ retired }) => retired)).toEqual([false, true, false, false]);
    expect(await contentsOf(await made({ smp: 2 }), 'memory')).toBe('memory of making 2');
    expect(makings).toHaveLength(5);
  });

  it('do not delay a request that is cancelled', async () => {
    const controller = new AbortController();
    const asking = templates.get(scene.request, base, controller.signal);
    controller.abort(new Error('changed my mind'));
    await expect(asking).rejects.toThrow('changed my mind');
  });
});

/** Lets the clock be later by so many milliseconds; timers go on as they are. */
function later(milliseconds: number): void {
  jest.useFakeTimers({
    now: Date.now() + milliseconds,
    doNotFake: ['setTimeout', 'setInterval', 'setImmediate', 'nextTick', 'queueMicrotask', 'performance'],
  });
}

describe('a template that cannot be made', () => {
  it('is tried again after a while, which grows each time, and does not keep others from being made', async () => {
    await get();
    (await making()).fail('the kernel has no driver');
    await templates.idle();
    expect(await get()).toMatchObject({ reason: 'the kernel has no driver' });
    expect(makings).toHaveLength(1);
    expect(scene.warnings).toEqual([
      {
        message: 'no template for now: falling back to cold boot',
        fields: { template: expect.any(String), reason: 'the kernel has no driver', retryAfterSeconds: 30 },
      },
    ]);
    await make({ smp: 2 });
    for (const [number, seconds] of [30, 60, 120, 240, 480, 600, 600].entries()) {
      later(seconds * 1000 - 1000);
      expect(await get()).toMatchObject({ reason: 'the kernel has no driver' });
      later(2000);
      expect(await get()).toEqual({ reason: 'its template is being created' });
      const next = await making(number + 2);
      expect(next).toMatchObject({ request: { smp: 1 } });
      next.fail('the kernel has no driver');
      await templates.idle();
    }
  });

  it('is like new after one that could be made', async () => {
    for (const number of [0, 1]) {
      await get();
      (await making(number)).fail('the host was busy');
      await templates.idle();
      later(61_000);
    }
    const template = await make();
    for (const _ of [1, 2]) await templates.failed(template, scene.request, new CloneFailed('no clone', {}));
    await get();
    (await making(3)).fail('the host was busy');
    await templates.idle();
    expect(scene.warnings.at(-1)).toMatchObject({ fields: { retryAfterSeconds: 30 } });
  });
});

describe('a template whose clones fail', () => {
  const fail = (template: Template, error: Error = new CloneFailed('no clone', {})): Promise<void> =>
    templates.failed(template, scene.request, error);

  it('is kept after one failure, and discarded and made anew after two in a row', async () => {
    const first = await make();
    await keptFor(first.key);
    await fail(first);
    expect(await made()).toBe(first);
    templates.succeeded(first);
    await fail(first);
    expect(await made()).toBe(first);
    await fail(first);
    expect(first.retired).toBe(true);
    expect(kept()).toEqual([]);
    expect(await make()).not.toBe(first);
  });

  it('says nothing when its qemu was killed, or the host had no more of something', async () => {
    const template = await make();
    const full = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE', syscall: 'open' });
    for (const error of [
      new CloneFailed('the QMP connection closed, since qemu was killed', {}, true),
      new GuestfsError('QEMU_FAILED', 'qemu was killed', { metadata: { signal: 'SIGKILL' } }),
      new CloneFailed('too many open files', { cause: full }),
      new GuestfsError('QEMU_FAILED', 'qemu cannot be started', { cause: full }),
    ])
      for (const _ of [1, 2, 3]) await fail(template, error);
    expect(await made()).toBe(template);
    // A crash is no kill.
    for (const _ of [1, 2])
      await fail(template, new GuestfsError('QEMU_FAILED', 'qemu crashed', { metadata: { signal: 'SIGSEGV' } }));
    expect(template.retired).toBe(true);
  });

  it('is not made for a while when the next one is no better, and failures are forgotten with time', async () => {
    const first = await make();
    await keptFor(first.key);
    for (const _ of [1, 2]) await fail(first);
    const second = await make();
    await keptFor(second.key);
    for (const _ of [1, 2]) await fail(second, new CloneFailed('no clone again', {}));
    expect(await get()).toMatchObject({ reason: 'clones of it fail: no clone again' });
    expect(makings).toHaveLength(2);
    later(31_000);
    const third = await make();
    await keptFor(third.key);
    later(3_600_000);
    for (const _ of [1, 2]) await fail(third);
    expect(await get()).toEqual({ reason: 'its template is being created' });
    await making(3);
  });

  it('counts no failures of one that was discarded already', async () => {
    const first = await make();
    await Promise.all([1, 2, 3].map(() => fail(first)));
    const second = await make();
    for (const _ of [1, 2]) await fail(first);
    expect(second.retired).toBe(false);
    expect(await made()).toBe(second);
  });
});

describe('a server that ends', () => {
  it('cancels the creation, closes all templates, and logs no warnings', async () => {
    const ready = await make();
    await get({ smp: 2 });
    const { signal } = await making(1);
    await templates.close();
    expect(signal.aborted).toBe(true);
    expect(ready.retired).toBe(true);
    expect(scene.openGrounds).toBe(1);
    expect(scene.warnings).toEqual([]);
  });
});

describe('a template that comes with the appliance', () => {
  const withChecksums = (): PreflightResult => ({
    ...base,
    appliance: {
      ...base.appliance,
      manifest: {
        checksums: new Map([
          ['kernel', '1'],
          ['initrd', '2'],
          ['root', '3'],
        ]),
      } as never,
    },
  });
  let directory: string;

  beforeEach(async () => {
    base = withChecksums();
    const template = await scene.template('brought');
    directory = await storeWithAppliance(template, scene.request, base, never);
  });

  it('is used at once, and none is made', async () => {
    expect(await contentsOf(await made(), 'memory')).toBe('memory of brought');
    expect(makings).toEqual([]);
    expect(scene.warnings).toEqual([]);
  });

  it('can be read by every user', () => {
    expect(statSync(directory).mode & 0o777).toBe(0o755);
    for (const name of ['memory', 'state', 'overlay', 'template.json'])
      expect(statSync(join(directory, name)).mode & 0o777).toBe(0o644);
    expect(readdirSync(join(directory, '..'))).toHaveLength(1);
  });

  it('is not used for other settings', async () => {
    expect(await get({ smp: 2 })).toEqual({ reason: 'its template is being created' });
    (await making()).fail('over');
  });

  it('is replaced by one that is made, if it is damaged', async () => {
    writeFileSync(join(directory, 'state'), 'damaged');
    expect(await get()).toEqual({ reason: 'its template is being created' });
    await (await making()).succeed();
    await templates.idle();
    expect(await contentsOf(await made(), 'memory')).toBe('memory of making 1');
    expect(scene.warnings).toEqual([
      {
        message: 'a template of the appliance is unusable and will be replaced by another',
        fields: { directory, reason: expect.stringMatching(/not a packed memory file/) },
      },
    ]);
  });

  it('is replaced by one that is made, if its clones fail', async () => {
    const brought = await made();
    for (const _ of [1, 2]) await templates.failed(brought, scene.request, new CloneFailed('no clone', {}));
    expect(await get()).toEqual({ reason: 'its template is being created' });
    await (await making()).succeed();
    await templates.idle();
    expect(await contentsOf(await made(), 'memory')).toBe('memory of making 1');
    expect(existsSync(directory)).toBe(true);
  });

  it('needs an appliance whose manifest has checksums', async () => {
    const template = await scene.template('other');
    const laid = await scene.base();
    await expect(storeWithAppliance(template, scene.request, laid, never)).rejects.toThrow(
      /the manifest of the appliance in .* lacks checksums/,
    );
    await laid.appliance.close();
  });
});
