/** Locates the qemu binary. */
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { hostArchitecture } from './arch.js';

/**
 * The absolute path of a qemu given by path or by name on the PATH; by default, that of the host's architecture.
 * @throws GuestfsError `QEMU_MISSING`
 */
export async function locateQemu(wanted: string | undefined): Promise<string> {
  const name = wanted ?? hostArchitecture().qemuBinary;
  const candidates = name.includes('/')
    ? [resolve(name)]
    : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, name));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(
      async () => (await stat(candidate)).isFile(),
      () => false,
    );
    if (usable) return candidate;
  }
  throw new GuestfsError(
    'QEMU_MISSING',
    name.includes('/') ? `${name} is not an executable file` : `${name} is not installed on the server`,
  );
}

/** Distinguishes builds of qemu without running them. */
export async function fingerprintOf(binary: string): Promise<string> {
  const path = await realpath(binary);
  const { size, mtimeMs, ino } = await stat(path);
  return `${path}:${size}:${Math.trunc(mtimeMs)}:${ino}`;
}
