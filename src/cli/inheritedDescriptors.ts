/**
 * Descriptors that the process that started the server has left open. The kernel closes the server's own in every
 * program that it starts (close-on-exec), but not these: qemu and all helpers would inherit them.
 */
import { closeSync, readdirSync, readFileSync } from 'node:fs';

/** O_CLOEXEC (Linux, on all architectures that the server supports), in octal as in /proc. */
const CLOSE_ON_EXEC = 0o2000000;
const LAST_STANDARD = 2;

/** Closes all but standard input, output and error; returns their numbers. Must be called before anything is opened. */
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
    // The one used to read the directory.
    return false;
  }
}
