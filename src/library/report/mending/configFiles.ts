/**
 * Lines of a guest's configuration that Augeas cannot parse, for which the daemon gives up the inspection of all systems.
 * They are commented out, on the drive's overlay, which is discarded.
 */
import { augClose, augGet, augInit, augLoad, augMatch, augRm } from '../../../../gen/calls/augeas.js';
import { isFile, pread } from '../../../../gen/calls/file.js';
import { internalWrite } from '../../../../gen/calls/internal.js';
import { unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';
import type { Warnings } from '../warnings.js';

/** The files that the daemon parses during an inspection. */
const FILES = ['/etc/fstab', '/etc/crypttab', '/etc/mdadm.conf', '/etc/mdadm/mdadm.conf', '/etc/sysconfig/network'];
/** The daemon ignores files that are larger. */
const MAX_SIZE = 100_000;
/** A crafted file could have any number of them. */
const MAX_LINES = 50;
/** AUG_NO_LOAD of augeas.h. */
const NO_LOAD = 1 << 5;

/** Matches the lenses for files other than these, as the daemon does: the guest's remaining configuration is of no interest. */
function otherLenses(files: readonly string[]): string {
  const each = files.map((file) => `"${file}/" !~ regexp('^') + glob(incl) + regexp('/.*')`);
  return `/augeas/load/*[ ${each.join(' and ')} ]`;
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

/** Comments out the line, or the first one after it that is not a comment; returns its number and text. */
async function commentOut(
  actions: ActionCalls,
  { file, line }: ParseError,
): Promise<{ readonly line: number; readonly text: string } | undefined> {
  const { content } = await actions.call(pread, { path: file, count: MAX_SIZE, offset: 0n });
  const text = content.toString('latin1').split('\n'); // bytes, whatever they mean
  const index = text.findIndex((one, at) => at >= line - 1 && one.trim() !== '' && !one.startsWith('#'));
  const wrong = text[index];
  if (wrong === undefined) return undefined;
  text[index] = `#${wrong}`;
  await actions.call(internalWrite, { path: file, content: Buffer.from(text.join('\n'), 'latin1') });
  return { line: index + 1, text: wrong };
}

/** Takes out wrong lines until all files can be parsed; true if it has taken out any. */
async function takeOutLines(
  actions: ActionCalls,
  files: readonly string[],
  mountable: string,
  warnings: Warnings,
): Promise<boolean> {
  let taken = 0;
  for (; taken < MAX_LINES; taken += 1) {
    await actions.call(augLoad, {});
    let error: ParseError | undefined;
    for (const file of files) error ??= await parseErrorOf(actions, file);
    const wrong = error === undefined ? undefined : await commentOut(actions, error);
    if (error === undefined || wrong === undefined) break;
    warnings.add(
      'roots',
      augLoad.action,
      'MALFORMED_FILE',
      `${mountable}: ${error.file}, line ${wrong.line}, is left out, since it cannot be parsed: ${error.message}: ${wrong.text}`,
    );
  }
  return taken > 0;
}

/** Comments out wrong lines in the system that is mounted for writing. True if there were any, with a warning for each. */
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
