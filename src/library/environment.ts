/** Settings from environment variables: `parse_environment` and `parse_environment_list`. */
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { isTrue } from '../common/booleans.js';
import { printable } from '../common/guestText.js';
import type { Session } from '../session/session.js';
import { setBackend, setBackendSettings } from './backend.js';
import type { LibraryContext } from './context.js';
import { change, originalsOf } from './defaults.js';
import { setCachedir, setTmpdir } from './hostProperty.js';
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
async function apply(lookUp: Lookup, session: Session, action: string): Promise<void> {
  const { settings } = session;
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
    session.requireState(['CONFIG'], action);
  // TMPDIR is the default for both directories, unless a variable or the client sets them.
  const { tmpdir: ownTmpdir, cachedir: ownCachedir } = originalsOf(settings);
  const tmpdir = filled('LIBGUESTFS_TMPDIR') ?? (settings.tmpdir === ownTmpdir ? filled('TMPDIR') : undefined);
  if (tmpdir !== undefined) await setTmpdir(settings, tmpdir);
  const cachedir = filled('LIBGUESTFS_CACHEDIR') ?? (settings.cachedir === ownCachedir ? filled('TMPDIR') : undefined);
  if (cachedir !== undefined) await setCachedir(settings, cachedir);
  const path = filled('LIBGUESTFS_PATH');
  if (path !== undefined) change(settings, { path });
  const hv = filled('LIBGUESTFS_HV') ?? filled('LIBGUESTFS_QEMU');
  if (hv !== undefined) change(settings, { hv });
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

async function parse({ action, session }: LibraryContext, lookUp: Lookup): Promise<Record<never, never>> {
  await apply(lookUp, session, action.name);
  return {};
}

export const environmentActions: Pick<PropertyLibraryActions, 'parse_environment' | 'parse_environment_list'> = {
  parse_environment: (context) => parse(context, (name) => process.env[name]),
  parse_environment_list: (context, { environment }) =>
    parse(context, (name) => {
      return environment.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
    }),
};
