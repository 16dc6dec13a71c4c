/** Settings that affect the host; changing them needs the operator's permission. */
import { realpath, stat } from 'node:fs/promises';
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { requireNotOfOthers, systemErrorCode, type ImageRoots } from '../security/pathPolicy.js';
import type { SessionSettings } from '../session/settings.js';
import type { LibraryContext } from './context.js';
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

/** What sets a path. */
export interface PathSetter {
  readonly settings: SessionSettings;
  /** Where the client has its images. */
  readonly imageRoots: ImageRoots;
  readonly origin: Origin;
}

/** For a path that a client gives. */
function byClient({ session, imageRoots }: LibraryContext): PathSetter {
  return { settings: session.settings, imageRoots, origin: 'client' };
}

/**
 * Sets a directory; undefined: the server's.
 * @throws GuestfsError the errno of the lookup, as the library; BAD_ARGUMENT if it is not a directory;
 *   OUTSIDE_IMAGE_ROOTS or NOT_ALLOWED among images
 */
export async function setDirectory(
  { settings, imageRoots, origin }: PathSetter,
  name: 'tmpdir' | 'cachedir',
  path: string | undefined,
): Promise<void> {
  if (origin === 'server') {
    setHostPath(settings, name, path === undefined ? undefined : await directory(name, path), undefined);
    return;
  }
  const given = wanted(name, path);
  if (given === undefined) return setHostPath(settings, name, undefined, undefined);
  await requireNotOfOthers(given, imageRoots, 'read-write', { subject: `${name} '${printable(given)}'` });
  setHostPath(settings, name, await directory(name, given), given);
}

/**
 * Sets the search path for appliances, or the hypervisor; undefined: the server's.
 * @throws GuestfsError OUTSIDE_IMAGE_ROOTS among images of others
 */
export async function setProgramPath(
  { settings, imageRoots, origin }: PathSetter,
  name: 'path' | 'hv',
  path: string | undefined,
): Promise<void> {
  if (origin === 'server') return setHostPath(settings, name, path, undefined);
  const given = wanted(name, path);
  // A name alone is looked for where the server's own programs are.
  const places = name === 'path' ? (given ?? '').split(':') : [given ?? ''].filter((one) => one.includes('/'));
  for (const place of places.filter((one) => one !== ''))
    await requireNotOfOthers(place, imageRoots, 'read-only', { subject: `${name} '${printable(place)}'` });
  setHostPath(settings, name, given, given);
}

export const hostPropertyActions: HostProperties = {
  get_append: async ({ session }) => ({ append: session.settings.append }),
  set_append: async ({ session }, { append }) => {
    requireLength('append', append ?? '');
    session.settings.append = append;
    return {};
  },
  get_path: async ({ session }) => ({ path: shownHostPath(session.settings, 'path') }),
  set_path: async (context, { searchpath }) => {
    await setProgramPath(byClient(context), 'path', searchpath);
    return {};
  },
  get_hv: async ({ session }) => ({ hv: shownHostPath(session.settings, 'hv') }),
  get_qemu: async ({ session }) => ({ hv: shownHostPath(session.settings, 'hv') }),
  set_hv: async (context, { hv }) => {
    await setProgramPath(byClient(context), 'hv', hv);
    return {};
  },
  set_qemu: async (context, { hv }) => {
    await setProgramPath(byClient(context), 'hv', hv);
    return {};
  },
  get_tmpdir: async ({ session }) => ({ tmpdir: shownHostPath(session.settings, 'tmpdir') }),
  set_tmpdir: async (context, { tmpdir }) => {
    await setDirectory(byClient(context), 'tmpdir', tmpdir);
    return {};
  },
  get_cachedir: async ({ session }) => ({ cachedir: shownHostPath(session.settings, 'cachedir') }),
  set_cachedir: async (context, { cachedir }) => {
    await setDirectory(byClient(context), 'cachedir', cachedir);
    return {};
  },
  // Sockets are in the session's run directory, which is created there.
  get_sockdir: async ({ session }) => ({ sockdir: shownHostPath(session.settings, 'tmpdir') }),
  config: async ({ session }, { hvparam, hvvalue }) => {
    if (!hvparam.startsWith('-')) throw refused('hvparam', `parameter '${printable(hvparam)}' must begin with '-'`);
    // qemu treats two dashes as one.
    if (RESERVED_OPTIONS.has(hvparam.replace(/^--/, '-')))
      throw refused('hvparam', `parameter '${hvparam}' isn't allowed: it conflicts with the appliance's own`);
    session.settings.extraQemuArguments = [...session.settings.extraQemuArguments, [hvparam, hvvalue]];
    return {};
  },
};
