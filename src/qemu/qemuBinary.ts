/** Finds the qemu to use. */
import { realpath, stat } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { locateProgram } from '../common/locateProgram.js';
import { hostArchitecture } from './arch.js';

/**
 * The absolute path of a qemu given by path or by name on the PATH; by default, that of the host's architecture.
 * @throws GuestfsError `QEMU_MISSING`
 */
export async function locateQemu(wanted: string | undefined): Promise<string> {
  const name = wanted ?? hostArchitecture().qemuBinary;
  return locateProgram(name).catch((error: unknown) => {
    throw new GuestfsError(
      'QEMU_MISSING',
      name.includes('/') ? `${name} is not an executable file` : `${name} is not installed on the server`,
      { cause: error },
    );
  });
}

/** Distinguishes builds of qemu without running them. */
export async function fingerprintOf(binary: string): Promise<string> {
  const path = await realpath(binary);
  const { size, mtimeMs, ino } = await stat(path);
  return `${path}:${size}:${Math.trunc(mtimeMs)}:${ino}`;
}
