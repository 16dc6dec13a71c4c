/** Icons of Windows: in explorer.exe up to Windows 7, in a separate file in Windows 8. For other versions none is known. */
import { caseSensitivePath, isFile } from '../../gen/calls/file.js';
import {
  inspectGetMajorVersion,
  inspectGetMinorVersion,
  inspectGetWindowsSystemroot,
} from '../../gen/calls/inspection.js';
import type { Daemon } from '../session/daemon.js';
import { fromExplorerOf7, fromExplorerOfXp, type Conversion } from './iconConversion.js';
import { fetch, fetchConverted, inItsLetters, withoutLinks } from './iconFile.js';
import { unlessDaemonFails } from './tolerance.js';

/** Sizes of files, bytes. */
const MAX_EXPLORER = 4_000_000;
const MAX_PNG = 8192;

async function ofExplorer(daemon: Daemon, path: string, conversion: Conversion): Promise<Buffer | undefined> {
  const real = await withoutLinks(daemon, path);
  return real === undefined ? undefined : fetchConverted(daemon, real, MAX_EXPLORER, conversion);
}

async function ofXp(daemon: Daemon, systemroot: string): Promise<Buffer | undefined> {
  const { rpath: path } = await daemon.call(caseSensitivePath, { path: `${systemroot}/explorer.exe` });
  return (await daemon.call(isFile, { path })).fileflag ? ofExplorer(daemon, path, fromExplorerOfXp) : undefined;
}

async function of7(daemon: Daemon, systemroot: string): Promise<Buffer | undefined> {
  // On 64-bit systems the icon is in the 32-bit program, whose directory does not exist on 32-bit systems.
  for (const name of ['SysWOW64/explorer.exe', 'explorer.exe']) {
    const path = await inItsLetters(daemon, `${systemroot}/${name}`);
    if (path !== undefined && (await daemon.call(isFile, { path })).fileflag)
      return ofExplorer(daemon, path, fromExplorerOf7);
  }
  return undefined;
}

async function of8(daemon: Daemon): Promise<Buffer | undefined> {
  const path = await inItsLetters(daemon, '/ProgramData/Microsoft/Windows Live/WLive48x48.png');
  if (path === undefined || !(await daemon.call(isFile, { path })).fileflag) return undefined;
  return fetch(daemon, path, MAX_PNG);
}

/** The icon of an inspected Windows; undefined if there is none. */
export async function windowsIcon(daemon: Daemon, root: string): Promise<Buffer | undefined> {
  const systemroot = (await unlessDaemonFails(daemon.call(inspectGetWindowsSystemroot, { root })))?.systemroot;
  const { major } = await daemon.call(inspectGetMajorVersion, { root });
  const { minor } = await daemon.call(inspectGetMinorVersion, { root });
  if (systemroot === undefined) return undefined;
  if (major === 5 && minor === 1) return ofXp(daemon, systemroot);
  if (major === 6 && minor === 1) return of7(daemon, systemroot);
  if (major === 6 && minor === 2) return of8(daemon);
  return undefined;
}
