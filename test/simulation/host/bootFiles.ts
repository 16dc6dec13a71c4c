/** Boot files on a simulated host. */
import type * as real from '../../../src/launcher/bootFiles.js';
import { open } from './files.js';
import { APPLIANCE_FILE } from '../appliances.js';

export const openBootFiles: typeof real.openBootFiles = async (_appliance, { closeOnceStarted }) => {
  const opened = async (what: string): Promise<Awaited<ReturnType<typeof open>>> => {
    const handle = await open(APPLIANCE_FILE);
    closeOnceStarted(what, handle);
    return handle;
  };
  return {
    overlay: await opened('overlay of the root'),
    kernel: await opened('kernel'),
    initrd: await opened('initrd'),
  };
};
