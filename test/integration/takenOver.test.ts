/** What a qemu that was taken over can do to others with its own system calls, on each kind of host and server. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { canTakeOver, takeOver, type TakenAttempt } from '../support/intruder.js';
import { hostWith, type Means } from '../support/lesserHosts.js';
import { processesThatMention } from '../support/processes.js';
import { launchSession } from '../support/scene.js';
import { imageDrive, scratchDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer, type TestServer } from '../support/testServer.js';

jest.setTimeout(180_000);
const SOMEBODY = 65534;
const isRoot = process.geteuid?.() === 0;
const appliance = builtAppliance('trixie');
const missing =
  !isRoot || !canTakeOver
    ? 'only root can take over processes, on x86-64'
    : appliance === undefined
      ? 'there is no appliance: npm run appliance'
      : undefined;

const status = (pid: number, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';

/** What all servers that are not root share: an appliance that their user can read, and templates. */
let shared: { readonly appliance: string; readonly cache: string } | undefined;

function sharedFiles(): NonNullable<typeof shared> {
  if (shared !== undefined) return shared;
  const base = mkdtempSync(join(tmpdir(), 'taken-shared-'));
  chmodSync(base, 0o755);
  shared = { appliance: join(base, 'appliance'), cache: join(base, 'cache') };
  mkdirSync(shared.cache);
  execFileSync('cp', ['-r', '--sparse=always', appliance ?? '', shared.appliance]);
  for (const path of Object.values(shared)) execFileSync('chown', ['-R', String(SOMEBODY), path]);
  return shared;
}

afterAll(() => {
  if (shared !== undefined) rmSync(join(shared.cache, '..'), { recursive: true });
});

