/** The qemu of a session. */
import { readFileSync } from 'node:fs';
import { eventually } from './eventually.js';
import type { TestServer } from './testServer.js';

/** Its process ID, once it runs; found by the name that it is started with. */
export async function qemuOf(server: Pick<TestServer, 'machines'>, id: string): Promise<number> {
  let found: number | undefined;
  await eventually(() => {
    found = server
      .machines()
      .find(({ name, pid }) => name.startsWith('qemu') && argumentsOf(pid).includes(`guestfs-${id}`))?.pid;
    return found !== undefined;
  });
  return found as number;
}

function argumentsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    // It has exited.
    return [];
  }
}
