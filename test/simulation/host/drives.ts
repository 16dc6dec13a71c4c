/** Drives on a simulated host: images that are there or not, and are claimed as by the real code. */
import { GuestfsError } from '../../../src/common/errors.js';
import type { PreparedDrive, PreparedDrives } from '../../../src/images/prepareDrives.js';
import type * as real from '../../../src/images/prepareDrives.js';
import { SimulatedHandle } from '../hostFiles.js';
import { SCRATCH } from '../qemu.js';
import { world } from '../world.js';

export const prepareDrives: typeof real.prepareDrives = async (drives, { claims, signal, firstIndex = 0 }) => {
  const here = world();
  const handles: SimulatedHandle[] = [];
  const names: string[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(handles.splice(0).map((handle) => handle.close()));
  };
  try {
    const prepared: PreparedDrive[] = [];
    for (const [index, { source, readonly }] of drives.entries()) {
      const path = source.kind === 'file' ? source.path : SCRATCH;
      await here.hostWorks();
      signal.throwIfAborted();
      if (here.happens('image missing')) throw new GuestfsError('IMAGE_MISSING', `there is no ${path}`);
      handles.push(new SimulatedHandle(here, here.files.make('file'), path, 'descriptor of image'));
      const name = `drive${firstIndex + index}`;
      if (source.kind === 'file')
        claims.claim(name, { identity: here.identityOf(path) }, readonly ? 'raw read' : 'raw write', path);
      names.push(name);
      prepared.push({
        files: [],
        blockNodes: [{ driver: 'raw', 'node-name': name, image: path, 'read-only': readonly }],
        topNode: name,
        serial: undefined,
        blockSize: undefined,
        format: 'raw',
        subject: path,
      });
    }
    return { drives: prepared, explain: () => undefined, dispose } satisfies PreparedDrives;
  } catch (error) {
    await dispose();
    for (const name of names) await claims.release(name);
    throw error;
  }
};
