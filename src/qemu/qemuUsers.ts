/**
 * Unprivileged, unnamed users that qemu runs as, one for each machine: an attacker who
 * breaks out of one qemu can neither signal nor read another.
 *
 * A server that runs as root takes blocks of UIDs out of a range in which there are no
 * users and no tool allocates any. A block is claimed by binding an abstract socket
 * name, which the kernel releases with the process, so two servers never share one.
 *
 * A user is not given to a machine while it still has processes, from an earlier machine or a server that was killed.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { GuestfsError } from '../common/errors.js';
import { endProcessesOfUser, processesOfUsers } from '../common/userProcesses.js';

/** Used if all UIDs are mapped, as on a host: above the ranges of systemd and of subordinate UIDs. */
export const HOST_RANGE = { first: 1_987_000_000, count: 1 << 16 } as const;

/** Used in a user namespace with the usual 65536 UIDs: below systemd's dynamic users, above a distribution's. */
export const CONTAINER_RANGE = { first: 30_000, count: 16_384 } as const;

/** How long killed processes may take to exit, milliseconds. */
const END_MS = 5000;

/** UIDs in a block. */
const BLOCK = 256;

/** A user allocated to one machine. */
export interface QemuUser {
  readonly uid: number;
  readonly gid: number;
  /**
   * Releases the user, once its machine has ended. Processes that remain are killed first.
   * @throws Error if some cannot be killed; the user is then not used again
   */
  release(): Promise<void>;
}

/** Allocates users. */
export interface QemuUsers {
  /**
   * A user that no other machine has; undefined if the server is not root, and
   * qemu runs as the server's user.
   * @throws GuestfsError if all are in use
   */
  acquire(): Promise<QemuUser | undefined>;
}

/** Creates an allocator. */
export function createQemuUsers(isRoot: boolean = process.geteuid?.() === 0): QemuUsers {
  const free: number[] = [];
  // Held open for the lifetime of the server.
  const claims: Server[] = [];
  let nextBlock = 0;
  let claiming: Promise<void> = Promise.resolve();

  const claimBlock = async (): Promise<void> => {
    if (free.length > 0) return;
    const range = await usableRange();
    while (nextBlock * BLOCK + BLOCK <= range.count) {
      const first = range.first + nextBlock * BLOCK;
      nextBlock += 1;
      const claim = await bind(`\0guestfs-grpc/users/${first}`);
      if (claim === undefined) continue;
      claims.push(claim);
      const busy = await processesOfUsers((uid) => uid >= first && uid < first + BLOCK);
      // Taken from the end: lowest first.
      for (let uid = first + BLOCK - 1; uid >= first; uid--) if (!busy.has(uid)) free.push(uid);
      if (free.length > 0) return;
    }
  };

  return {
    acquire: async () => {
      if (!isRoot) return undefined;
      if (free.length === 0) {
        claiming = claiming.then(claimBlock);
        await claiming;
      }
      const uid = free.pop();
      if (uid === undefined)
        throw new GuestfsError('TOO_MANY_SESSIONS', 'all user IDs reserved for running qemu are in use');
      let held = true;
      return {
        uid,
        gid: uid,
        release: async () => {
          if (!held) return;
          held = false;
          if (!(await endProcessesOfUser(uid, END_MS)))
            throw new Error(`user ID ${uid} is not used again: it still has processes`);
          free.push(uid);
        },
      };
    },
  };
}

/** In a user namespace, high UIDs may not be mapped. */
async function usableRange(): Promise<{ readonly first: number; readonly count: number }> {
  const map = await readFile('/proc/self/uid_map', 'latin1').catch(() => '');
  const holds = map.split('\n').some((line) => {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    return (
      inside !== undefined &&
      count !== undefined &&
      inside <= HOST_RANGE.first &&
      HOST_RANGE.first + HOST_RANGE.count <= inside + count
    );
  });
  return holds ? HOST_RANGE : CONTAINER_RANGE;
}

async function bind(name: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}
