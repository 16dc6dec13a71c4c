/** Resources of a server according to /proc: processes, open files, memory. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';

const KIBIBYTES_IN_MEBIBYTE = 1024;

/** Running child processes of `pid`. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const children: number[] = [];
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '');
    children.push(
      ...text
        .split(' ')
        .filter((word) => word !== '')
        .map(Number),
    );
  }
  return children;
}

/** A process and all that descend from it, itself first. */
export async function treeOf(pid: number): Promise<readonly number[]> {
  const children = await childrenOf(pid).catch(() => []);
  return [pid, ...(await Promise.all(children.map(treeOf))).flat()];
}

/** Name of the program that a process executes; empty if it has ended. */
export function programOf(pid: number): Promise<string> {
  return readlink(`/proc/${pid}/exe`).then(basename, () => '');
}

/** Proportional set size, MiB: a page that n processes share counts as 1/n. */
export async function proportionalSize(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]) / KIBIBYTES_IN_MEBIBYTE;
}

/** Open descriptors of a process: sockets, and everything else. */
export async function openFiles(pid: number): Promise<{ readonly sockets: number; readonly files: number }> {
  const targets = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  const sockets = targets.filter((target) => target.startsWith('socket:')).length;
  return { sockets, files: targets.filter((target) => target !== '').length - sockets };
}