for (const [means, uid] of [
  ['namespaces', 0],
  ['namespaces', SOMEBODY],
  ['landlock', 0],
  ['landlock', SOMEBODY],
  ['none', 0],
] as const satisfies readonly [Means, number][]) {
  describeWhen(`a qemu of a server that is ${uid === 0 ? '' : 'not '}root, kept apart by ${means}`, missing, () => {
    let server: TestServer;
    let client: TestClient;
    let scene: string;
    let neighbour: Server;
    /** One with an image, one with another image, and one with the network. */
    let qemus: [number, number, number];
    let sessions: SessionClient[];

    beforeAll(async () => {
      scene = mkdtempSync(join(tmpdir(), 'taken-'));
      chmodSync(scene, 0o755);
      const own = uid === 0 ? undefined : sharedFiles();
      const host = hostWith(means, mkdtempSync(join(scene, 'host-')));
      server = await startTestServer({
        flags: ['--appliance', own?.appliance ?? appliance ?? '', '--allow', 'network'],
        env: {
          ...(own && { LIBGUESTFS_CACHEDIR: own.cache }),
          ...{ HOME: scene, SECRET_OF_THE_SERVER: 'sesame' },
          ...host.env,
        },
        uid,
        before: host.before,
      });
      client = new TestClient(server.address);
      // The directories of the test must not be what keeps others out.
      for (const path of [join(server.images, '..'), server.images, server.temporary]) chmodSync(path, 0o711);
      for (const name of ['one.img', 'two.img', 'idle.img', 'base.img'])
        chmodSync(emptyImage(join(server.images, name), 8), 0o600);
      // It is given this one for reading only.
      chmodSync(image('base.img'), 0o666);
      if (uid !== 0) execFileSync('chown', ['-R', String(uid), server.images]);
      neighbour = createServer((socket) => socket.destroy()).listen(join(scene, 'service'));
      await new Promise((resolve) => neighbour.once('listening', resolve));
      chmodSync(join(scene, 'service'), 0o777);
      sessions = [];
      const launch = async (...[drives, given]: [Parameters<typeof launchSession>[1], object?]): Promise<number> => {
        const session = await launchSession(client, drives, given);
        sessions.push(session);
        // Another qemu may be making a template.
        const [found] = processesThatMention(`guestfs-${session.id}`).filter(({ name }) => name.startsWith('qemu'));
        return found?.pid ?? 0;
      };
      qemus = [
        await launch([imageDrive('one.img'), imageDrive('base.img', { writable: false })]),
        await launch([imageDrive('two.img')]),
        await launch([scratchDrive(1 << 20)], { network: true }),
      ];
    });
    afterAll(async () => {
      client.close();
      neighbour.close();
      expect(await server.stop()).toEqual(CLEAN_END);
      rmSync(scene, { recursive: true });
    });

    const image = (name: string): string => join(server.images, name);
    const runDirectories = (): string[] =>
      readdirSync(server.temporary).map((name) => join(server.temporary, name, 'private'));
    /** Attempts on `other`, which belongs to another session, on its images, and on the server. */
    const onOthers = (other: number): TakenAttempt[] => [
      ...['two.img', 'idle.img'].flatMap((name): TakenAttempt[] => [
        ['read', image(name)],
        ['write', image(name)],
        ['truncate', image(name)],
        ['chmod', image(name)],
        ['unlink', image(name)],
      ]),
      ['list', server.images],
      ['make', image('new.img')],
      ...[other, server.process.pid ?? 0].flatMap((pid): TakenAttempt[] => [
        ['kill', pid],
        ['trace', pid],
        ['read memory', pid],
        ['read', `/proc/${pid}/mem`],
        ['read', `/proc/${pid}/environ`],
        ['list', `/proc/${pid}/fd`],
        ['limit', pid],
      ]),
      ['read', '/etc/shadow'],
      ['list', '/root'],
    ];
    /** Attempts that separate user IDs alone do not prevent. */
    const onTheHost = (): TakenAttempt[] => [
      ['read', '/etc/passwd'],
      ['list', '/run'],
      ['list', '/var'],
      ['unix', join(scene, 'service')],
      ['pidfd', server.process.pid ?? 0],
    ];
    const network = (): TakenAttempt[] => [
      ['tcp', server.address],
      ['udp', 0],
    ];
    const successes = (pid: number, attempts: readonly TakenAttempt[]): TakenAttempt[] => {
      const outcomes = takeOver(pid, attempts);
      expect(outcomes).toHaveLength(attempts.length);
      return attempts.filter((_attempt, index) => outcomes[index] === 'done');
    };

    it('is isolated in the way that the server logs', () => {
      const said = [
        'qemu and its helpers run in jails',
        'qemu and its helpers are confined by Landlock and seccomp: no namespaces can be made here',
        'neither namespaces nor Landlock are available: only their user IDs keep qemu and its helpers apart, and they can use the network and read whatever everyone may read',
      ].flatMap((message) => logged(server, message));
      expect(said).toEqual([expect.objectContaining({ isolation: means, as: uid === 0 ? 'root' : 'user' })]);
      for (const pid of qemus) {
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(status(pid, set)).toMatch(/^0+$/);
        expect([status(pid, 'NoNewPrivs'), status(pid, 'Seccomp')]).toEqual(['1', '2']);
        // qemu's own filter, and the one that it was started with.
        if (means === 'landlock' || uid !== 0) expect(Number(status(pid, 'Seccomp_filters'))).toBeGreaterThan(1);
        expect(status(pid, 'Uid') === `${uid}\t${uid}\t${uid}\t${uid}`).toBe(uid !== 0);
        expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toContain('sesame');
      }
    });

    it('does nothing to others', () => {
      const [one, two, connected] = qemus;
      const before = ['two.img', 'idle.img'].map((name) => [statSync(image(name)).mode, statSync(image(name)).size]);
      expect(successes(one, onOthers(two))).toEqual([]);
      expect(successes(connected, onOthers(two))).toEqual([]);
      expect(['two.img', 'idle.img'].map((name) => [statSync(image(name)).mode, statSync(image(name)).size])).toEqual(
        before,
      );
      // It sees only its own run directory.
      const seen = successes(
        one,
        runDirectories().map((path): TakenAttempt => ['list', path]),
      );
      expect(seen).toHaveLength(1);
    });

    it('cannot write to an image that it may only read, even if everybody else may write to it', () => {
      const [one] = qemus;
      const name = image('base.img');
      const before = [statSync(name).mode, statSync(name).size];
      const open = readdirSync(`/proc/${one}/fd`).filter((fd) => readlinkSync(`/proc/${one}/fd/${fd}`) === name);
      expect(open.length).toBeGreaterThan(0);
      const again = (what: 'write' | 'truncate' | 'chmod'): TakenAttempt[] =>
        open.map((fd) => [what, `/proc/self/fd/${fd}`]);
      // As documented in docs/isolation.md.
      if (means === 'none') expect(successes(one, again('write')).length).toBeGreaterThan(0);
      else expect(successes(one, [...again('write'), ...again('truncate')])).toEqual([]);
      expect(successes(one, again('chmod'))).toEqual([]);
      expect([statSync(name).mode, statSync(name).size]).toEqual(before);
    });

    it('reaches nothing of the host', () => {
      const [one, , connected] = qemus;
      if (means === 'none') {
        // As documented in docs/isolation.md.
        expect(successes(one, onTheHost()).length).toBeGreaterThan(0);
        return;
      }
      expect(successes(one, onTheHost())).toEqual([]);
      expect(successes(connected, onTheHost())).toEqual([]);
      // In its own network namespace it may open sockets, which lead nowhere.
      const reached = (pid: number): TakenAttempt[] =>
        successes(pid, network()).filter(([what]) => means !== 'namespaces' || what !== 'udp');
      expect(reached(one)).toEqual([]);
      // Without namespaces, qemu itself provides the network of its guest.
      if (means === 'namespaces') expect(reached(connected)).toEqual([]);
    });

    it('still works afterwards', async () => {
      const devices = await Promise.all(sessions.map((session) => session.call('list_devices')));
      expect(devices).toEqual([['/dev/sda', '/dev/sdb'], ['/dev/sda'], ['/dev/sda']]);
    });
  });
}
