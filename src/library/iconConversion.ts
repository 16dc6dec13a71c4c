/**
 * Icons that are no PNG files in the guest: bitmaps in programs, and text.
 *
 * The tools that make PNG files of them read what an attacker may have made, so they run in the
 * appliance, within bounds. With an appliance that lacks them there are no such icons, as there are
 * none with libguestfs where they are not installed.
 */
import type { Daemon } from '../session/daemon.js';
import { guestFileWord, runInAppliance } from './applianceScript.js';

/** The commands of a pipeline that turns a file, given as a word of a script, into a PNG file. */
export type Conversion = (file: string) => readonly [string, ...string[]];

/** Of the program `explorer.exe` of Windows XP: one of its bitmaps. */
export const fromExplorerOfXp: Conversion = (file) => [
  `wrestool -x --type=2 --name=143 ${file}`,
  'bmptopnm',
  'pnmtopng',
];

/** Of the program `explorer.exe` of Windows 7: the first of the pictures that one of its bitmaps has below each other. */
export const fromExplorerOf7: Conversion = (file) => [
  `wrestool -x --type=2 --name=6801 ${file}`,
  'bmptopnm',
  'pamcut -bottom 54',
  'pnmtopng',
];

/** A text as it looks in print. */
export const fromText: Conversion = (file) => [`pbmtext <${file}`, 'pnmtopng'];

/** Larger icons are none; in base64 they would not fit into a message of the protocol. Bytes. */
const LARGEST = 3_000_000;
/** Enough for a slow processor; all commands of a pipeline run at the same time. */
const SECONDS = 30;
/** Some ten times what the tools take for an icon, and little of what the appliance has. */
const KIBIBYTES_OF_MEMORY = 128 * 1024;

/** Follows a PNG file that is complete: a shell has no status for a pipeline whose end succeeds. */
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
 * @returns undefined if the tools are not there, or make nothing of the file, or too much
 */
export async function convertToPng(daemon: Daemon, path: string, conversion: Conversion): Promise<Buffer | undefined> {
  const output = Buffer.from(await runInAppliance(daemon, script(conversion(guestFileWord(path)))), 'base64');
  const end = output.length - COMPLETE.length;
  return end > 0 && output.subarray(end).equals(COMPLETE) ? output.subarray(0, end) : undefined;
}
