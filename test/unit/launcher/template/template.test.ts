import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Template } from '../../../../src/launcher/template/template.js';
import { contentsOf, TemplateScene } from './scene.js';

let scene: TemplateScene;
let template: Template;

beforeEach(async () => {
  scene = new TemplateScene();
  template = await scene.template('one');
});
afterEach(() => scene.remove());

/** The descriptor of a closed file is -1, so that a file that reuses its number is not touched. */
const isOpen = (): boolean => template.files.memory.fd >= 0;

describe('a template', () => {
  it('is read from the start each time it is opened', async () => {
    expect([await contentsOf(template, 'state'), await contentsOf(template, 'state')]).toEqual([
      'state of one',
      'state of one',
    ]);
  });

  it('is closed when it is retired and not in use', async () => {
    expect(template.retired).toBe(false);
    await template.retire();
    expect(template.retired).toBe(true);
    expect(isOpen()).toBe(false);
    await template.retire();
  });

  it('stays open until its last use has ended, even by failing', async () => {
    const ends: (() => void)[] = [];
    const work = (): Promise<void> => new Promise((resolve) => ends.push(resolve));
    const first = template.use(work);
    const second = template.use(async () => {
      await work();
      throw new Error('the clone failed');
    });
    await template.retire();
    expect(isOpen()).toBe(true);
    ends[0]?.();
    await first;
    expect(isOpen()).toBe(true);
    expect(await contentsOf(template, 'memory')).toBe('memory of one');
    ends[1]?.();
    await expect(second).rejects.toThrow('the clone failed');
    expect(isOpen()).toBe(false);
  });

  it('stays open between uses while it is not retired', async () => {
    expect(await template.use(async () => 'done')).toBe('done');
    expect(isOpen()).toBe(true);
  });

  it('cannot be opened once it is closed', async () => {
    await template.retire();
    await expect(template.use(() => template.open('memory'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
