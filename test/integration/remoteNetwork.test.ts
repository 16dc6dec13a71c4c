/** What a qemu with a drive on the network can reach: its drive, and nothing else. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { nbdkit, type DiskServer } from '../support/diskServers.js';
import { canTakeOver, takeOver, type TakenAttempt } from '../support/intruder.js';
import { hostWith, type Means } from '../support/lesserHosts.js';
import { launchSession } from '../support/scene.js';
import { remoteDrive, scratchDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer, type TestServer } from '../support/testServer.js';

jest.setTimeout(180_000);
const SOMEBODY = 65534;
const SIZE_MB = 8;
const appliance = builtAppliance('trixie');
const missing =
  process.geteuid?.() !== 0 || !canTakeOver
    ? 'only root can take over processes, on x86-64'
    : appliance === undefined
      ? 'there is no appliance: npm run appliance'
      : undefined;

/** Numbers of the sockets that a process has open. */
function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    const [, socket] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
    return socket === undefined ? [] : [socket];
  });
}

/** Numbers of all TCP and UDP sockets in this host's own network. */
function internetSockets(): string[] {
  return ['tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6', 'packet'].flatMap((kind) =>
    readFileSync(`/proc/net/${kind}`, 'latin1').trim().split(/\s+/),
  );
}

for (const [means, uid] of [
  ['namespaces', 0],
  ['namespaces', SOMEBODY],
  ['landlock', 0],
] as const satisfies readonly [Means, number][]) {
  describeWhen(`on a server that is ${uid === 0 ? '' : 'not '}root, with ${means}, a qemu`, missing, () => {
    let server: TestServer;
    let client: TestClient;
    let scene: string;
    let disks: DiskServer[];
    let session: SessionClient;

    beforeAll(async () => {
      scene = mkdtempSync(join(tmpdir(), 'remote-'));
      chmodSync(scene, 0o755);
      const own = join(scene, 'appliance');
      if (uid !== 0) cpSync(appliance ?? '', own, { recursive: true });
      const cache = join(scene, 'cache');
      mkdirSync(cache);
      const host = hostWith(means, mkdtempSync(join(scene, 'host-')));
      if (uid !== 0) for (const path of [own, cache]) execFileSync('chown', ['-R', String(uid), path]);
      disks = await Promise.all(['one.img', 'two.img'].map((name) => nbdkit(emptyImage(join(scene, name), SIZE_MB))));
      server = await startTestServer({
        flags: ['--appliance', uid === 0 ? (appliance ?? '') : own, '--allow', 'remote-drives'],
        env: { LIBGUESTFS_CACHEDIR: cache, HOME: scene, ...host.env },
        uid,
        before: host.before,
      });
      client = new TestClient(server.address);
      const first = disks[0]?.address ?? '';
      session = await launchSession(client, [
        scratchDrive(1 << 20),
        remoteDrive({ protocol: 'nbd', server: [first] }, { writable: true }),
      ]);
    });
    afterAll(async () => {
      await client.deleteSession(session.id);
      client.close();
      expect(await server.stop()).toEqual(CLEAN_END);
      await Promise.all(disks.map((disk) => disk.stop()));
      rmSync(scene, { recursive: true });
    });

    const qemu = (): number => server.machines().find(({ name }) => name.startsWith('qemu-system'))?.pid ?? 0;
    const providers = (): number => server.machines().filter(({ name }) => name.startsWith('qemu-storage')).length;
    const attempts = (): TakenAttempt[] => [
      ['tcp', server.address],
      ...disks.map(({ address }): TakenAttempt => ['tcp', address]),
    ];
    const reached = (): TakenAttempt[] => {
      const outcomes = takeOver(qemu(), attempts());
      expect(outcomes).toHaveLength(attempts().length);
      return attempts().filter((_attempt, index) => outcomes[index] === 'done');
    };

    it('has its drive from the network, and no network', async () => {
      const words = Buffer.from('written by a guest');
      await session.call('pwrite_device', { device: '/dev/sdb', content: words, offset: 4096n });
      await session.call('sync');
      expect(readFileSync(join(scene, 'one.img')).subarray(4096, 4096 + words.length)).toEqual(words);
      expect(reached()).toEqual([]);
    });

    it('has no socket that could be connected to something else', () => {
      const known = new Set(internetSockets());
      const own = socketsOf(qemu());
      expect(own.length).toBeGreaterThan(0);
      expect(own.filter((socket) => known.has(socket))).toEqual([]);
    });

    it('gets no network with a drive that is added later', async () => {
      expect(providers()).toBe(1);
      const second = disks[1]?.address ?? '';
      await session.call('add_drive', { filename: '', protocol: 'nbd', server: { values: [second] }, label: 'later' });
      expect(await session.call('blockdev_getsize64', { device: '/dev/disk/guestfs/later' })).toBe(
        BigInt(SIZE_MB << 20),
      );
      const known = new Set(internetSockets());
      expect(socketsOf(qemu()).filter((socket) => known.has(socket))).toEqual([]);
      expect(reached()).toEqual([]);
      expect(providers()).toBe(2);
      await session.call('remove_drive', { label: 'later' });
      expect(providers()).toBe(1);
    });
  });
}
