/**
 * Finds an appliance as libguestfs does: in the first element of the search path
 * that contains one, whether a supermin skeleton or a fixed appliance.
 */
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import type { Appliance } from './appliance.js';
import type { ApplianceCache, SuperminBuilder } from './superminBuilder.js';

const SUPERMIN_FILES = ['supermin.d/base.tar.gz', 'supermin.d/packages'] as const;
const FIXED_FILES = ['README.fixed', 'kernel', 'initrd', 'root'] as const;
const OLD_STYLE = /* of libguestfs before 1.8 */ ['x86_64', 'aarch64'].map((cpu) => `initramfs.${cpu}.img`);

/** Settings of a search. */
export interface SearchContext {
  readonly supermin: SuperminBuilder;
  /** For supermin appliances; undefined: they are not accepted. */
  readonly cache: ApplianceCache | undefined;
  readonly signal: AbortSignal;
}

/**
 * Searches `path`, whose elements are separated by colons; an empty element is
 * the current directory. A supermin appliance is built when needed.
 *
 * @throws GuestfsError `APPLIANCE_MISSING` naming each element and what it lacks,
 *   `APPLIANCE_UNUSABLE` if supermin fails, or `NOT_ALLOWED`
 */
export async function locateAppliance(path: string, context: SearchContext): Promise<Appliance> {
  const verdicts: string[] = [];
  for (const element of path.split(':')) {
    const directory = resolve(element === '' ? '.' : element);
    if ((await missingOf(directory, SUPERMIN_FILES)).length === 0) {
      const { supermin, cache, signal } = context;
      if (cache === undefined) {
        throw new GuestfsError(
          'NOT_ALLOWED',
          `${directory} has a supermin appliance, which can include any file of the server's host: one that is not the server's own requires --allow custom-qemu`,
          {
            metadata: { setting: '--allow custom-qemu' },
          },
        );
      }
      return { kind: 'supermin', directory: await supermin.build(join(directory, 'supermin.d'), cache, signal) };
    }
    const missing = await missingOf(directory, FIXED_FILES);
    if (missing.length === 0) return { kind: 'fixed', directory };
    verdicts.push(`${directory} (${await describe(directory, missing)})`);
  }
  throw new GuestfsError('APPLIANCE_MISSING', `no appliance found: ${verdicts.join('; ')}`);
}

async function describe(directory: string, missing: readonly string[]): Promise<string> {
  if (!(await exists(directory))) return 'does not exist';
  for (const name of OLD_STYLE) {
    if (await exists(join(directory, name)))
      return 'has an appliance without a root image, made by an old libguestfs, which is not supported';
  }
  const none = missing.length === FIXED_FILES.length;
  return none ? 'contains neither a fixed appliance nor a supermin one' : `lacks ${missing.join(', ')}`;
}

async function missingOf(directory: string, names: readonly string[]): Promise<string[]> {
  const there = await Promise.all(names.map((name) => exists(join(directory, name))));
  return names.filter((_, index) => there[index] !== true);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
