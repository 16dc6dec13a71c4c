import { describe, expect, it } from '@jest/globals';

import { checkDrivers, loadOrder, moduleName, modulesToKeep, parseModulesDep } from '../../appliance-builder/kernel.js';

import { INITRD_MODULES, INITRD_NETWORK_MODULES } from '../../appliance-builder/packages.js';

const tree = parseModulesDep(`kernel/drivers/scsi/scsi_common.ko.xz:
kernel/drivers/scsi/scsi_mod.ko.xz: kernel/drivers/scsi/scsi_common.ko.xz
kernel/drivers/scsi/sd_mod.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz kernel/drivers/scsi/scsi_common.ko.xz
kernel/drivers/scsi/sd_mod_other.ko.xz:
kernel/drivers/gpu/big.ko.xz:
kernel/drivers/char/hw_random/virtio-rng.ko.xz: kernel/drivers/gpu/big.ko.xz
kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
`);

describe('modulesToKeep', () => {
  it('keeps folders, single modules, and what they depend on', () => {
    expect([...modulesToKeep(tree, ['fs/', 'drivers/scsi/sd_mod'])].sort()).toEqual([
      'kernel/drivers/scsi/scsi_common.ko.xz',
      'kernel/drivers/scsi/scsi_mod.ko.xz',
      'kernel/drivers/scsi/sd_mod.ko.xz',
      'kernel/fs/ext4/ext4.ko.xz',
      'kernel/fs/jbd2/jbd2.ko.xz',
    ]);
  });

  it('keeps a dependency from a folder that is left out', () => {
    expect(modulesToKeep(tree, ['drivers/char/hw_random/virtio-rng'])).toContain('kernel/drivers/gpu/big.ko.xz');
  });
});

describe('loadOrder', () => {
  it('puts each module after what it needs, once', () => {
    expect(loadOrder(tree, ['sd_mod', 'scsi_mod', 'ext4']).map(moduleName)).toEqual([
      'scsi_common',
      'scsi_mod',
      'sd_mod',
      'jbd2',
      'ext4',
    ]);
  });

  it('finds modules by the name modprobe uses and skips those that are built in', () => {
    expect(loadOrder(tree, ['virtio_rng', 'virtio_pci']).map(moduleName)).toEqual(['big', 'virtio_rng']);
  });
});

describe('checkDrivers', () => {
  const all = [...INITRD_MODULES, ...INITRD_NETWORK_MODULES];

  it('accepts drivers as modules, built in, or both', () => {
    expect(() => checkDrivers(all, new Set())).not.toThrow();
    expect(() => checkDrivers([], new Set(all))).not.toThrow();
  });

  it('does not require the checksum modules, which newer kernels lack', () => {
    expect(() =>
      checkDrivers(
        all.filter((name) => !name.startsWith('crc32c')),
        new Set(),
      ),
    ).not.toThrow();
  });

  it('names a driver that is neither a module nor built in', () => {
    expect(() =>
      checkDrivers(
        all.filter((name) => name !== 'virtio_blk'),
        new Set(),
      ),
    ).toThrow('no module virtio_blk');
  });
});
