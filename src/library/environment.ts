/** Settings from environment variables: `parse_environment` and `parse_environment_list`. */
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { isTrue } from '../common/booleans.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { LibraryContext } from './context.js';
import { setBackend, setBackendSettings } from './backend.js';
import { originalsOf, type Origin } from './defaults.js';
import { setDirectory, setProgramPath } from './hostProperty.js';
import { refused } from './refusal.js';
import { setMemsize } from './setters.js';

/** Looks up a variable. */
type Lookup = (name: string) => string | undefined;

function truth(name: string, word: string): boolean {
  const value = isTrue(word);
  if (value === undefined) throw refused('environment', `${name}=${printable(word)}: non-boolean value`);
  return value;
}

/** The number at the beginning of a text, as scanf reads it. */
function leadingNumber(name: string, text: string): number {
  const digits = /^\s*([+-]?\d{1,9})(?!\d)/.exec(text)?.[1];
  if (digits === undefined) throw refused('environment', `non-numeric value for ${name}`);
  return Number(digits);
}

/** Variables whose settings are for an appliance to be launched; not TMPDIR, which libguestfs takes in every state (lib/handle.c). */
const FOR_THE_LAUNCH = [
  'LIBGUESTFS_TMPDIR',
  'LIBGUESTFS_CACHEDIR',
  'LIBGUESTFS_PATH',
  'LIBGUESTFS_HV',
  'LIBGUESTFS_QEMU',
  'LIBGUESTFS_MEMSIZE',
  'LIBGUESTFS_BACKEND',
  'LIBGUESTFS_ATTACH_METHOD',
] as const;
/** Those of them that also have a meaning when empty. */
const ALSO_EMPTY = ['LIBGUESTFS_APPEND', 'LIBGUESTFS_BACKEND_SETTINGS'] as const;

/** Applies them in the library's order; settings made before an error remain. */
async function apply(lookUp: Lookup, { session, action, imageRoots }: LibraryContext, origin: Origin): Promise<void> {
  const { settings } = session;
  const setter = { settings, imageRoots, origin };
  /** A variable that counts as not set when it is empty. */
  const filled = (name: string): string | undefined => lookUp(name) || undefined;

  const trace = lookUp('LIBGUESTFS_TRACE');
  if (trace !== undefined) settings.trace = truth('LIBGUESTFS_TRACE', trace);
  const verbose = lookUp('LIBGUESTFS_DEBUG');
  if (verbose !== undefined) settings.verbose = truth('LIBGUESTFS_DEBUG', verbose);
  if (
    FOR_THE_LAUNCH.some((name) => filled(name) !== undefined) ||
    ALSO_EMPTY.some((name) => lookUp(name) !== undefined)
  )
    session.requireState(['CONFIG'], action.name);
  // TMPDIR is the default for both directories, unless a variable or the client sets them.
  const { tmpdir: ownTmpdir, cachedir: ownCachedir } = originalsOf(settings);
  const tmpdir = filled('LIBGUESTFS_TMPDIR') ?? (settings.tmpdir === ownTmpdir ? filled('TMPDIR') : undefined);
  if (tmpdir !== undefined) await setDirectory(setter, 'tmpdir', tmpdir);
  const cachedir = filled('LIBGUESTFS_CACHEDIR') ?? (settings.cachedir === ownCachedir ? filled('TMPDIR') : undefined);
  if (cachedir !== undefined) await setDirectory(setter, 'cachedir', cachedir);
  const path = filled('LIBGUESTFS_PATH');
  if (path !== undefined) await setProgramPath(setter, 'path', path);
  const hv = filled('LIBGUESTFS_HV') ?? filled('LIBGUESTFS_QEMU');
  if (hv !== undefined) await setProgramPath(setter, 'hv', hv);
  const append = lookUp('LIBGUESTFS_APPEND');
  if (append !== undefined) settings.append = append;
  const memsize = filled('LIBGUESTFS_MEMSIZE');
  if (memsize !== undefined) setMemsize(settings, leadingNumber('LIBGUESTFS_MEMSIZE', memsize));
  const backend = filled('LIBGUESTFS_BACKEND') ?? filled('LIBGUESTFS_ATTACH_METHOD');
  if (backend !== undefined) setBackend(settings, backend);
  const backendSettings = lookUp('LIBGUESTFS_BACKEND_SETTINGS');
  if (backendSettings !== undefined)
    setBackendSettings(settings, backendSettings === '' ? [] : backendSettings.split(':'));
}

/** Errors quote what is wrong: of the server's own environment, no paths. */
function withoutPaths(error: unknown): unknown {
  if (!(error instanceof GuestfsError)) return error;
  const paths = Object.entries(process.env)
    .flatMap(([name, value = '']) => (/^(LIBGUESTFS_\w+|TMPDIR)$/.test(name) && /\/./.test(value) ? [value] : []))
    .sort((one, other) => other.length - one.length);
  const hide = (text: string): string =>
    paths.reduce((shown, path) => shown.replaceAll(path, '[a path of the server]'), text);
  const fields = error.details.fields?.map(({ field, description }) => ({ field, description: hide(description) }));
  return new GuestfsError(error.reason, hide(error.message), { ...error.details, ...(fields && { fields }) });
}

export const environmentActions: Pick<PropertyLibraryActions, 'parse_environment' | 'parse_environment_list'> = {
  parse_environment: async (context) => {
    try {
      await apply((name) => process.env[name], context, 'server');
      return {};
    } catch (error) {
      throw withoutPaths(error);
    }
  },
  parse_environment_list: async (context, { environment }) => {
    const lookUp = (name: string): string | undefined =>
      environment.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
    await apply(lookUp, context, 'client');
    return {};
  },
};
