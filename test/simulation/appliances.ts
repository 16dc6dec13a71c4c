/** The appliance of a simulated host, and the preflight that finds it. */
import type { FileHandle } from 'node:fs/promises';
import { GuestfsError } from '../../src/common/errors.js';
import type { LaunchPreflight } from '../../src/launcher/preflight.js';
import { SimulatedHandle } from './hostFiles.js';
import type { World } from './world.js';

export const APPLIANCE_FILE = '/appliance/file';
export const QEMU = '/usr/bin/qemu';

/** Puts the appliance and qemu on the host. */
export function installAppliance({ files }: World): void {
  files.set(APPLIANCE_FILE, files.make('file', 'part of the appliance'));
  files.set(QEMU, files.make('file'));
}

/** @param daemonVersion as stated by the appliance */
export function simulatedPreflight(world: World, daemonVersion: string | undefined): LaunchPreflight {
  return {
    run: async (_config, signal) => {
      await world.hostWorks();
      signal.throwIfAborted();
      if (world.happens('preflight fails')) throw new GuestfsError('APPLIANCE_MISSING', 'there is no appliance');
      if (world.happens('appliance replaced')) installAppliance(world);
      const file = world.files.get(APPLIANCE_FILE);
      if (file === undefined) throw new Error('no appliance is installed');
      const handle = new SimulatedHandle(world, file, APPLIANCE_FILE, 'descriptor of appliance');
      const opened = handle as unknown as FileHandle;
      return {
        qemuBinary: QEMU,
        accelerator: 'tcg',
        kvmUnusable: undefined,
        kvmGroups: [],
        appliance: {
          ...{ kind: 'fixed' as const, directory: '/appliance', kernel: opened, initrd: opened, root: opened },
          rootImage: { format: 'raw' as const, virtualSize: 1n << 30n, uuid: undefined },
          rootUuid: 'root',
          manifest: daemonVersion === undefined ? undefined : ({ daemonVersion, inputsHash: undefined } as never),
          close: () => handle.close(),
        },
      };
    },
    imageProbe: () => Promise.reject(new Error('there are no foreign images')),
  };
}
