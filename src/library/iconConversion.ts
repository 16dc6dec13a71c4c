/**
 * Icons that are not PNG files in the guest: bitmaps in programs, and text.
 *
 * The tools that convert them to PNG read input that an attacker may have crafted, so they run in the
 * appliance, with limits. An appliance without these tools yields no such icons, as libguestfs yields
 * none where they are not installed.
 */
import type { Daemon } from '../session/daemon.js';
import { guestFileWord, runInAppliance } from './applianceScript.js';

/** The commands of a pipeline that turns a file, given as a word of a script, into a PNG file. */
export type Conversion = (file: string) => readonly [string, ...string[]];

/** A bitmap in `explorer.exe` of Windows XP. */
export const fromExplorerOfXp: Conversion = (file) => [
  `wrestool -x --type=2 --name=143 ${file}`,
  'bmptopnm',
  'pnmtopng',
];

/** The topmost of several pictures in a bitmap in `explorer.exe` of Windows 7. */
export const fromExplorerOf7: Conversion = (file) => [
  `wrestool -x --type=2 --name=6801 ${file}`,
  'bmptopnm',
  'pamcut -bottom 54',
  'pnmtopng',
];

/** A rendered text. */
export const fromText: Conversion = (file) => [`pbmtext <${file}`, 'pnmtopng'];

/** Larger icons are dropped: in base64 they would not fit in a protocol message. Bytes. */
const LARGEST = 3_000_000;
/** Enough for a slow processor; all commands of a pipeline run at the same time. */
const SECONDS = 30;
/** About ten times what the tools need for an icon, and a small part of the appliance's memory. */
const KIBIBYTES_OF_MEMORY = 128 * 1024;

/** Printed after a complete PNG file: the shell does not report a failure early in a pipeline. */
const COMPLETE = Buffer.from('complete');

function script(commands: readonly string[]): string {
  const pipeline = commands.map((command) => `timeout -s KILL ${SECONDS} ${command}`).join(' | ');
  return [
    `ulimit -v ${KIBIBYTES_OF_MEMORY}`,
    `{ ${pipeline} && printf ${COMPLETE.toString()}; } 2>/dev/null | head -c ${LARGEST + COMPLETE.length} | base64 -w 0`,
  ].join('\n');
}

/**
 * Converts a file of the guest into a PNG file, in the appliance.
 * @param path of the file, without links in it
 * @returns undefined if the tools are missing or cannot convert the file, or the result is too large
 */
export async function convertToPng(daemon: Daemon, path: string, conversion: Conversion): Promise<Buffer | undefined> {
  const output = Buffer.from(await runInAppliance(daemon, script(conversion(guestFileWord(path)))), 'base64');
  const end = output.length - COMPLETE.length;
  return end > 0 && output.subarray(end).equals(COMPLETE) ? output.subarray(0, end) : undefined;
}
