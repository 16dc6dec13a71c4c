/** The file system of a simulated host: the part of Node's `fs/promises` that sessions and templates use. */
import { dirname } from 'node:path';
import type { FileHandle } from 'node:fs/promises';
import { SimulatedHandle, systemError, type HostFile } from '../hostFiles.js';
import { world } from '../world.js';

export * from 'node:fs/promises';

const OWN_FD = /^\/proc\/self\/fd\/(\d+)$/;
const MEMORY = '/proc/meminfo';
/** As `ls -l` shows the owner. */
const OWNER = process.geteuid?.() ?? 0;

async function works(syscall: string, path: string, mayFail = true): Promise<void> {
  await world().hostWorks();
  if (mayFail && world().happens('the host fails'))
    throw systemError(world().random.of(['ENOSPC', 'EIO', 'EMFILE']), syscall, path);
}

function find(path: string, syscall: string): HostFile {
  const file = world().files.get(path);
  if (file === undefined) throw systemError('ENOENT', syscall, path);
  return file;
}

export async function open(path: string, flags: string | number = 'r'): Promise<FileHandle> {
  await works('open', path);
  const { files } = world();
  const fd = OWN_FD.exec(path)?.[1];
  let file: HostFile | undefined;
  if (fd !== undefined) file = files.handle(Number(fd))?.file;
  else if (flags === 'wx') {
    if (files.get(path) !== undefined) throw systemError('EEXIST', 'open', path);
    files.set(path, (file = files.make('file')));
  } else file = files.get(path);
  if (file === undefined) throw systemError('ENOENT', 'open', path);
  return new SimulatedHandle(world(), file, path, `descriptor of ${file.kind}`) as unknown as FileHandle;
}

export async function readFile(path: string): Promise<string> {
  if (path === MEMORY) return `MemAvailable:   ${world().happens('little memory') ? 100 : 100_000_000} kB\n`;
  await works('read', path);
  return find(path, 'read').content;
}

export async function writeFile(path: string, content: string): Promise<void> {
  await works('write', path);
  world().files.set(path, world().files.make('file', content));
}

export async function mkdir(path: string, { recursive = false, mode = 0o755 } = {}): Promise<void> {
  const { files } = world();
  if (files.get(path) !== undefined) {
    if (recursive) return;
    throw systemError('EEXIST', 'mkdir', path);
  }
  await works('mkdir', path);
  files.set(path, files.make('directory', '', mode));
}

export async function mkdtemp(prefix: string): Promise<string> {
  await works('mkdtemp', prefix);
  const path = `${prefix}${world().next()}`;
  world().files.set(path, world().files.make('directory', '', 0o700));
  return path;
}

export async function stat(path: string): Promise<Record<string, unknown>> {
  const { number, content, mode, changed, kind } = find(path, 'stat');
  return {
    ...{ dev: 1, ino: number, size: content.length, mode, mtimeMs: changed, uid: OWNER, gid: 0 },
    isDirectory: () => kind === 'directory',
  };
}

export const lstat = stat;

export async function access(path: string): Promise<void> {
  find(path, 'access');
}

export async function realpath(path: string): Promise<string> {
  find(path, 'realpath');
  return path;
}

export async function readdir(path: string): Promise<string[]> {
  await works('readdir', path);
  return world()
    .files.below(path)
    .filter((one) => dirname(one) === path)
    .map((one) => one.slice(path.length + 1));
}

export async function rename(from: string, to: string): Promise<void> {
  await works('rename', from);
  const { files } = world();
  const moved = find(from, 'rename');
  if (files.below(to).length > 0) throw systemError('ENOTEMPTY', 'rename', to);
  for (const path of files.below(from)) {
    const file = find(path, 'rename');
    files.set(`${to}${path.slice(from.length)}`, file);
    // Its facts are text, whose damage shows.
    if (!path.endsWith('.json') && world().happens('stored template damaged')) file.content = `${file.content} damaged`;
  }
  files.remove(from);
  files.set(to, moved);
}

export async function rm(path: string): Promise<void> {
  await works('rm', path, false);
  world().files.remove(path);
}

export async function chmod(path: string, mode: number): Promise<void> {
  find(path, 'chmod').mode = mode;
}

export async function chown(path: string): Promise<void> {
  find(path, 'chown');
}

/** The only one: a socket, see net.ts. */
export async function lchown(path: string): Promise<void> {
  await works('lchown', path);
}

export async function utimes(path: string): Promise<void> {
  find(path, 'utimes').changed = Date.now();
}
