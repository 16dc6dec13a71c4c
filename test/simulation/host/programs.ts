/** Programs on a simulated host: qemu. */
import type * as real from '../../../src/jail/jail.js';
import { systemError } from '../hostFiles.js';
import { SimulatedQemu } from '../qemu.js';
import { world } from '../world.js';

export * from '../../../src/jail/jail.js';

export const startJailed: typeof real.startJailed = async ({ args, directory = '' }, { channels, fds }) => {
  const here = world();
  await here.hostWorks();
  if (here.happens('no process')) throw systemError(here.random.of(['EAGAIN', 'EMFILE', 'ENOMEM']), 'spawn qemu');
  const given = fds.map((fd) => here.files.handle(typeof fd === 'function' ? fd() : fd));
  if (given.includes(undefined)) here.violate('qemu is started with a descriptor that is closed');
  return new SimulatedQemu(here, {
    args,
    directory,
    channels,
    files: given.flatMap((handle) => (handle === undefined ? [] : [handle.file])),
  }).started;
};
