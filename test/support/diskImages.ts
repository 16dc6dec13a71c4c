/** Creates and examines disk images without an appliance, with tools that need no mount. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, ftruncateSync } from 'node:fs';

const MEBIBYTE = 1 << 20;

/** Runs an installed tool, and returns its output. */
export function run(tool: string, ...args: readonly string[]): string {
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  return execFileSync(tool, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * MEBIBYTE,
    env: { ...process.env, PATH, LC_ALL: 'C' },
  });
}

/** A raw image without any contents. */
export function emptyImage(path: string, mebibytes: number): string {
  const file = openSync(path, 'w');
  ftruncateSync(file, mebibytes * MEBIBYTE);
  closeSync(file);
  return path;
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Buffer);
  return hash.digest('hex');
}

/** A command of debugfs on the ext file system at `offset` in an image. */
export function debugfs(image: string, offset: number, command: string): string {
  return run('debugfs', '-R', command, `${image}?offset=${offset}`);
}
