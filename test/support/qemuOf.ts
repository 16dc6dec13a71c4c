/** The qemu of a session. */
import { readFileSync } from 'node:fs';
import type { TestServer } from './testServer.js';

/** Its process ID; undefined while there is none. */
export function qemuOf(server: Pick<TestServer, 'machines'>, id: string): number | undefined {
  return server.machines().find(({ pid }) => argumentsOf(pid).includes(`guestfs-${id}`))?.pid;
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return []; // exited meanwhile
  }
}
