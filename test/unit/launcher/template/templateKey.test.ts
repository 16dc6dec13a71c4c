import { renameSync, utimesSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PreflightResult } from '../../../../src/launcher/preflight.js';
import {
  portableKey,
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

describe("a portable template's key", () => {
  const checksums = new Map([
    ['kernel', '1'],
    ['initrd', '2'],
    ['root', '3'],
  ]);

  async function portable(
    changes: Partial<TemplateConfig> = {},
    stated: ReadonlyMap<string, string> | undefined = checksums,
  ): Promise<string | undefined> {
    const laid = await scene.base();
    const appliance = { ...laid.appliance, manifest: { checksums: stated } as never };
    try {
      return await portableKey({ ...scene.request, ...changes }, { ...laid, appliance });
    } finally {
      await laid.appliance.close();
    }
  }

  it('is the same for copies of the same files, whose identities differ', async () => {
    const key = await portable();
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    for (const name of ['kernel', 'initrd', 'root', 'qemu']) replace(name);
    expect(await portable()).toBe(key);
  });

  it('differs with any other content or setting', async () => {
    const keys = [await portable(), await portable({ smp: 2 }), await portable({ memsizeMb: 1281 })];
    for (const name of checksums.keys()) keys.push(await portable({}, new Map([...checksums, [name, 'other']])));
    writeFileSync(scene.path('qemu'), 'another qemu');
    keys.push(await portable());
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('does not exist without checksums in the manifest', async () => {
    expect(await portable({}, new Map([['kernel', '1']]))).toBeUndefined();
    const laid = await scene.base();
    expect(await portableKey(scene.request, laid)).toBeUndefined();
    await laid.appliance.close();
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
