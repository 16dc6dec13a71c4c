import { describe, expect, it } from '@jest/globals';
import { createQemuUsers, type QemuUser } from '../../../src/qemu/qemuUsers.js';

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
    first.release();
    first.release();
    const [second, third] = [await users.acquire(), await users.acquire()];
    expect(second?.uid).toBe(first.uid);
    expect(third?.uid).not.toBe(first.uid);
  });
});
