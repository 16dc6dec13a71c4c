/**
 * Descriptors that whoever started the server left open to it. Its own are closed by the kernel in every program
 * that it starts (close-on-exec), these are not: they would reach qemu and all its helpers.
 */
import { closeSync, readdirSync, readFileSync } from 'node:fs';

/** O_CLOEXEC (Linux, all architectures that the server runs on), as /proc shows it: octal. */
const CLOSE_ON_EXEC = 0o2000000;
const LAST_STANDARD = 2;

/** Closes them, but for standard input, output and error; returns their numbers. To be called before anything is opened. */
export function closeInheritedDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => fd > LAST_STANDARD && isInherited(fd))
    .map((fd) => {
      closeSync(fd);
      return fd;
    });
}

function isInherited(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // The one by which the directory was read.
    return false;
  }
}
