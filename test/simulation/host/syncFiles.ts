/** What the server reads of its own descriptors on a simulated host. */
import * as real from 'node:fs';
import { world } from '../world.js';

export * from 'node:fs';

/** Few enough to run out. */
const DESCRIPTORS = 420;
/** How many a server has without sessions. */
const OTHERS = 60;

export const readFileSync = ((path: string, options: never) =>
  path === '/proc/self/limits'
    ? `Max open files            ${DESCRIPTORS}                 ${DESCRIPTORS}                 files\n`
    : real.readFileSync(path, options)) as typeof real.readFileSync;

export const readdirSync = ((path: string, options: never) =>
  path === '/proc/self/fd'
    ? { length: OTHERS + world().files.open + world().channels.filter(({ channel }) => !channel.destroyed).length }
    : real.readdirSync(path, options)) as typeof real.readdirSync;
