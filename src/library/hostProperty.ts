/** Settings that affect the host; changing them needs the operator's permission. */
import { realpath, stat } from 'node:fs/promises';
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { systemErrorCode } from '../security/pathPolicy.js';
import type { SessionSettings } from '../session/settings.js';
import { requireLength } from '../session/settingLimits.js';
import { defaultHostPath, setHostPath, shownHostPath, type Origin } from './defaults.js';
import { refused } from './refusal.js';

type HostProperties = Pick<
  PropertyLibraryActions,
  | 'get_append'
  | 'set_append'
  | 'get_path'
  | 'set_path'
  | 'get_hv'
  | 'set_hv'
  | 'get_qemu'
  | 'set_qemu'
  | 'get_tmpdir'
  | 'set_tmpdir'
  | 'get_cachedir'
  | 'set_cachedir'
  | 'get_sockdir'
  | 'config'
>;

/** Options of qemu that would break the appliance's own; the library's list. */
const RESERVED_OPTIONS: ReadonlySet<string> = new Set([
  '-kernel',
  '-initrd',
  '-nographic',
  '-display',
  '-serial',
  '-full-screen',
  '-std-vga',
  '-vnc',
]);

/**
 * The real absolute path of a directory.
 * @throws GuestfsError the errno of the lookup, as the library; BAD_ARGUMENT if it is not a directory
 */
async function directory(field: string, path: string): Promise<string> {
  const real = await realpath(path).catch((error: unknown) => {
    throw new GuestfsError(
      systemErrorCode(error) ?? 'INTERNAL',
      `${field} '${printable(path)}' cannot be used: ${systemErrorCode(error) ?? 'unknown error'}`,
      { cause: error },
    );
  });
  if (!(await stat(real)).isDirectory()) throw refused(field, `${field} '${printable(path)}' is not a directory`);
  return real;
}

/** What a client wants a path to be; undefined: the server's, also when it says what it sees of that. */
function wanted(name: Parameters<typeof setHostPath>[1], path: string | undefined): string | undefined {
  return path === defaultHostPath(name) ? undefined : path;
}

/**
 * Sets a directory; undefined: the server's.
 * @throws GuestfsError the errno of the lookup, as the library; BAD_ARGUMENT if it is not a directory
 */
export async function setDirectory(
  settings: SessionSettings,
  name: 'tmpdir' | 'cachedir',
  path: string | undefined,
  origin: Origin,
): Promise<void> {
  const given = origin === 'client' ? wanted(name, path) : path;
  const real = given === undefined ? undefined : await directory(name, given);
  setHostPath(settings, name, real, origin === 'client' ? given : undefined);
}

/** Sets the search path for appliances, or the hypervisor; undefined: the server's. */
export function setProgramPath(
  settings: SessionSettings,
  name: 'path' | 'hv',
  path: string | undefined,
  origin: Origin,
): void {
  const given = origin === 'client' ? wanted(name, path) : path;
  setHostPath(settings, name, given, origin === 'client' ? given : undefined);
}

export const hostPropertyActions: HostProperties = {
  get_append: async ({ session }) => ({ append: session.settings.append }),
  set_append: async ({ session }, { append }) => {
    requireLength('append', append ?? '');
    session.settings.append = append;
    return {};
  },
  get_path: async ({ session }) => ({ path: shownHostPath(session.settings, 'path') }),
  set_path: async ({ session }, { searchpath }) => {
    setProgramPath(session.settings, 'path', searchpath, 'client');
    return {};
  },
  get_hv: async ({ session }) => ({ hv: shownHostPath(session.settings, 'hv') }),
  get_qemu: async ({ session }) => ({ hv: shownHostPath(session.settings, 'hv') }),
  set_hv: async ({ session }, { hv }) => {
    setProgramPath(session.settings, 'hv', hv, 'client');
    return {};
  },
  set_qemu: async ({ session }, { hv }) => {
    setProgramPath(session.settings, 'hv', hv, 'client');
    return {};
  },
  get_tmpdir: async ({ session }) => ({ tmpdir: shownHostPath(session.settings, 'tmpdir') }),
  set_tmpdir: async ({ session }, { tmpdir }) => {
    await setDirectory(session.settings, 'tmpdir', tmpdir, 'client');
    return {};
  },
  get_cachedir: async ({ session }) => ({ cachedir: shownHostPath(session.settings, 'cachedir') }),
  set_cachedir: async ({ session }, { cachedir }) => {
    await setDirectory(session.settings, 'cachedir', cachedir, 'client');
    return {};
  },
  // Sockets are in the session's run directory, which is created there.
  get_sockdir: async ({ session }) => ({ sockdir: shownHostPath(session.settings, 'tmpdir') }),
  config: async ({ session }, { hvparam, hvvalue }) => {
    if (!hvparam.startsWith('-')) throw refused('hvparam', `parameter '${printable(hvparam)}' must begin with '-'`);
    // qemu treats two dashes as one.
    if (RESERVED_OPTIONS.has(hvparam.replace(/^--/, '-')))
      throw refused('hvparam', `parameter '${hvparam}' isn't allowed: the appliance's own would not work`);
    session.settings.extraQemuArguments = [...session.settings.extraQemuArguments, [hvparam, hvvalue]];
    return {};
  },
};
