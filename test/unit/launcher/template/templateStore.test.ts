import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Template, TEMPLATE_FILES } from '../../../../src/launcher/template/template.js';
import { TemplateStore } from '../../../../src/launcher/template/templateStore.js';
import { contentsOf, TemplateScene } from './scene.js';

// Each memory file is a process: many of them take a while on a busy machine.
jest.setTimeout(30_000);

const never = new AbortController().signal;

let scene: TemplateScene;
let store: TemplateStore;

beforeEach(() => {
  scene = new TemplateScene();
  store = new TemplateStore(scene.cache, scene.logger);
});
afterEach(() => scene.remove());

const keep = async (key: string, contents = key): Promise<void> =>
  store.keep(await scene.template(key, contents), never);
const load = async (key: string): Promise<string | undefined> => {
  const template = await new TemplateStore(scene.cache, scene.logger).load(key, never);
  if (template === undefined) return undefined;
  try {
    return await contentsOf(template, 'memory');
  } finally {
    await template.retire();
  }
};
/** What this process has open of the scene, and in memory. */
const openFiles = (): string[] =>
  readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ''; // the directory's own, which is closed again
      }
    })
    .filter((path) => path.startsWith(scene.directory) || path.startsWith('/memfd:'))
    .sort();

describe('a kept template', () => {
  it('is what it was', async () => {
    await keep('one');
    const template = await store.load('one', never);
    expect(template?.facts).toEqual({ console: Buffer.from('console of one\n\xff', 'latin1'), createdAt: 1234 });
    for (const name of TEMPLATE_FILES) {
      expect(await contentsOf(template as never, name)).toBe(`${name} of one`);
      await expect(template?.files[name].write('x')).rejects.toMatchObject({ code: 'EPERM' });
    }
    await template?.retire();
    expect(scene.warnings).toEqual([]);
  });

  it('is not found under another key', async () => {
    await keep('one');
    expect(await load('other')).toBeUndefined();
    expect(scene.warnings).toEqual([]);
  });

  it('of two that are kept, is the first', async () => {
    await keep('one', 'the first');
    await keep('one', 'the second');
    expect(await load('one')).toBe('memory of the first');
    expect(readdirSync(scene.kept)).toEqual(['one']);
    expect(scene.warnings).toEqual([]);
  });

  it('is gone when it was removed', async () => {
    await keep('one');
    await store.remove('one');
    expect(readdirSync(scene.kept)).toEqual([]);
    await store.remove('one');
    expect(scene.warnings).toEqual([]);
  });
});

const flip = (path: string): void => {
  const bytes = readFileSync(path);
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.from([(bytes[bytes.length >> 1] ?? 0) ^ 1]), 0, 1, bytes.length >> 1);
  closeSync(file);
};
const shorten = (path: string): void => truncateSync(path, readFileSync(path).length - 1);
const lengthen = (path: string): void => writeFileSync(path, '\0', { flag: 'a' });

describe.each([...TEMPLATE_FILES, 'template.json'])('a template whose %s', (name) => {
  it.each([
    ['has another bit', flip],
    ['is shorter', shorten],
    ['is longer', lengthen],
    ['is missing', (path: string) => rmSync(path)],
  ])('%s is not used, but removed', async (_what, damage) => {
    await keep('one');
    damage(join(scene.kept, 'one', name));
    const before = openFiles();
    expect(await load('one')).toBeUndefined();
    expect(openFiles()).toEqual(before);
    expect(scene.warnings).toEqual([
      {
        message: 'a stored template is unusable and will be recreated',
        fields: { template: 'one', reason: expect.stringMatching(/./) },
      },
    ]);
    // Else it would be in the way of the one that is made next.
    expect(existsSync(join(scene.kept, 'one'))).toBe(false);
  });
});

describe('the store', () => {
  it('keeps the eight that were used last', async () => {
    for (let number = 1; number <= 8; number += 1) {
      await keep(`t${number}`);
      const used = new Date(1_600_000_000_000 + number * 1000);
      utimesSync(join(scene.kept, `t${number}`, 'template.json'), used, used);
    }
    expect(await load('t1')).toBe('memory of t1');
    await keep('t9');
    expect(readdirSync(scene.kept).sort()).toEqual(['t1', 't3', 't4', 't5', 't6', 't7', 't8', 't9']);
    // Even if its own clock says that all others are newer.
    const future = new Date(Date.now() + 3600_000);
    for (const name of readdirSync(scene.kept)) utimesSync(join(scene.kept, name, 'template.json'), future, future);
    await keep('t10');
    expect(readdirSync(scene.kept)).toHaveLength(8);
    expect(await load('t10')).toBe('memory of t10');
  });

  it('removes what a dead server left unfinished, but not what another is writing', async () => {
    await keep('one');
    for (const [name, age] of [
      ['.unfinished-old', 2 * 3600_000],
      ['.unfinished-new', 60_000],
    ] as const) {
      mkdirSync(join(scene.kept, name));
      writeFileSync(join(scene.kept, name, 'memory'), 'half');
      const time = new Date(Date.now() - age);
      utimesSync(join(scene.kept, name), time, time);
    }
    await keep('two');
    expect(readdirSync(scene.kept).sort()).toEqual(['.unfinished-new', 'one', 'two']);
  });

  it('says why it cannot keep, and finds nothing, where there is no directory to be made', async () => {
    rmSync(scene.cache, { recursive: true });
    writeFileSync(scene.cache, 'a file');
    expect(await load('one')).toBeUndefined();
    await keep('one');
    expect(scene.warnings).toEqual([
      {
        message: 'cannot store a template: it will be recreated after a restart',
        fields: { template: 'one', reason: expect.stringMatching(/ENOTDIR|EEXIST/) },
      },
    ]);
  });

  it('believes nothing in a directory that others can write', async () => {
    await keep('one');
    chmodSync(scene.kept, 0o777);
    expect(await load('one')).toBeUndefined();
    await keep('two');
    expect(scene.warnings).toEqual([
      {
        message: expect.stringContaining('cannot store a template'),
        fields: { template: 'two', reason: expect.stringContaining('is writable by other users') },
      },
    ]);
    // Nor does it touch what is in there.
    expect(readdirSync(scene.kept)).toEqual(['one']);
  });

  it('leaves nothing unfinished when keeping is given up or fails', async () => {
    const controller = new AbortController();
    const template = await scene.template('one');
    const keeping = store.keep(template, controller.signal);
    controller.abort(new Error('the server is shutting down'));
    await keeping;
    expect(readdirSync(scene.kept)).toEqual([]);
    // Who ends knows that.
    expect(scene.warnings).toEqual([]);

    const directory = await open(scene.directory, 'r');
    await store.keep(new Template('one', { ...template.files, overlay: directory }, template.facts), never);
    await directory.close();
    expect(readdirSync(scene.kept)).toEqual([]);
    expect(scene.warnings).toEqual([
      {
        message: expect.stringContaining('cannot store a template'),
        fields: { template: 'one', reason: expect.stringMatching(/./) },
      },
    ]);
  });

  it('throws what the signal says when loading is given up, and the template stays', async () => {
    await keep('one');
    const controller = new AbortController();
    const loading = store.load('one', controller.signal);
    controller.abort(new Error('the server is shutting down'));
    await expect(loading).rejects.toThrow('the server is shutting down');
    expect(await load('one')).toBe('memory of one');
    expect(scene.warnings).toEqual([]);
  });
});
