/**
 * Lines of a guest's configuration that Augeas cannot parse, for which the daemon gives up the inspection of all systems.
 * They are repaired or commented out, on the drive's overlay, which is discarded.
 */
import { augClose, augGet, augInit, augLoad, augMatch, augRm } from '../../../../gen/calls/augeas.js';
import { isFile, pread } from '../../../../gen/calls/file.js';
import { internalWrite } from '../../../../gen/calls/internal.js';
import { unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';
import type { Warnings } from '../warnings.js';

const FSTAB = '/etc/fstab';
/** The files that the daemon parses during an inspection. */
const FILES = [FSTAB, '/etc/crypttab', '/etc/mdadm.conf', '/etc/mdadm/mdadm.conf', '/etc/sysconfig/network'];
/** The daemon ignores files that are larger. */
const MAX_SIZE = 100_000;
/** Each takes a parse of the file. A crafted file could have any number of wrong lines. */
const MAX_SINGLE_LINES = 10;
const MAX_PASSES = 2 * MAX_SINGLE_LINES;
/** AUG_NO_LOAD of augeas.h. */
const NO_LOAD = 1 << 5;

/** Matches the lenses for files other than these, as the daemon does: the guest's remaining configuration is of no interest. */
function otherLenses(files: readonly string[]): string {
  const each = files.map((file) => `"${file}/" !~ regexp('^') + glob(incl) + regexp('/.*')`);
  return `/augeas/load/*[ ${each.join(' and ')} ]`;
}

/** A line of fstab that Augeas parses, whatever is in it. */
const OPTIONS = '[^\\s,#]+(?:,[^\\s,#]+)*';
const USUAL_FORM = new RegExp(
  `^[ \\t]*[^\\s#"]\\S*[ \\t]+[^\\s#]\\S*[ \\t]+${OPTIONS}(?:[ \\t]+${OPTIONS}(?:[ \\t]+\\d+){0,2})?[ \\t]*$`,
);

/** A line without what mount(8) is not bothered by, but Augeas is. */
export function repairLine(line: string): string {
  return line
    .replace(/^\xef\xbb\xbf/, '') // a byte order mark, read as single bytes
    .replace(/[\r\v\f\0]+/g, '')
    .replace(/"[^"]*"/g, (quoted) => quoted.replaceAll(' ', '\\040'))
    .replace(/,{2,}/g, ',')
    .replace(/,(?=[ \t]|$)/g, '');
}

/** Where Augeas gave up. */
interface ParseError {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

async function parseErrorOf(actions: ActionCalls, file: string): Promise<ParseError | undefined> {
  const error = `/augeas/files${file}/error`;
  if ((await actions.call(augMatch, { augpath: error })).matches.length === 0) return undefined;
  const get = async (name: string): Promise<string> =>
    (await unlessDaemonFails(actions.call(augGet, { augpath: `${error}/${name}` })))?.val ?? '';
  const line = Number.parseInt(await get('line'), 10);
  return { file, line: Number.isSafeInteger(line) && line > 0 ? line : 1, message: await get('message') };
}

/** What has been done about a wrong line. */
interface MendedLine {
  /** From 1. */
  readonly line: number;
  readonly text: string;
  /** What the line is read as; undefined: it is left out. */
  readonly readAs: string | undefined;
  /** Lines after it that are left out as well. */
  readonly more: number;
}

/**
 * Mends the line, or the first one after it that is not a comment. Line ends of Windows are removed everywhere at once.
 * @param isLast leaves out everything after it that is not in the usual form, too
 */
export function mendLine(
  content: string,
  { file, line }: Pick<ParseError, 'file' | 'line'>,
  isLast: boolean,
): { readonly content: string; readonly mended: MendedLine } | undefined {
  const lines = content.split('\n');
  const index = lines.findIndex((one, at) => at >= line - 1 && one.trim() !== '' && !one.startsWith('#'));
  const text = lines[index];
  if (text === undefined) return undefined;
  const repaired = repairLine(text);
  const isRepaired = repaired !== text && !isLast;
  const hasWindowsEnds = text.endsWith('\r');
  let more = 0;
  const mendedLines = lines.map((one, at) => {
    const unixLine = hasWindowsEnds ? one.replace(/\r$/, '') : one;
    if (at === index) return isRepaired ? repaired : `#${unixLine}`;
    if (!isLast || at < index || one.trim() === '' || one.startsWith('#')) return unixLine;
    if (file === FSTAB && USUAL_FORM.test(unixLine)) return unixLine;
    more += 1;
    return `#${unixLine}`;
  });
  return {
    content: mendedLines.join('\n'),
    mended: { line: index + 1, text, readAs: isRepaired ? repaired : undefined, more },
  };
}

/** Mends the line in the file. */
async function mendInFile(actions: ActionCalls, error: ParseError, isLast: boolean): Promise<MendedLine | undefined> {
  const { content } = await actions.call(pread, { path: error.file, count: MAX_SIZE, offset: 0n });
  const result = mendLine(content.toString('latin1'), error, isLast); // bytes, whatever they mean
  if (result === undefined) return undefined;
  await actions.call(internalWrite, { path: error.file, content: Buffer.from(result.content, 'latin1') });
  return result.mended;
}

/** What a warning says about a line. */
function lineMessage({ file, message }: ParseError, { line, text, readAs, more }: MendedLine): string {
  const done = readAs === undefined ? 'is left out' : `is read as "${readAs}"`;
  const others = more === 0 ? '' : `, as are ${more} of the lines after it`;
  return `${file}, line ${line}, ${done}${others}, since it cannot be parsed: ${message}: ${text}`;
}

/** Takes out wrong lines until all files can be parsed; true if it has taken out any. */
async function takeOutLines(
  actions: ActionCalls,
  files: readonly string[],
  mountable: string,
  warnings: Warnings,
): Promise<boolean> {
  let taken = 0;
  for (; taken < MAX_PASSES; taken += 1) {
    await actions.call(augLoad, {});
    let error: ParseError | undefined;
    for (const file of files) error ??= await parseErrorOf(actions, file);
    const mended = error === undefined ? undefined : await mendInFile(actions, error, taken >= MAX_SINGLE_LINES);
    if (error === undefined || mended === undefined) break;
    warnings.add('roots', augLoad.action, 'MALFORMED_FILE', `${mountable}: ${lineMessage(error, mended)}`);
  }
  return taken > 0;
}

/** Mends wrong lines in the system that is mounted for writing. True if there were any, with a warning for each. */
export async function mendConfigFiles(actions: ActionCalls, mountable: string, warnings: Warnings): Promise<boolean> {
  const files: string[] = [];
  for (const path of FILES)
    if ((await unlessDaemonFails(actions.call(isFile, { path, followsymlinks: true })))?.fileflag === true)
      files.push(path);
  if (files.length === 0) return false;
  const isMended = await warnings.attempt({
    field: 'roots',
    action: augInit.action,
    ask: async () => {
      await actions.call(augInit, { root: '/', flags: NO_LOAD });
      try {
        await actions.call(augRm, { augpath: otherLenses(files) });
        return await takeOutLines(actions, files, mountable, warnings);
      } finally {
        await unlessDaemonFails(actions.call(augClose, {}));
      }
    },
  });
  return isMended === true;
}
