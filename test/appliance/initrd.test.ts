import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { INIT_SCRIPT, makeInitrd } from '../../appliance-builder/initrd.js';
import type { Kernel } from '../../appliance-builder/kernel.js';

describe('the initrd', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'initrd-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('starts with a script that a POSIX shell can read', () => {
    const { status, stderr } = spawnSync('sh', ['-n'], { input: INIT_SCRIPT, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it('contains the drivers in loading order, those of the network separately', async () => {
    const dependencies: Record<string, string[]> = {
      'kernel/scsi_mod.ko': [],
      'kernel/sd_mod.ko': ['kernel/scsi_mod.ko'],
      'kernel/virtio_scsi.ko': ['kernel/scsi_mod.ko'],
      'kernel/failover.ko': [],
      'kernel/virtio_net.ko': ['kernel/failover.ko', 'kernel/scsi_mod.ko'],
      'kernel/unwanted.ko': [],
    };
    await mkdir(join(directory, 'kernel'));
    for (const file of Object.keys(dependencies)) await writeFile(join(directory, file), file);
    await writeFile(join(directory, 'busybox'), 'a shell');
    const kernel = { modulesDirectory: directory, modules: new Map(Object.entries(dependencies)) } as unknown as Kernel;
    const initrd = await makeInitrd(kernel, join(directory, 'busybox'));
    const names = execFileSync('cpio', ['--list', '--quiet'], { input: initrd, encoding: 'utf8' })
      .trimEnd()
      .split('\n');
    expect(names.filter((name) => name.includes('/'))).toEqual([
      'bin/busybox',
      'modules/00-scsi_mod.ko',
      'modules/01-virtio_scsi.ko',
      'modules/02-sd_mod.ko',
      'network-modules/00-failover.ko',
      'network-modules/01-virtio_net.ko',
    ]);
    expect(names).toContain('init');
  });
});
