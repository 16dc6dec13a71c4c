/** What a system says about itself in os-release, which is there even where libguestfs does not know the system. */
import { isFile, pread } from '../../../gen/calls/file.js';
import { decodeGuestText } from '../../common/guestText.js';
import { unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';

/** Genuine ones have less than 1 KiB. */
const MAX_SIZE = 16 * 1024;

/** Where the file is in a system; the last one is NixOS's before its first boot. */
export const RELEASE_FILES: readonly string[] = [
  '/etc/os-release',
  '/usr/lib/os-release',
  '/nix/var/nix/profiles/system/etc/os-release',
];
/** Where it is in a file system that is mounted as /usr. */
export const USR_RELEASE_FILES: readonly string[] = ['/lib/os-release'];

/** Fields of os-release; those that are not there are empty. */
export interface Release {
  readonly id: string;
  /** IDs of the distributions that it derives from, closest first. */
  readonly idLike: readonly string[];
  readonly prettyName: string;
  /** The same as libguestfs reads it: only double quotes are removed, and nothing inside them. */
  readonly plainPrettyName: string;
  readonly versionId: string;
  readonly codename: string;
  readonly buildId: string;
  /** Date on which support ends, as YYYY-MM-DD. */
  readonly supportEnd: string;
}

/** The value of a shell assignment. */
function unquoted(value: string): string {
  const quote = value[0];
  if (value.length < 2 || (quote !== '"' && quote !== "'") || !value.endsWith(quote)) return value;
  const inside = value.slice(1, -1);
  return quote === '"' ? inside.replace(/\\(["$`\\])/g, '$1') : inside;
}

/** Reads the lines of os-release. */
export function parseRelease(text: string): Release {
  const fields = new Map<string, string>();
  let plainPrettyName = '';
  for (const line of text.split('\n')) {
    const match = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line.trim());
    if (match?.[1] === undefined) continue;
    const value = match[2] ?? '';
    fields.set(match[1], unquoted(value));
    if (match[1] === 'PRETTY_NAME') plainPrettyName = value.replace(/^"(.*)"$/, '$1');
  }
  const field = (name: string): string => fields.get(name) ?? '';
  return {
    id: field('ID'),
    idLike: field('ID_LIKE')
      .split(/\s+/)
      .filter((one) => one !== ''),
    prettyName: field('PRETTY_NAME') || field('NAME'),
    plainPrettyName,
    versionId: field('VERSION_ID'),
    // Only some have a field of its own for it.
    codename: field('VERSION_CODENAME') || (/\(([^()]+)\)/.exec(field('VERSION'))?.[1] ?? ''),
    buildId: field('BUILD_ID'),
    supportEnd: /^\d{4}-\d{2}-\d{2}$/.exec(field('SUPPORT_END'))?.[0] ?? '',
  };
}

/** The first of these files of the mounted system that is there, a link or not. */
export async function findReleaseFile(
  actions: ActionCalls,
  files: readonly string[] = RELEASE_FILES,
): Promise<string | undefined> {
  for (const path of files)
    if ((await unlessDaemonFails(actions.call(isFile, { path, followsymlinks: true })))?.fileflag === true) return path;
  return undefined;
}

/** The os-release of the mounted system. */
export async function readRelease(actions: ActionCalls, files?: readonly string[]): Promise<Release | undefined> {
  const path = await findReleaseFile(actions, files);
  if (path === undefined) return undefined;
  const content = await unlessDaemonFails(actions.call(pread, { path, count: MAX_SIZE, offset: 0n }));
  return content === undefined ? undefined : parseRelease(decodeGuestText(content.content));
}
