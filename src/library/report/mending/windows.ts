/**
 * What keeps the daemon from inspecting a Windows system, and with it all others: a damaged hive, a value of
 * an unexpected type, drive letters of disks that are not there, a compressed cmd.exe. It is mended on
 * the drive's overlay, which is discarded.
 */
import { caseSensitivePath, cp, fileArchitecture, isDir, isFile, rm } from '../../../../gen/calls/file.js';
import { internalWrite } from '../../../../gen/calls/internal.js';
import { isDaemonError, unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';
import type { Warnings } from '../warnings.js';
import { dropDriveLetters, type DriveLetter } from './driveLetters.js';
import { changeHive, REG_DWORD, REG_EXPAND_SZ, REG_SZ, type Hive, type HiveValue } from './hive.js';
import { architectureIn, programOf } from './windowsProgram.js';

/** Where Windows is usually installed, as the daemon knows it. */
const SYSTEM_ROOTS = ['/windows', '/winnt', '/win32', '/win'];

/** What the daemon can no longer say about the system. */
export interface WindowsFacts {
  readonly letters: readonly DriveLetter[];
  /** Processor according to the registry; undefined: the daemon knows. */
  readonly arch: string | undefined;
}

/** Strings, and numbers, that the daemon reads. */
const TYPES: ReadonlyMap<string, 'text' | 'number'> = new Map([
  ['ProductName', 'text'],
  ['CurrentVersion', 'text'],
  ['InstallationType', 'text'],
  ['CurrentBuildNumber', 'text'],
  ['CurrentMajorVersionNumber', 'number'],
  ['CurrentMinorVersionNumber', 'number'],
  ['Current', 'number'],
  ['Hostname', 'text'],
]);

function dword(number: number): Buffer {
  const content = Buffer.alloc(4);
  content.writeUInt32LE(number >>> 0);
  return content;
}

/** The value in the type that the daemon expects; undefined if it has it. */
export function soundValue(value: HiveValue): HiveValue | undefined {
  const { key, type, content } = value;
  const isText = type === REG_SZ || type === REG_EXPAND_SZ;
  switch (TYPES.get(key)) {
    case 'number': {
      if (type === REG_DWORD && content.length === 4) return undefined;
      const number = isText ? Number.parseInt(content.toString('utf16le'), 10) : Number.NaN;
      return { key, type: REG_DWORD, content: dword(Number.isSafeInteger(number) ? number : 0) };
    }
    case 'text': {
      if (isText) return undefined;
      const text = type === REG_DWORD && content.length === 4 ? String(content.readUInt32LE()) : 'unknown';
      return { key, type: REG_SZ, content: Buffer.from(`${text}\0`, 'utf16le') };
    }
    case undefined:
      return undefined;
  }
}

async function mendValues(hive: Hive, path: readonly string[], names: string[]): Promise<void> {
  const node = await hive.node(...path);
  if (node === undefined) return;
  for (const value of await hive.values(node)) {
    const sound = soundValue(value);
    if (sound === undefined) continue;
    await hive.set(node, sound);
    names.push([...path, value.key].join('\\'));
  }
}

/** The control set in use. */
async function controlSet(hive: Hive): Promise<string> {
  const node = await hive.node('Select');
  const current = node === undefined ? undefined : (await hive.values(node)).find(({ key }) => key === 'Current');
  const number = current?.content.length === 4 ? current.content.readUInt32LE() : 1;
  return `ControlSet${String(number).padStart(3, '0')}`;
}

/** A damaged hive is replaced by the other one, in which the daemon does not find what it looks for, but can look. */
async function replaceHive(actions: ActionCalls, path: string, other: string, isOtherSound: boolean): Promise<void> {
  await actions.call(rm, { path });
  if (isOtherSound) await actions.call(cp, { src: other, dest: path });
}

/** The directory with the hives of the mounted system. */
async function configDirectory(actions: ActionCalls): Promise<string | undefined> {
  for (const root of SYSTEM_ROOTS) {
    const path = (await unlessDaemonFails(actions.call(caseSensitivePath, { path: `${root}/system32/config` })))?.rpath;
    if (path === undefined) continue;
    if ((await unlessDaemonFails(actions.call(isDir, { path, followsymlinks: false })))?.dirflag === true) return path;
  }
  return undefined;
}

async function existing(actions: ActionCalls, path: string): Promise<string | undefined> {
  const found = (await unlessDaemonFails(actions.call(caseSensitivePath, { path })))?.rpath;
  if (found === undefined) return undefined;
  const answer = await unlessDaemonFails(actions.call(isFile, { path: found, followsymlinks: false }));
  return answer?.fileflag === true ? found : undefined;
}

/** A program of unknown architecture is replaced by headers that say which one the registry names. */
async function mendProgram(actions: ActionCalls, path: string, arch: string | undefined): Promise<boolean> {
  try {
    await actions.call(fileArchitecture, { filename: path });
    return false;
  } catch (error) {
    if (!isDaemonError(error)) throw error;
  }
  await actions.call(rm, { path });
  await actions.call(internalWrite, { path, content: programOf(arch) });
  return true;
}

/**
 * Mends the Windows system that is mounted for writing.
 * @returns undefined if there is none, or nothing to mend
 */
export async function mendWindows(
  actions: ActionCalls,
  mountable: string,
  warnings: Warnings,
): Promise<WindowsFacts | undefined> {
  const config = await configDirectory(actions);
  if (config === undefined) return undefined;
  const system = await existing(actions, `${config}/system`);
  const software = await existing(actions, `${config}/software`);
  const warn = (message: string): void => warnings.add('roots', '', 'DAMAGED_REGISTRY', `${mountable}: ${message}`);

  const names: string[] = [];
  let letters: readonly DriveLetter[] = [];
  let arch: string | undefined;
  const changedSystem =
    system === undefined
      ? false
      : await changeHive(actions, system, async (hive) => {
          const current = await controlSet(hive);
          await mendValues(hive, ['Select'], names);
          await mendValues(hive, [current, 'Services', 'Tcpip', 'Parameters'], names);
          letters = await dropDriveLetters(hive);
          arch = await architectureIn(hive, current);
        });
  const changedSoftware =
    software === undefined
      ? false
      : await changeHive(actions, software, (hive) =>
          mendValues(hive, ['Microsoft', 'Windows NT', 'CurrentVersion'], names),
        );
  for (const name of names) warn(`the registry value ${name} is of an unexpected type`);
  let isMended = changedSystem === true || changedSoftware === true;
  if (system !== undefined && software !== undefined) {
    if (changedSystem === undefined) {
      warn(`${system} is damaged: drive letters, control set and host name are not known`);
      await replaceHive(actions, system, software, changedSoftware !== undefined);
      isMended = true;
    }
    if (changedSoftware === undefined) {
      warn(`${software} is damaged: product, version and applications are not known`);
      await replaceHive(actions, software, system, changedSystem !== undefined);
      isMended = true;
    }
  }
  const program = await existing(actions, config.replace(/\/[^/]*$/, '/cmd.exe'));
  const isCompressed = program !== undefined && (await mendProgram(actions, program, arch));
  if (isCompressed) warn(`${program} is compressed or damaged: the processor is taken from the registry`);
  return isMended || isCompressed ? { letters, arch: isCompressed ? (arch ?? 'unknown') : undefined } : undefined;
}
