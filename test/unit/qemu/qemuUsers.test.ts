import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { createQemuUsers, type QemuUser } from '../../../src/qemu/qemuUsers.js';
import { itWhen } from '../../support/itWhen.js';

const itAsRoot = itWhen('user IDs of processes', process.geteuid?.() === 0 ? undefined : 'it takes root');
const running = (pid: number): boolean => {
  const status = existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, 'latin1') : '';
  return status !== '' && !/^State:\s+[ZX]/m.test(status);
};

describe('users for machines', () => {
  it('are not needed by a server that is not root', async () => {
    await expect(createQemuUsers(false).acquire()).resolves.toBeUndefined();
  });

  it('differ between machines, even of two servers and beyond one block', async () => {
    const one = createQemuUsers(true);
    const other = createQemuUsers(true);
    const users = await Promise.all(
      Array.from({ length: 600 }, (_, index) => (index % 2 === 0 ? one : other).acquire()),
    );
    const uids = users.map((user) => user?.uid ?? 0);
    expect(new Set(uids).size).toBe(600);
    expect(Math.min(...uids)).toBeGreaterThanOrEqual(30_000);
    for (const user of users) expect(user?.gid).toBe(user?.uid);
  });

  it('are reused once released, and only once', async () => {
    const users = createQemuUsers(true);
    const first = (await users.acquire()) as QemuUser;
    await first.release();
    await first.release();
    const [second, third] = [await users.acquire(), await users.acquire()];
    expect(second?.uid).toBe(first.uid);
    expect(third?.uid).not.toBe(first.uid);
  });

  itAsRoot('are not used again before all of their processes have ended', async () => {
    const users = createQemuUsers(true);
    const user = (await users.acquire()) as QemuUser;
    // It has left its parent and its session.
    const script = 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!';
    const left = Number(execFileSync('sh', ['-c', script], { uid: user.uid, gid: user.gid, encoding: 'utf8' }));
    expect(existsSync(`/proc/${left}`)).toBe(true);
    await user.release();
    expect(running(left)).toBe(false);
    expect((await users.acquire())?.uid).toBe(user.uid);
  });

  itAsRoot('are none that a process has, of a server that is no more', async () => {
    const before = createQemuUsers(true);
    const user = (await before.acquire()) as QemuUser;
    // The first of the next block, which the next server gets.
    const uid = user.uid + 256;
    const stranger = spawn('sleep', ['1000'], { uid, gid: uid });
    try {
      await once(stranger, 'spawn');
      const next = createQemuUsers(true);
      const taken = await Promise.all(Array.from({ length: 20 }, () => next.acquire()));
      const uids = taken.map((one) => one?.uid);
      expect(uids).toContain(uid + 1);
      expect(uids).not.toContain(uid);
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});
