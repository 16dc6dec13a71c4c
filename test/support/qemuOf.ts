/** The qemu of a session. */
import { readdirSync, readFileSync } from 'node:fs';

/** Its process ID, by the name that it is started with; undefined while there is none. */
export function qemuOf(id: string): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => read(pid, 'cmdline').split('\0').includes(`guestfs-${id}`) && read(pid, 'comm').startsWith('qemu'));
}

function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return ''; // exited meanwhile
  }
}
