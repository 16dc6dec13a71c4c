/** Settings that affect the host; changing them needs the operator's permission. */
import { realpath, stat } from 'node:fs/promises';
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { hostArchitecture } from '../qemu/arch.js';
import { locateQemu } from '../qemu/qemuBinary.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { systemErrorCode } from '../security/pathPolicy.js';
import type { Session } from '../session/session.js';
import type { SessionSettings } from '../session/settings.js';
import { requireLength } from '../session/settingLimits.js';
import { change, originalsOf } from './defaults.js';
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

/** Options that would conflict with the appliance's own qemu options; the library's list. */
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

/** The qemu in use. */
async function hypervisor({ settings }: Session): Promise<string> {
  return settings.hv ?? locateQemu(undefined).catch(() => hostArchitecture().qemuBinary);
}

/**
 * The real absolute path of a directory.
 * @throws GuestfsError the errno of the lookup, as the library; BAD_ARGUMENT if it is not a directory
 */
async function directory(field: string, path: string): Promise<string> {
  const real = await realpath(path).catch((error: unknown) => {
    throw new GuestfsError(
      systemErrorCode(error) ?? 'INTERNAL',
      `${field} '${printable(path)}' cannot be used: ${messageOf(error)}`,
      { cause: error },
    );
  });
  if (!(await stat(real)).isDirectory()) throw refused(field, `${field} '${printable(path)}' is not a directory`);
  return real;
}

/** Sets the directory for temporary files; undefined: the server's. */
export async function setTmpdir(settings: SessionSettings, tmpdir: string | undefined): Promise<void> {
  change(settings, { tmpdir: tmpdir === undefined ? originalsOf(settings).tmpdir : await directory('tmpdir', tmpdir) });
}

/** Sets the directory for caches; undefined: the server's. */
export async function setCachedir(settings: SessionSettings, cachedir: string | undefined): Promise<void> {
  change(settings, {
    cachedir: cachedir === undefined ? originalsOf(settings).cachedir : await directory('cachedir', cachedir),
  });
}

export const hostPropertyActions: HostProperties = {
  get_append: async ({ session }) => ({ append: session.settings.append }),
  set_append: async ({ session }, { append }) => {
    requireLength('append', append ?? '');
    session.settings.append = append;
    return {};
  },
  get_path: async ({ session }) => ({ path: session.settings.path }),
  set_path: async ({ session }, { searchpath }) => {
    change(session.settings, { path: searchpath ?? originalsOf(session.settings).path });
    return {};
  },
  get_hv: async ({ session }) => ({ hv: await hypervisor(session) }),
  get_qemu: async ({ session }) => ({ hv: await hypervisor(session) }),
  set_hv: async ({ session }, { hv }) => {
    change(session.settings, { hv });
    return {};
  },
  set_qemu: async ({ session }, { hv }) => {
    change(session.settings, { hv: hv ?? originalsOf(session.settings).hv });
    return {};
  },
  get_tmpdir: async ({ session }) => ({ tmpdir: session.settings.tmpdir }),
  set_tmpdir: async ({ session }, { tmpdir }) => {
    await setTmpdir(session.settings, tmpdir);
    return {};
  },
  get_cachedir: async ({ session }) => ({ cachedir: session.settings.cachedir }),
  set_cachedir: async ({ session }, { cachedir }) => {
    await setCachedir(session.settings, cachedir);
    return {};
  },
  // Sockets are in the session's run directory, which is created there.
  get_sockdir: async ({ session }) => ({ sockdir: session.settings.tmpdir }),
  config: async ({ session }, { hvparam, hvvalue }) => {
    if (!hvparam.startsWith('-')) throw refused('hvparam', `parameter '${printable(hvparam)}' must begin with '-'`);
    // qemu treats two dashes as one.
    if (RESERVED_OPTIONS.has(hvparam.replace(/^--/, '-')))
      throw refused('hvparam', `parameter '${hvparam}' isn't allowed: it conflicts with the appliance's own`);
    session.settings.extraQemuArguments = [...session.settings.extraQemuArguments, [hvparam, hvvalue]];
    return {};
  },
};
