import { renameSync, utimesSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PreflightResult } from '../../../../src/launcher/preflight.js';
import {
  templateCommandLine,
  templateKey,
  type TemplateConfig,
} from '../../../../src/launcher/template/templateKey.js';
import { TemplateScene } from './scene.js';

let scene: TemplateScene;
beforeEach(() => {
  scene = new TemplateScene();
});
afterEach(() => scene.remove());

async function keyOf(changes: Partial<TemplateConfig> = {}, base: Partial<PreflightResult> = {}): Promise<string> {
  const laid = await scene.base(base);
  try {
    return await templateKey({ ...scene.request, ...changes }, laid);
  } finally {
    await laid.appliance.close();
  }
}

/** Another file in its place, with the same content and time. */
function replace(name: string): void {
  const path = scene.path(name);
  utimesSync(path, 1000, 1000);
  writeFileSync(`${path}.new`, name, { mode: 0o755 });
  utimesSync(`${path}.new`, 1000, 1000);
  renameSync(`${path}.new`, path);
}

describe("a template's key", () => {
  it('is the same for the same settings', async () => {
    const key = await keyOf();
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    expect(await keyOf()).toBe(key);
    expect(await keyOf({ identifier: 'a1', drives: [] } as Partial<TemplateConfig>)).toBe(key);
  });

  it('differs with any other setting', async () => {
    const keys = await Promise.all([
      keyOf(),
      keyOf({ memsizeMb: 1281 }),
      keyOf({ smp: 2 }),
      keyOf({ network: true }),
      keyOf({ selinux: true }),
      keyOf({ verbose: true }),
      keyOf({ append: 'quiet' }),
      keyOf({ append: 'loud' }),
      keyOf({}, { accelerator: 'kvm' }),
    ]);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it.each(['kernel', 'initrd', 'root', 'qemu'])(
    'is another with another %s, even of the same size, contents and time',
    async (name) => {
      utimesSync(scene.path(name), 1000, 1000);
      const key = await keyOf();
      replace(name);
      expect(await keyOf()).not.toBe(key);
    },
  );

  it.each(['kernel', 'initrd', 'root', 'qemu'])('differs when the %s is overwritten', async (name) => {
    const key = await keyOf();
    writeFileSync(scene.path(name), `${name}, longer`);
    expect(await keyOf()).not.toBe(key);
  });

  it('differs with another UUID of the root, and another manifest', async () => {
    const laid = await scene.base();
    // All of them use its files.
    const appliance = { ...laid.appliance, close: async () => undefined };
    const keys = await Promise.all([
      keyOf({}, { appliance }),
      keyOf({}, { appliance: { ...appliance, rootUuid: '22222222-2222-3333-4444-555555555555' } }),
      keyOf({}, { appliance: { ...appliance, manifest: { inputsHash: 'other' } as never } }),
    ]);
    await laid.appliance.close();
    expect(new Set(keys).size).toBe(3);
  });
});

describe("a template's kernel command line", () => {
  it('names no session', async () => {
    const laid = await scene.base();
    expect(templateCommandLine({ ...scene.request, identifier: 'a1' } as TemplateConfig, laid)).not.toContain(
      'guestfs_identifier',
    );
    await laid.appliance.close();
  });
});
