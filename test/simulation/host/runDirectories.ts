/** Run directories on a simulated host. */
import type * as real from '../../../src/common/tempDir.js';
import { systemError } from '../hostFiles.js';
import { world } from '../world.js';

export * from '../../../src/common/tempDir.js';

async function works(syscall: string): Promise<void> {
  await world().hostWorks();
  if (world().happens('the host fails')) throw systemError(world().random.of(['ENOSPC', 'EMFILE']), syscall);
}

export const createRunDirectory: typeof real.createRunDirectory = async (parent) => {
  await works('mkdtemp');
  const here = world();
  const path = `${parent}/${here.next()}`;
  here.files.set(path, here.files.make('directory', '', 0o700));
  const removed = here.opened('run directory');
  return {
    path,
    recordChild: () => works('open'),
    remove: async () => {
      await here.hostWorks();
      here.files.remove(path);
      removed();
    },
  };
};
