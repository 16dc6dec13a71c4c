/** Guest files that may be icons; one that cannot be read is treated as missing. */
import { caseSensitivePath, file, filesize, isFile, realpath } from '../../gen/calls/file.js';
import { download } from '../../gen/calls/transfer.js';
import { GuestfsError } from '../common/errors.js';
import type { Daemon } from '../session/daemon.js';
import { ANSWER_LIMIT } from './answerLimit.js';
import { collect } from './collect.js';
import { convertToPng, type Conversion } from './iconConversion.js';
import { unlessDaemonFails } from './tolerance.js';

const MIN_PIXELS = 16;
const MAX_PIXELS = 1024;
const BYTES_PER_PIXEL = 4;

const TOO_LARGE = new GuestfsError('EFBIG', 'the icon is too large');

/** The path with upper and lower case as in the file system; undefined if there is no such directory. */
export async function inItsLetters(daemon: Daemon, path: string): Promise<string | undefined> {
  return (await unlessDaemonFails(daemon.call(caseSensitivePath, { path })))?.rpath;
}

/** The path with links resolved; undefined if it leads nowhere. */
export async function withoutLinks(daemon: Daemon, path: string): Promise<string | undefined> {
  return (await unlessDaemonFails(daemon.call(realpath, { path })))?.rpath;
}

/** The file's type according to the daemon; undefined if it cannot tell. */
export async function describe(daemon: Daemon, path: string): Promise<string | undefined> {
  return (await unlessDaemonFails(daemon.call(file, { path })))?.description;
}

/** Whether a file is at most `limit` bytes long; false if its size is unknown. */
async function isAtMost(daemon: Daemon, path: string, limit: number): Promise<boolean> {
  const found = await unlessDaemonFails(daemon.call(filesize, { file: path }));
  return found !== undefined && found.size <= BigInt(limit);
}

/** A file of at most `limit` bytes, unchanged. */
export async function fetch(daemon: Daemon, path: string, limit: number): Promise<Buffer | undefined> {
  if (!(await isAtMost(daemon, path, limit))) return undefined;
  return unlessDaemonFails(collect(daemon, download, { remotefilename: path }, limit, () => TOO_LARGE));
}

/**
 * A PNG file of a plausible size.
 * @param maxSize bytes; by default, as much as its pixels could take
 */
export async function fetchPng(daemon: Daemon, path: string, maxSize?: number): Promise<Buffer | undefined> {
  if (!(await daemon.call(isFile, { path, followsymlinks: true })).fileflag) return undefined;
  const real = await withoutLinks(daemon, path);
  if (real === undefined) return undefined;
  const pixels = /^PNG image data, \s*(\d+)\s* x \s*(\d+)/.exec((await describe(daemon, real)) ?? '');
  if (pixels === null) return undefined;
  const [width, height] = [Number(pixels[1]), Number(pixels[2])];
  if (Math.min(width, height) < MIN_PIXELS || Math.max(width, height) > MAX_PIXELS) return undefined;
  return fetch(daemon, real, Math.min(maxSize ?? BYTES_PER_PIXEL * width * height, ANSWER_LIMIT));
}

/** What a file of at most `limit` bytes is converted to; its path is without links. */
export async function fetchConverted(
  daemon: Daemon,
  path: string,
  limit: number,
  conversion: Conversion,
): Promise<Buffer | undefined> {
  return (await isAtMost(daemon, path, limit)) ? convertToPng(daemon, path, conversion) : undefined;
}
